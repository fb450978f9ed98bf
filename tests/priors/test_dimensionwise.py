"""LARS in each dimension: against the one-dimensional densities, quadrature and chi-square."""

import math

import pytest
import torch
from energy_priors import ERROR_RATE, chi_square, grid, normal_density

from resampled_priors.lars import ResampledDistribution, estimate_z, smoothed_log_z
from resampled_priors.priors import build_prior

SETTINGS = {"hidden": [8, 4], "truncation": 5, "smoothing": 0.1, "num_proposals": 64}


def rough(features, **settings):
    """A prior whose networks have large weights, its Zs from quadrature."""
    torch.manual_seed(0)
    prior = build_prior({"family": "dimensionwise", **SETTINGS, **settings}, features).double()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=1.5)
    prior.requires_grad_(False)
    axis, weight = grid(1, 4_001, reach=8.0)
    z = [(normal_density(axis) * prior.log_a.of_one(i)(axis[:, 0]).exp()).sum() * weight
         for i in range(features)]  # fmt: skip
    prior.log_z.copy_(torch.stack(z).log())
    return prior


def one_dimension(prior, i):
    line = torch.distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
    log_z = prior.log_z[i] if prior.truncation != 1 else None
    return ResampledDistribution(line, prior.log_a.of_one(i), prior.truncation, log_z)


@pytest.mark.parametrize("truncation", [5, None])
def test_the_density_is_the_product_and_is_one_by_quadrature(truncation):
    prior = rough(2, truncation=truncation)
    z, weight = grid(2, 301)
    density = prior.log_prob(z).exp()
    assert float(density.sum() * weight) == pytest.approx(1, abs=1e-4)
    product = sum(one_dimension(prior, i).log_prob(z[:, i]) for i in range(2))
    torch.testing.assert_close(density.log(), product)


def test_each_network_sees_its_own_dimension_alone():
    prior = rough(3)
    z = torch.randn(4, 5, 3).double()
    jacobian = torch.autograd.functional.jacobian(lambda z: prior.log_a(z).sum((0, 1)), z)
    moved = jacobian.abs().sum((1, 2)) > 0  # (output, input)
    assert torch.equal(moved, torch.eye(3, dtype=torch.bool))
    for i in range(3):
        torch.testing.assert_close(prior.log_a(z)[..., i], prior.log_a.of_one(i)(z[..., i]))


def test_samples_have_the_density():
    prior = rough(2)
    torch.manual_seed(1)
    samples = prior.sample((50_000,))
    for i in range(2):
        density = one_dimension(prior, i)
        p = chi_square(samples[:, [i]], lambda z, d=density: d.log_prob(z[:, 0]).exp())
        assert p > ERROR_RATE
        assert chi_square(samples[:, [i]], normal_density) < 1e-20
    assert prior.sample().shape == (2,)


def test_z_in_training_is_algorithm_1_in_each_dimension():
    prior = rough(3).requires_grad_(True)
    start = torch.rand(3).double()
    prior.z_average.copy_(start)
    z = torch.randn(6, 3).double()
    torch.manual_seed(2)
    log_p = prior.training_log_prob(z, torch.zeros(6).double())
    torch.manual_seed(2)
    proposals = torch.randn(64, 3, dtype=torch.float64)
    expected = 0
    for i in range(3):
        log_a = prior.log_a.of_one(i)
        log_z, average = smoothed_log_z(log_a(proposals[:, i]), start[i], 0.1)
        torch.testing.assert_close(prior.z_average[i], average)
        line = torch.distributions.Normal(*torch.tensor([0.0, 1.0]).double())
        expected += ResampledDistribution(line, log_a, 5, log_z).log_prob(z[:, i])
    torch.testing.assert_close(log_p, expected)
    parameters = list(prior.parameters())
    for mine, other in zip(
        *(torch.autograd.grad(p.sum(), parameters) for p in (log_p, expected)), strict=True
    ):
        torch.testing.assert_close(mine, other)
    prior.eval().training_log_prob(z, torch.zeros(6).double())
    assert prior.z_in_training() == pytest.approx(float(prior.z_average.prod()))


def test_each_z_is_estimated_and_kept():
    prior = rough(2)
    truth = prior.log_z.clone()
    torch.manual_seed(3)
    z = prior.normalize(lambda proposal, log_a: estimate_z(proposal, log_a, 200_000))
    assert z.num_samples == 400_000
    assert math.log(z.mean) == pytest.approx(float(truth.sum()), abs=5 * z.log_standard_error)
    torch.testing.assert_close(prior.log_z, truth, rtol=0, atol=0.02)
