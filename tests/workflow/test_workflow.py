"""The shipped Snakefile, through Snakemake itself: the demo in small, and what re-runs when."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import psutil
import pytest
import yaml

from resampled_priors.experiment import Config, Run, load_config, merge, table_runs

ROOT = Path(__file__).parents[2]
WORKFLOW = ("Snakefile", "config.yaml", "config", "workflow", "profiles", "environment.yml")
DEMO = ["config/demo.yaml", "tiny.yaml"]
# The demo, smaller still: a few iterations, and one row for each kind of prior. Folders whose
# names have spaces in them, since somebody's always have.
TINY = {
    "pathvars": {"results": "my results", "data": "my data"},
    "budgets": {
        "demo": {
            "iterations": 5,
            "warm_up": 2,
            "importance_samples": 2,
            "z_samples": 2_000,
            "z_target": None,
        }
    },
    "tables": {
        "tableD2": {"rows": [{"prior": "standard"}, {"prior": "lars_10-10"}]},
        "tableD3": {"rows": [{"prior": "standard"}, {"prior": "lars_T2"}, {"prior": "lars_Tinf"}]},
    },
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
    done = snakemake(folder, "--dry-run", target, configfiles=configfiles)
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


def all_runs(config: Config) -> list[Run]:
    return list(
        dict.fromkeys(run for table in config["tables"] for run in table_runs(config, table))
    )


TINY_DEMO = merge(load_config([ROOT / "config.yaml", ROOT / "config" / "demo.yaml"]), TINY)
TINY_RUNS = all_runs(TINY_DEMO)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which the demo has run, small; made once, whatever the number of workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, log = shared / "finished demo", shared / "finished demo.json"
    with open(shared / "finished demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            done = snakemake(copy_workflow(folder), "tables", configfiles=DEMO)
            log.write_text(json.dumps([done.returncode, done.stdout]))
    status, output = json.loads(log.read_text())
    assert status == 0, output
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder, times and all."""
    return Path(shutil.copytree(finished, tmp_path / "again"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """The workflow in a folder where nothing has run."""
    return copy_workflow(tmp_path_factory.mktemp("fresh") / "clone")


# What is planned ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_every_run_of_the_paper_is_planned_once(fresh, seeds):
    overlay = {"budgets": {"short": {"seeds": seeds}}}
    config = merge(load_config([ROOT / "config.yaml"]), overlay)
    runs = all_runs(config)
    assert len(runs) == 41 * len(seeds)
    datasets = ("static_mnist", "dynamic_mnist", "omniglot", "fashion_mnist")
    expected = Counter(
        [job for run in runs for job in run_jobs(run)]
        + [("prepare", dataset) for dataset in datasets]
        + [("table", table) for table in config["tables"]]
    )
    assert planned(fresh, overlay, demo=False) == expected
    assert max(expected.values()) == 1


def test_the_demo_plans_all_tables_on_the_digits(fresh):
    done = snakemake(fresh, "--dry-run", "tables", configfiles=["config/demo.yaml"])
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    assert counts == {
        "prepare": "1",
        "train": "19",
        "fit_posthoc": "1",
        "estimate_z": "20",
        "evaluate": "20",
        "table": "8",
        "tables": "1",
        "total": "70",
    }
    assert "results/demo/table1.md" in done.stdout
    assert "Time at the rates measured on cpu, one job after another:" in done.stdout
    assert "dynamic_mnist" not in done.stdout


def test_one_cell_is_one_run(fresh):
    run = Run("short", "dynamic_mnist", "vae", "lars_T50", 0)
    jobs = planned(fresh, target=f"results/{run.folder}/metrics.json", demo=False)
    assert jobs == Counter([("prepare", "dynamic_mnist"), *run_jobs(run)])


def test_a_post_hoc_cell_trains_its_base_and_no_more(fresh):
    run, base = (
        Run("short", "omniglot", "vae", prior, 3) for prior in ("lars_posthoc", "standard")
    )
    jobs = planned(fresh, target=f"results/{run.folder}/metrics.json", demo=False)
    expected = [("prepare", "omniglot"), *run_jobs(base, ("train",)), *run_jobs(run)]
    assert jobs == Counter(expected)


def test_the_snakefile_where_the_workflow_catalog_looks(fresh):
    arguments = ("--snakefile", "workflow/Snakefile", "--dry-run", "tables")
    done = snakemake(fresh, *arguments, configfiles=["config/demo.yaml"])
    assert done.returncode == 0, done.stdout
    assert re.search(r"^total +70$", done.stdout, flags=re.MULTILINE)


# Wrong configs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overlay", "message"),
    {
        "budgets: {short: {iteratoins: 3}}": (
            "config: unknown key 'budgets.short.iteratoins': did you mean 'iterations'?"
        ),
        "tables: {tableD2: {model: vea}}": "config: tables.tableD2: unknown model 'vea'",
    }.items(),
)
def test_a_wrong_config_is_one_line(fresh, overlay, message):
    (fresh / "wrong.yaml").write_text(overlay)
    done = snakemake(fresh, "--dry-run", "tables", configfiles=["wrong.yaml"])
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    [line] = [line for line in done.stdout.splitlines() if message in line]
    # nothing follows it but the place in the workflow's own files
    after = done.stdout.split(line)[1].strip().splitlines()
    assert all(re.match(r" *File .*\.smk\"?, line|", text) for text in after)


# What has run ------------------------------------------------------------------------------------


def test_the_demo_makes_every_table_and_file(finished):
    results = finished / "my results"
    for table in TINY_DEMO["tables"]:
        for suffix in ("csv", "md", "tex", "html"):
            assert (results / f"{table}.{suffix}").stat().st_size > 0
        rows = pd.read_csv(results / f"{table}.csv")
        assert rows["ours"].notna().all() and rows["missing"].isna().all()
    for run in TINY_RUNS:
        assert {path.name for path in (results / run.folder).iterdir()} == {
            *("model.safetensors", "training.csv", "run.json", "z.json", "metrics.json")
        }
        for step in ("train", "estimate_z", "evaluate"):
            name = run.log_name
            assert (results / "logs" / step / f"{name}.log").is_file()
            assert (results / "logs" / step / f"{name}.benchmark.tsv").is_file()
    assert (finished / "my data" / "prepared" / "digits.safetensors").is_file()
    assert not (finished / "results").exists() and not (finished / "data").exists()


def test_every_job_has_a_log_that_says_all_there_is_to_know(finished):
    logs = list((finished / "my results" / "logs").glob("*/*.log"))
    assert {path.parent.name for path in logs} == {
        *("prepare", "train", "estimate_z", "evaluate", "tables")
    }
    for path in logs:
        lines = path.read_text().splitlines()
        assert [line.split(": ")[0] for line in lines[:3]] == ["started", "command", "versions"]
        assert lines[3].startswith("settings: {") or path.parent.name == "prepare"
        if path.parent.name == "train":
            assert any("5/5" in line and "loss" in line for line in lines)


def test_the_tables_show_the_runs(finished):
    results = finished / "my results"
    rows = pd.read_csv(results / "tableD1.csv")
    assert list(rows["prior"].unique()) == ["standard", "lars_posthoc", "lars"]
    for _, row in rows.iterrows():
        folder = results / Run("demo", "digits", "vae", row["prior"], 0).folder
        metrics = json.loads((folder / "metrics.json").read_text())
        assert row["ours"] == metrics[row["metric"]]
        assert row["iterations"] == 5 and row["num_importance_samples"] == 2
    # post hoc: the encoder and decoder are the base's
    recons = rows[rows["metric"] == "recons"].set_index("prior")["ours"]
    assert recons["lars_posthoc"] == pytest.approx(recons["standard"], rel=0.01)


LARS_NEW = TINY_DEMO["priors"]["lars"] | {"label": "LARS; T = 3", "truncation": 3}


def jobs_of_all(steps: tuple[str, ...] = STEPS, seed: int = 0) -> Counter[Job]:
    """These steps of every run, and every table."""
    runs = [Run("demo", run.dataset, run.model, run.prior, seed) for run in TINY_RUNS]
    of_tables = [("table", table) for table in TINY_DEMO["tables"]]
    return Counter([job for run in runs for job in run_jobs(run, steps)] + of_tables)


CHANGES: dict[str, tuple[Config, Counter[Job]]] = {
    "nothing": ({}, Counter()),
    "device, mirror, partial, and what nothing here uses": (
        {
            "device": "cuda",
            "data": {"mirror": "elsewhere", "accept_unverified": ["omniglot"]},
            "partial": True,
            "budgets": {"short": {"iterations": 7, "seeds": [4]}},
            "priors": {"lars_T50": {"truncation": 49}},
            "training": {"patience": 3},
        },
        Counter(),
    ),
    "T of one prior": (
        {"priors": {"lars_T2": {"truncation": 3}}},
        jobs_of("lars_T2", "D3"),
    ),
    "widths of one prior": (
        {"priors": {"lars_10-10": {"hidden": [11, 10]}}},
        jobs_of("lars_10-10", "D2"),
    ),
    "a post-hoc prior": (
        {"priors": {"lars_posthoc": {"num_proposals": 100}}},
        jobs_of("lars_posthoc", "D1"),
    ),
    "a prior that is another's proposal": (
        {"priors": {"realnvp": {"layers": 2}}},
        jobs_of("realnvp lars_realnvp", "D4 D5"),
    ),
    "a new prior and a row": (
        {
            "priors": {"lars_T3": LARS_NEW},
            "tables": {
                "tableD3": {"rows": [*TINY["tables"]["tableD3"]["rows"], {"prior": "lars_T3"}]}
            },
        },
        jobs_of("lars_T3", "D3"),
    ),
    "a new table": (
        {"tables": {"tableX": TINY_DEMO["tables"]["tableD4"]}},
        jobs_of("", "X"),
    ),
    "a label": (
        {"priors": {"lars_10-10": {"label": "another"}}},
        jobs_of("", "D2"),
    ),
    "a caption": ({"tables": {"table1": {"caption": "another"}}}, jobs_of("", "1")),
    "the importance samples": (
        {"budgets": {"demo": {"importance_samples": 3}}},
        jobs_of_all(("evaluate",)),
    ),
    "the samples of Z": (
        {"budgets": {"demo": {"z_samples": 3_000}}},
        jobs_of_all(("estimate_z", "evaluate")),
    ),
    "one more seed": (
        {"budgets": {"demo": {"seeds": [0, 1]}}},
        jobs_of_all(seed=1),
    ),
}


@pytest.mark.parametrize(("overlay", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_re_runs_what_depends_on_it(again, overlay, expected):
    assert planned(again, overlay) == expected


@pytest.mark.parametrize("suffix", ["csv", "md", "tex", "html"])
def test_a_lost_table_is_made_again(again, suffix):
    (again / "my results" / f"tableD6.{suffix}").unlink()
    assert planned(again) == Counter([("table", "tableD6")])


# A run that fails --------------------------------------------------------------------------------


def test_a_failed_run_leaves_the_others_and_is_made_up_for_later(again, tmp_path):
    """One prior's training goes wrong; then a partial table; then all is well and complete."""
    table = {
        "caption": "Mine",
        "dataset": "digits",
        "model": "vae",
        "rows": [{"prior": "standard"}, {"prior": "lars_bad"}, {"prior": "lars_good"}],
        "columns": [{"metric": "nll"}],
    }
    priors = {f"lars_{name}": LARS_NEW | {"label": name} for name in ("bad", "good")}
    (again / "mine.yaml").write_text(yaml.safe_dump({"priors": priors, "tables": {"mine": table}}))
    configfiles = [*DEMO, "mine.yaml"]
    results = again / "my results"
    runs = {name: Run("demo", "digits", "vae", f"lars_{name}", 0) for name in ("bad", "good")}

    # a command of that name that lets the loss of lars_bad run away, and else calls the real one
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "resampled-priors"
    real = Path(sys.executable).with_name("resampled-priors")
    program.write_text(
        "#!/usr/bin/env bash\n"
        'if [[ "$*" == *"train "*lars_bad* ]]; then\n'
        '    set -- "${@//0.0003/1e30}"\n'
        "fi\n"
        f'exec "{real}" "$@"\n'
    )
    program.chmod(0o755)
    tables_before = {path: path.read_bytes() for path in results.glob("table*")}

    done = snakemake(again, "tables", configfiles=configfiles, first_on_path=program.parent)
    assert done.returncode != 0
    log = (results / "logs" / "train" / "demo.digits.vae.lars_bad.seed0.log").read_text()
    error = log.strip().splitlines()[-1]
    assert error.startswith("error: the loss is ") and "lower training.learning_rate" in error
    assert "Traceback" not in log
    assert [line.split(":")[0] for line in log.splitlines()[:4]] == [
        *("started", "command", "versions", "settings")
    ]
    assert error in done.stdout  # Snakemake shows the log of what failed
    assert (results / runs["good"].folder / "metrics.json").is_file()
    bad = results / runs["bad"].folder
    assert not bad.exists() or not [path for path in bad.rglob("*") if path.is_file()]
    assert not list(results.glob("mine.*"))

    partial = snakemake(again, "tables", "--config", "partial=True", configfiles=configfiles)
    assert partial.returncode == 0, partial.stdout
    text = (results / "mine.md").read_text()
    assert f"Missing runs: my results/{runs['bad'].folder}" in text
    assert "| bad      | —      |" in text
    assert "— not run yet" in text

    whole = snakemake(again, "tables", configfiles=configfiles)
    assert whole.returncode == 0, whole.stdout
    text = (results / "mine.md").read_text()
    assert "Missing" not in text and "—" not in text
    assert re.search(r"^total +5$", whole.stdout, flags=re.MULTILINE)  # its three, table, tables
    assert {path: path.read_bytes() for path in tables_before} == tables_before


# As Snakemake's users expect it ------------------------------------------------------------------


def test_snakemake_has_nothing_to_complain_of(fresh):
    done = snakemake(fresh, "--lint", configfiles=[])
    assert done.returncode == 0, done.stdout
    assert "Congratulations, your workflow is in a good condition!" in done.stdout


def test_the_report_has_every_table(again):
    done = snakemake(again, "--report", "report.zip", "tables", configfiles=DEMO)
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(again / "report.zip") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
        page = archive.read("report/report.html").decode()
    for table, settings in TINY_DEMO["tables"].items():
        assert (again / "my results" / f"{table}.html").read_bytes() in contents
        assert json.dumps(settings["caption"]) in page  # as a label
    assert "Budget <strong>demo</strong>: 5 iterations" in page


def test_the_rule_graph_of_the_documentation_is_current(fresh):
    """After a change of rules: snakemake --rulegraph all | dot -Tsvg > docs/rulegraph.svg"""
    done = snakemake(fresh, "--rulegraph", "--quiet", "all", "--", "all", configfiles=[])
    labels = dict(re.findall(r'(\d+)\[label = "(\w+)"', done.stdout))
    edges = {(labels[a], labels[b]) for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)}
    svg = ElementTree.parse(ROOT / "docs" / "rulegraph.svg")
    drawn, arrows = {}, []
    for group in svg.iterfind(".//{*}g[@class]"):
        title = group.find("{*}title").text
        if group.get("class") == "node":
            drawn[title] = group.find(".//{*}text").text
        elif group.get("class") == "edge":
            arrows.append(title.split("->"))
    assert len(edges) > 10
    assert {(drawn[a], drawn[b]) for a, b in arrows} == edges


MODULE = """
from resampled_priors.experiment import load_config


module resampled_priors:
    snakefile: "{root}/workflow/Snakefile"
    config: load_config(["{root}/config.yaml", "{root}/config/demo.yaml", "mine.yaml"])
    prefix: "priors"


use rule * from resampled_priors as priors_*


rule mine:
    default_target: True
    input: "priors/my results/mine.md"
    output: "mine.txt"
    shell: "cp {{input:q}} {{output:q}}"
"""


def test_another_workflow_uses_this_one_as_a_module(tmp_path):
    table = TINY_DEMO["tables"]["tableD2"] | {"rows": [{"prior": "standard"}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**TINY, "tables": {"mine": table}}))
    (tmp_path / "Snakefile").write_text(MODULE.format(root=ROOT))
    plan = snakemake(tmp_path, "--dry-run", configfiles=[])
    assert plan.returncode == 0, plan.stdout
    steps = ("prepare", "train", "estimate_z", "evaluate", "table")
    for name in [*(f"priors_{step}" for step in steps), "mine"]:
        assert re.search(rf"^{name} +1$", plan.stdout, flags=re.MULTILINE), name
    done = snakemake(tmp_path, configfiles=[])
    assert done.returncode == 0, done.stdout
    folder = (
        tmp_path / "priors" / "my results" / Run("demo", "digits", "vae", "standard", 0).folder
    )
    nll = json.loads((folder / "metrics.json").read_text())["nll"]
    assert f"{nll:.2f}" in (tmp_path / "mine.txt").read_text()


# Results that came with a clone ------------------------------------------------------------------


def test_committed_results_count_as_made_once_they_are_touched(again):
    """A clone has no weights, data or logs, and times that say nothing: only what is missing of
    the tables is made."""
    results = again / "my results"
    missing = Run("demo", "digits", "vae", "lars_T2", 0)
    for folder in (
        again / ".snakemake",
        again / "my data",
        results / "logs",
        results / missing.folder,
    ):
        shutil.rmtree(folder)
    for weights in results.rglob("*.safetensors"):
        weights.unlink()
    newest_first = ("z.json", "run.json", "training.csv", "metrics.json", "table*")
    for age, name in enumerate(newest_first, start=1_000):
        for path in results.rglob(name):
            os.utime(path, times=(time.time() - age,) * 2)
    metrics = {path: path.read_bytes() for path in results.rglob("metrics.json")}

    for target in (["--touch", "tables", "--config", "partial=True"], ["datasets"]):
        done = snakemake(again, *target, configfiles=DEMO)
        assert done.returncode == 0, done.stdout
    assert planned(again) == Counter([*run_jobs(missing), ("table", "tableD3")])
    assert planned(again, {"priors": {"lars_10-10": {"hidden": [11, 10]}}}) == Counter(
        [*run_jobs(missing), ("table", "tableD3"), *jobs_of("lars_10-10", "D2").elements()]
    )
    assert {path: path.read_bytes() for path in results.rglob("metrics.json")} == metrics


# Two at once, and kills --------------------------------------------------------------------------


def test_two_at_once_and_a_killed_snakemake(tmp_path):
    """The second is refused; after a kill the same command continues, once no job lives on."""
    folder = copy_workflow(tmp_path / "clone")
    run = Run("demo", "digits", "vae", "standard", 0)
    target = f"my results/{run.folder}/training.csv"
    overlay = {"budgets": {"demo": {"iterations": 150}}}
    (folder / "longer.yaml").write_text(yaml.safe_dump(overlay))
    configfiles = [*DEMO, "longer.yaml"]

    # the command of that name, but for a shorter time between checkpoints
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "resampled-priors"
    program.write_text(
        f"#!{sys.executable}\n"
        "from resampled_priors import cli\n"
        "from resampled_priors.runs import checkpoints\n"
        "checkpoints.CHECKPOINT_SECONDS = 0.1\n"
        "cli.main()\n"
    )
    program.chmod(0o755)
    path = ":".join(map(str, (program.parent, Path(sys.executable).parent, os.environ["PATH"])))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", target]
    first = subprocess.Popen(
        [*command, "--configfile", *configfiles],
        cwd=folder,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        checkpoint = folder / "my results" / run.folder / "checkpoint"
        deadline = time.monotonic() + 300
        while not list(checkpoint.glob("train.*")):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(first.pid).children(recursive=True)
        for process in children:
            process.suspend()  # at work for as long as we like
        second = snakemake(folder, target, configfiles=configfiles)
        assert second.returncode != 0 and "Traceback" not in second.stdout
        assert "another Snakemake is at work in this folder: wait for it" in second.stdout
        dry = snakemake(folder, target, "--dry-run", configfiles=configfiles)
        assert dry.returncode == 0
        assert first.poll() is None

        first.kill()  # but not its job
        first.wait()
        third = snakemake(folder, target, configfiles=configfiles)
        assert third.returncode != 0 and "Traceback" not in third.stdout
        busy = f"my results/{run.folder}: a process is still at work on this run: wait for it"
        assert busy in third.stdout
        assert list(checkpoint.glob("train.*"))
    finally:
        os.killpg(first.pid, signal.SIGKILL)
    last = snakemake(folder, target, configfiles=configfiles)
    assert last.returncode == 0, last.stdout
    log = folder / "my results" / "logs" / "train" / "demo.digits.vae.standard.seed0.log"
    assert "continuing from iteration " in log.read_text()
    assert not checkpoint.exists()
    again = snakemake(folder, target, configfiles=configfiles)
    assert "Nothing to be done" in again.stdout


def test_runs_are_kept_where_their_data_are_gone(again):
    """Snakemake would train all of them again, as soon as one other run wants the data."""
    shutil.rmtree(again / "my data")
    assert planned(again) == Counter()
    (again / "mine.yaml").write_text(yaml.safe_dump({"priors": {"lars_T2": {"truncation": 3}}}))
    before = {p: p.read_bytes() for p in (again / "my results").rglob("*") if p.is_file()}
    refused = snakemake(again, "tables", configfiles=[*DEMO, "mine.yaml"])
    assert refused.returncode != 0
    message = "my data/prepared/digits.safetensors: missing, and what was made from them would"
    assert message in refused.stdout and "Traceback" not in refused.stdout
    assert {p: p.read_bytes() for p in before} == before
    dry = snakemake(again, "--dry-run", "tables", configfiles=[*DEMO, "mine.yaml"])
    assert dry.returncode == 0 and message in dry.stdout
    assert snakemake(again, "datasets", configfiles=DEMO).returncode == 0
    overlay = {"priors": {"lars_T2": {"truncation": 3}}}
    assert planned(again, overlay) == jobs_of("lars_T2", "D3")


def test_runs_trained_together_are_those_trained_alone(tmp_path):
    """One job for several runs of a model; the same weights, in the same run folders."""
    results, model = "my results", "runs/demo/digits/vae/lars_T2/seed0/model.safetensors"
    weights = {}
    for together in (1, 3):
        folder = copy_workflow(tmp_path / str(together))
        (folder / "together.yaml").write_text(f"runs_per_process: {together}")
        configs = [*DEMO, "together.yaml"]
        done = snakemake(folder, f"{results}/{model}", configfiles=configs)
        assert done.returncode == 0, done.stdout
        assert len(list(folder.glob(f"{results}/runs/*/*/*/*/*/run.json"))) == together
        assert ("train_together" in done.stdout) == (together > 1)
        weights[together] = (folder / results / model).read_bytes()
    assert weights[1] == weights[3]
