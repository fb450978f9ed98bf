"""The standard normal."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal


def diagonal_normal(loc: Tensor, scale: Tensor) -> Independent:
    """N(loc, diag scale²), without argument checks, for which a GPU would have to wait."""
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


class StandardNormal(nn.Module):
    """N(0, I). Its buffers are named as trained models have them."""

    label = r"$\mathcal{N}(0, I)$"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("_0", torch.zeros(features))  # mean
        self.register_buffer("_1", torch.ones(features))  # standard deviation

    def forward(self) -> Independent:
        return diagonal_normal(self._0, self._1)
