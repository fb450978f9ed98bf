"""What the tests of priors with an energy share: a rough energy, quadrature, a chi-square test."""

import math

import torch
from scipy import stats
from torch import nn

from resampled_priors.priors import build_prior

# In each chi-square and z-test a right prior fails for 1 seed in 10,000.
ERROR_RATE = 1e-4
Z_LIMIT = stats.norm.isf(ERROR_RATE / 2)


def rough(family, features, seed=0, std=1.5, **settings):
    """A prior whose networks have large weights: far from its proposal."""
    torch.manual_seed(seed)
    prior = build_prior({"family": family, "hidden": [8, 8], **settings}, features).double()
    for name, parameter in prior.named_parameters():
        if "network" in name:
            nn.init.normal_(parameter, std=std)
    return prior.requires_grad_(False)


def grid(features, points, reach=6.0):
    """Points (n, features) of the trapezoidal rule on [−reach, reach]^features, and its weight."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    places = torch.stack(torch.meshgrid(*[axis] * features, indexing="ij"), dim=-1)
    return places.reshape(-1, features), float(axis[1] - axis[0]) ** features


def normal_density(z):
    return (-0.5 * (z**2).sum(-1)).exp() / (2 * math.pi) ** (z.shape[-1] / 2)


def chi_square(samples, density, bins=16, reach=6.0, points_per_bin=20):
    """p-value of samples in 1-D against a density (n, 1) -> (n,), in bins of [−reach, reach].

    Bins that expect fewer than 20 are put together.
    """
    width = 2 * reach / bins
    offsets = (torch.arange(points_per_bin, dtype=torch.float64) + 0.5) / points_per_bin
    edges = -reach + width * torch.arange(bins, dtype=torch.float64)
    points = (edges[:, None] + width * offsets).reshape(-1, 1)
    expected = density(points).reshape(bins, -1).mean(1) * width * len(samples)
    assert abs(float(expected.sum()) / len(samples) - 1) < 1e-3
    index = ((samples[:, 0] + reach) / width).long().clamp(0, bins - 1)
    counts = torch.bincount(index, minlength=bins).double()
    rare = expected < 20
    counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    if expected[-1] < 20:
        counts, expected = counts[:-1], expected[:-1]
    return stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue
