"""The workflow as a module of another, and runs trained together."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from run_steps import without_timings
from small_workflow import DEMO, ROOT, TINY, TINY_DEMO, copy_workflow, snakemake

from resampled_priors.experiment import Run
from resampled_priors.files import read_json
from resampled_priors.runs.locks import hold_workflow

MODULE = """
from resampled_priors.experiment import load_config


module resampled_priors:
    snakefile: "{workflow}/workflow/Snakefile"
    config: load_config(["{workflow}/config.yaml", "{workflow}/config/demo.yaml", "mine.yaml"])
    prefix: "priors"


use rule * from resampled_priors as priors_*


rule mine:
    default_target: True
    input: "priors/my results/mine.md"
    output: "mine.txt"
    shell: "cp {{input:q}} {{output:q}}"


onstart:
    print("the user's own start")
"""
RECORDS = {"train": "run.json", "estimate_z": "z.json", "evaluate": "metrics.json"}
RUN = Run("demo", "digits", "vae", "standard", 0)


def test_another_workflow_uses_this_one_as_a_module(tmp_path, monkeypatch):
    """With the profile that its documentation names; guarded as the workflow itself is."""
    shipped = copy_workflow(tmp_path / "resampled-priors")
    table = TINY_DEMO["tables"]["tableD2"] | {"rows": [{"prior": "standard"}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**TINY, "tables": {"mine": table}}))
    (tmp_path / "Snakefile").write_text(MODULE.format(workflow=shipped.name))
    profile = ("--workflow-profile", f"{shipped.name}/profiles/default")
    plan = snakemake(tmp_path, "--dry-run", *profile, configfiles=[])
    assert plan.returncode == 0, plan.stdout
    steps = ("prepare", "train", "estimate_z", "evaluate", "table")
    for name in [*(f"priors_{step}" for step in steps), "mine"]:
        assert re.search(rf"^{name} +1$", plan.stdout, flags=re.MULTILINE), name
    done = snakemake(tmp_path, *profile, configfiles=[])
    assert done.returncode == 0, done.stdout
    assert "the user's own start" in done.stdout
    results = tmp_path / "priors" / "my results"
    folder = results / RUN.folder
    nll = json.loads((folder / "metrics.json").read_text())["nll"]
    assert f"{nll:.2f}" in (tmp_path / "mine.txt").read_text()
    assert not (folder / "checkpoint").exists()

    rules = shipped / "workflow" / "rules" / "train.smk"
    rules.write_text(rules.read_text().replace("--threads {threads}", "  --threads {threads}"))
    assert "Nothing to be done" in snakemake(tmp_path, *profile, configfiles=[]).stdout

    (tmp_path / "mine.txt").unlink()
    monkeypatch.chdir(shipped)
    held = hold_workflow(results)
    busy = snakemake(tmp_path, *profile, configfiles=[])
    assert busy.returncode != 0
    assert "priors/my results: another Snakemake is at work on these results" in busy.stdout
    for lock in held:
        lock.lock.release()


def test_a_module_s_killed_snakemake_needs_no_unlocking(tmp_path):
    shipped = copy_workflow(tmp_path / "resampled-priors")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "Snakefile").write_text(MODULE.format(workflow=shipped.name))
    profile = ("--workflow-profile", f"{shipped.name}/profiles/default")
    folder = tmp_path / "priors" / "my results" / RUN.folder
    target = str((folder / "run.json").relative_to(tmp_path))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", *profile, target],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not (folder / ".lock").exists():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    again = snakemake(tmp_path, *profile, target, configfiles=[])
    assert again.returncode == 0, again.stdout
    assert (folder / "run.json").exists() and not (folder / "checkpoint").exists()


def test_own_data_of_a_module_lie_where_the_config_says(tmp_path):
    """Named from the working folder; the module puts no prefix there."""
    np.savez(tmp_path / "mine.npz", train=np.zeros((9, 28, 28)))
    table = TINY_DEMO["tables"]["tableD2"] | {"dataset": "mine", "rows": [{"prior": "standard"}]}
    datasets = {"mine": {"label": "mine", "images": "mine.npz"}}
    overlay = {**TINY, "datasets": datasets, "tables": {"mine": table}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
    (tmp_path / "Snakefile").write_text(MODULE.format(workflow=ROOT))
    plan = snakemake(tmp_path, "--dry-run", "-p", configfiles=[])
    assert plan.returncode == 0, plan.stdout
    assert "input: mine.npz" in plan.stdout
    assert "output: priors/my data/prepared/mine.safetensors" in plan.stdout


def test_runs_trained_together_are_those_trained_alone(tmp_path):
    """One job for a step of several runs; the same weights and metrics, in the same folders."""
    results, model = "my results", "runs/demo/digits/vae/lars_T2/seed0/model.safetensors"
    weights, metrics = {}, {}
    for together in (1, 3):
        folder = copy_workflow(tmp_path / str(together))
        (folder / "together.yaml").write_text(f"runs_per_process: {together}")
        configs = [*DEMO, "together.yaml"]
        run = folder / results / Path(model).parent
        done = snakemake(folder, f"{results}/{model}", configfiles=configs)
        assert done.returncode == 0, done.stdout
        done = snakemake(
            folder, str(run.relative_to(folder) / "metrics.json"), configfiles=configs
        )
        assert done.returncode == 0, done.stdout
        for step, record in RECORDS.items():
            assert len(list(folder.glob(f"{results}/runs/*/*/*/*/*/{record}"))) == together
            logs = list((folder / results / "logs" / step).glob("together_*.log"))
            assert len(logs) == (together > 1)
        weights[together] = (run / "model.safetensors").read_bytes()
        metrics[together] = without_timings(read_json(run / "metrics.json"))
    assert weights[1] == weights[3]
    assert metrics[1] == metrics[3]
