"""Small whole runs, which several tests of runs on disk share."""

from pathlib import Path

import torch

from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.files import read_json
from resampled_priors.runs.steps import (
    estimate_run_z,
    evaluate_run,
    train_run,
)

CONFIG_FILE = Path(__file__).parents[1] / "config.yaml"


CONFIG = load_config([CONFIG_FILE])


METRICS = {  # as the results' readers (tables, figures) know them
    "nll",
    "nll_se",
    "elbo",
    "kl",
    "recons",
    "z",
    "z_se",
    "log_z_se",
    "num_importance_samples",
    "num_z_samples",
    "iterations",
    "train_seconds",
    "device",
    "num_parameters",
    "num_acceptance_parameters",
    "num_prior_parameters",
    "seed",
}


TIMINGS = {"train_seconds", "evaluate_seconds", "sample_seconds"}


TIMINGS |= {"run_sha256", "z_sha256"}  # of files with such times in them


def settings_for(model="vae", prior="standard", seed=0, dataset="digits", iterations=3):
    settings = resolve_run(CONFIG, Run("short", dataset, model, prior, seed))
    settings["training"] |= {"iterations": iterations, "warm_up": 2}
    return settings


def make_run(folder, settings, data, base=None, num_samples=2, z_samples=2_000):
    """All three steps, each as in a new process: with a generator of any state; the metrics."""
    torch.seed()
    train_run(folder, settings, data, base, "cpu")
    torch.seed()
    estimate_run_z(folder, z_samples, None, "cpu")
    torch.seed()
    evaluate_run(folder, data, num_samples, "cpu")
    return read_json(folder / "metrics.json")


def without_timings(metrics):
    return {key: value for key, value in metrics.items() if key not in TIMINGS}


FILES = ("model.safetensors", "training.csv", "run.json", "z.json", "metrics.json")


def assert_one_line(message, *parts):
    assert "\n" not in message.strip()
    for part in parts:
        assert part in message
