"""Checkpoints: Z and NLL continue to the same bits, damage, what is kept, one process a run.

Training's own are in test_training.py; real kills of real processes in test_kill_runs.py.
"""

import itertools
import math
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import torch
from torch.distributions import Laplace, LogNormal, Normal

from resampled_priors import evaluation
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.evaluation import evaluate
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.files import atomic_write
from resampled_priors.lars import normalizer as partition
from resampled_priors.lars.normalizer import estimate_z
from resampled_priors.models import build_model
from resampled_priors.runs import checkpoints, finished
from resampled_priors.runs.checkpoints import Checkpoint
from resampled_priors.runs.locks import hold_workflow, sole_user
from resampled_priors.runs.steps import CheckpointedZ
from resampled_priors.runs.steps import evaluate as evaluate_from

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])


class Interrupted(Exception):
    pass


@pytest.fixture(params=[0, 3])
def seconds(request, monkeypatch):
    """Seconds between checkpoints, by a clock that runs one second between looks."""
    ticks = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: float(next(ticks)))
    monkeypatch.setattr(checkpoints, "time", clock)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", request.param)
    return request.param


def counted(function, stop=None):
    """The function, a list of its calls, and an end after so many of them."""
    calls = []

    def call(*arguments):
        calls.append(arguments)
        if stop is not None and len(calls) > stop:
            raise Interrupted
        return function(*arguments)

    return call, calls


# --- Z -------------------------------------------------------------------------------------


def log_a(z):
    return -(z**2) / 2


ESTIMATES = {
    "pairs": (Normal(0.3, 1.0), None),
    "pairs, stopped by the error": (Laplace(0.0, 1.0), 0.02),
    "no pairs": (LogNormal(0.0, 1.0), None),
}


@pytest.mark.parametrize("kind", ESTIMATES)
def test_an_interrupted_estimate_of_z_ends_like_an_uninterrupted_one(
    kind, seconds, tmp_path, monkeypatch
):
    monkeypatch.setattr(partition, "EARLIEST_STOP", 1_000)
    proposal, target = ESTIMATES[kind]

    def estimate(function, checkpoint=None):
        torch.manual_seed(5)  # as the command does
        estimate = estimate_z if checkpoint is None else CheckpointedZ(checkpoint)
        return estimate(proposal, function, 2_390, 100, target_log_standard_error=target)

    whole, calls = counted(log_a)
    expected = estimate(whole)
    for stop in (9, 6, 4):
        interrupted, _ = counted(log_a, stop)
        with pytest.raises(Interrupted):
            estimate(interrupted, Checkpoint(tmp_path, "estimate_z", {}))
    rest, calls_of_the_rest = counted(log_a)
    assert estimate(rest, Checkpoint(tmp_path, "estimate_z", {})) == expected
    assert 0 < len(calls_of_the_rest) < len(calls)
    assert (expected.num_samples < 2_390) == (target is not None)


def test_an_estimate_killed_before_it_is_written_needs_no_more_samples(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", -1)
    monkeypatch.setattr(partition, "EARLIEST_STOP", 1_000)
    for target in (None, 0.02):
        proposal = Normal(0.0, 1.0)
        first, again = (counted(log_a) for _ in range(2))
        estimates = [
            CheckpointedZ(Checkpoint(tmp_path, "estimate_z", {"target": target}))(
                proposal, function, 2_390, 100, target_log_standard_error=target
            )
            for function, _ in (first, again)
        ]
        assert estimates[0] == estimates[1]
        assert len(first[1]) >= 20 and again[1] == []


def test_several_zs_are_each_estimated_once_whatever_is_interrupted(monkeypatch, tmp_path):
    """A prior may ask for several: those that are done come back from the checkpoint."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", -1)
    proposals = [Normal(0.0, 1.0), LogNormal(0.0, 1.0), Normal(1.0, 2.0)]

    def product(function, checkpoint):
        torch.manual_seed(5)
        estimate = CheckpointedZ(checkpoint)
        zs = [estimate(p, function, 1_000, 100, target_log_standard_error=None) for p in proposals]
        return zs[0] * zs[1] * zs[2], estimate.done

    expected, done = product(log_a, Checkpoint(tmp_path / "whole", "estimate_z", {}))
    assert len(done) == 3 and expected.mean == pytest.approx(math.prod(z.mean for z in done))
    checkpoint = Checkpoint(tmp_path, "estimate_z", {})
    for stop in (9, 14):  # in the first; then, continued, in the second
        interrupted, _ = counted(log_a, stop)
        with pytest.raises(Interrupted):
            product(interrupted, checkpoint)
    rest, calls = counted(log_a)
    assert product(rest, checkpoint) == (expected, done)
    assert len(calls) < 40


# --- NLL -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_samples", "turns", "stops"),
    [(3, 7, (4, 1)), (25, 60, (20, 13))],  # three images at a time; three turns for each image
)
def test_an_interrupted_evaluation_ends_like_an_uninterrupted_one(
    num_samples, turns, stops, seconds, monkeypatch, tmp_path
):
    monkeypatch.setitem(evaluation.ROWS, "cpu", 10)
    torch.manual_seed(0)
    settings = resolve_run(CONFIG, Run("short", "digits", "vae", "realnvp", 0))
    model = build_model(settings, (28, 28)).eval()
    images = torch.bernoulli(torch.full((20, 784), 0.3))

    def terms(checkpoint=None):
        torch.manual_seed(5)
        if checkpoint is None:
            return evaluate(model, images, num_samples)
        return evaluate_from(model, images, num_samples, checkpoint)

    expected = terms()
    original = model.terms
    for stop in stops:
        model.terms, _ = counted(original, stop)
        with pytest.raises(Interrupted):
            terms(Checkpoint(tmp_path, "evaluate", {}))
    model.terms, calls = counted(original)
    continued = terms(Checkpoint(tmp_path, "evaluate", {}))
    assert 0 < len(calls) < turns
    assert continued == expected


# --- files ---------------------------------------------------------------------------------


def test_generators_and_time_are_restored(seconds, tmp_path):
    torch.manual_seed(1)
    checkpoint = Checkpoint(tmp_path, "train", {})
    assert checkpoint.load() is None
    checkpoint.save({"value": torch.ones(2)})
    drawn, spent = torch.rand(3), checkpoint.seconds()
    other = Checkpoint(tmp_path, "train", {})
    torch.manual_seed(2)
    assert torch.equal(other.load()["value"], torch.ones(2))
    assert torch.equal(torch.rand(3), drawn)
    assert other.seconds() >= spent - 1 > 0


def test_other_inputs_and_other_steps_have_other_checkpoints(tmp_path):
    one = Checkpoint(tmp_path, "train", {"settings": {"a": 1, "b": 2}, "data": "x"})
    one.save({"value": 1})
    same = Checkpoint(tmp_path, "train", {"data": "x", "settings": {"b": 2, "a": 1}})
    assert same.load() == {"value": 1}
    for step, inputs in (
        ("evaluate", {"settings": {"a": 1, "b": 2}, "data": "x"}),
        ("train", {"settings": {"a": 1, "b": 3}, "data": "x"}),
        ("train", {"settings": {"a": 1, "b": 2}, "data": "y"}),
    ):
        assert Checkpoint(tmp_path, step, inputs).load() is None


RECORD = b'{"train_seconds": 4.5}'


def test_finishing_removes_the_steps_own_checkpoints_and_no_others(tmp_path):
    train = [Checkpoint(tmp_path, "train", {"seed": seed}) for seed in (0, 1)]
    evaluate = Checkpoint(tmp_path, "evaluate", {})
    for checkpoint in (*train, evaluate):
        checkpoint.save({"value": 1})
        checkpoint.save({"value": 2})
    train[0].finish({"run.json": RECORD})
    names = {path.name for path in (tmp_path / "checkpoint").iterdir()}
    others = {path.name for other in (train[1], evaluate) for path in (other.newest, other.older)}
    assert names == others | {train[0].finished.name}
    assert train[1].load() == {"value": 2}
    assert train[0].load() is None
    assert train[0].restore() and (tmp_path / "run.json").read_bytes() == RECORD


def test_an_interrupted_run_outlives_a_short_one_of_other_settings(tmp_path, capsys):
    """Two hours of work stay for ever, and are named; ten seconds of it for a month."""
    short, long, now = (Checkpoint(tmp_path, "train", {"seed": seed}) for seed in range(3))
    long.before, short.before = 7_200.0, 10.0
    for checkpoint in (short, long):
        checkpoint.save({"value": 1})
    now.finish({"run.json": RECORD})
    named = f"{long.newest}: 2 hours of work with other settings or data are kept"
    assert named in capsys.readouterr().out
    assert short.newest.exists() and long.newest.exists()
    month_ago = time.time() - 32 * 24 * 3600
    for checkpoint in (short, long):
        os.utime(checkpoint.newest, (month_ago, month_ago))
    now.finish({"run.json": RECORD})
    assert long.load() == {"value": 1} and short.load() is None
    long.finish({"run.json": RECORD})
    assert now.restore()


def test_work_finished_with_other_settings_is_kept_too(tmp_path, capsys):
    one, other = (Checkpoint(tmp_path, "train", {"seed": seed}) for seed in range(2))
    one.finish({"run.json": b'{"train_seconds": 9000}'})
    (tmp_path / "run.json").unlink()  # as Snakemake does
    other.finish({"run.json": RECORD})
    assert f"{one.finished}: 2.5 hours of work" in capsys.readouterr().out
    finished.confirm(tmp_path / "run.json")
    assert one.finished.exists() and not other.finished.exists()
    assert one.restore() and b"9000" in (tmp_path / "run.json").read_bytes()
    finished.confirm(tmp_path / "run.json")
    assert not (tmp_path / "checkpoint").exists()


def test_a_failed_save_leaves_the_checkpoints_before_it(monkeypatch, tmp_path):
    checkpoint = Checkpoint(tmp_path, "train", {})
    for value in (1, 2):
        checkpoint.save({"value": value})

    def full(self, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ResampledPriorsError, match="could not be written: No space left"):
            checkpoint.save({"value": 3})
    assert checkpoint.load() == {"value": 2}
    checkpoint.newest.write_bytes(b"")
    assert checkpoint.load() == {"value": 1}


# --- one process a run ---------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from resampled_priors.runs.locks import sole_user
from resampled_priors.runs.steps import CheckpointedZ
from resampled_priors.runs.steps import evaluate as evaluate_from
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that is at work on the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_waits_for_the_first(holder, tmp_path, capsys):
    """It does not fail: Snakemake deletes the outputs of a job that fails."""
    threading.Timer(1.0, holder.stdin.close).start()
    with sole_user(tmp_path):
        assert holder.wait() == 0
    line = f"{tmp_path}: another process is at work on this run: waiting for its end\n"
    assert capsys.readouterr().out == line
    assert list(tmp_path.iterdir()) == []


def test_results_have_one_snakemake_wherever_it_works(tmp_path, monkeypatch):
    """Two working folders with the same results; the second is refused before it does anything."""
    hold = """if True:
        import pathlib, sys
        from resampled_priors.runs.locks import hold_workflow
        held = hold_workflow(pathlib.Path("../results"))
        print("held", flush=True)
        sys.stdin.read()
    """
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", hold],
        cwd=tmp_path / "one",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout.readline() == "held\n"
        monkeypatch.chdir(tmp_path / "other")
        results = tmp_path / "results"
        with pytest.raises(ResampledPriorsError) as error:
            hold_workflow(results)
        assert str(error.value) == (
            f"{results}: another Snakemake is at work on these results: wait for it, or end it"
        )
        first.stdin.close()
        first.wait()
    assert list(results.iterdir()) == []
    assert len(hold_workflow(results)) == 2


def test_a_killed_process_holds_nothing_and_its_remains_go(holder, tmp_path):
    for path in (tmp_path / "model.safetensors", tmp_path / "checkpoint" / "train.0.pt"):
        with atomic_write(path) as temporary:
            temporary.write_text("whole")
        with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
            partial = temporary.with_name(temporary.name.replace(".part", "0.part"))
            partial.write_text("half")  # as a kill would leave it
            raise KeyboardInterrupt
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with sole_user(tmp_path):
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {".lock", "model.safetensors", "train.0.pt"}
    assert not (tmp_path / ".lock").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ResampledPriorsError, match="could not be written: Not a directory"),
        sole_user(tmp_path / "file" / "run"),
    ):
        pass
