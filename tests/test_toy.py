"""The toys: targets, sums over a grid, and training, against closed forms and Monte Carlo."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from resampled_priors import AcceptanceFunction, ResampledPrior, estimate_z, toy
from resampled_priors.priors import build_prior

LARS = {
    "family": "lars",
    "proposal": {"family": "standard_normal"},
    "hidden": [10, 10],
    "truncation": 100,
    "smoothing": 0.1,
    "num_proposals": 256,
}


def normal(mean: float, std: float, features: int) -> Independent:
    return Independent(Normal(torch.full((features,), mean), torch.full((features,), std)), 1)


@pytest.mark.parametrize("name", toy.TARGETS)
def test_targets_integrate_to_one_on_the_grid(name):
    target = toy.TARGETS[name]()
    features = target.event_shape[0]
    points = toy.grid_points(toy.grid_axis(toy.HALF_WIDTH, toy.STEP[features]), features)
    mass = target.log_prob(points).double().exp().sum() * toy.STEP[features] ** features
    assert mass == pytest.approx(1, abs=1e-5)


def test_grid_target_has_the_papers_distance_from_the_proposal():
    # closed form for well-separated modes: −H(q) − E_q[log π]
    spacing, variance = 1.62, 0.2**2
    entropy = math.log(9) + math.log(2 * math.pi * math.e * variance)
    cross = math.log(2 * math.pi) + variance + 2 / 3 * spacing**2
    prior = build_prior({"family": "standard_normal"}, 2)
    measured = toy.measure(toy.gaussian_grid(), prior)["kl"]
    assert measured == pytest.approx(cross - entropy, abs=0.01)
    assert measured == pytest.approx(1.8, abs=0.05)  # Fig. 2's caption


@pytest.mark.parametrize("features", [1, 2])
def test_kl_on_the_grid_is_the_closed_form_for_gaussians(features):
    q = normal(0.5, 0.4, features)
    measured = toy.measure(q, build_prior({"family": "standard_normal"}, features))
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
    target = toy.gaussian_grid()
    measured = toy.measure(target, prior)
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
    measured = toy.measure(q, prior)
    assert measured["kl"] == pytest.approx(0, abs=1e-5)
    assert measured["z"] == pytest.approx(0.25, abs=1e-5)


def test_training_lowers_the_kl_and_gives_a_file_without_pickles(tmp_path):
    settings = {
        "target": "mixture_1d",
        "prior": LARS,
        "iterations": 300,
        "batch_size": 256,
        "learning_rate": 0.01,
        "seed": 0,
    }
    outputs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    state = torch.random.get_rng_state()
    for output in outputs:
        toy.train_toy("lars_1d", settings, output)
    assert torch.equal(state, torch.random.get_rng_state())
    first, second = (dict(np.load(output, allow_pickle=False)) for output in outputs)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert first["kl"] < 0.5 * first["kl_proposal"]
    assert first["log_a"].max() <= 0
    assert 0 < first["z"] < 1
    assert len(first["loss"]) == 300
    for key in ("log_q", "log_proposal", "log_a"):
        assert first[key].shape == first["axis"].shape
