"""NCE: its loss, its density by quadrature, its sampler, and the agreement with LARS post hoc."""

import math

import pytest
import torch
from energy_priors import ERROR_RATE, chi_square, grid, normal_density, rough
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from resampled_priors.lars import AcceptanceFunction, ResampledPrior, estimate_z
from resampled_priors.priors import build_prior
from resampled_priors.training.fit import fit


def nce(features, num_proposals=1_000):
    return rough("nce", features, num_proposals=num_proposals)


def log_ratio(prior, z):
    return prior.log_a.network(z).squeeze(-1)


def density(prior, z):
    """π r / E_π[r] by quadrature."""
    points, weight = grid(z.shape[-1], 401)
    r = log_ratio(prior, points).exp()
    return (
        normal_density(z) * log_ratio(prior, z).exp() / (r * normal_density(points)).sum() / weight
    )


def test_a_is_the_ratio_over_a_bound():
    prior = nce(2)
    z = 10 * torch.randn(10_000, 2).double()
    log_m = log_ratio(prior, z) - prior.log_a(z)
    torch.testing.assert_close(log_m, prior.log_a.log_bound().expand(10_000))
    assert (prior.log_a(z) <= 0).all()


def test_the_density_is_the_reweighted_proposal():
    prior = nce(2)
    torch.manual_seed(1)
    z = prior.normalize(lambda proposal, log_a: estimate_z(proposal, log_a, 2_000_000))
    at = torch.randn(100, 2).double()
    error = 5 * z.log_standard_error
    torch.testing.assert_close(prior.log_prob(at), density(prior, at).log(), rtol=0, atol=error)
    assert error < 0.05 and not prior.is_bound


def test_samples_have_the_density():
    prior = nce(1)
    torch.manual_seed(2)
    samples = prior.sample((5_000,))
    assert chi_square(samples, lambda z: density(prior, z)) > ERROR_RATE
    assert chi_square(samples, normal_density) < 1e-20
    assert prior.sample().shape == (1,)


def test_the_loss_is_the_classifiers():
    prior = nce(2).requires_grad_(True)
    z = torch.randn(3, 50, 2).double().requires_grad_(True)
    torch.manual_seed(3)
    loss = prior.training_loss(z)
    torch.manual_seed(3)
    proposals = prior.proposal_distribution().sample((3, 50))
    logits = log_ratio(prior, torch.stack([z, proposals]))
    labels = torch.stack([torch.ones(3, 50), torch.zeros(3, 50)]).double()
    expected = 2 * F.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(loss, expected)
    parameters = list(prior.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(loss, parameters, retain_graph=True),
        torch.autograd.grad(expected, parameters),
    )
    assert torch.autograd.grad(loss, z, allow_unused=True) == (None,)


def test_the_log_density_in_training_trains_what_gives_z_alone():
    prior = nce(2).requires_grad_(True)
    z = torch.randn(50, 2).double().requires_grad_(True)
    log_p = prior.training_log_prob(z, torch.zeros(50))
    expected = normal_density(z).log() + log_ratio(prior, z)
    torch.testing.assert_close(log_p, expected)
    (of_z,) = torch.autograd.grad(log_p.sum(), z, retain_graph=True)
    torch.testing.assert_close(of_z, torch.autograd.grad(expected.sum(), z)[0])
    assert all(
        g is None
        for g in torch.autograd.grad(log_p.sum(), list(prior.parameters()), allow_unused=True)
    )


def target():
    """Two Gaussians within the reach of N(0, I)."""
    means, stds = torch.tensor([[-0.8, 0.5], [0.9, -0.3]]), torch.tensor([[0.5, 0.6], [0.7, 0.4]])
    parts = Independent(Normal(means, stds), 1)
    return MixtureSameFamily(Categorical(torch.tensor([0.4, 0.6])), parts)


def test_it_agrees_with_lars_where_both_have_enough_capacity():
    """By two objectives the same density, that of the samples; N(0, I) is further from both."""
    q = target()
    torch.manual_seed(0)
    lars = ResampledPrior(
        Independent(Normal(torch.zeros(2), 1.0), 1), AcceptanceFunction(2, [32, 32]), None
    )
    contrastive = build_prior({"family": "nce", "hidden": [32, 32], "num_proposals": 10}, 2)
    points, weight = grid(2, 121)
    q_points = q.log_prob(points.float()).double()
    at = {}
    for name, prior in (("lars", lars), ("nce", contrastive)):
        losses = fit(prior, q, iterations=400, batch_size=512, learning_rate=0.01)
        assert all(map(math.isfinite, losses))
        prior.normalize(lambda proposal, log_a: estimate_z(proposal, log_a, 200_000))
        with torch.no_grad():
            at[name] = prior.log_prob(points.float()).double()

    def kl(one, other):
        return float((one.exp() * (one - other)).sum() * weight)

    assert kl(q_points, normal_density(points).log()) > 0.3
    for log_p in at.values():
        assert float(log_p.exp().sum() * weight) == pytest.approx(1, abs=0.01)
        assert kl(q_points, log_p) < 0.02
    assert max(kl(at["lars"], at["nce"]), kl(at["nce"], at["lars"])) < 0.03
