"""Acceptance function, prior and distribution: construction, state, errors."""

import doctest
import math

import pytest
import torch
from lars_cases import bumps, normal, stored_prior
from safetensors.torch import load, save
from torch import nn
from torch.distributions import Normal, Uniform

from resampled_priors import (
    AcceptanceFunction,
    ResampledDistribution,
    ResampledPrior,
    contracts,
)
from resampled_priors.lars import (
    density,
    distribution,
    normalizer,
)
from resampled_priors.lars import prior as prior_module


def test_acceptance_function_is_the_log_of_a_logistic_output():
    torch.manual_seed(0)
    log_a = AcceptanceFunction(3, hidden=(5, 4)).double()
    z = torch.randn(2, 6, 3, dtype=torch.float64)
    h = z
    linears = [layer for layer in log_a.network if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linears] == [(5, 3), (4, 5), (1, 4)]
    for layer in linears[:-1]:
        h = torch.tanh(h @ layer.weight.T + layer.bias)
    logits = (h @ linears[-1].weight.T + linears[-1].bias)[..., 0]
    torch.testing.assert_close(log_a(z), -torch.log1p(torch.exp(-logits)))
    assert (log_a(z) <= 0).all()


def test_acceptance_function_has_the_papers_size():
    parameters = sum(parameter.numel() for parameter in AcceptanceFunction(50).parameters())
    assert parameters == (50 * 100 + 100) + (100 * 100 + 100) + (100 + 1)


def test_state_round_trips():
    torch.manual_seed(0)
    prior, other = stored_prior(1), stored_prior(2)
    prior.z_average.fill_(0.125)
    prior.log_z.fill_(-2.5)
    other.load_state_dict(load(save(prior.state_dict())))
    assert float(other.z_average) == 0.125
    assert float(other.log_z) == -2.5
    z = torch.randn(10, 2)
    torch.testing.assert_close(other.log_prob(z), prior.log_prob(z), rtol=0, atol=0)
    torch.manual_seed(5)
    samples = prior.sample((8,))
    torch.manual_seed(5)
    torch.testing.assert_close(other.sample((8,)), samples, rtol=0, atol=0)


def test_prior_and_distribution_agree():
    prior = stored_prior(1)
    prior.log_z.fill_(-1.5)
    z = torch.randn(3, 4, 2, generator=torch.manual_seed(0))
    p = ResampledDistribution(prior.proposal, prior.log_a, 50, log_z=-1.5)
    assert prior.log_prob(z).shape == (3, 4)
    torch.testing.assert_close(prior.log_prob(z), p.log_prob(z), rtol=0, atol=0)
    assert prior.distribution().truncation == 50
    assert float(prior.distribution().log_z) == -1.5
    assert (p.event_shape, p.batch_shape) == ((2,), ())


def test_sampling_from_the_prior_needs_no_z():
    assert stored_prior(1).sample((4,)).shape == (4, 2)


@pytest.mark.parametrize("truncation", [0, -1, True, 2.5, 2.0, "2"])
@pytest.mark.parametrize("kind", [ResampledDistribution, ResampledPrior])
def test_bad_truncation(kind, truncation):
    with pytest.raises(ValueError, match=f"truncation must be an integer .* got {truncation!r}"):
        kind(normal(2), bumps, truncation)


@pytest.mark.parametrize("arguments", [(0,), (-3,), (2, (0,)), (2, (10, -1))])
def test_bad_layer_sizes(arguments):
    with pytest.raises(ValueError, match="layer sizes must be positive, got"):
        AcceptanceFunction(*arguments)


@pytest.mark.parametrize("smoothing", [0, -0.1, 2, math.nan])
def test_bad_smoothing(smoothing):
    with pytest.raises(ValueError, match=rf"smoothing must lie in \(0, 1\], got {smoothing}"):
        ResampledPrior(normal(2), bumps, smoothing=smoothing)


@pytest.mark.parametrize("num_proposals", [0, -5])
def test_bad_number_of_proposals(num_proposals):
    with pytest.raises(ValueError, match=f"num_proposals must be at least 1, got {num_proposals}"):
        ResampledPrior(normal(2), bumps, num_proposals=num_proposals)


def test_log_prob_before_z_is_known():
    with pytest.raises(ValueError, match="Z has not been estimated"):
        ResampledPrior(normal(2), bumps).log_prob(torch.zeros(2))
    for ask in (lambda p: p.log_prob(torch.zeros(2)), lambda p: p.expected_proposals):
        with pytest.raises(ValueError, match="log_z is not known"):
            ask(ResampledDistribution(normal(2), bumps))


@pytest.mark.parametrize("proposal", [Normal(torch.zeros(2), 1.0), Uniform(torch.zeros(1), 1.0)])
def test_proposal_with_a_batch_shape(proposal):
    with pytest.raises(ValueError, match=r"batch shape .*Independent"):
        ResampledDistribution(proposal, bumps)


def test_docstring_examples_run():
    torch.manual_seed(0)
    modules = (contracts, density, distribution, normalizer, prior_module)
    names = {"torch": torch, "AcceptanceFunction": AcceptanceFunction}
    results = [doctest.testmod(module, extraglobs=names) for module in modules]
    assert sum(result.attempted for result in results) > 10
    assert all(result.failed == 0 for result in results)
