"""NLL and ELBO against models whose marginal likelihood is known.

Statistical tests are seeded; each states how often it would fail by chance with another seed.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal
from torch.nn import functional as F

from resampled_priors import evaluation
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.evaluation import estimate_model_z, evaluate, importance_weighted_terms
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.lars import ResampledPrior
from resampled_priors.models import build_model
from resampled_priors.models.base import LatentVariableModel, Pass, diagonal_normal_sample
from resampled_priors.models.hierarchical import HierarchicalVAE
from resampled_priors.priors import DistributionPrior
from resampled_priors.priors.normal import StandardNormal

CONFIG = load_config([Path(__file__).parents[1] / "config.yaml"])
D = 5  # "pixels" of the toys


def gaussian_pixels(sigma):
    return lambda means: Independent(Normal(means, sigma), 1)


class LinearGaussian(LatentVariableModel):
    """x = W z + σ·noise, z ~ prior; q(z|x) is Gaussian, with a mean linear in x that is off."""

    def __init__(self, prior, weight, sigma=0.7, shift=0.15, widen=1.3):
        super().__init__(prior, (1, D), gaussian_pixels(sigma), weight.shape[1])
        self.weight, self.sigma = weight, sigma
        features = weight.shape[1]
        covariance = torch.linalg.inv(torch.eye(features).double() + weight.T @ weight / sigma**2)
        self.gain, self.shift = covariance @ weight.T / sigma**2, shift
        self.log_std = (widen * covariance.diagonal().sqrt()).log()

    def encode(self, x):
        mean = x @ self.gain.T + self.shift
        return mean, self.log_std.expand_as(mean)

    def forward_pass(self, x, num_samples):
        mean, log_std = self.encode(x)
        z, log_q = diagonal_normal_sample(mean, log_std, (num_samples, *mean.shape))
        return Pass(z, log_q, z @ self.weight.T)

    def conditional(self, z):
        """Mean and covariance of p(x|z)."""
        return z @ self.weight.T, self.sigma**2 * torch.eye(D).double()


class Join(nn.Module):
    def forward(self, a, b):
        return torch.cat([a.expand(*b.shape[:-1], a.shape[-1]), b], dim=-1)


class LinearNormal(nn.Module):
    """h -> mean W h + shift, and a constant log standard deviation."""

    def __init__(self, weight, std, shift=0.0):
        super().__init__()
        self.weight, self.log_std, self.shift = weight, std.log(), shift

    def forward(self, h):
        mean = h @ self.weight.T + self.shift
        return mean, self.log_std.expand_as(mean)


class Matrix(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, h):
        return h @ self.weight.T


SIGMA, S1 = 0.6, 0.8


class TwoLayers(HierarchicalVAE):
    """The product's two-layer model with linear networks: z1 = A z2 + s1·noise,

    x = B z1 + C z2 + σ·noise.
    """

    def __init__(self, prior, features):
        generator = torch.Generator().manual_seed(features)

        def matrix(rows, columns):
            return torch.randn(rows, columns, generator=generator).double()

        a, b, c = matrix(features, features), matrix(D, features), matrix(D, features)
        eye = torch.eye(features).double()
        self_covariance = S1**2 * b @ b.T + SIGMA**2 * torch.eye(D).double()
        m = b @ a + c  # E[x|z2] = m z2
        gain = m.T @ torch.linalg.inv(m @ m.T + self_covariance)
        std_2 = (eye - gain @ m).diagonal().sqrt()
        covariance_1 = torch.linalg.inv(eye / S1**2 + b.T @ b / SIGMA**2)
        to_1 = covariance_1 @ torch.cat([b.T / SIGMA**2, a / S1**2 - b.T @ c / SIGMA**2], dim=1)
        super().__init__(
            prior,
            (1, D),
            gaussian_pixels(SIGMA),
            features,
            LinearNormal(gain, 1.3 * std_2, shift=0.1),
            [Join(), LinearNormal(to_1, 1.2 * covariance_1.diagonal().sqrt(), shift=-0.1)],
            [Join(), Matrix(torch.cat([b, c], dim=1))],
        )
        self.prior_1 = LinearNormal(a, torch.full((features,), S1).double())
        self.m, self.covariance = m, self_covariance

    def conditional(self, z):
        """Mean and covariance of p(x|z2)."""
        return z @ self.m.T, self.covariance


def weight(features):
    generator = torch.Generator().manual_seed(10 + features)
    return torch.randn(D, features, generator=generator).double()


def normal_prior(features):
    return DistributionPrior(StandardNormal(features)).double()


def linear_gaussian(prior, features):
    return LinearGaussian(prior, weight(features))


TOYS = {"one latent": linear_gaussian, "two latents": TwoLayers}


def marginal(model):
    """p(x) where the prior is N(0, I)."""
    zero = torch.zeros(model.latent_size).double()
    mean, covariance = model.conditional(zero)
    columns = model.conditional(torch.eye(model.latent_size).double())[0]
    return MultivariateNormal(mean, covariance + columns.T @ columns)


def deviation(values, expected):
    """Mean difference in units of its standard error."""
    difference = values - expected
    return float(difference.mean() / difference.std() * math.sqrt(len(difference)))


def assert_nll_agrees(model, x, exact, num_samples):
    """The average weight is unbiased exactly, its logarithm to 1/K; false alarms in 2 × 5e-4."""
    estimate = importance_weighted_terms(model, x, num_samples)["log_likelihood"]
    assert estimate.shape == exact.shape == (len(x),)
    assert estimate.dtype == torch.float64
    ratio = (estimate - exact).exp()
    assert abs(deviation(ratio, 1.0)) < 3.48
    # E log w̄ = log p − Var(w̄)/2 to first order; the spread of the ratio measures Var(w̄).
    error = float((estimate - exact).std() / math.sqrt(len(x)))
    bias = float(ratio.var() / 2)
    assert float((exact - estimate).mean()) == pytest.approx(bias, abs=3.48 * error + bias)
    assert error < 0.01  # nats: fine enough to see a wrong term
    metrics = evaluate(model, x, num_samples)
    assert metrics["nll"] == pytest.approx(-float(exact.mean()), abs=5 * error + 2 * bias)


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("toy", TOYS)
def test_nll_against_the_closed_form(toy, features):
    torch.manual_seed(0)
    model = TOYS[toy](normal_prior(features), features)
    x = marginal(model).sample((400,))
    exact = marginal(model).log_prob(x)
    assert_nll_agrees(model, x, exact, num_samples=400)
    # One sample is a bound only: the posterior is off by more than the test's resolution.
    one = importance_weighted_terms(model, x, 1)["log_likelihood"]
    assert float((exact - one).mean()) > 0.05


def bumps(z):
    first = torch.exp(-((z[..., 0] - 1.0) ** 2) / 0.18)
    last = torch.exp(-((z[..., 0] + 0.5) ** 2) / 0.08)
    return (0.45 * first + 0.5 * last + 0.02).log()


@pytest.mark.parametrize("truncation", [3, 100, None])
@pytest.mark.parametrize("toy", TOYS)
def test_nll_under_lars_against_quadrature(toy, truncation):
    nodes, weights = (torch.tensor(v) for v in np.polynomial.legendre.leggauss(1_000))
    z, step = 8 * nodes[:, None], 8 * weights  # ∫ f = Σ step·f(z)
    pi, a = torch.exp(-(z[:, 0] ** 2) / 2) / math.sqrt(2 * math.pi), bumps(z).exp()
    true_z = float((pi * a * step).sum())
    alpha = 0.0 if truncation is None else (1 - true_z) ** (truncation - 1)
    density = pi * a * (1 - alpha) / true_z + alpha * pi
    assert float((density * step).sum()) == pytest.approx(1, abs=1e-9)

    torch.manual_seed(1)
    proposal = Independent(Normal(torch.zeros(1).double(), torch.ones(1).double()), 1)
    prior = ResampledPrior(proposal, bumps, truncation).double()
    prior.log_z.fill_(math.log(true_z))
    model = TOYS[toy](prior, 1)
    x = marginal(model).sample((400,))
    means, covariance = model.conditional(z)
    likelihood = MultivariateNormal(means, covariance).log_prob(x[:, None])
    exact = torch.logsumexp(likelihood + (density * step).log(), dim=1)
    assert_nll_agrees(model, x, exact, num_samples=2_000)
    assert float((exact - marginal(model).log_prob(x)).abs().mean()) > 0.1


def test_elbo_terms_against_the_closed_form():
    """Mean error over the images in standard errors; false alarms in 2 × 5e-4."""
    torch.manual_seed(0)
    model = linear_gaussian(normal_prior(2), 2)
    x = marginal(model).sample((400,))
    terms = importance_weighted_terms(model, x, 200)
    mean, log_std = model.encode(x)
    variance = (2 * log_std).exp()
    kl = 0.5 * (mean**2 + variance - 1 - 2 * log_std).sum(-1)
    spread = (variance[:, None] * model.weight**2).sum(-1) / (2 * model.sigma**2)
    fit = Normal(mean @ model.weight.T, model.sigma).log_prob(x)
    recons = -(fit - spread).sum(-1)
    assert abs(deviation(terms["kl"], kl)) < 3.48
    assert abs(deviation(terms["recons"], recons)) < 3.48
    metrics = evaluate(model, x, 200)
    assert metrics["kl"] == pytest.approx(float(kl.mean()), abs=0.02)
    assert metrics["recons"] == pytest.approx(float(recons.mean()), abs=0.05)


def test_kl_of_two_latents_covers_both():
    """E log q(z2|x) q(z1|x,z2) − log p(z2) p(z1|z2), in closed form; false alarms in 5e-4."""
    torch.manual_seed(0)
    model = TwoLayers(normal_prior(2), 2)
    x = marginal(model).sample((400,))
    mean, log_std = model.encode(x)
    std_2 = log_std.exp()
    upper = 0.5 * (mean**2 + std_2**2 - 1 - 2 * log_std).sum(-1)
    to_1, log_std_1 = model.posterior_1.weight, model.posterior_1.log_std
    difference = torch.cat([to_1[:, :D], to_1[:, D:] - model.prior_1.weight], dim=1)
    mean_1 = torch.cat([x, mean], dim=-1) @ difference.T + model.posterior_1.shift
    spread = ((std_2[:, None] * difference[:, D:]) ** 2).sum(-1)
    second_moment = mean_1**2 + spread + (2 * log_std_1).exp()
    lower = (second_moment / (2 * S1**2) - 0.5 + math.log(S1) - log_std_1).sum(-1)
    estimate = importance_weighted_terms(model, x, 200)["kl"]
    assert abs(deviation(estimate, upper + lower)) < 3.48
    assert float(lower.mean()) > 0.1


# --- chunks and memory ---------------------------------------------------------------------


class Counted(LatentVariableModel):
    """Terms that are a function of the image's number and of how many samples it has had."""

    def __init__(self):
        super().__init__(None, (1, 1), None, 1)
        self.drawn = {}

    @staticmethod
    def known(numbers, samples):
        angle = numbers + 0.37 * samples[:, None] * (1 + numbers % 3)
        return 300 * angle.sin(), 40 * (1.3 * angle).cos(), 25 * (0.7 * angle).sin()

    def terms(self, x, num_samples):
        first = self.drawn.get(int(x[0, 0]), 0)
        for number in x[:, 0].int().tolist():
            assert self.drawn.get(number, 0) == first
            self.drawn[number] = first + num_samples
        return self.known(x[:, 0], torch.arange(first, first + num_samples).double())


@pytest.mark.parametrize("rows", [1, 7, 40, 4_000])
@pytest.mark.parametrize("num_samples", [1, 7, 30, 100])
def test_the_result_does_not_depend_on_the_chunks(rows, num_samples, monkeypatch):
    monkeypatch.setitem(evaluation.ROWS, "cpu", rows)
    model, x = Counted(), torch.arange(11).double()[:, None]
    terms = importance_weighted_terms(model, x, num_samples)
    assert model.drawn == dict.fromkeys(range(11), num_samples)
    likelihood, prior, posterior = Counted.known(x[:, 0], torch.arange(num_samples).double())
    weights = likelihood + prior - posterior
    bound = torch.logsumexp(weights, dim=0) - math.log(num_samples)
    exact = {"rtol": 1e-13, "atol": 1e-12}
    torch.testing.assert_close(terms["log_likelihood"], bound, **exact)
    torch.testing.assert_close(terms["recons"], -likelihood.mean(0), **exact)
    torch.testing.assert_close(terms["kl"], (posterior - prior).mean(0), **exact)


@pytest.mark.parametrize("rows", [30, 125, 4_000])
def test_chunks_of_a_random_model_agree_within_their_error(rows, monkeypatch):
    """Against the closed form whatever ROWS is; false alarms in 2 × 5e-4."""
    monkeypatch.setitem(evaluation.ROWS, "cpu", rows)
    torch.manual_seed(2)
    model = linear_gaussian(normal_prior(2), 2)
    x = marginal(model).sample((100,))
    assert_nll_agrees(model, x, marginal(model).log_prob(x), num_samples=250)


def build(model, prior="standard"):
    torch.manual_seed(0)
    return build_model(resolve_run(CONFIG, Run("short", "digits", model, prior, 0)), (28, 28))


def binary_images(size):
    return (torch.rand(size, 784, generator=torch.Generator().manual_seed(0)) < 0.3).float()


@pytest.mark.parametrize("num_samples", [10, 401])
@pytest.mark.parametrize("name", ["vae", "hvae", "conv_hvae", "vae_resampled_output"])
def test_memory_is_bounded_whatever_k_is(name, num_samples, monkeypatch):
    monkeypatch.setitem(evaluation.ROWS, "cpu", 40)
    model = build(name)
    if model.resampling.truncation != 1:
        model.resampling.log_z.fill_(-0.7)
    rows, largest = [], []

    def watch(module, arguments, output):
        if isinstance(output, torch.Tensor):
            largest.append(output.numel())

    for module in model.modules():
        module.register_forward_hook(watch)
    model.decoder.register_forward_hook(lambda *a: rows.append(a[2].numel() // 784))
    terms = importance_weighted_terms(model, binary_images(9), num_samples)
    assert terms["log_likelihood"].shape == (9,)
    assert sum(rows) == 9 * num_samples
    assert max(rows) == 40  # and no more
    width = 32 * 14 * 14 if name == "conv_hvae" else 784  # of the widest layer
    assert max(largest) <= 40 * width


def test_rows_at_their_real_size():
    model, rows = build("vae_2d"), []
    model.decoder.register_forward_hook(lambda *a: rows.append(a[2].numel() // 784))
    importance_weighted_terms(model, binary_images(1), 2_001)
    assert rows == [2_000, 1]
    rows.clear()
    importance_weighted_terms(model, binary_images(10), 300)
    assert rows == [1_800, 1_200]


def test_nothing_of_the_graph_is_kept():
    terms = importance_weighted_terms(build("vae"), binary_images(2), 3)
    assert not any(term.requires_grad for term in terms.values())


# --- metrics -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae", "hvae"])
@pytest.mark.parametrize("num_samples", [1, 20])
def test_elbo_is_the_sum_of_its_parts_and_no_better_than_the_nll(name, num_samples):
    model, x = build(name), binary_images(15)
    torch.manual_seed(4)
    metrics = evaluate(model, x, num_samples)
    assert metrics["elbo"] == pytest.approx(metrics["kl"] + metrics["recons"], rel=1e-12)
    assert metrics["elbo"] >= metrics["nll"] * (1 + 1e-14 * (num_samples == 1)) - 1e-9
    if num_samples == 1:
        assert metrics["elbo"] == pytest.approx(metrics["nll"], rel=1e-12)
    torch.manual_seed(4)
    terms = importance_weighted_terms(model, x, num_samples)
    assert metrics["nll"] == pytest.approx(-float(terms["log_likelihood"].mean()), rel=1e-12)
    assert (terms["kl"] + terms["recons"] >= -terms["log_likelihood"] - 1e-9).all()


def test_standard_errors_against_the_spread_over_new_images():
    """Variance of 300 repeats against the mean squared error; false alarms in 4 × 1e-3."""
    torch.manual_seed(0)
    model = linear_gaussian(normal_prior(2), 2)
    repeats = [evaluate(model, marginal(model).sample((60,)), 20) for _ in range(300)]
    for name in ("nll", "elbo", "kl", "recons"):
        values = np.array([metrics[name] for metrics in repeats])
        squares = np.array([metrics[f"{name}_se"] ** 2 for metrics in repeats])
        low, high = stats.chi2(299).ppf([5e-4, 1 - 5e-4]) / 299
        # kl and nll are sums of squares of normal variables: their variance estimates vary more
        # than a normal variable's, by less than this.
        noise = 4 * squares.std() / math.sqrt(300) / squares.mean()
        assert low - noise < values.var(ddof=1) / squares.mean() < high + noise


def test_one_image_has_no_standard_error():
    metrics = evaluate(build("vae"), binary_images(1), 2)
    assert metrics["nll_se"] is metrics["elbo_se"] is None
    assert math.isfinite(metrics["nll"])


def test_metrics_that_are_not_finite_are_refused():
    model = build("vae")
    nn.init.constant_(model.decoder[-1].bias, math.nan)
    message = "nll is nan: the model gives values that are not finite; look at its training.csv"
    with pytest.raises(ResampledPriorsError, match=message):
        evaluate(model, binary_images(3), 2)


# --- Z -------------------------------------------------------------------------------------


def test_z_of_a_model_without_lars_is_1():
    estimate = estimate_model_z(build("vae", "realnvp"), 10**9, None)
    assert (estimate.mean, estimate.standard_error, estimate.num_samples) == (1.0, 0.0, 0)
    assert (estimate.log_mean, estimate.log_standard_error) == (0.0, 0.0)


@pytest.mark.parametrize("prior", ["lars", "lars_realnvp"])
def test_z_of_a_model_is_stored_in_its_prior(prior):
    """Against a mean of a over fresh proposals; false alarms in 5e-4."""
    model = build("vae_2d", prior)
    for parameter in model.prior.log_a.parameters():
        nn.init.normal_(parameter)
    torch.manual_seed(3)
    with torch.no_grad():
        z = model.prior.proposal().sample((40_000,))
        a = F.sigmoid(model.prior.log_a.network(z)).double()
        estimate = estimate_model_z(model, 40_000, None)
    error = math.hypot(float(a.std()) / 200, estimate.standard_error)
    assert estimate.mean == pytest.approx(float(a.mean()), abs=3.48 * error)
    assert float(model.prior.log_z) == pytest.approx(estimate.log_mean, rel=1e-6)
    assert estimate.num_samples == 40_000


def test_z_of_0_is_refused():
    model = build("vae_2d", "lars_Tinf")
    nn.init.constant_(model.prior.log_a.network[-1].bias, -1e4)
    with pytest.raises(ResampledPriorsError, match=r"none of 1000 proposals .* raise z_samples"):
        estimate_model_z(model, 1_000, None)
    assert model.prior.log_z.isnan()


def test_an_acceptance_function_that_gives_nan_is_refused():
    model = build("vae_2d", "lars")
    nn.init.constant_(model.prior.log_a.network[-1].bias, math.nan)
    with pytest.raises(ResampledPriorsError, match=r"not finite.*training.csv and train it again"):
        estimate_model_z(model, 1_000, None)
