"""A Gaussian likelihood with one learned standard deviation, for images of real values."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal


class Gaussian(nn.Module):
    def __init__(self, pixels: int, std: float) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.tensor(std).log())

    def forward(self, h: Tensor) -> Distribution:
        return Independent(Normal(h, self.log_std.exp()), 1)
