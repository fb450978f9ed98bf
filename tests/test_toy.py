"""The toys' targets, against closed forms."""

import math

import pytest

from resampled_priors import grids, toy
from resampled_priors.priors import build_prior


@pytest.mark.parametrize("name", toy.TARGETS)
def test_targets_integrate_to_one_on_the_grid(name):
    target = toy.TARGETS[name]()
    features = target.event_shape[0]
    points = grids.grid_points(grids.grid_axis(grids.HALF_WIDTH, grids.STEP[features]), features)
    mass = target.log_prob(points).double().exp().sum() * grids.STEP[features] ** features
    assert mass == pytest.approx(1, abs=1e-5)


def test_the_ring_has_the_papers_distance_from_the_proposal():
    # closed form for well-separated modes: −H(q) − E_q[log π]
    radius, variance = 1.6, 0.168**2
    entropy = math.log(8) + math.log(2 * math.pi * math.e * variance)
    cross = math.log(2 * math.pi) + variance + radius**2 / 2
    prior = build_prior({"family": "standard_normal"}, 2)
    measured = grids.measure(toy.gaussian_ring(), prior)["kl"]
    assert measured == pytest.approx(cross - entropy, abs=0.01)
    assert measured == pytest.approx(1.8, abs=0.005)  # Fig. 2's caption


def test_the_papers_z_and_kl_are_within_reach_of_the_ring():
    """Fig. 2: Z = 0.09 and KL(q‖p) = 0.06 at once, which the best a(z) of a target must allow.

    Of all a(z) with the same Z, min(1, q / (cπ)) has the smallest KL.
    """
    axis = grids.grid_axis(6.0, 0.02)
    points = grids.grid_points(axis, 2)
    prior = build_prior({"family": "standard_normal"}, 2)
    log_q = toy.gaussian_ring().log_prob(points).double()
    log_proposal, _ = grids.log_parts(prior, points)

    def z_and_kl(log_c):
        log_a = (log_q - log_proposal - log_c).clamp(max=0)
        z = float((log_proposal + log_a).exp().sum() * 0.02**2)
        return z, grids.kl_on_grid(log_q, log_proposal + log_a - math.log(z), 0.02**2)

    z, kl = z_and_kl(2.2)
    assert z > 0.09 and kl < 0.06
