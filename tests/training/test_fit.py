"""A prior fitted to samples (eq. 5), against closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal, constraints
from training_runs import CONFIG

from resampled_priors import AcceptanceFunction, ResampledPrior, fit
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import Run, resolve_run
from resampled_priors.lars import estimate_z
from resampled_priors.priors import build_prior

LINE = Independent(Normal(torch.zeros(1), torch.ones(1)), 1)
SLOPE = 2.0


class SkewNormal(Distribution):
    """q(z) = N(z; 0, 1) σ(2z) / Z with Z = 1/2, since σ(2z) + σ(−2z) = 1."""

    support = constraints.real_vector
    arg_constraints = {}

    def __init__(self):
        super().__init__(event_shape=torch.Size([1]), validate_args=False)

    def log_prob(self, z):
        return math.log(2) + LINE.log_prob(z) + nn.functional.logsigmoid(SLOPE * z[..., 0])

    def sample(self, shape=()):  # what is refused at z is accepted at −z
        z = LINE.sample(shape)
        return torch.where(torch.rand(z.shape) < (SLOPE * z).sigmoid(), z, -z)


class LearnedNormal(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.log_std = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def forward(self):
        return Independent(Normal(self.mean, self.log_std.exp()), 1)


def test_a_normal_fitted_to_samples_has_their_mean_and_standard_deviation():
    torch.manual_seed(0)
    samples = torch.randn(500, 2) * torch.tensor([0.5, 2.0]) + torch.tensor([1.0, -1.0])
    normal = LearnedNormal()
    losses = fit(normal, samples, iterations=400, batch_size=500, learning_rate=0.02)
    assert len(losses) == 400
    torch.testing.assert_close(normal.mean.detach(), samples.mean(0), atol=0.05, rtol=0)
    std = samples.std(0, correction=0)
    torch.testing.assert_close(normal.log_std.exp().detach(), std, atol=0, rtol=0.05)
    entropy = 0.5 * math.log(2 * math.pi * math.e) * 2 + std.log().sum()
    assert sum(losses[-100:]) / 100 == pytest.approx(float(entropy), abs=0.05)


@pytest.mark.parametrize("known", [True, False], ids=["density known", "samples alone"])
@pytest.mark.parametrize("truncation", [None, 100], ids=["p_inf", "p_T"])
def test_lars_fitted_to_a_reweighted_normal_is_that_density(known, truncation):
    torch.manual_seed(0)
    target = SkewNormal()
    samples = target if known else target.sample((20_000,))
    prior = ResampledPrior(LINE, AcceptanceFunction(1, hidden=(10,)), truncation).eval()
    fit(prior, samples, iterations=600, learning_rate=0.02)
    assert not prior.training  # the mode it was in
    prior.estimate_z(200_000)
    z = torch.linspace(-2.5, 2.5, 101)[:, None]
    with torch.no_grad():
        p, q = prior.log_prob(z).exp(), target.log_prob(z).exp()
        torch.testing.assert_close(p, q, atol=0.025, rtol=0)
    assert (q - LINE.log_prob(z).exp()).abs().max() > 0.15  # far from the proposal


@pytest.mark.parametrize("family", ["nce", "trs", "dimensionwise"])
def test_rivals_with_an_acceptance_function_are_fitted_to_samples_alone(family):
    torch.manual_seed(0)
    target = SkewNormal()
    settings = resolve_run(CONFIG, Run("short", "digits", "vae", family, 0))["prior"]
    prior = build_prior(settings | {"hidden": [10]}, 1)
    fit(prior, target.sample((20_000,)), iterations=600, learning_rate=0.02)
    prior.eval().normalize(lambda proposal, log_a: estimate_z(proposal, log_a, 200_000))
    z = torch.linspace(-2.5, 2.5, 101)[:, None]
    with torch.no_grad():
        p, q = prior.log_prob(z).exp(), target.log_prob(z).exp()
    torch.testing.assert_close(p, q, atol=0.025, rtol=0)


def test_a_zuko_flow_is_fitted_too():
    import zuko

    torch.manual_seed(0)
    flow = zuko.flows.MAF(2, transforms=1, hidden_features=(8,))
    losses = fit(flow, 3 + torch.randn(1_000, 2), iterations=200)
    assert losses[-1] < losses[0] - 2


def test_the_progress_is_shown(capsys):
    fit(LearnedNormal(), torch.randn(10, 2), iterations=3)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "samples", [torch.zeros(5), torch.full((5, 2), math.nan)], ids=["no matrix", "NaN"]
)
def test_samples_that_cannot_be(samples):
    with pytest.raises(ResampledPriorsError, match=r"finite numbers of shape \(n, features\)"):
        fit(LearnedNormal(), samples)
