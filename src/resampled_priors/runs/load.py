"""Trained runs read back from disk."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributions import Distribution

from ..contracts import LogAcceptance, ZEstimate
from ..errors import ResampledPriorsError
from ..experiment import Config, image_shape
from ..files import sha256
from ..models import LatentVariableModel, build_model
from .records import read_run, read_z


def load_model(settings: Config, weights: Path, device: str = "cpu") -> LatentVariableModel:
    """The model of resolved settings with the weights of a safetensors file, in eval mode.

    Raises:
        ResampledPriorsError: a file that is missing, damaged, or of another model.
    """
    model = build_model(settings, image_shape(settings))
    try:
        model.load_state_dict(load_file(weights))
    except FileNotFoundError as error:
        raise ResampledPriorsError(f"{weights} is missing: train this run first") from error
    except Exception as error:  # safetensors raises several types of its own
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ResampledPriorsError(
            f"{weights} cannot be used ({reason}): delete it and train this run again"
        ) from error
    return model.eval().to(device)


def load_run(folder: str | Path, device: str = "cpu") -> LatentVariableModel:
    """The trained model of a run folder, its estimated Z stored in it: to sample, rank and score.

    Args:
        folder: …/runs/BUDGET/DATASET/MODEL/PRIOR/seedN, with run.json, model.safetensors and,
            where the run has an acceptance function, z.json.
        device: where the model goes.

    Returns:
        the model in evaluation mode: ``prior`` (``sample``, ``log_prob``, ``distribution()``),
        ``encode``, ``decode`` and ``terms`` (log p(x|z), log p(z), log q(z|x), nats).

    Raises:
        ResampledPriorsError: a file of the run that is missing, damaged or of another model.

    Examples:
        >>> model = load_run("results/runs/short/dynamic_mnist/vae/lars/seed0")
        >>> images = model.decode(model.prior.sample((4,)))  # pixel means in [0, 1]
        >>> images.shape
        torch.Size([4, 784])
        >>> z, log_a = model.prior.distribution().sample_ranked(100)  # the highest a(z) first
        >>> log_p_x_z, log_p_z, log_q_z = model.terms(images.round(), num_samples=10)
        >>> (log_p_x_z + log_p_z - log_q_z).mean(0).shape  # the ELBO of each image, in nats
        torch.Size([4])
    """
    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):  # a new model draws weights, which are replaced
        model, run = load_trained(folder / "model.safetensors", device)
    normalize_from(folder, run, model)
    return model


def normalize_from(folder: Path, run: dict[str, Any], model: LatentVariableModel) -> None:
    """Let the model keep the Z that the run's z.json holds, as when it was estimated.

    Raises:
        ResampledPriorsError: the model has a Z, and z.json is missing, damaged or not of it.
    """
    factors: list[list[Any]] = []

    def recorded(proposal: Distribution | nn.Module, log_a: LogAcceptance) -> ZEstimate:
        if not factors:
            z = read_z(folder, run)
            factors.extend(z.get("factors", [[z["z"], z["z_se"], z["num_z_samples"]]]))
        return ZEstimate(*factors.pop(0))

    model.normalize(recorded)


def load_trained(weights: Path, device: str = "cpu") -> tuple[LatentVariableModel, dict[str, Any]]:
    """A run's trained model, its Z not yet stored in it, and the run.json beside the weights.

    Raises:
        ResampledPriorsError: one that is missing or damaged, or the one not of the other.
    """
    run = read_run(weights.parent)
    model = load_model(run["settings"], weights, device)
    if sha256(weights) != run["model_sha256"]:
        raise ResampledPriorsError(
            f"{weights.parent / 'run.json'} is not of {weights.name} beside it: "
            "train the run again"
        )
    return model, run
