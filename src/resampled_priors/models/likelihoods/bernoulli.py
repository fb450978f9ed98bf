"""Independent binary pixels: the paper's likelihood (C.2)."""

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from ...contracts import Likelihood

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
