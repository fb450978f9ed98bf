"""Likelihoods p(x|h), one idea a file: what the decoder's last layer is taken for.

A family is a function (pixels, *settings) -> Likelihood. One with parameters is an ``nn.Module``;
they are then the model's. To add one is a file with such a function and its line in ``FAMILIES``.
"""

from collections.abc import Callable
from typing import Any

from ...contracts import Likelihood
from ...own_code import build_part
from .bernoulli import BinaryPixels, bernoulli
from .pixelcnn import PixelCNN

FAMILIES: dict[str, Callable[..., Likelihood]] = {"bernoulli": bernoulli, "pixelcnn": PixelCNN}
DEFAULT = {"family": "bernoulli"}

__all__ = ["FAMILIES", "BinaryPixels", "build_likelihood"]


def build_likelihood(settings: dict[str, Any] | None, pixels: int) -> Likelihood:
    """The likelihood of a model's settings, Bernoulli where they name none.

    Raises:
        ResampledPriorsError: as ``build_part``.
    """
    return build_part("likelihood", FAMILIES, settings or DEFAULT, pixels)
