"""Sums over a grid, against closed forms and Monte Carlo."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from resampled_priors import AcceptanceFunction, ResampledPrior, estimate_z, grids, toy
from resampled_priors.priors import build_prior


def normal(mean: float, std: float, features: int) -> Independent:
    return Independent(Normal(torch.full((features,), mean), torch.full((features,), std)), 1)


@pytest.mark.parametrize("features", [1, 2])
def test_kl_on_the_grid_is_the_closed_form_for_gaussians(features):
    q = normal(0.5, 0.4, features)
    measured = grids.measure(q, build_prior({"family": "standard_normal"}, features))
    exact = kl_divergence(q.base_dist, Normal(0.0, 1.0)).sum().item()
    assert measured["kl"] == pytest.approx(exact, abs=1e-4)
    assert measured["z"] == 1
    assert measured["proposal_mass"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("truncation", [None, 5])
def test_z_and_kl_on_the_grid_agree_with_monte_carlo(truncation):
    torch.manual_seed(0)
    prior = ResampledPrior(normal(0.0, 1.0, 2), AcceptanceFunction(2, (10, 10)), truncation)
    for parameter in prior.parameters():  # biases too: without them a(z) + a(−z) is constant
        parameter.data += torch.randn_like(parameter)
    target = toy.gaussian_ring()
    measured = grids.measure(target, prior)
    estimate = estimate_z(prior.proposal, prior.log_a, num_samples=400_000)
    assert abs(estimate.mean - measured["z"]) < 5 * estimate.standard_error
    prior.log_z.fill_(math.log(measured["z"]))
    z = target.sample((100_000,))
    with torch.no_grad():
        log_ratio = target.log_prob(z) - prior.log_prob(z)
    error = log_ratio.std() / math.sqrt(len(z))
    assert abs(log_ratio.mean() - measured["kl"]) < 5 * error


def test_the_ideal_acceptance_function_leaves_no_kl():
    # a = q / (Mπ) with M = max q/π, so that p_infinity = q and Z = 1/M
    q, proposal = normal(0.0, 0.5, 2), normal(0.0, 1.0, 2)
    log_m = math.log(4)  # (1/0.5)², at the origin
    prior = ResampledPrior(proposal, lambda z: q.log_prob(z) - proposal.log_prob(z) - log_m, None)
    measured = grids.measure(q, prior)
    assert measured["kl"] == pytest.approx(0, abs=1e-5)
    assert measured["z"] == pytest.approx(0.25, abs=1e-5)
