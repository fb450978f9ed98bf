"""Adam with decoupled weight decay (Loshchilov & Hutter, 2019) as the optimizer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: Tensor, weight_decay: float
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
