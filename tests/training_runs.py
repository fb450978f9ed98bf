"""Runs trained by the tests, as the command trains them, but in memory and quietly."""

import itertools
import types
from pathlib import Path

import pandas as pd
import pytest

from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.runs import checkpoints
from resampled_priors.runs.checkpoints import Checkpoint
from resampled_priors.runs.training import TrainingRun, build_run_model
from resampled_priors.training import trainer as trainer_module
from resampled_priors.training.trainer import Trainer

CONFIG = load_config([Path(__file__).parents[1] / "config.yaml"])


def train_model(model, data, settings, folder, device="cpu"):
    """Train as the command does, from the checkpoint where there is one; the trainer."""
    trainer = Trainer(model, data, settings, device)
    checkpoint = Checkpoint(folder, "train", settings, device)
    provenance = {"settings": settings, "data": data.provenance}
    work = TrainingRun(folder, trainer, checkpoint, provenance)
    work.begin()
    with work.shown():
        while not work.is_finished():
            work.turn()
    work.finish()
    return trainer


def run(data, settings, folder, base=None, checkpoint_seconds=30):
    """Build and train a model; it and its trainer."""
    model = build_run_model(settings, base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CHECKPOINT_SECONDS", checkpoint_seconds)
        return model, train_model(model, data, settings, folder)


def settings_for(dataset="digits", model="vae", prior="standard", seed=0, **schedule):
    """A run's settings as the config gives them, but for the schedule."""
    settings = resolve_run(CONFIG, Run("constant_rate", dataset, model, prior, seed))
    settings["training"] |= schedule
    return settings


def rows_of(folder):
    return pd.read_csv(folder / "training.csv")


class Interrupted(Exception):
    pass


def interrupt_at(monkeypatch, iteration):
    """Stop in the middle of this iteration, its random numbers drawn."""
    steps = Trainer.steps

    def interrupted(self, *schedule):
        steps(self, *schedule)
        if self.progress.iteration == iteration:
            raise Interrupted

    monkeypatch.setattr(Trainer, "steps", interrupted)


def slow_clock(monkeypatch):
    """A clock that runs one second between looks, so that checkpoints come at known times."""
    ticks = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: float(next(ticks)))
    monkeypatch.setattr(checkpoints, "time", clock)
    monkeypatch.setattr(trainer_module, "time", clock)


def assert_same_results(folder, other):
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in other.iterdir())
    assert (folder / "model.safetensors").read_bytes() == (
        other / "model.safetensors"
    ).read_bytes()
    mine, theirs = (rows_of(f).drop(columns="seconds") for f in (folder, other))
    pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def early(**schedule):
    """Settings of static_mnist with short intervals, named for the embedded data."""
    settings = settings_for("static_mnist", prior="lars", warm_up=4, **schedule)
    settings["training"]["validation_importance_samples"] = 2
    return settings | {"dataset": "digits"}


def resampled_output(**schedule):
    settings = settings_for(model="vae_resampled_output", **schedule)
    settings["model"]["output"]["num_proposals"] = 64
    return settings
