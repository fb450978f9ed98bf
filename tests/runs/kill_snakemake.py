"""Kill Snakemake, its job, or both, by every signal, and start the same command again.

A job whose Snakemake was killed goes on; the next command is given once it has ended. In the end
the outputs must be those of a run never killed, and what had been finished once must have been
kept: the same bytes, timings included.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml

sys.path.append(str(Path(__file__).parents[1] / "workflow"))
sys.path.append(str(Path(__file__).parents[1]))
from small_workflow import DEMO, copy_workflow

from resampled_priors.experiment import Run
from resampled_priors.files import read_json

RUN = Run("demo", "digits", "vae", "lars_T2", 0)
RESULTS = "my results"
STEPS = {"train": "run.json", "estimate_z": "z.json", "evaluate": "metrics.json"}
VICTIMS = ("Snakemake alone", "the job alone", "both")
MOMENTS = ("at work", "after a record", "at random")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PROGRAM = """#!{python}
import signal
from resampled_priors import cli
from resampled_priors.runs import checkpoints
checkpoints.CHECKPOINT_SECONDS = 0.05
cli.main()
"""


class Workflow:
    """The small demo in a folder, with a job that saves checkpoints often."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = copy_workflow(folder), folder / RESULTS / RUN.folder
        budget = {"iterations": 60, "z_samples": 100_000, "importance_samples": 20}
        (folder / "longer.yaml").write_text(yaml.safe_dump({"budgets": {"demo": budget}}))
        program = folder / "bin" / "resampled-priors"
        program.parent.mkdir()
        program.write_text(PROGRAM.format(python=sys.executable))
        program.chmod(0o755)
        path = [program.parent, Path(sys.executable).parent, os.environ["PATH"]]
        self.environment = os.environ | {"PATH": ":".join(map(str, path)), "OMP_NUM_THREADS": "1"}

    def start(self) -> psutil.Popen:
        """Snakemake in a session of its own, on its way to the run's metrics."""
        target = f"{RESULTS}/{RUN.folder}/metrics.json"
        configs = ["--configfile", *DEMO, "longer.yaml"]
        with open(self.folder / "snakemake.log", "ab") as log:
            return psutil.Popen(
                [sys.executable, "-m", "snakemake", "--cores", "1", target, *configs],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=heard,
                start_new_session=True,
            )

    def records(self) -> dict[str, bytes]:
        """The records that are there, as they are on disk."""
        paths = [self.run / name for name in STEPS.values()]
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def finish(self) -> None:
        if self.start().wait() != 0:
            raise SystemExit((self.folder / "snakemake.log").read_text())


def heard() -> None:
    """Let a process end by the signals that a shell may have had ignored."""
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)


def job_processes(snakemake: psutil.Process) -> list[psutil.Process]:
    """The command that Snakemake has started, if any."""
    with contextlib.suppress(psutil.Error):
        return [p for p in snakemake.children(recursive=True) if "bin/resampled-priors" in text(p)]
    return []


def text(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def wait_for_all(session: int) -> None:
    """Wait until no process of a session lives."""
    while any(map(lives, pids_of(session))):
        time.sleep(0.02)


def pids_of(session: int) -> list[int]:
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == session:
                found.append(pid)
    return found


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def kill_once(workflow: Workflow, seconds: float, draw: random.Random) -> str | None:
    """Start, kill, wait until nothing lives; who was killed by what, or None."""
    victim, moment = draw.choice(VICTIMS), draw.choice(MOMENTS)
    number = draw.choice(SIGNALS)
    there, process = set(workflow.records()), workflow.start()
    deadline = time.monotonic() + draw.uniform(0, seconds)
    at_work = None
    while process.poll() is None:
        now = time.monotonic()
        if at_work is None and (workflow.run / ".lock").exists():
            at_work = now + draw.uniform(0, 0.5)
        if moment == "at work" and at_work is not None and now > at_work:
            break
        if moment == "after a record" and set(workflow.records()) - there:
            break
        if moment == "at random" and now > deadline:
            break
        time.sleep(0.001)
    if process.poll() is not None:
        wait_for_all(process.pid)
        return None
    jobs = job_processes(process)
    victims = {"Snakemake alone": [process], "the job alone": jobs, "both": [process, *jobs]}
    for one in victims[victim]:
        with contextlib.suppress(psutil.Error):
            one.send_signal(number)
    process.wait()
    wait_for_all(process.pid)
    return f"{victim}, {number.name}" if victims[victim] else None


def kill_snakemake(folder: Path, kills: int, seed: int) -> Counter:
    """Kill so many times in all, each run until it ends whole at last; what came of it."""
    came: Counter = Counter()
    if not kills:
        return came
    workflow, draw = Workflow(folder), random.Random(seed)
    begin = time.monotonic()
    workflow.finish()
    seconds = time.monotonic() - begin
    whole = shutil.copytree(workflow.run, folder / "whole")
    while came["kills"] < kills:
        shutil.rmtree(workflow.run)
        finished: dict[str, bytes] = {}
        for _ in range(draw.randint(2, 5)):
            how = kill_once(workflow, seconds, draw)
            for name, record in workflow.records().items():
                finished.setdefault(name, record)
            if how:
                came.update(["kills", "of Snakemake", how])
        workflow.finish()
        came["finished"] += 1
        lost = unequal(workflow.run, whole, finished)
        came["lost"] += bool(lost)
        if lost:
            print(f"{workflow.run} differs: {lost}", flush=True)
    print(f"Snakemake: {dict(came)}", flush=True)
    return came


def unequal(run: Path, whole: Path, finished: dict[str, bytes]) -> list[str]:
    """What is not as in a run never killed, or not as it was when it was first finished."""
    names = {path.name for path in whole.iterdir()}
    wrong = [f"{path.name} is left" for path in run.iterdir() if path.name not in names]
    wrong += [
        f"{n} was made twice" for n, was in finished.items() if (run / n).read_bytes() != was
    ]
    if (run / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes():
        wrong.append("other weights")
    for name, key in (("run.json", "model_sha256"), ("z.json", "z"), ("metrics.json", "nll")):
        if read_json(run / name)[key] != read_json(whole / name)[key]:
            wrong.append(f"{key} of {name}")
    return wrong
