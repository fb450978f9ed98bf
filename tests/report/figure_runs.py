"""Runs and toys for figures to show: untrained, or nearly so."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from resampled_priors.files import read_json, sha256, write_json
from resampled_priors.models import build_model
from resampled_priors.runs.steps import estimate_run_z

NORMAL = {"family": "standard_normal"}
LARS = {"family": "lars", "proposal": NORMAL, "truncation": 100, "smoothing": 0.1}
LARS |= {"num_proposals": 64}
FLOW = {"family": "realnvp", "layers": 2, "hidden": [4]}
OUTPUT = {"hidden": [20, 20], "truncation": 100, "smoothing": 0.1, "num_proposals": 64}
MODELS = {
    "vae": {"family": "vae", "latent_size": 50},
    "vae_2d": {"family": "vae", "latent_size": 2},
    "vae_resampled_output": {
        "family": "vae_resampled_output",
        "latent_size": 50,
        "output": OUTPUT,
    },
}
PRIORS = {
    "standard": NORMAL,
    "lars": {**LARS, "hidden": [100, 100]},
    "lars_20-20": {**LARS, "hidden": [20, 20]},
    "realnvp": FLOW,
    "maf": {**FLOW, "family": "maf"},
    "lars_realnvp": {**LARS, "hidden": [100, 100], "proposal": FLOW},
    "lars_posthoc": {**LARS, "hidden": [100, 100], "base": "standard"},
}
TOYS = {
    "lars_1d": ("mixture_1d", {**LARS, "hidden": [10, 10]}),
    "lars_10-10": ("gaussian_ring", {**LARS, "hidden": [10, 10]}),
    "lars_10": ("gaussian_ring", {**LARS, "hidden": [10]}),
    "realnvp": ("gaussian_ring", FLOW),
}
TOYS["lars_realnvp"] = ("gaussian_ring", {**TOYS["lars_10"][1], "proposal": TOYS["realnvp"][1]})
METRICS = {"elbo": 95.0, "kl": 25.0, "recons": 70.0, "log_z_se": 0.001, "num_z_samples": 1_000}
METRICS |= {"num_importance_samples": 10, "iterations": 20_000, "device": "cpu"}


def make_run(
    results: Path,
    folder: str,
    prior: dict[str, Any] | None = None,
    whole: dict[str, Any] | None = None,
) -> None:
    """A run folder with an untrained model; its a(z) is made steep, so that it has tails.

    Args:
        prior: its settings; else those of ``PRIORS`` that the folder names.
        whole: the run's resolved settings, where they have to be those of a config.
    """
    _, _, _, model_name, prior_name, seed = Path(folder).parts
    model_settings = {"name": model_name, **MODELS[model_name]}
    settings = {"dataset": "digits", "model": model_settings}
    settings["seed"] = int(seed.removeprefix("seed"))
    settings["prior"] = {"name": prior_name, **(prior or PRIORS[prior_name])}
    settings = whole or settings
    torch.manual_seed(0)
    model = build_model(settings, (28, 28))
    if model.resampling.truncation != 1:
        last = model.resampling.log_a.network[-1]
        last.weight.data *= 5
        last.bias.data -= 2
    (results / folder).mkdir(parents=True)
    weights = results / folder / "model.safetensors"
    save_file(model.state_dict(), weights)
    about = {"model_sha256": sha256(weights)}
    about |= {"settings": settings, "device": "cpu", "iterations": 0, "train_seconds": 0.0}
    write_json(results / folder / "run.json", about)
    estimate_run_z(results / folder, 20_000, None, "cpu")


def add_metrics(results: Path, folder: str, nll: float, parameters: int, **costs: Any) -> None:
    """The metrics.json of a run that ``make_run`` made."""
    run = read_json(results / folder / "run.json")
    found = {"nll": nll, "z": read_json(results / folder / "z.json")["z"]}
    found |= {"num_acceptance_parameters": parameters, "model_sha256": run["model_sha256"]}
    write_json(results / folder / "metrics.json", METRICS | found | costs)


def add_training(results: Path, folder: str, iterations: int = 1_000, **columns: Any) -> None:
    """A training.csv of 100 rows: the negative ELBO falls to 92 nats."""
    iteration = np.arange(1, 101) * iterations // 100
    rows = {"iteration": iteration, "recons": 70 + 100 * np.exp(-iteration / 100), "kl": 22.0}
    pd.DataFrame(rows | {"validation_nll": np.nan} | columns).to_csv(
        results / folder / "training.csv", index=False
    )
