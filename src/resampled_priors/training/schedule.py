"""What changes from one iteration to the next: β, the learning rate, and the batch (C.3).

Each is a function of the iteration alone, so that a resumed run goes on as it would have.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


def kl_weight(iteration: int, warm_up: int) -> float:
    """β, from 0 to 1 in a straight line over the warm-up."""
    return min(1.0, iteration / warm_up) if warm_up else 1.0


def learning_rate(iteration: int, training: dict[str, Any]) -> float:
    """In one step down after ``decay_after``, as the paper's; or in a straight line to 0."""
    if training.get("learning_rate_decay") == "linear":
        return training["learning_rate"] * (1 - iteration / training["iterations"])
    decay_after = training["decay_after"]
    decayed = decay_after is not None and iteration >= decay_after
    return training["decayed_learning_rate" if decayed else "learning_rate"]


def batch_indices(iteration: int, size: int, batch_size: int, seed: int) -> Tensor:
    """Row numbers of this iteration's batch: each epoch a permutation of its own.

    The remainder of an epoch that fills no batch is left out.
    """
    batch_size = min(batch_size, size)
    epoch, position = divmod(iteration, size // batch_size)
    order = _epoch_order(size, seed, epoch)
    return order[position * batch_size : (position + 1) * batch_size]


@lru_cache(maxsize=1)
def _epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    # The generator reads the low 32 bits only: a seed shifted above them would change nothing.
    generator = torch.Generator().manual_seed(seed * 1_000_000 + epoch)
    return torch.randperm(size, generator=generator)
