"""TRS: its bound against the exact p_T and its own definition; sampler and Z are LARS's."""

import math

import pytest
import torch
from energy_priors import ERROR_RATE, Z_LIMIT, chi_square, grid, normal_density, rough

from resampled_priors.lars import estimate_z, log_resampled_density
from resampled_priors.priors.trs import trs_bound

Z_POINTS = 401


def trs(features, truncation, std=1.5):
    return rough("trs", features, std=std, truncation=truncation)


def logit(prior, z):
    return prior.log_a.network(z).squeeze(-1)


def by_quadrature(prior, of_a):
    """E_π[f(a)] of f = of_a, by the trapezoidal rule."""
    points, weight = grid(2, Z_POINTS)
    return (of_a(logit(prior, points).sigmoid()) * normal_density(points) * weight).sum()


def exact(prior, z, truncation):
    """p_T(z) as the sum over the number of candidates, of which all but the last are rejected."""
    a, rejected = logit(prior, z).sigmoid(), 1 - by_quadrature(prior, lambda a: a)
    terms = [rejected**t * a for t in range(truncation - 1)]
    return normal_density(z) * sum([*terms, rejected ** (truncation - 1)])


def bound(prior, z, logit_z, truncation):
    """The bound with E_π[log(1 − a)] by quadrature."""
    mean = by_quadrature(prior, lambda a: (1 - a).log())
    proposal = (-torch.expm1(mean)).log()[None] - mean  # the logit whose log(1 − a) is the mean
    log_pi = normal_density(z).log()
    return trs_bound(log_pi, logit(prior, z), proposal, torch.as_tensor(logit_z), truncation)


def test_the_bound_is_its_definition():
    """Σ_t q(t) [log p(z, t) − log q(t)], in linear space, for T = 3."""
    a, r, lam = 0.3, math.exp(-0.4), 0.6
    q = [a, (1 - lam) * a, (1 - lam) ** 2]
    q = [value / sum(q) for value in q]
    joint = [a, r * a, r**2]
    expected = sum(q_t * math.log(p_t / q_t) for q_t, p_t in zip(q, joint, strict=True)) - 1.5
    as_logit = [torch.tensor(math.log(p / (1 - p))).double() for p in (a, 1 - r, lam)]
    found = trs_bound(
        torch.tensor(-1.5).double(), as_logit[0], as_logit[1][None], as_logit[2], truncation=3
    )
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("truncation", [1, 2, 5, 100])
def test_the_bound_lies_below_p_t(truncation):
    prior = trs(2, truncation)
    torch.manual_seed(1)
    z = torch.randn(100, 2).double()
    truth = exact(prior, z, truncation).log()
    for logit_z in (-4.0, 0.0, 2.0):
        found = bound(prior, z, logit_z, truncation)
        if truncation == 1:
            torch.testing.assert_close(found, truth)
        else:
            assert (found < truth).all()


def test_the_best_bound_is_p_t_with_a_larger_z():
    truncation, prior = 100, trs(2, 100)
    z = torch.randn(50, 2).double()
    reject = by_quadrature(prior, lambda a: (1 - a).log()).exp()
    best = (1 - reject).logit()
    found = bound(prior, z, best, truncation)
    expected = log_resampled_density(
        normal_density(z).log(), prior.log_a(z), (1 - reject).log(), truncation
    )
    torch.testing.assert_close(found, expected)
    assert 1 - reject > by_quadrature(prior, lambda a: a)
    for other in (best - 0.3, best + 0.3):
        assert (bound(prior, z, other, truncation) < found).all()


def test_the_bound_is_exact_where_a_is_constant():
    prior = trs(2, 7, std=0.0)
    z = torch.randn(50, 2).double()
    prior.log_a.network[-1].bias.fill_(-1.2)
    prior.logit_z.fill_(-1.2)
    found = prior.training_log_prob(z, torch.zeros(50))
    torch.testing.assert_close(found, exact(prior, z, 7).log())


def test_the_bound_in_training_has_that_bound_as_its_mean():
    prior = trs(2, 20)
    prior.logit_z.fill_(-1.0)
    z = torch.tensor([[0.0, 0.0], [1.0, -1.0], [-2.0, 0.5]]).double()
    torch.manual_seed(1)
    draws = torch.stack([prior.training_log_prob(z, torch.zeros(3)) for _ in range(2_000)])
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - bound(prior, z, -1.0, 20)).abs() < Z_LIMIT * error).all()


def test_evaluation_and_samples_are_of_p_t():
    prior = trs(1, 5)
    torch.manual_seed(2)
    prior.normalize(lambda proposal, log_a: estimate_z(proposal, log_a, 1_000_000))
    points, weight = grid(1, 4_001)
    z = (logit(prior, points).sigmoid() * normal_density(points) * weight).sum()
    assert prior.log_z.exp().item() == pytest.approx(z.item(), rel=0.01)
    prior.log_z.fill_(z.log())
    a = logit(prior, points).sigmoid()
    expected = normal_density(points) * (a * sum((1 - z) ** t for t in range(4)) + (1 - z) ** 4)
    torch.testing.assert_close(prior.log_prob(points).exp(), expected)
    assert not prior.is_bound
    samples = prior.sample((100_000,))
    assert chi_square(samples, lambda at: prior.log_prob(at).exp()) > ERROR_RATE


def test_training_finds_lambda_and_moves_every_parameter():
    torch.manual_seed(0)
    prior = trs(2, 100, std=0.3).requires_grad_(True)
    optimizer = torch.optim.Adam(prior.parameters(), 0.03)
    losses = []
    for _ in range(300):
        z = torch.randn(256, 2).double() * 0.3 + 1.0
        loss = -prior.training_log_prob(z, torch.zeros(256)).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.any() for p in prior.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < losses[0] - 1
    reject = by_quadrature(prior, lambda a: (1 - a).log()).exp()
    assert prior.z_in_training() == pytest.approx((1 - reject).item(), rel=0.3)
