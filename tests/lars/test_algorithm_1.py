"""Algorithm 1 against its literal transcription, and where numbers get extreme."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
import zuko
from lars_cases import TRUNCATIONS, decimals, exact_density, floats, normal, stored_prior
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

from resampled_priors import (
    AcceptanceFunction,
    ResampledPrior,
    estimate_z,
    log_resampled_density,
)
from resampled_priors.lars import (
    smoothed_log_z,
)


def algorithm_1(proposals_a, ratio, a, average, smoothing):
    """Algorithm 1, line by line, in linear space: Z_r for each data point, and the new ⟨Z⟩."""
    num_proposals = len(proposals_a)
    z_s = proposals_a.sum() / num_proposals  # 1
    z_r, smooth = [], []
    for ratio_r, a_r in zip(ratio, a, strict=True):  # 2
        current = (num_proposals * z_s + ratio_r.detach() * a_r) / (num_proposals + 1)  # 3
        smooth.append((1 - smoothing) * average + smoothing * current)  # 4
        z_r.append(current + (smooth[-1] - current).detach())  # 5
    return torch.stack(z_r), torch.stack(smooth).detach().mean()  # 6, 7


def assert_same_gradients(ours, theirs, inputs):
    """Equal gradients of two vectors, weighted by random numbers, so that no two terms swap."""
    weights = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(9))
    gradients = [
        torch.autograd.grad(
            (weights * output).sum(), inputs, retain_graph=True, materialize_grads=True
        )
        for output in (ours, theirs)
    ]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-13)
    return gradients[0]


@pytest.mark.parametrize("smoothing", [0.1, 0.01, 1.0])
def test_smoothed_log_z_against_algorithm_1(smoothing):
    torch.manual_seed(0)
    log_a_s = (-5 * torch.rand(64, dtype=torch.float64)).requires_grad_()
    log_a_r = (-5 * torch.rand(7, dtype=torch.float64)).requires_grad_()
    log_ratio = torch.randn(7, dtype=torch.float64)
    average = torch.tensor(0.37, dtype=torch.float64)
    log_z, new_average = smoothed_log_z(log_a_s, average, smoothing, log_ratio + log_a_r)
    z, expected_average = algorithm_1(
        log_a_s.exp(), log_ratio.exp(), log_a_r.exp(), average, smoothing
    )
    torch.testing.assert_close(log_z, z.log(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(new_average, expected_average, rtol=1e-12, atol=0)
    assert not new_average.requires_grad
    gradients = assert_same_gradients(log_z, z.log(), [log_a_s, log_a_r])
    assert all((gradient != 0).all() for gradient in gradients)


def test_smoothed_log_z_without_data_points():
    torch.manual_seed(0)
    log_a_s = (-5 * torch.rand(64, dtype=torch.float64)).requires_grad_()
    average = torch.tensor(0.37, dtype=torch.float64)
    log_z, new_average = smoothed_log_z(log_a_s, average, 0.1)
    current = log_a_s.exp().mean()
    smooth = 0.9 * average + 0.1 * current
    expected = (current + (smooth - current).detach()).log()
    torch.testing.assert_close(log_z, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(new_average, smooth.detach(), rtol=1e-13, atol=0)
    assert_same_gradients(log_z, expected, [log_a_s])


def learned_normal():
    loc, scale = torch.tensor([0.3, -0.2]), torch.tensor([0.8, 1.3])
    return zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, loc, scale, buffer=False
    ).double()


def flow():
    torch.manual_seed(3)
    return zuko.flows.RealNVP(2, transforms=2, hidden_features=(8, 8)).double()


PROPOSALS = {"fixed": lambda: normal(2), "learned normal": learned_normal, "flow": flow}


def training_case(name, truncation, smoothing=0.1):
    """A prior, the outputs of an encoder, and z with its log posterior, all in float64."""
    proposal = PROPOSALS[name]()
    torch.manual_seed(2)
    log_a = AcceptanceFunction(2, hidden=(10,)).double()
    for parameter in log_a.parameters():
        nn.init.normal_(parameter)
    prior = ResampledPrior(proposal, log_a, truncation, smoothing, num_proposals=32).double()
    prior.z_average.fill_(0.42)
    mean = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    log_std = torch.full((5, 2), -0.7, dtype=torch.float64, requires_grad=True)
    posterior = Independent(Normal(mean, log_std.exp()), 1)
    z = posterior.rsample()
    return prior, [mean, log_std], z, posterior.log_prob(z)


def literal_training_log_prob(prior, z, log_posterior):
    """Algorithm 1 and eq. 3 or 4 in linear space, from the same random numbers."""
    proposal = prior.proposal() if isinstance(prior.proposal, nn.Module) else prior.proposal
    proposals_a = prior.log_a(proposal.rsample((prior.num_proposals,))).exp()
    pi, a = proposal.log_prob(z).exp(), prior.log_a(z).exp()
    z_r, new_average = algorithm_1(
        proposals_a, pi / log_posterior.exp(), a, prior.z_average, prior.smoothing
    )
    if prior.truncation is None:
        return (pi * a / z_r).log(), new_average
    alpha = (1 - z_r) ** (prior.truncation - 1)
    return (pi * a * (1 - alpha) / z_r + alpha * pi).log(), new_average


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("name", PROPOSALS)
def test_training_log_prob_against_its_literal_transcription(name, truncation, smoothing):
    prior, encoder_outputs, z, log_posterior = training_case(name, truncation, smoothing)
    torch.manual_seed(7)
    ours = prior.training_log_prob(z, log_posterior)
    average = prior.z_average.clone()
    prior.z_average.fill_(0.42)
    torch.manual_seed(7)
    theirs, expected_average = literal_training_log_prob(prior, z, log_posterior)
    assert ours.shape == (5,)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(average, expected_average, rtol=1e-10, atol=0)
    assert not average.requires_grad
    inputs = [*prior.parameters(), *encoder_outputs]
    gradients = assert_same_gradients(ours, theirs, inputs)
    if truncation != 1:  # T = 1 is the proposal: a(z) then has no part in it
        assert all(gradient.any() for gradient in gradients)


def test_no_gradient_passes_through_the_density_ratio():
    prior, _, z, _ = training_case("learned normal", 5)
    log_posterior = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    density = prior.training_log_prob(z.detach(), log_posterior)
    (gradient,) = torch.autograd.grad(density.sum(), [log_posterior], allow_unused=True)
    assert gradient is None


def test_a_learned_proposal_is_trained_in_both_ways():
    prior, _, z, log_posterior = training_case("flow", None)
    z, log_posterior = z.detach(), log_posterior.detach()
    parameters = list(prior.proposal.parameters())

    def gradients(value):
        return torch.autograd.grad(value, parameters, retain_graph=True)

    density = prior.training_log_prob(z, log_posterior)
    log_pi = prior.proposal().log_prob(z)
    assert all(gradient.any() for gradient in gradients(log_pi.sum()))
    # What is left of the untruncated gradient comes through the reparameterised proposals in Z.
    assert all(gradient.any() for gradient in gradients(density.sum() - log_pi.sum()))
    # A constant a(z) leaves the first alone.
    constant = ResampledPrior(prior.proposal, lambda z: -1.0 + 0 * z[..., 0], None).double()
    density = constant.training_log_prob(z, log_posterior)
    for mine, other in zip(gradients(density.sum()), gradients(log_pi.sum()), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_a_proposal_without_reparameterisation():
    torch.manual_seed(0)
    proposal = Independent(Bernoulli(torch.full((4,), 0.3)), 1)
    prior = ResampledPrior(proposal, AcceptanceFunction(4, hidden=(3,)), truncation=5)
    density = prior.training_log_prob(torch.ones(6, 4), torch.zeros(6))
    density.sum().backward()
    assert all(parameter.grad.any() for parameter in prior.parameters())


def test_the_moving_average_moves_in_training_alone():
    prior, _, z, log_posterior = training_case("fixed", 5)
    before = {name: buffer.clone() for name, buffer in prior.state_dict().items()}

    def step():
        torch.manual_seed(11)
        return prior.training_log_prob(z, log_posterior).detach()

    prior.eval()
    first, again = step(), step()
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    for name, buffer in prior.state_dict().items():
        torch.testing.assert_close(buffer, before[name], rtol=0, atol=0, equal_nan=True)
    prior.train()
    torch.testing.assert_close(step(), first, rtol=0, atol=0)  # of the average before it
    average = prior.z_average.clone()
    current = (average - 0.9 * 0.42) / 0.1  # mean over r of Z_r,curr
    later = step()
    expected = float(0.9 * average + 0.1 * current)
    assert float(prior.z_average) == pytest.approx(expected, rel=1e-12)
    assert not torch.equal(first, later)
    changed = {n for n, b in prior.state_dict().items() if not torch.equal(b, before[n])}
    assert changed - {"log_z"} == {"z_average"}  # log_z is NaN still
    assert prior.log_z.isnan()


@pytest.mark.parametrize("name", PROPOSALS)
def test_the_moving_average_starts_by_itself(name):
    """As the current estimate, so that the first step's Z_smooth is it; from then on it moves."""
    prior, _, z, log_posterior = training_case(name, 5)
    prior.z_average.fill_(math.nan)
    torch.manual_seed(11)
    density = prior.training_log_prob(z, log_posterior)
    started = float(prior.z_average)
    assert 0 < started < 1
    prior.z_average.fill_(started)  # the mean over r of Z_r,curr is what it started from
    torch.manual_seed(11)
    torch.testing.assert_close(prior.training_log_prob(z, log_posterior), density)
    assert float(prior.z_average) == pytest.approx(started, rel=1e-12)


def test_start_sets_the_moving_average_to_an_estimate_of_z():
    prior, _, _, _ = training_case("fixed", 5)
    exact = estimate_z(prior.proposal, prior.log_a, 1_000_000)
    prior.start()
    a = prior.log_a(prior.proposal.sample((100_000,))).exp().detach()
    error = float(a.std()) / math.sqrt(10_000) + exact.standard_error
    assert abs(float(prior.z_average) - exact.mean) < 4.5 * error  # of 10,000 proposals


def test_estimate_z_stores_what_it_returns():
    prior = stored_prior(1)
    torch.manual_seed(3)
    estimate = prior.estimate_z(5_000)
    assert estimate.num_samples == 5_000
    assert float(prior.log_z) == pytest.approx(estimate.log_mean, rel=1e-6)
    torch.manual_seed(3)
    assert estimate_z(prior.proposal, prior.log_a, 5_000) == estimate


@pytest.mark.parametrize("truncation", [2, 100, 10**9, None])
@pytest.mark.parametrize("smoothing", [0.1, 0.01, 1.0])
@pytest.mark.parametrize("average", [1.0, 1e-30, 0.0])
@pytest.mark.parametrize("others", [0.0, math.log(1e-30), -200.0, -1e4])
def test_extremes_of_algorithm_1_in_float32(others, average, smoothing, truncation):
    log_a_s = torch.full((1024,), others, requires_grad=True)
    log_a_r = torch.tensor([0.0, -1.0, -70.0, -1e4], requires_grad=True)
    log_ratio = torch.tensor([-100.0, -30.0, 40.0, -100.0])
    log_z, new_average = smoothed_log_z(
        log_a_s, torch.tensor(average), smoothing, log_ratio + log_a_r
    )
    log_pi = torch.full((4,), -70.0)
    density = log_resampled_density(log_pi, log_a_r, log_z, truncation)
    density.sum().backward()
    for tensor in (log_z, new_average, density, log_a_s.grad, log_a_r.grad):
        assert tensor.isfinite().all()
    others32 = float(torch.tensor(others))
    with localcontext() as context:
        context.prec = 60
        # An average of 0 counts as the smallest normal float32.
        kept = Decimal(max(float(torch.tensor(average)), torch.finfo(torch.float32).tiny))
        epsilon = Decimal(smoothing)
        smooth = []
        for log_a, ratio in zip(log_a_r.tolist(), log_ratio.tolist(), strict=True):
            log_as, log_weighted = decimals(others32, log_a + ratio)
            current = (1024 * log_as.exp() + log_weighted.exp()) / 1025
            smooth.append((1 - epsilon) * kept + epsilon * current)
        expected = [float(value.ln()) for value in smooth]
        mean = float(sum(smooth) / 4)
    scale = max(70.0, abs(others))
    assert log_z.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert float(new_average) == pytest.approx(mean, rel=2e-5, abs=1e-37)
    for i in range(4):
        if -1e3 < log_z[i].item() < -1e-5:  # at Z = 1 to rounding α_T is no more than rounding
            values = floats(log_pi[i], log_a_r[i], log_z[i])
            exact_value = exact_density(*values, truncation)
            assert density[i].item() == pytest.approx(exact_value, abs=1e-6 * max(scale, 1e4))


@pytest.mark.parametrize("truncation", [2, 100, 10**9, None])
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize("bias", [-1e4, math.log(1e-30), 0.0, 30.0, 1e4])
def test_training_stays_finite_where_the_network_saturates(bias, smoothing, truncation):
    torch.manual_seed(0)
    log_a = AcceptanceFunction(3, hidden=(8,))
    nn.init.constant_(log_a.network[-1].bias, bias)
    prior = ResampledPrior(normal(3, torch.float32), log_a, truncation, smoothing)
    z = torch.randn(16, 3, requires_grad=True)
    for log_posterior in (torch.full((16,), 4.0), torch.full((16,), -15.0)):
        density = prior.training_log_prob(z, log_posterior)
        density.sum().backward()
        assert density.isfinite().all()
        assert prior.z_average.isfinite()
        assert all(tensor.grad.isfinite().all() for tensor in [z, *prior.parameters()])
