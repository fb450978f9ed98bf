"""The shipped workflow in a folder of its own, and the demo in small: what its jobs are."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml
from changed_config import ROOT, all_runs

from resampled_priors.experiment import Config, Run, load_config, merge
from resampled_priors.experiment.configuration import remove_nulls

WORKFLOW = ("Snakefile", "config.yaml", "config", "workflow", "profiles", "environment.yml")


DEMO = ["config/demo.yaml", "tiny.yaml"]


# The demo, smaller still: a few iterations, and one row for each kind of prior. Folders whose
# names have spaces in them, since somebody's always have.
TINY = {
    "runs_per_process": 1,
    "pathvars": {"results": "my results", "data": "my data"},
    "budgets": {
        "demo": {
            "iterations": 5,
            "warm_up": 2,
            "importance_samples": 2,
            "z_samples": 2_000,
            "z_target": None,
            "models": {
                "conv_hvae": {"iterations": 5, "warm_up": 2},
                "hvae_iwae50": {"iterations": 5, "warm_up": 2},
            },
        }
    },
    "tables": {
        "tableD2": {"rows": [{"prior": "standard"}, {"prior": "lars_10-10"}]},
        "tableD3": {"rows": [{"prior": "standard"}, {"prior": "lars_T2"}, {"prior": "lars_Tinf"}]},
        **dict.fromkeys(("tableR1", "tableR2", "tableR3")),  # no new rule, and many runs
    },
    "figures": {"figR1": None},
}


STEPS = ("train", "estimate_z", "evaluate")


Job = tuple[str, ...]


def copy_workflow(folder: Path) -> Path:
    """The shipped workflow in a folder of its own, beside the overlay tiny.yaml."""
    folder.mkdir(parents=True)
    for name in WORKFLOW:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return folder


def snakemake(
    folder: Path, *arguments: str, configfiles: list[str], first_on_path: Path | None = None
) -> subprocess.CompletedProcess:
    """Run Snakemake in the folder; its stderr is in stdout."""
    path = [Path(sys.executable).parent, os.environ["PATH"]]
    path = [first_on_path, *path] if first_on_path else path
    environment = os.environ | {"PATH": ":".join(map(str, path)), "OMP_NUM_THREADS": "1"}
    environment.pop("RESAMPLED_PRIORS_MIRROR", None)
    configs = ["--configfile", *configfiles] if configfiles else []
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, *configs],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def planned(
    folder: Path, overlay: Config | None = None, target: str = "tables", demo: bool = True
) -> Counter[Job]:
    """The jobs of a dry run, (rule, wildcards ...), without those that only collect."""
    configfiles = list(DEMO) if demo else []
    if overlay:
        (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
        configfiles.append("overlay.yaml")
    done = snakemake(folder, "--dry-run", "-p", target, configfiles=configfiles)
    assert done.returncode == 0, done.stdout
    jobs: Counter[Job] = Counter()
    for block in re.split(r"^(?=(?:local)?rule \w+:$)", done.stdout, flags=re.MULTILINE)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)[1]
        wildcards = re.search(r"^ +wildcards: (.*)$", block, flags=re.MULTILINE)
        if wildcards:
            values = [pair.split("=", 1)[1] for pair in wildcards[1].split(", ")]
            jobs[rule, *values] += 1
        else:
            assert rule == "tables"
    assert jobs or "Nothing to be done" in done.stdout
    return jobs


def run_jobs(run: Run, steps: tuple[str, ...] = STEPS) -> list[Job]:
    names = [
        "fit_posthoc" if step == "train" and "posthoc" in run.prior else step for step in steps
    ]
    return [(name, run.budget, run.dataset, run.model, run.prior, str(run.seed)) for name in names]


def jobs_of(priors: str, tables: str) -> Counter[Job]:
    """The jobs of these VAE priors on the digits, and of these tables."""
    runs = [Run("demo", "digits", "vae", prior, 0) for prior in priors.split()]
    of_tables = [("table", f"table{name}") for name in tables.split()]
    return Counter([job for run in runs for job in run_jobs(run)] + of_tables)


TINY_DEMO = merge(load_config([ROOT / "config.yaml", ROOT / "config" / "demo.yaml"]), TINY)
remove_nulls(TINY_DEMO)


TINY_RUNS = all_runs(TINY_DEMO)


LARS_NEW = TINY_DEMO["priors"]["lars"] | {"label": "LARS; T = 3", "truncation": 3}


def jobs_of_all(steps: tuple[str, ...] = STEPS, seed: int = 0) -> Counter[Job]:
    """These steps of every run, and every table."""
    runs = [Run("demo", run.dataset, run.model, run.prior, seed) for run in TINY_RUNS]
    of_tables = [("table", table) for table in TINY_DEMO["tables"]]
    return Counter([job for run in runs for job in run_jobs(run, steps)] + of_tables)
