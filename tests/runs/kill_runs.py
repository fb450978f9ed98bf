"""Kill runs of every kind, start them again, compare with runs never killed.

    python tests/runs/kill_runs.py --kills 250 --snakemake 50 --seed 0

Each step of a run (train, estimate-z, evaluate) is the command line in a process group of its own,
forked after the imports, so that a start costs next to nothing. A kill is SIGKILL, SIGTERM, SIGINT
or SIGHUP; it comes at a random moment, or while a temporary file is being written, as soon as a
first result stands, or between the weights and their record. Before some of the restarts the
step's outputs are deleted, as Snakemake does. A checkpoint of other settings lies beside. In the
end weights, training.csv, run.json, z.json and metrics.json must be those of the run never killed,
timings aside; the checkpoint of the others must be as it was, and no other file be left. The kills
of Snakemake itself are in kill_snakemake.py.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from kill_snakemake import kill_snakemake

from resampled_priors import cli
from resampled_priors.data.prepare import prepare
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.files import read_json
from resampled_priors.runs import checkpoints, finished
from resampled_priors.training import early_stopping

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])
# model, prior -> iterations: one to a few seconds of work at the paper's sizes
KINDS = {
    ("vae", "standard"): 100,
    ("vae", "lars"): 80,
    ("vae", "lars_Tinf"): 80,
    ("vae", "lars_posthoc"): 80,
    ("vae", "realnvp"): 60,
    ("vae", "maf"): 60,
    ("vae", "lars_realnvp"): 40,
    ("vae", "early stopping"): 60,
    ("vae_2d", "standard"): 80,
    ("vae_2d", "lars"): 80,
    ("vae_2d", "lars_posthoc"): 80,
    ("hvae", "standard"): 60,
    ("hvae", "lars"): 50,
    ("hvae", "lars_posthoc"): 50,
    ("conv_hvae", "standard"): 6,
    ("conv_hvae", "lars"): 6,
    ("vae_resampled_output", "standard"): 40,
    ("vae_resampled_output", "realnvp"): 40,
}
OUTPUTS = {
    "train": ("model.safetensors", "training.csv", "run.json"),
    "estimate-z": ("z.json",),
    "evaluate": ("metrics.json",),
}
TIMINGS = {"seconds", "train_seconds", "evaluate_seconds", "sample_seconds"}
# and of files with such times in them
TIMINGS |= {"training_sha256", "run_sha256", "base_run_sha256", "z_sha256"}
CODE = {"git_commit", "git_dirty"}  # a commit while this runs is no damage
MOMENTS = ("at random", "in a write", "after an output", "between weights and record")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def settings_of(model: str, prior: str) -> dict:
    """A run's settings as the config gives them, but for a short schedule on the digits."""
    early = prior == "early stopping"
    run = Run("short", "static_mnist" if early else "digits", model, "lars" if early else prior, 0)
    settings = resolve_run(CONFIG, run) | {"dataset": "digits"}
    iterations = KINDS[model, prior]
    settings["training"] |= {"iterations": iterations, "warm_up": iterations // 2}
    if early:
        settings["training"] |= {"validation_interval": 7, "patience": 3}
    return settings


class Steps:
    """The commands of one run, and the processes that run them."""

    def __init__(self, folder: Path, model: str, prior: str, data: Path, base: Path | None):
        self.folder, self.log = folder, folder.with_suffix(".log")
        self.killed_by: Counter = Counter()
        base_option = ["--base", base] if base else []
        options = {
            "train": ["--data", data, *base_option],
            "estimate-z": [],
            "evaluate": ["--data", data],
        }
        settings = {
            "train": settings_of(model, prior),
            "estimate-z": {"z_samples": 3_000_000},
            "evaluate": {"importance_samples": 20 if model == "conv_hvae" else 100},
        }
        others = {
            "train": settings["train"] | {"training": settings["train"]["training"].copy()},
            "estimate-z": {"z_samples": 3_000_001},
            "evaluate": {"importance_samples": settings["evaluate"]["importance_samples"] + 1},
        }
        others["train"]["training"]["iterations"] += 1
        self.arguments, self.other_arguments = (
            {
                step: [step, folder, *options[step], "--settings", json.dumps(kind[step])]
                for step in OUTPUTS
            }
            for kind in (settings, others)
        )

    def start(self, step: str, other: bool = False) -> int:
        """The step, or one of other settings, in a process of its own; its number."""
        process = os.fork()
        if process:
            return process
        os.setsid()
        for number in SIGNALS[1:]:  # a shell may have had them ignored
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        arguments = (self.other_arguments if other else self.arguments)[step]
        sys.argv = ["resampled-priors", *map(str, arguments), "--device", "cpu"]
        try:
            cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)
        except BaseException:  # SIGINT
            os._exit(1)
        os._exit(1)

    def finish(self, step: str) -> float:
        """Run the step to its end; the seconds it took."""
        begin = time.monotonic()
        _, status = os.waitpid(self.start(step), 0)
        self.check(step, status)
        return time.monotonic() - begin

    def check(self, step: str, status: int) -> None:
        if status != 0:
            raise SystemExit(f"{self.folder}: {step} ended with {status}:\n{self.log.read_text()}")

    def partial(self) -> set[Path]:
        found: set[Path] = set()
        for folder in (self.folder, self.folder / "checkpoint"):
            with contextlib.suppress(FileNotFoundError):  # not there yet, or just removed
                found |= {path for path in folder.iterdir() if ".part." in path.name}
        return found

    def kill(self, step: str, moment: str, seconds: float, draw: random.Random) -> bool:
        """Start the step and kill it; whether it was killed before it had ended by itself."""
        if moment == "between weights and record":
            self.remove_outputs(step)
        old, nth, number = self.partial(), draw.randint(1, 4), draw.choice(SIGNALS)
        there = {name for name in OUTPUTS[step] if (self.folder / name).exists()}
        process = self.start(step)
        deadline = time.monotonic() + draw.uniform(0, seconds)
        while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if moment == "at random" and time.monotonic() > deadline:
                break
            if moment == "in a write" and (new := self.partial() - old):
                old |= new
                nth -= 1
                if nth == 0:
                    time.sleep(draw.uniform(0, 0.004))
                    break
            if moment == "after an output" and any(
                (self.folder / name).exists() for name in OUTPUTS[step] if name not in there
            ):
                break
            if moment == MOMENTS[-1] and (self.folder / OUTPUTS[step][0]).exists():
                break
            time.sleep(0.0005)
        ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, number)
        _, status = os.waitpid(process, 0)
        if ended or status == 0:
            self.check(step, status)
            return False
        self.killed_by[number.name] += 1
        return True

    def interrupt_other(self, step: str) -> dict[Path, bytes]:
        """Kill the step with other settings once it has saved a checkpoint: those it leaves."""
        process = self.start(step, other=True)
        while not (left := list(self.folder.glob(f"checkpoint/{step.replace('-', '_')}.*.pt"))):
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.0005)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        left = self.folder.glob(f"checkpoint/{step.replace('-', '_')}.*")
        self.remove_outputs(step)
        return {path: path.read_bytes() for path in left if ".part" not in path.name}

    def remove_outputs(self, step: str) -> None:
        for name in OUTPUTS[step]:
            (self.folder / name).unlink(missing_ok=True)


def content(path: Path) -> object:
    """What a file holds, without timings, the version of the code, and the hashes of what has
    them in it.
    """
    if path.suffix == ".json":
        return {key: value for key, value in read_json(path).items() if key not in TIMINGS | CODE}
    if path.suffix == ".csv":
        header, *lines = (line.split(",") for line in path.read_text().splitlines())
        timing = header.index("seconds")
        return [line[:timing] + line[timing + 1 :] for line in (header, *lines)]
    return path.read_bytes()


def differences(step: str, killed: Path, whole: Path, others: dict[Path, bytes]) -> list[str]:
    """The step's outputs that are not those of the run never killed, and files that are left.

    What Snakemake would have noted as complete is kept no longer then.
    """
    finished.confirm(killed / OUTPUTS[step][-1])
    known = {killed / name for names in OUTPUTS.values() for name in names}
    files = {path for path in killed.rglob("*") if path.is_file()}
    left = [str(path.relative_to(killed)) for path in files - known - set(others)]
    lost = [str(p) for p, before in others.items() if not p.exists() or p.read_bytes() != before]
    changed = [n for n in OUTPUTS[step] if content(killed / n) != content(whole / n)]
    return left + lost + changed


def kill_step(
    step: str, killed: Steps, whole: Steps, seconds: float, kills: int, draw: random.Random
) -> Counter:
    """Kill a step so many times, starting it again; what came of it."""
    came: Counter = Counter()
    others = killed.interrupt_other(step) if kills else {}
    came["beside a checkpoint of others"] += len(others) > 0
    while True:
        done = came["kills"] >= kills
        if done:
            killed.finish(step)
        else:
            before = killed.partial()
            moment = draw.choice(MOMENTS)
            # less than the whole step, so that some attempts come far and none is the last
            done = not killed.kill(step, moment, seconds / 2, draw)
        if not done:
            came.update(["kills", moment])
            came["left a half-written file"] += bool(killed.partial() - before)
            if draw.random() < 0.5:
                killed.remove_outputs(step)
            continue
        came["finished"] += 1
        lost = differences(step, killed.folder, whole.folder, others)
        came["lost"] += bool(lost)
        if lost:
            print(f"{killed.folder}: {step} differs from {whole.folder}: {lost}", flush=True)
        if came["kills"] >= kills:
            for path in others:
                path.unlink()
            return came + killed.killed_by
        killed.remove_outputs(step)


def kill_runs(folder: Path, kills: int, seed: int, kinds: list[tuple[str, str]]) -> Counter:
    """Kill runs of these kinds so many times in all; what came of it."""
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports more than its name says
    checkpoints.CHECKPOINT_SECONDS = 0.05
    early_stopping.Z_SAMPLES = 100_000
    data = folder / "digits.safetensors"
    prepare("digits", data, raw_folder=folder / "raw", mirror=None, accept_unverified=False)
    draw, came = random.Random(seed), Counter()
    for number, (model, prior) in enumerate(kinds):
        steps = {}
        for name in ("whole", "killed"):
            base = folder / "whole" / model / "standard"
            if prior == "lars_posthoc" and not base.exists():
                Steps(base, model, "standard", data, None).finish("train")
            base = base / "model.safetensors" if prior == "lars_posthoc" else None
            steps[name] = Steps(folder / name / model / prior, model, prior, data, base)
        durations = {step: steps["whole"].finish(step) for step in OUTPUTS}
        for record in finished.RECORDS.values():
            finished.confirm(steps["whole"].folder / record)
        quota = kills * (number + 1) // len(kinds) - kills * number // len(kinds)
        # half for the training, the rest for Z and NLL; without an a(z), none for Z
        shares = {"train": quota - quota // 2, "estimate-z": 0, "evaluate": quota // 2}
        if "lars" in prior or prior == "early stopping" or model == "vae_resampled_output":
            shares |= {"estimate-z": quota // 4, "evaluate": quota // 2 - quota // 4}
        kind: Counter = Counter()
        for step, share in shares.items():
            arguments = steps["killed"], steps["whole"], durations[step], share, draw
            kind += kill_step(step, *arguments)
            steps["killed"].killed_by.clear()
        shutil.rmtree(steps["killed"].folder)
        print(f"{model}/{prior}: {dict(kind)}", flush=True)
        came += kind
    return came


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--snakemake", type=int, default=0, help="so many kills of Snakemake")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=["/".join(kind) for kind in KINDS])
    options = parser.parse_args()
    kinds = [tuple(kind.split("/")) for kind in options.kinds]
    with tempfile.TemporaryDirectory() as temporary:
        total = kill_snakemake(Path(temporary) / "clone", options.snakemake, options.seed)
        if options.kills:
            total += kill_runs(Path(temporary), options.kills, options.seed, kinds)
    print(f"in all {total['kills']} kills, {total['lost']} results lost: {dict(total)}")
    sys.exit(total["lost"] > 0)
