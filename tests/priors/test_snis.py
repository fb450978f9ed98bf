"""SNIS: the bound against quadrature, the sampler against the density, K = 1 the proposal."""

import math

import torch
from energy_priors import ERROR_RATE, Z_LIMIT, chi_square, grid, normal_density, rough

from resampled_priors.lars import AcceptanceFunction, ResampledPrior


def snis(features, num_proposals, **settings):
    return rough("snis", features, num_proposals=num_proposals, **settings)


def density_of_two(prior, z, points):
    """p(z) at K = 2, 2 π(z) ∫ π(z') w(z) / (w(z) + w(z')) dz', by quadrature."""
    others, weight = grid(z.shape[-1], points)
    w, w_others = (-prior.energy(z)).exp(), (-prior.energy(others)).exp()
    share = w[:, None] / (w[:, None] + w_others)
    return 2 * normal_density(z) * (share * normal_density(others) * weight).sum(1)


def test_one_proposal_is_the_proposal():
    prior = snis(2, 1)
    z = torch.randn(50, 2).double()
    torch.testing.assert_close(prior.log_prob(z), normal_density(z).log())


def test_the_density_written_out_is_one():
    z, weight = grid(2, 41)
    assert abs(float(density_of_two(snis(2, 2), z, 41).sum() * weight) - 1) < 1e-3


def test_the_bounds_exponential_has_the_density_as_its_mean():
    """So the bound's mean is below the truth, and an importance-weighted bound stays one."""
    prior = snis(2, 2)
    z = torch.tensor([[0.0, 0.0], [1.0, -0.5], [-1.5, 1.0], [0.5, 2.0]]).double()
    truth = density_of_two(prior, z, 121)
    torch.manual_seed(1)
    draws = torch.stack([prior.log_prob(z) for _ in range(4_000)])
    p = draws.exp()
    error = p.std(0) / math.sqrt(len(p))
    assert ((p.mean(0) - truth).abs() < Z_LIMIT * error).all()
    gap = truth.log() - draws.mean(0)
    assert (gap > 4 * draws.std(0) / math.sqrt(len(draws))).all()


def test_the_bound_closes_in_with_k():
    """On π e^{−U} / Z, the limit of p, of which it lies below at each K."""
    points, weight = grid(2, 401)
    limit = snis(2, 2)
    z = (-limit.energy(points)).exp()
    log_z = (z * normal_density(points) * weight).sum().log()
    torch.manual_seed(1)
    at = torch.randn(200, 2).double()
    truth = normal_density(at).log() - limit.energy(at) - log_z
    # under the density itself, where the bound is a lower one of E log p
    weights = (truth - normal_density(at).log()).softmax(0)
    gaps = []
    for k in (2, 8, 64, 1_024, 16_384):
        prior = snis(2, k)
        bound = torch.stack([prior.log_prob(at) for _ in range(200)]).mean(0)
        gaps.append(float((weights * (truth - bound)).sum()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > -0.003 and gaps[-1] < 0.01 < 0.3 < gaps[0]


def test_samples_have_the_density():
    prior = snis(1, 2)
    torch.manual_seed(2)
    samples = prior.sample((100_000,))
    assert chi_square(samples, lambda z: density_of_two(prior, z, 2_001)) > ERROR_RATE
    assert chi_square(samples, normal_density) < 1e-20  # and the test sees a wrong one


def test_samples_come_in_any_shape():
    prior = snis(3, 100_000)  # fewer than two at a time
    shapes = [(), (0,), (3,), (2, 1)]
    assert [prior.sample(s).shape for s in shapes] == [(*s, 3) for s in shapes]


def test_the_bound_has_a_gradient_in_every_parameter_and_moves_the_energy():
    torch.manual_seed(0)
    prior = snis(2, 64).requires_grad_(True)
    optimizer = torch.optim.Adam(prior.parameters(), 0.02)
    at = torch.randn(512, 2).double() * 0.3 + 1.0
    losses = []
    for _ in range(60):
        loss = -prior.training_log_prob(at, None).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.any() for p in prior.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1


def test_lars_on_snis_is_a_bound_too():
    prior = snis(2, 4)
    assert prior.is_bound and ResampledPrior(prior, AcceptanceFunction(2)).is_bound
    assert not ResampledPrior(prior.proposal, AcceptanceFunction(2)).is_bound
