"""The latent-variable models (C.2), each a file, built from config.

A family is a function (prior, image_shape, likelihood, latent_size, *settings) -> model. To add
one is a file with a ``LatentVariableModel`` and its line in ``FAMILIES``.
"""

from collections.abc import Callable
from typing import Any

from ..errors import ResampledPriorsError
from ..priors import build_prior
from .base import LatentVariableModel, parameter_counts
from .hierarchical import conv_hvae, hvae
from .inverse_autoregressive import InverseAutoregressiveVAE
from .ladder import LadderVAE
from .likelihoods import build_likelihood
from .resampled_output import ResampledOutputVAE
from .vae import VAE

FAMILIES: dict[str, Callable[..., LatentVariableModel]] = {
    "vae": VAE,
    "hvae": hvae,
    "conv_hvae": conv_hvae,
    "vae_resampled_output": ResampledOutputVAE,
    "vae_iaf": InverseAutoregressiveVAE,
    "lvae": LadderVAE,
}

__all__ = ["FAMILIES", "LatentVariableModel", "build_model", "parameter_counts"]


def build_model(settings: dict[str, Any], image_shape: tuple[int, int]) -> LatentVariableModel:
    """The untrained model of a run's resolved settings (see ``experiment.resolve_run``).

    Args:
        image_shape: height and width of the images.

    Raises:
        ResampledPriorsError: unknown model family, or settings that do not fit it.
    """
    model = {k: v for k, v in settings["model"].items() if k not in ("name", "training")}
    family = model.pop("family")
    if family not in FAMILIES:
        raise ResampledPriorsError(
            f"unknown model family '{family}': use one of {', '.join(FAMILIES)}"
        )
    prior = build_prior(settings["prior"], model["latent_size"])
    likelihood = build_likelihood(model.pop("likelihood", None), image_shape[0] * image_shape[1])
    return FAMILIES[family](prior, image_shape, likelihood, **model)
