"""The paper's toys in one and two dimensions: known targets q(z), so that all can be computed.

A toy is a target and a prior (any that ``build_prior`` makes), fitted by the supervised objective

    max E_q(z)[log p(z)],   log p(z) = log π(z) + log a(z) − log Z  for p_∞                (eq. 5)

and, with a truncation, log p_T(z) of eq. 4 in its place. Z in training is Algorithm 1's estimate,
just as in a VAE. What the figures state is not estimated: Z and KL(q‖p) are sums over a fine grid.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)

from .contracts import Prior
from .files import atomic_write
from .lars import log_resampled_density
from .priors import build_prior


def mixture_1d() -> MixtureSameFamily:
    """A skew bimodal target on the line (Fig. 1): events of shape (1,)."""
    components = Normal(torch.tensor([[-1.2], [0.2], [1.0]]), torch.tensor([[0.3], [0.5], [0.25]]))
    return MixtureSameFamily(
        Categorical(torch.tensor([0.4, 0.2, 0.4])), Independent(components, 1)
    )


def gaussian_grid(spacing: float = 1.62, std: float = 0.2) -> MixtureSameFamily:
    """3×3 equal Gaussians in the plane (Fig. 2, D.3, D.4): events of shape (2,).

    The paper gives no parameters, only KL(q‖N(0, I)) = 1.8 nats; these have 1.81.
    """
    axis = spacing * torch.tensor([-1.0, 0.0, 1.0])
    components = Independent(Normal(torch.cartesian_prod(axis, axis), std), 1)
    return MixtureSameFamily(Categorical(torch.ones(9)), components)


TARGETS = {"mixture_1d": mixture_1d, "gaussian_grid": gaussian_grid}

# The grid of the sums: smooth densities that vanish at its border, so the plain sum is accurate
# far beyond what is printed. Coarser in display, which a figure's numbers are stored for.
HALF_WIDTH = 6.0
STEP = {1: 0.002, 2: 0.02}
DISPLAY_HALF_WIDTH = {1: 4.0, 2: 3.0}
DISPLAY_STEP = {1: 0.01, 2: 0.04}


def grid_axis(half_width: float, step: float) -> Tensor:
    """−half_width … half_width in steps, float64, with 0 among them."""
    count = round(half_width / step)
    return step * torch.arange(-count, count + 1, dtype=torch.float64)


def grid_points(axis: Tensor, features: int) -> Tensor:
    """All points of a grid with the same axis in every dimension: (len(axis), ..., features).

    Indices run [y, x] in two dimensions, as images do.
    """
    mesh = torch.meshgrid(*[axis] * features, indexing="xy")
    return torch.stack(mesh, dim=-1).to(torch.get_default_dtype())


@torch.no_grad()
def log_parts(prior: Prior, points: Tensor) -> tuple[Tensor, Tensor]:
    """log π and log a (0 without LARS) at points (..., features), both float64 (...)."""
    proposal = prior.proposal_distribution()
    blocks = points.flatten(0, -2).split(65_536)
    log_proposal = torch.cat([proposal.log_prob(block) for block in blocks]).double()
    log_a = torch.cat([prior.log_acceptance(block) for block in blocks]).double()
    return log_proposal.view(points.shape[:-1]), log_a.view(points.shape[:-1])


def kl_on_grid(log_q: Tensor, log_p: Tensor, cell: float) -> float:
    """KL(q‖p) = ∫ q (log q − log p) in nats, as a sum over grid cells of volume ``cell``."""
    return float((log_q.exp() * (log_q - log_p)).sum() * cell)


def measure(target: Distribution, prior: Prior) -> dict[str, float]:
    """Z, KL(q‖p), KL(q‖π) in nats, and the proposal's mass on the grid (1: it is all there)."""
    features = target.event_shape[0]
    points = grid_points(grid_axis(HALF_WIDTH, STEP[features]), features)
    cell = STEP[features] ** features
    log_q = target.log_prob(points).double()
    log_proposal, log_a = log_parts(prior, points)
    z = float((log_proposal + log_a).exp().sum() * cell) if prior.truncation != 1 else 1.0
    log_z = torch.tensor(math.log(z))
    log_p = log_resampled_density(log_proposal, log_a, log_z, prior.truncation)
    return {
        "z": z,
        "kl": kl_on_grid(log_q, log_p, cell),
        "kl_proposal": kl_on_grid(log_q, log_proposal, cell),
        "proposal_mass": float(log_proposal.exp().sum() * cell),
    }


def fit(
    target: Distribution,
    prior: Prior,
    *,
    iterations: int,
    batch_size: int,
    learning_rate: float,
) -> list[float]:
    """Maximise E_q[log p(z)] with Adam, the learning rate falling to 0 along a cosine.

    Returns:
        the loss −E_q[log p(z)] of each iteration, in nats.
    """
    optimizer = torch.optim.Adam(prior.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    losses = []
    for _ in range(iterations):
        z = target.sample((batch_size,))
        log_prob = prior.training_log_prob(z, target.log_prob(z))
        loss = -log_prob.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def train_toy(name: str, settings: dict[str, Any], output: Path) -> None:
    """Train one toy and write what its figures show: a whole npz file, or none.

    Args:
        name: of the toy, kept in the file.
        settings: ``target``, ``prior`` (as ``build_prior`` takes it), ``iterations``,
            ``batch_size``, ``learning_rate``, ``seed``.

    The file holds ``axis`` and, on the grid it spans, ``log_q``, ``log_proposal`` and ``log_a``
    (nats); the scalars of :func:`measure`; ``truncation`` (0: none), ``hidden`` (of a(z), or of
    the flow where that is all) and ``loss``, per iteration.
    """
    target = TARGETS[settings["target"]]()
    features = target.event_shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        prior = build_prior(settings["prior"], features)
        losses = fit(
            target,
            prior,
            **{key: settings[key] for key in ("iterations", "batch_size", "learning_rate")},
        )
    axis = grid_axis(DISPLAY_HALF_WIDTH[features], DISPLAY_STEP[features])
    points = grid_points(axis, features)
    log_proposal, log_a = log_parts(prior, points)
    arrays = {"log_q": target.log_prob(points), "log_proposal": log_proposal, "log_a": log_a}
    with atomic_write(output) as temporary:
        np.savez_compressed(
            temporary,
            name=name,
            axis=axis.numpy(),
            loss=np.array(losses, dtype=np.float32),
            truncation=prior.truncation or 0,
            hidden=settings["prior"]["hidden"],
            **{key: value.numpy().astype(np.float32) for key, value in arrays.items()},
            **measure(target, prior),
        )
