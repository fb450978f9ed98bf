"""What took long is neither deleted nor made again: orphans, changed settings, two Snakemakes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from small_workflow import DEMO, copy_workflow, jobs_of, planned, snakemake

from resampled_priors.experiment import Run
from resampled_priors.files import read_json, write_json
from resampled_priors.runs.locks import hold_workflow

RUN = Run("demo", "digits", "vae", "lars_T2", 0)
TRAINED = ("model.safetensors", "training.csv", "run.json")


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(done: subprocess.CompletedProcess, *texts: str) -> None:
    assert done.returncode != 0 and "Traceback" not in done.stdout
    [line] = [line for line in done.stdout.splitlines() if texts[0] in line]
    assert all(text in line for text in texts), line


def test_an_orphan_finishes_and_its_work_counts(tmp_path):
    """Snakemake alone is killed; the job goes on and ends; the same command takes what it made."""
    folder = copy_workflow(tmp_path / "clone")
    overlay = {"budgets": {"demo": {"iterations": 300}}}
    (folder / "longer.yaml").write_text(yaml.safe_dump(overlay))
    configfiles = [*DEMO, "longer.yaml"]
    target = f"my results/{RUN.folder}/run.json"
    path = ":".join(map(str, (Path(sys.executable).parent, os.environ["PATH"])))
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", target, "--configfile", *configfiles],
        cwd=folder,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    run = folder / "my results" / RUN.folder
    try:
        deadline = time.monotonic() + 300
        while not (run / ".lock").exists():  # at work
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        first.kill()
        first.wait()
        while not (run / "run.json").exists() or (run / ".lock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        try:
            os.killpg(first.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all have ended
    made = {name: (run / name).read_bytes() for name in TRAINED}
    again = snakemake(folder, target, configfiles=configfiles)
    assert again.returncode == 0, again.stdout
    log = folder / "my results" / "logs" / "train" / f"{RUN.log_name}.log"
    assert "train was finished before" in log.read_text()
    assert {name: (run / name).read_bytes() for name in TRAINED} == made  # train_seconds, too
    assert {path.name for path in run.iterdir()} == set(TRAINED)
    assert "Nothing to be done" in snakemake(folder, target, configfiles=configfiles).stdout


def test_what_took_more_than_an_hour_is_not_trained_again_unasked(again):
    """A changed prior: refused with the key's name, and done where that is said to be wanted."""
    results = again / "my results"
    record = results / RUN.folder / "run.json"
    times = record.stat()
    write_json(record, read_json(record) | {"train_seconds": 9_000.0})
    os.utime(record, ns=(times.st_atime_ns, times.st_mtime_ns))
    (again / "mine.yaml").write_text(yaml.safe_dump({"priors": {"lars_T2": {"truncation": 3}}}))
    before = files_below(results)
    configfiles = [*DEMO, "mine.yaml"]
    texts = (
        f"my results/{RUN.folder}/run.json (2.5 hours): prior.truncation: 2 -> 3",
        "--config retrain=True",
    )
    refused(snakemake(again, "tables", configfiles=configfiles), *texts)
    assert files_below(results) == before
    dry = snakemake(again, "--dry-run", "tables", configfiles=configfiles)
    assert dry.returncode == 0 and texts[0] in dry.stdout
    wanted = {"priors": {"lars_T2": {"truncation": 3}}, "retrain": True}
    assert planned(again, wanted) == jobs_of("lars_T2", "D3")
    (again / "mine.yaml").write_text(yaml.safe_dump(wanted))
    target = f"my results/{RUN.folder}/run.json"
    done = snakemake(again, target, configfiles=configfiles)
    assert done.returncode == 0, done.stdout
    assert read_json(record)["settings"]["prior"]["truncation"] == 3


def test_a_long_evaluation_is_not_repeated_unasked(again):
    record = again / "my results" / RUN.folder / "metrics.json"
    times = record.stat()
    write_json(record, read_json(record) | {"evaluate_seconds": 7_200.0})
    os.utime(record, ns=(times.st_atime_ns, times.st_mtime_ns))
    (again / "mine.yaml").write_text("budgets: {demo: {importance_samples: 3}}")
    done = snakemake(again, "tables", configfiles=[*DEMO, "mine.yaml"])
    refused(done, f"my results/{RUN.folder}/metrics.json (2.0 hours): Params have changed")


def test_two_snakemakes_on_one_results_folder(again, tmp_path, monkeypatch):
    """From another working folder: refused at its start, and nothing is touched."""
    results = again / "my results"
    other = copy_workflow(tmp_path / "other")
    overlay = {"pathvars": {"results": str(results), "data": str(again / "my data")}}
    (other / "shared.yaml").write_text(yaml.safe_dump(overlay))
    (results / "tableD6.csv").unlink()
    before = files_below(results)
    monkeypatch.chdir(again)
    held = hold_workflow(Path("my results"))
    done = snakemake(other, "tables", configfiles=[*DEMO, "shared.yaml"])
    refused(done, f"{results}: another Snakemake is at work on these results: wait for it")
    assert {path: path.read_bytes() for path in before} == before
    for lock in held:
        lock.lock.release()


def test_another_working_directory(fresh, tmp_path):
    """--directory elsewhere: the config is the one beside the Snakefile, unless there is one."""
    elsewhere = tmp_path / "elsewhere"
    done = snakemake(
        fresh, "--directory", str(elsewhere), "-np", "tables", configfiles=["config/demo.yaml"]
    )
    assert done.returncode == 0, done.stdout
    assert "results/demo/table1.md" in done.stdout
    done = snakemake(fresh, "--directory", str(elsewhere), "-np", "tables", configfiles=[])
    assert done.returncode == 0, done.stdout
    assert "results/table1.md" in done.stdout


def test_an_overlay_removes_entries(fresh):
    rows = {"rows": [{"prior": "standard"}]}
    overlay = {"tables": {"tableD6": None, "table2": None, "tableD3": rows}}
    tables = {job[1] for job in planned(fresh, overlay) if job[0] == "table"}
    assert tables == {"table1", "tableD1", "tableD2", "tableD3", "tableD4", "tableD5"}
