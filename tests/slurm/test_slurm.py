"""The workflow on a real SLURM: jobs as the profile asks, a cancelled training goes on."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from cluster import ask, missing_programs, slurm

from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.files import read_json
from resampled_priors.runs.load import load_run
from resampled_priors.runs.steps import estimate_run_z, evaluate_run, train_run

ROOT = Path(__file__).parents[2]
OVERLAY = {
    "budget": "demo",
    "device": "cpu",
    "budgets": {
        "demo": {
            "iterations": 1_000,
            "warm_up": 100,
            "importance_samples": 2,
            "z_samples": 20_000,
            "z_target": None,
        }
    },
}
RUN = Run("demo", "digits", "vae", "lars_T2", 0)
TIMINGS = ["seconds", "train_seconds", "evaluate_seconds", "sample_seconds"]
TIMINGS += ["training_sha256", "run_sha256", "z_sha256"]  # of files with such times in them
# the command line, with a checkpoint five times a second
PROGRAM = f"""#!{sys.executable}
from resampled_priors.runs import checkpoints
checkpoints.CHECKPOINT_SECONDS = 0.2
from resampled_priors.cli import main
main()
"""


@pytest.fixture
def environment(tmp_path_factory):
    """Variables that lead to a cluster of this test's own."""
    if missing := missing_programs():
        message = f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons are started by root, and this is another user")
    with slurm(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture
def folder(tmp_path):
    """The shipped workflow, an overlay that makes it small, and the command to be found first."""
    for name in ("Snakefile", "config.yaml", "environment.yml", "workflow", "profiles"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(OVERLAY))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "resampled-priors"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return tmp_path


def jobs(environment: dict[str, str]) -> list[dict[str, str]]:
    """All jobs that the controller knows of, oldest first."""
    fields = {
        "id": "%i",
        "name": "%j",
        "state": "%T",
        "comment": "%k",
        "memory": "%m",
        "time": "%l",
    }
    lines = ask(
        "squeue", "--states=all", "--noheader", "--sort=i",
        f"--format={'|'.join(fields.values())}", env=environment,
    )  # fmt: skip
    return [dict(zip(fields, line.split("|"), strict=True)) for line in lines.splitlines()]


def cancel_in_mid_run(environment, folder: Path, process: subprocess.Popen) -> str:
    """scancel the training job once it has left a checkpoint; its number."""
    while process.poll() is None:
        if list(folder.glob(f"results/{RUN.folder}/checkpoint/*.pt")):
            running = [
                job
                for job in jobs(environment)
                if job["comment"].startswith("rule_train") and job["state"] == "RUNNING"
            ]
            if running:
                ask("scancel", running[0]["id"], env=environment)
                return running[0]["id"]
        time.sleep(0.1)
    raise AssertionError("Snakemake ended before training left a checkpoint")


def undisturbed(folder: Path, data: Path) -> Path:
    """The same run in this process, from beginning to end at once."""
    config = load_config([ROOT / "config.yaml", folder / "small.yaml"])
    budget = config["budgets"]["demo"]
    run_folder = folder / "undisturbed" / RUN.folder
    train_run(run_folder, resolve_run(config, RUN), data, None, "cpu")
    estimate_run_z(run_folder, budget["z_samples"], None, "cpu")
    evaluate_run(run_folder, data, budget["importance_samples"], "cpu")
    return run_folder


def test_a_cancelled_training_is_submitted_again_and_goes_on(environment, folder, digits):
    run_folder = folder / "results" / RUN.folder
    command = [sys.executable, "-m", "snakemake", f"results/{RUN.folder}/metrics.json"]
    command += ["--configfile", "small.yaml", "--profile", "profiles/slurm"]
    # the profile's intervals are those of a cluster, where a job takes hours
    command += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]
    path = f"{folder}/bin:{Path(sys.executable).parent}:{environment['PATH']}"
    with open(folder / "snakemake.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment | {"PATH": path}, stdout=log, stderr=log
        )
        try:
            cancelled = cancel_in_mid_run(environment, folder, process)
            expected = undisturbed(folder, digits)
            process.wait(timeout=300)
        finally:
            process.terminate()
    said = (folder / "snakemake.log").read_text()
    assert process.returncode == 0, said

    # submitted twice, the second time with twice the memory and time, and no job more
    found = jobs(environment)
    training = [
        job for job in found if job["comment"] == "rule_train_wildcards_demo_digits_vae_lars_T2_0"
    ]
    assert [job["state"] for job in training] == ["CANCELLED", "COMPLETED"]
    assert training[0]["id"] == cancelled
    assert [job["memory"] for job in training] == ["4000M", "8000M"]
    assert [job["time"] for job in training] == ["32:00", "1:04:00"]
    assert [re.sub("_wildcards.*", "", job["comment"]) for job in found] == [
        "rule_prepare", "rule_train", "rule_train", "rule_estimate_z", "rule_evaluate",
    ]  # fmt: skip
    assert all(job["name"].startswith("resampled-priors_") for job in found)
    assert "Requeue=0" in ask("scontrol", "show", "job", cancelled, env=environment)
    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in said

    # it went on where it was, to what it would have come to anyway
    log = (folder / "results/logs/train/demo.digits.vae.lars_T2.seed0.log").read_text()
    assert int(re.search("continuing from iteration ([0-9]+)", log)[1]) > 0
    assert not (run_folder / "checkpoint").exists()
    weights = "model.safetensors"
    assert (run_folder / weights).read_bytes() == (expected / weights).read_bytes()
    rows = [
        pd.read_csv(f / "training.csv").drop(columns="seconds") for f in (run_folder, expected)
    ]
    pd.testing.assert_frame_equal(*rows, check_exact=True)
    for name in ("z.json", "metrics.json"):
        ours, theirs = (read_json(f / name) for f in (run_folder, expected))
        assert {k: v for k, v in ours.items() if k not in TIMINGS} == {
            k: v for k, v in theirs.items() if k not in TIMINGS
        }
    assert load_run(run_folder).resampling.log_z.item() < 0
