"""LARS in other people's models: the contract of torch.distributions, and zuko's flows."""

import math

import pytest
import torch
import zuko
from torch.distributions import (
    AffineTransform,
    Independent,
    Normal,
    TransformedDistribution,
    constraints,
)

from resampled_priors import AcceptanceFunction, ResampledDistribution, ResampledPrior
from resampled_priors.lars import log_resampled_density

STEP = 0.05
AXIS = torch.arange(-9, 9 + STEP / 2, STEP, dtype=torch.float64)
GRID = torch.cartesian_prod(AXIS, AXIS)


def normal(features=2):
    zeros = torch.zeros(features, dtype=torch.float64)
    return Independent(Normal(zeros, torch.ones_like(zeros)), 1)


def log_a(z):
    """Keeps a ring: a(z) far from 1 over most of the proposal."""
    return -4 * (z.norm(dim=-1) - 1.5).square()


def quadrature_log_z(acceptance=log_a):
    return ((normal().log_prob(GRID) + acceptance(GRID)).exp().sum() * STEP**2).log()


@pytest.fixture(params=[3, 100, None], ids=["T=3", "T=100", "T=inf"])
def ring(request):
    return ResampledDistribution(normal(), log_a, request.param, quadrature_log_z())


def assert_mean_agrees(samples, log_density, statistic):
    """The samples' mean of a statistic lies within 5 standard errors of the density's."""
    expected = (log_density(GRID).exp() * statistic(GRID)).sum() * STEP**2
    values = statistic(samples)
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - expected) < 5 * error


# torch.distributions -----------------------------------------------------------------------------


def test_what_a_distribution_says_of_itself(ring):
    assert (ring.batch_shape, ring.event_shape) == ((), (2,))
    assert not ring.has_rsample
    assert constraints.is_dependent(ring.support) is False and ring.support.event_dim == 1
    with pytest.raises(NotImplementedError):
        ring.rsample((2,))


def test_expand_gives_independent_copies(ring):
    torch.manual_seed(0)
    expanded = ring.expand((4, 3))
    assert isinstance(expanded, ResampledDistribution)
    assert (expanded.batch_shape, expanded.event_shape) == ((4, 3), (2,))
    assert expanded.truncation == ring.truncation
    samples = expanded.sample((200,))
    assert samples.shape == (200, 4, 3, 2)
    assert len(samples.flatten(0, 2).unique(dim=0)) == 2400
    assert_mean_agrees(samples.flatten(0, 2), ring.log_prob, lambda z: z.norm(dim=-1))
    torch.testing.assert_close(expanded.log_prob(samples), ring.log_prob(samples))
    # one z for the whole batch, as torch's own distributions take it
    z = samples[0, 0, 0]
    torch.testing.assert_close(expanded.log_prob(z), ring.log_prob(z).expand(4, 3))
    assert expanded.expand((5, 4, 3)).batch_shape == (5, 4, 3)
    with pytest.raises(RuntimeError):
        expanded.expand((4, 2))


def test_independent_sums_over_the_expanded_batch(ring):
    torch.manual_seed(0)
    joint = Independent(ring.expand((3,)), 1)
    z = joint.sample((5,))
    assert (z.shape, joint.event_shape) == ((5, 3, 2), (3, 2))
    torch.testing.assert_close(joint.log_prob(z), ring.log_prob(z).sum(-1))
    assert not joint.has_rsample


def test_under_a_transform_of_torch(ring):
    torch.manual_seed(0)
    moved = TransformedDistribution(ring, AffineTransform(1.0, 1.5, event_dim=1))
    assert (moved.log_prob(GRID).exp().sum() * STEP**2).item() == pytest.approx(1, abs=1e-6)
    assert_mean_agrees(moved.sample((4000,)), moved.log_prob, lambda x: x.norm(dim=-1))


# zuko --------------------------------------------------------------------------------------------


def coupling_flow(base):
    """A zuko flow, somewhat away from the identity, on this base."""
    torch.manual_seed(4)
    flow = zuko.flows.RealNVP(2, transforms=2, hidden_features=(8,)).double()
    return zuko.lazy.Flow(flow.transform, base)


def learned_prior(truncation=20):
    torch.manual_seed(5)
    acceptance = AcceptanceFunction(2, hidden=(10,)).double()
    for parameter in acceptance.parameters():
        torch.nn.init.normal_(parameter)
    prior = ResampledPrior(normal(), acceptance, truncation, num_proposals=64).double()
    with torch.no_grad():
        prior.log_z.fill_(quadrature_log_z(acceptance))
    return prior


def test_base_of_a_normalizing_flow(ring):
    torch.manual_seed(0)
    with torch.no_grad():
        transform = coupling_flow(None).transform()
        flow = zuko.distributions.NormalizingFlow(transform, ring)
        assert (flow.log_prob(GRID).exp().sum() * STEP**2).item() == pytest.approx(1, abs=1e-4)
        assert_mean_agrees(flow.sample((4000,)), flow.log_prob, lambda x: x.norm(dim=-1))
        x, log_density = flow.rsample_and_log_prob((7,))
        torch.testing.assert_close(flow.log_prob(x), log_density)
        assert flow.expand((3,)).sample((5,)).shape == (5, 3, 2)


@pytest.mark.parametrize("truncation", [20, None])
def test_lazy_flow_in_evaluation_is_the_change_of_variables(truncation):
    prior = learned_prior(truncation)
    flow = coupling_flow(prior).eval()
    x = torch.randn(6, 2, dtype=torch.float64)
    z, log_slope = flow.transform().call_and_ladj(x)
    torch.testing.assert_close(flow().log_prob(x), prior.log_prob(z) + log_slope)
    again = flow().log_prob(x)
    torch.testing.assert_close(flow().log_prob(x), again, rtol=0, atol=0)
    assert prior.z_average.isnan()  # evaluation moves nothing


def test_lazy_flow_with_a_context():
    prior = learned_prior()
    torch.manual_seed(6)
    transform = zuko.flows.RealNVP(2, context=3, transforms=2, hidden_features=(8,)).double()
    flow = zuko.lazy.Flow(transform.transform, prior).eval()
    context = torch.randn(5, 3, dtype=torch.float64)
    x = flow(context).sample((4,))
    assert x.shape == (4, 5, 2)
    log_prob = flow(context).log_prob(x)
    one_by_one = [flow(c).log_prob(x[:, i]) for i, c in enumerate(context)]
    torch.testing.assert_close(log_prob, torch.stack(one_by_one, dim=1))


@pytest.mark.parametrize("truncation", [20, None])
def test_training_a_lazy_flow_is_algorithm_1_without_data_points(truncation):
    prior = learned_prior(truncation)
    prior.z_average.fill_(0.3)
    flow = coupling_flow(prior).train()
    x = torch.randn(6, 2, dtype=torch.float64)
    torch.manual_seed(7)
    ours = flow().log_prob(x)

    torch.manual_seed(7)
    current = prior.log_a(normal().sample((64,))).exp().mean()
    smooth = (0.9 * 0.3 + 0.1 * current).detach()
    z_value = current + (smooth - current).detach()
    z, log_slope = flow.transform().call_and_ladj(x)
    theirs = log_slope + log_resampled_density(
        normal().log_prob(z), prior.log_a(z), z_value.log(), truncation
    )
    torch.testing.assert_close(ours, theirs)
    assert float(prior.z_average) == pytest.approx(float(smooth))
    assert not prior.z_average.requires_grad
    parameters = list(flow.parameters())
    expected = torch.autograd.grad(theirs.sum(), parameters)
    for mine, other in zip(torch.autograd.grad(ours.sum(), parameters), expected, strict=True):
        torch.testing.assert_close(mine, other)
        assert mine.any()  # every parameter, those of a(z) among them


def test_lazy_flow_asks_for_z_before_evaluation():
    flow = coupling_flow(ResampledPrior(normal(), log_a)).eval()
    with pytest.raises(ValueError, match=r"Z has not been estimated: call estimate_z\(10\*\*7\)"):
        flow()
