"""Sums on a grid in one or two dimensions: densities, Z and KL(q‖p) without an estimate.

Smooth densities that vanish at the grid's border make the plain sum accurate far beyond what is
printed.
"""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from .contracts import Prior
from .lars import log_resampled_density

HALF_WIDTH = 6.0
STEP = {1: 0.002, 2: 0.02}  # by the number of dimensions


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
    parts = [(proposal.log_prob(block), prior.log_acceptance(block)) for block in blocks]
    log_proposal, log_acceptance = (torch.cat(part).double() for part in zip(*parts, strict=True))
    return log_proposal.view(points.shape[:-1]), log_acceptance.view(points.shape[:-1])


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
    z = 1.0 if prior.truncation == 1 else float((log_proposal + log_a).exp().sum() * cell)
    log_z = torch.tensor(math.log(z))
    log_p = log_resampled_density(log_proposal, log_a, log_z, prior.truncation)
    return {
        "z": z,
        "kl": kl_on_grid(log_q, log_p, cell),
        "kl_proposal": kl_on_grid(log_q, log_proposal, cell),
        "proposal_mass": float(log_proposal.exp().sum() * cell),
    }
