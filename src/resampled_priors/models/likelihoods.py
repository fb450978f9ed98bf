"""Likelihoods p(x|h): what the decoder's last layer is taken for.

A family is a function (pixels, *settings) -> Likelihood. One with parameters is an ``nn.Module``;
they are then the model's.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from ..contracts import Likelihood
from ..own_code import build_part

SELDOM = 1e-3  # the least mean of a pixel, and the largest is 1 less that, that ``link`` takes


class BinaryPixels(Distribution):
    """Independent Bernoulli pixels, given their logits (..., pixels).

    torch's own ``Bernoulli`` takes several times as long for the same numbers.
    """

    arg_constraints: dict = {}

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @staticmethod
    def link(means: Tensor) -> Tensor:
        """The logits of these means, those of pixels that are always 0 or 1 within bounds."""
        return means.clamp(SELDOM, 1 - SELDOM).logit()

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    def log_prob(self, x: Tensor) -> Tensor:
        """log Bernoulli(x; σ(logits)) for x in {0, 1}, summed over the pixels, in nats."""
        return F.logsigmoid((2 * x - 1) * self.logits).sum(-1)

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """Binary images as floats, (*sample_shape, ..., pixels)."""
        means = self.mean.expand(*sample_shape, *self.logits.shape)  # a comparison: no gradient
        return (torch.rand_like(means) < means).to(means.dtype)


def bernoulli(pixels: int) -> Likelihood:
    """Binary images (C.2): the decoder gives logits."""
    return BinaryPixels


FAMILIES: dict[str, Callable[..., Likelihood]] = {"bernoulli": bernoulli}
DEFAULT = {"family": "bernoulli"}


def build_likelihood(settings: dict[str, Any] | None, pixels: int) -> Likelihood:
    """The likelihood of a model's settings, Bernoulli where they name none.

    Raises:
        ResampledPriorsError: as ``build_part``.
    """
    return build_part("likelihood", FAMILIES, settings or DEFAULT, pixels)
