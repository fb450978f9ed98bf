"""What takes a step. A family is a function (parameters, learning rate, *settings) -> Optimizer.

The learning rate is a tensor on the parameters' device, which the trainer sets before each step.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..own_code import build_part


def adam(parameters: Iterable[nn.Parameter], learning_rate: Tensor) -> torch.optim.Optimizer:
    """Adam (C.3), its other settings torch's own, which are those of its paper."""
    on_gpu = learning_rate.device.type == "cuda"
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True, capturable=on_gpu)


FAMILIES: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": adam}
DEFAULT = {"family": "adam"}


def build_optimizer(
    settings: dict[str, Any] | None, parameters: Iterable[nn.Parameter], learning_rate: Tensor
) -> torch.optim.Optimizer:
    """The optimizer of resolved settings, Adam where they name none.

    Raises:
        ResampledPriorsError: as ``build_part``.
    """
    trained = [p for p in parameters if p.requires_grad]
    return build_part("optimizer", FAMILIES, settings or DEFAULT, trained, learning_rate)
