"""LVAE: its posterior against products of normal densities, its terms against torch's."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.models.ladder import BatchNorm, LadderVAE, precision_weighted
from resampled_priors.models.likelihoods import build_likelihood
from resampled_priors.priors import build_prior

SHAPE = (3, 3)


def standard(size):
    return build_prior({"family": "standard_normal"}, size)


def build(hidden=(8, 6, 5), lower=(4, 3), top=2):
    torch.manual_seed(0)
    likelihood = build_likelihood(None, 9)
    return LadderVAE(standard(top), SHAPE, likelihood, top, hidden, lower).double()


@pytest.fixture
def x():
    return (torch.rand(7, 9, generator=torch.Generator().manual_seed(1)) < 0.5).double()


@pytest.fixture
def model(x):
    """Trained averages and weights that matter, in evaluation."""
    model = build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for _ in range(5):
            model.terms(x, 2)
    return model.eval()


def normal(mean, log_std):
    return Normal(mean, log_std.exp())


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_the_product_of_two_normal_densities_by_quadrature(scale):
    generator = torch.Generator().manual_seed(0)
    moments = scale * torch.randn(4, 6, generator=generator, dtype=torch.float64)
    moments[1::2].clamp_(-2, 2)
    mean, log_std = precision_weighted(*moments)
    axis = torch.linspace(-40, 40, 400_001, dtype=torch.float64)[:, None]
    log_product = normal(*moments[:2]).log_prob(axis) + normal(*moments[2:]).log_prob(axis)
    weights = log_product.softmax(0)
    torch.testing.assert_close(mean, (weights * axis).sum(0), rtol=1e-6, atol=1e-6)
    variance = (weights * (axis - mean) ** 2).sum(0)
    torch.testing.assert_close((2 * log_std).exp(), variance, rtol=1e-5, atol=1e-8)


def test_the_product_in_closed_form():
    mean, log_std, other, other_log_std = torch.randn(4, 5, dtype=torch.float64)
    precision, other_precision = (-2 * log_std).exp(), (-2 * other_log_std).exp()
    found = precision_weighted(mean, log_std, other, other_log_std)
    total = precision + other_precision
    torch.testing.assert_close(found[0], (precision * mean + other_precision * other) / total)
    torch.testing.assert_close(found[1], -0.5 * total.log())
    extreme = precision_weighted(mean, torch.full_like(mean, 200.0), other, other_log_std)
    torch.testing.assert_close(extreme[0], other)  # no evidence: the prior


def test_terms_against_torchs_distributions(model, x):
    torch.manual_seed(3)
    ours = model.terms(x, 3)
    torch.manual_seed(3)
    d, evidence = x, []
    for layers, head in zip(model.upwards, model.evidence, strict=True):
        d = layers(d)
        evidence.append(head(d))
    q = normal(*evidence[-1])
    z = q.loc + q.scale * torch.randn(3, 7, 2)
    log_q = q.log_prob(z).sum(-1)
    log_p = Normal(0.0, 1.0).log_prob(z).sum(-1)
    for level in (1, 0):
        p = normal(*model.downwards[level](z))
        mean, log_std = evidence[level]
        precision = (-2 * log_std).exp() + p.scale**-2
        q = Normal(((-2 * log_std).exp() * mean + p.loc / p.scale**2) / precision, precision**-0.5)
        z = q.loc + q.scale * torch.randn(q.loc.shape)
        log_q, log_p = log_q + q.log_prob(z).sum(-1), log_p + p.log_prob(z).sum(-1)
    likelihood = Independent(Bernoulli(logits=model.decoder(z)), 1).log_prob(x)
    for mine, other in zip(ours, (likelihood, log_p, log_q), strict=True):
        torch.testing.assert_close(mine, other)


def test_kl_terms_are_torchs_in_the_mean(model, x):
    """Given the top latent, the lowest level's KL of a two-level ladder; 3.5 standard errors."""
    two = build(hidden=(8, 6), lower=(3,)).eval().requires_grad_(False)
    torch.manual_seed(4)
    p = two.forward_pass(x[:1], 20_000)
    (mean, log_std), _ = two.all_evidence(x[:1])
    prior = normal(*two.downwards[0](p.z))
    posterior = normal(*precision_weighted(mean, log_std, prior.loc, prior.scale.log()))
    exact = kl_divergence(posterior, prior).sum(-1)
    difference = p.log_lower_posterior - p.log_lower_prior - exact
    assert exact.mean() > 0.01
    assert abs(float(difference.mean())) < 3.5 * float(difference.std()) / math.sqrt(20_000)


def test_batch_normalisation_is_over_samples_and_batch():
    torch.manual_seed(0)
    layer, h = BatchNorm(3), 2 + 3 * torch.randn(4, 5, 3)
    flat = layer(h).flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.var(0, unbiased=False), torch.ones(3), atol=1e-4, rtol=0)
    expected = 0.1 * h.flatten(0, 1).mean(0)
    torch.testing.assert_close(layer.running_mean, expected)


def averages(model):
    return {k: v.clone() for k, v in model.state_dict().items() if "running" in k}


def test_averages_move_in_training_alone(x):
    model = build().train()
    start = averages(model)
    model.signs_of_a_bad_start(x)
    assert model.training and all(m.training for m in model.modules())
    with torch.no_grad():
        model.eval().terms(x, 2)
    assert all(torch.equal(start[key], value) for key, value in averages(model).items())
    model.train().terms(x, 2, training=True)
    moved = averages(model)
    assert not any(torch.equal(start[key], value) for key, value in moved.items())
    model.requires_grad_(False).train().terms(x, 2, training=True)  # post hoc
    assert all(torch.equal(moved[key], value) for key, value in averages(model).items())


def test_levels_and_widths_have_to_fit():
    with pytest.raises(ResampledPriorsError, match=r"2 widths .* and 3 latents .*: give one"):
        build(hidden=(8, 6))
