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


def test_grid_target_has_the_papers_distance_from_the_proposal():
    # closed form for well-separated modes: −H(q) − E_q[log π]
    spacing, variance = 1.62, 0.2**2
    entropy = math.log(9) + math.log(2 * math.pi * math.e * variance)
    cross = math.log(2 * math.pi) + variance + 2 / 3 * spacing**2
    prior = build_prior({"family": "standard_normal"}, 2)
    measured = grids.measure(toy.gaussian_grid(), prior)["kl"]
    assert measured == pytest.approx(cross - entropy, abs=0.01)
    assert measured == pytest.approx(1.8, abs=0.05)  # Fig. 2's caption
