"""Runs that fail, kills, two at once, data that are gone."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml
from small_workflow import DEMO, LARS_NEW, copy_workflow, jobs_of, planned, snakemake

from resampled_priors.experiment import Run


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
        '    set -- "${@//0.003/1e30}"\n'
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
    assert f"Missing runs: {runs['bad'].folder}" in text
    assert "| bad      | —      |" in text
    assert "— not run yet" in text

    whole = snakemake(again, "tables", configfiles=configfiles)
    assert whole.returncode == 0, whole.stdout
    text = (results / "mine.md").read_text()
    assert "Missing" not in text and "—" not in text
    assert re.search(r"^total +5$", whole.stdout, flags=re.MULTILINE)  # its three, table, tables
    assert {path: path.read_bytes() for path in tables_before} == tables_before


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
