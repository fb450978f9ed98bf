"""What several tests of LARS share."""

from decimal import Decimal, localcontext

import numpy as np
import torch
import zuko
from hypothesis import settings
from torch import nn
from torch.distributions import Independent, Normal

from resampled_priors import (
    AcceptanceFunction,
    ResampledPrior,
)

TRUNCATIONS = [1, 2, 5, 100, None]
exact = settings(derandomize=True, deadline=None, max_examples=200)


def normal(features, dtype=torch.float64):
    return Independent(Normal(torch.zeros(features, dtype=dtype), torch.ones(())), 1)


def bumps(z):
    """Two bumps on a low floor: smooth, far from constant, Z about 0.2."""
    first = torch.exp(-((z[..., 0] - 1.0) ** 2) / 0.18)
    last = torch.exp(-((z[..., -1] + 0.5) ** 2) / 0.08)
    return (0.45 * first + 0.5 * last + 0.002).log()


def large_network(features):
    """An acceptance function with large weights: plateaus and steep slopes."""
    torch.manual_seed({1: 6, 2: 10}[features])
    log_a = AcceptanceFunction(features, hidden=(8, 8)).double()
    for parameter in log_a.parameters():
        nn.init.normal_(parameter, std=2.5)
    return log_a.requires_grad_(False)


ACCEPTANCES = {
    "bumps in 1-D": (1, bumps),
    "bumps in 2-D": (2, bumps),
    "network in 1-D": (1, large_network(1)),
    "network in 2-D": (2, large_network(2)),
}


def trapezoid_points(features):
    """Points and the common weight of the trapezoidal rule on [-9, 9]^features."""
    axis = torch.linspace(-9, 9, {1: 36_001, 2: 1_201}[features], dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(*[axis] * features, indexing="ij"), dim=-1)
    return grid.reshape(-1, features), float(axis[1] - axis[0]) ** features


def quadrature_z(log_a, features):
    """Z = E_π[a(z)] by composite Gauss-Legendre, on other points than ``trapezoid_points``."""
    nodes, weights = (torch.tensor(v) for v in np.polynomial.legendre.leggauss(10))
    panels = {1: 2_000, 2: 90}[features]
    edges = torch.linspace(-9, 9, panels + 1, dtype=torch.float64)
    axis = (edges[:-1, None] + (nodes + 1) * 9 / panels).flatten()
    weight = (weights * 9 / panels).repeat(panels)
    grid = torch.stack(torch.meshgrid(*[axis] * features, indexing="ij"), dim=-1)
    integrand = torch.exp(normal(features).log_prob(grid) + log_a(grid))
    for _ in range(features):
        integrand = integrand @ weight
    return float(integrand)


def decimals(*values):
    return [Decimal(float(value)) for value in values]


def floats(*tensors):
    return [float(tensor.detach()) for tensor in tensors]


def exact_density(log_proposal, log_a, log_z, truncation):
    """eq. 3 or eq. 4 as they stand in the paper, in 100 digits or more: log p(z)."""
    with localcontext() as context:
        context.prec = 100 + int(abs(log_z))  # so that 1 − Z is not 1
        log_pi, log_a, log_z = decimals(log_proposal, log_a, log_z)
        pi, a, z = log_pi.exp(), log_a.exp(), log_z.exp()
        if truncation is None:
            return float((pi * a / z).ln())
        alpha = (1 - z) ** (truncation - 1) if z < 1 else Decimal(truncation == 1)
        return float((pi * a * (1 - alpha) / z + alpha * pi).ln())


def exact_slopes(log_a, log_z, truncation):
    """Derivatives of log p_T(z) by log a(z) and by log Z, worked out by hand, exactly."""
    with localcontext() as context:
        context.prec = 100 + int(abs(log_z))
        log_a, log_z = decimals(log_a, log_z)
        a, z = log_a.exp(), log_z.exp()
        if truncation is None:
            return 1.0, -1.0
        alpha, below = (
            (1 - z) ** n if n > 0 and z < 1 else Decimal(n == 0)
            for n in (truncation - 1, truncation - 2)
        )
        gain = a * (1 - alpha) / z
        by_log_z = -gain + (a - z) * (truncation - 1) * below
        return float(gain / (gain + alpha)), float(by_log_z / (gain + alpha))


def stored_prior(seed):
    torch.manual_seed(seed)
    flow = zuko.flows.RealNVP(2, transforms=2, hidden_features=(8, 8))
    return ResampledPrior(flow, AcceptanceFunction(2, hidden=(4,)), truncation=50)
