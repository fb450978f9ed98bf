"""Interrupted runs, and values that are not finite: nothing is lost, nothing bad is kept."""

import hashlib
import math

import pytest
import torch
from training_runs import (
    Interrupted,
    assert_same_results,
    early,
    interrupt_at,
    resampled_output,
    rows_of,
    run,
    settings_for,
    slow_clock,
    train_model,
)

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.files import read_json
from resampled_priors.runs.checkpoints import Checkpoint
from resampled_priors.runs.training import build_run_model
from resampled_priors.training import early_stopping, loop
from resampled_priors.training.trainer import Trainer

# --- resuming ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits_base(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits_base")
    run(small, settings_for(iterations=5), folder)
    return folder / "model.safetensors"


RESUMED = {
    "standard": settings_for(iterations=14, warm_up=7),
    "lars": settings_for(prior="lars", iterations=14, warm_up=7, decay_after=10),
    "resampled output": resampled_output(iterations=8, warm_up=4),
    "posthoc": settings_for(prior="lars_posthoc", iterations=14, warm_up=0),
    "early stopping": early(iterations=14, validation_interval=3, patience=2),
}


@pytest.mark.parametrize("seconds_between_checkpoints", [0, 5])
@pytest.mark.parametrize("kind", RESUMED)
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    kind, seconds_between_checkpoints, small, digits_base, tmp_path, monkeypatch
):
    monkeypatch.setattr(early_stopping, "Z_SAMPLES", 2_000)
    monkeypatch.setattr(loop, "LOG_ROWS", 5)  # so that checkpoints come between rows, too
    settings, base = RESUMED[kind], digits_base if kind == "posthoc" else None
    run(small, settings, tmp_path / "whole", base)
    for iteration in (7, 7, 12) if settings["training"]["iterations"] == 14 else (7,):
        with monkeypatch.context() as patch:
            slow_clock(patch)
            interrupt_at(patch, iteration)
            with pytest.raises(Interrupted):
                run(
                    small,
                    settings,
                    tmp_path / "resumed",
                    base,
                    checkpoint_seconds=seconds_between_checkpoints,
                )
        assert not (tmp_path / "resumed" / "model.safetensors").exists()
        assert list((tmp_path / "resumed" / "checkpoint").iterdir())
    taken = []
    steps = Trainer.steps

    def counted(self, *schedule):
        taken.append(self.progress.iteration)
        steps(self, *schedule)

    monkeypatch.setattr(Trainer, "steps", counted)
    model = build_run_model(settings, base)
    torch.nn.init.normal_(model.decoder[-1].bias)  # all is restored
    torch.manual_seed(123)
    train_model(model, small, settings, tmp_path / "resumed")
    assert taken[0] > 0  # it did not begin anew
    assert_same_results(tmp_path / "whole", tmp_path / "resumed")
    assert (rows_of(tmp_path / "whole")["validation_nll"].notna().any()) == (
        kind == "early stopping"
    )


def test_seconds_of_an_interrupted_run_add_up(small, tmp_path, monkeypatch):
    settings = settings_for(iterations=10, warm_up=0)
    for iteration in (6, None):
        with monkeypatch.context() as patch:
            slow_clock(patch)
            if iteration:
                interrupt_at(patch, iteration)
                with pytest.raises(Interrupted):
                    run(small, settings, tmp_path, checkpoint_seconds=0)
            else:
                run(small, settings, tmp_path, checkpoint_seconds=0)
    seconds = rows_of(tmp_path)["seconds"]
    assert seconds.is_monotonic_increasing
    recorded = read_json(tmp_path / "run.json")["train_seconds"]
    assert recorded >= seconds.iloc[-1] > seconds.iloc[5] > 6


@pytest.fixture
def interrupted_run(small, tmp_path, monkeypatch):
    settings = settings_for(prior="lars", iterations=10, warm_up=5)
    run(small, settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 6)
        with pytest.raises(Interrupted):
            run(small, settings, tmp_path / "resumed", checkpoint_seconds=0)
    return settings, tmp_path, Checkpoint(tmp_path / "resumed", "train", settings)


def flipped(content):
    return content[:5_000] + bytes([content[5_000] ^ 1]) + content[5_001:]


DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "one bit": flipped,
    "empty": lambda content: b"",
    "not a checkpoint": lambda content: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage, interrupted_run, small, capsys):
    settings, folder, checkpoint = interrupted_run
    assert checkpoint.load()["progress"]["iteration"] == 6
    checkpoint.newest.write_bytes(DAMAGES[damage](checkpoint.newest.read_bytes()))
    assert checkpoint.load()["progress"]["iteration"] == 5
    assert f"{checkpoint.newest} is damaged" in capsys.readouterr().out
    run(small, settings, folder / "resumed")
    assert "continuing from iteration 5" in capsys.readouterr().out
    assert_same_results(folder / "whole", folder / "resumed")


def test_two_damaged_checkpoints_mean_a_new_beginning(interrupted_run, small):
    settings, folder, checkpoint = interrupted_run
    for path in (checkpoint.newest, checkpoint.older):
        path.write_bytes(b"")
    assert checkpoint.load() is None
    run(small, settings, folder / "resumed")
    assert_same_results(folder / "whole", folder / "resumed")


def test_a_checkpoint_of_other_settings_is_not_continued(interrupted_run, small, tmp_path):
    settings, folder, _ = interrupted_run
    other = settings | {"training": settings["training"] | {"learning_rate": 1e-3}}
    run(small, other, folder / "resumed")
    run(small, other, folder / "other")
    assert_same_results(folder / "other", folder / "resumed")  # nor is it left behind


def test_a_crash_between_the_two_renames_loses_little(interrupted_run, small):
    settings, folder, checkpoint = interrupted_run
    checkpoint.newest.rename(checkpoint.older)
    assert checkpoint.load()["progress"]["iteration"] == 6
    run(small, settings, folder / "resumed")
    assert_same_results(folder / "whole", folder / "resumed")


def test_checkpoints_carry_their_checksum(interrupted_run):
    _, _, checkpoint = interrupted_run
    content = checkpoint.newest.read_bytes()
    assert hashlib.sha256(content[32:]).digest() == content[:32]


def test_another_seed_gives_another_run(small, tmp_path):
    for seed in (0, 1):
        run(small, settings_for(seed=seed, iterations=3), tmp_path / str(seed))
    run(small, settings_for(seed=0, iterations=3), tmp_path / "again")
    assert_same_results(tmp_path / "0", tmp_path / "again")
    assert rows_of(tmp_path / "0")["loss"].iloc[-1] != rows_of(tmp_path / "1")["loss"].iloc[-1]


# --- a loss that is not finite -------------------------------------------------------------


def test_nan_in_the_loss_names_the_iteration_and_leaves_nothing(small, tmp_path, monkeypatch):
    advance = Trainer.advance

    def poisoned(self, until):
        if self.progress.iteration == 4:  # the fifth
            with torch.no_grad():
                next(self.model.decoder.parameters()).fill_(math.nan)
        advance(self, until)

    monkeypatch.setattr(Trainer, "advance", poisoned)
    message = r"^the loss is nan at iteration 5 \(.*\): lower training.learning_rate"
    with pytest.raises(ResampledPriorsError, match=message) as error:
        run(small, settings_for(iterations=10), tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["weights", "optimizer", "moving average"])
def test_what_is_not_finite_reaches_no_checkpoint_and_no_file(
    what, small, tmp_path, monkeypatch, capsys
):
    """Poisoned after iteration 4, whose own loss was finite; rows come each 5 iterations."""
    monkeypatch.setattr(loop, "LOG_ROWS", 2)
    advance = Trainer.advance

    def poisoned(self, until):
        advance(self, until)
        if self.progress.iteration == 4:
            weight = next(self.model.decoder.parameters())
            places = {
                "weights": weight,
                "optimizer": self.optimizer.state[weight]["exp_avg_sq"],
                "moving average": self.model.prior.z_average,
            }
            places[what].data.view(-1)[0] = math.inf

    settings = settings_for(prior="lars", iterations=10)
    run(small, settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", poisoned)
        for _ in range(2):  # and once more, from the checkpoint
            with pytest.raises(ResampledPriorsError, match=r"^the weights are not finite at "):
                run(small, settings, tmp_path / "run", checkpoint_seconds=-1)
            assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint"]
    run(small, settings, tmp_path / "run")
    assert capsys.readouterr().out.count("continuing from iteration 3") == 2
    assert_same_results(tmp_path / "whole", tmp_path / "run")


def test_weights_that_are_not_finite_are_not_written(small, tmp_path, monkeypatch):
    advance = Trainer.advance

    def poisoned(self, until):
        advance(self, until)
        if self.progress.iteration == 3:  # the last
            next(self.model.decoder.parameters()).data.fill_(math.nan)

    monkeypatch.setattr(Trainer, "advance", poisoned)
    with pytest.raises(ResampledPriorsError, match=r"^the weights are not finite at iteration 3:"):
        run(small, settings_for(iterations=3), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_learning_rate_far_too_high_ends_in_one_line(small, tmp_path):
    settings = settings_for(prior="lars", iterations=40, warm_up=0, learning_rate=1e20)
    message = r"the loss is (nan|inf) at iteration \d+ "
    with pytest.raises(ResampledPriorsError, match=message):
        run(small, settings, tmp_path, checkpoint_seconds=10**6)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "training.csv").exists()
