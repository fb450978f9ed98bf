"""The paper's toys in one and two dimensions: known targets q(z), so that all can be computed.

A toy is a target and a prior (any that ``build_prior`` makes), fitted by the supervised objective
of eq. 5 (training/fit.py). What the figures state is not estimated: Z and KL(q‖p) are sums over a
fine grid (grids.py).
"""

import math
from typing import Any

import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)

from .contracts import Prior
from .priors import build_prior
from .training.fit import fit


def mixture_1d() -> MixtureSameFamily:
    """A skew bimodal target on the line (Fig. 1): events of shape (1,)."""
    components = Normal(torch.tensor([[-1.2], [0.2], [1.0]]), torch.tensor([[0.3], [0.5], [0.25]]))
    return MixtureSameFamily(
        Categorical(torch.tensor([0.4, 0.2, 0.4])), Independent(components, 1)
    )


def gaussian_ring(count: int = 8, radius: float = 1.6, std: float = 0.168) -> MixtureSameFamily:
    """Equal Gaussians evenly on a circle (Fig. 2, D.3, D.4): events of shape (2,).

    The paper gives no parameters, only KL(q‖N(0, I)) = 1.8 nats, which these have too. All modes
    are equally likely under N(0, I), which is what a high Z needs: docs/differences.md.
    """
    angle = torch.arange(count) * (2 * math.pi / count)
    centres = radius * torch.stack([angle.cos(), angle.sin()], dim=-1)
    components = Independent(Normal(centres, std), 1)
    return MixtureSameFamily(Categorical(torch.ones(count)), components)


TARGETS = {"mixture_1d": mixture_1d, "gaussian_ring": gaussian_ring}


def train(settings: dict[str, Any]) -> tuple[Distribution, Prior, list[float]]:
    """A toy's target, its fitted prior, and the loss of each iteration in nats.

    Args:
        settings: ``target``, ``prior`` (as ``build_prior`` takes it), ``iterations``,
            ``batch_size``, ``learning_rate``, ``seed``. The state of torch's random numbers
            stays as it was.
    """
    target = TARGETS[settings["target"]]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        prior = build_prior(settings["prior"], target.event_shape[0])
        how = {key: settings[key] for key in ("iterations", "batch_size", "learning_rate")}
        losses = fit(prior, target, **how)
    return target, prior, losses
