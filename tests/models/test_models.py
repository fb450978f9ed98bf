"""Priors and models against counts and densities worked out by other means.

Statistical tests are seeded; each states how often it would fail by chance with another seed.
"""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal
from torch.nn import functional as F

from resampled_priors.contracts import Prior
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.evaluation import estimate_model_z
from resampled_priors.experiment import Run, load_config, resolve_prior, resolve_run
from resampled_priors.lars import ResampledPrior
from resampled_priors.models import build_model, parameter_counts
from resampled_priors.models.hierarchical import conv_hvae, hvae
from resampled_priors.models.likelihoods import build_likelihood
from resampled_priors.priors import DistributionPrior, build_prior
from resampled_priors.priors.flows import maf, realnvp
from resampled_priors.priors.normal import StandardNormal

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])

# Weights plus biases of each layer, in the order of C.2, for 50 latents.
MLP_POSTERIOR = 784 * 300 + 300 + 300 * 300 + 300 + 300 * (50 + 50) + (50 + 50)
VAE_DECODER = 50 * 300 + 300 + 300 * 300 + 300 + 300 * 784 + 784
LOWER_PRIOR = 50 * 300 + 300 + 300 * 300 + 300 + 300 * (50 + 50) + (50 + 50)
LATENT_BRANCH = 50 * 300 + 300
HVAE_POSTERIOR_1 = 784 * 300 + 300 + LATENT_BRANCH + 600 * 300 + 300 + 300 * 100 + 100
HVAE_DECODER = 2 * LATENT_BRANCH + 600 * 300 + 300 + 300 * 784 + 784
CNN = (4 * 4 * 1 * 32 + 32) + (4 * 4 * 32 * 32 + 32) + (4 * 4 * 32 * 32 + 32)
CONV_POSTERIOR_2 = CNN + 512 * 100 + 100
CONV_POSTERIOR_1 = CNN + (50 * 512 + 512) + (1024 * 300 + 300) + (300 * 100 + 100)
TRANSPOSED_CNN = (4 * 4 * 32 * 32 + 32) + (4 * 4 * 32 * 32 + 32) + (4 * 4 * 32 * 1 + 1)
CONV_DECODER = 2 * LATENT_BRANCH + 600 * 512 + 512 + TRANSPOSED_CNN
MODELS = {
    "vae": MLP_POSTERIOR + VAE_DECODER,
    "vae_2d": (784 * 300 + 300 + 300 * 300 + 300 + 300 * 4 + 4)
    + (2 * 300 + 300 + 300 * 300 + 300 + 300 * 784 + 784),
    "hvae": MLP_POSTERIOR + HVAE_POSTERIOR_1 + LOWER_PRIOR + HVAE_DECODER,
    "conv_hvae": CONV_POSTERIOR_2 + CONV_POSTERIOR_1 + LOWER_PRIOR + CONV_DECODER,
    "vae_resampled_output": MLP_POSTERIOR + VAE_DECODER,
}
LARS = 50 * 100 + 100 + 100 * 100 + 100 + 100 + 1
# Each coupling layer maps 25 of the 50 features to a shift and a scale for the other 25.
REALNVP = 4 * (25 * 100 + 100 + 100 * 100 + 100 + 100 * (2 * 25) + 2 * 25)
MAF = 5 * (50 * 100 + 100 + 100 * 100 + 100 + 100 * (2 * 50) + 2 * 50)
PRIORS = {  # parameters of a(z), and of the rest of the prior
    "standard": (0, 0),
    "lars": (LARS, 0),
    "lars_posthoc": (LARS, 0),
    "lars_10-10": (50 * 10 + 10 + 10 * 10 + 10 + 10 + 1, 0),
    "lars_20-20": (50 * 20 + 20 + 20 * 20 + 20 + 20 + 1, 0),
    "lars_50-50": (50 * 50 + 50 + 50 * 50 + 50 + 50 + 1, 0),
    "lars_50-50-50": (50 * 50 + 50 + 2 * (50 * 50 + 50) + 50 + 1, 0),
    "lars_100-100-100": (50 * 100 + 100 + 2 * (100 * 100 + 100) + 100 + 1, 0),
    "lars_Tinf": (LARS, 0),
    "realnvp": (0, REALNVP),
    "maf": (0, MAF),
    "lars_realnvp": (LARS, REALNVP),
}


def build(model, prior="standard", seed=0):
    torch.manual_seed(seed)
    return build_model(
        resolve_run(CONFIG, Run("short", "dynamic_mnist", model, prior, seed)), (28, 28)
    )


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def images(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(size, 784, generator=generator) < 0.3).float()


def larger_weights(module, std=1.0):
    """Weights that make a network's output vary: as initialised, a(z) is nearly constant."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std / math.sqrt(parameter.shape[-1]))
    return module


# --- priors --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["realnvp", "maf", "lars_realnvp"])
def test_flows_have_the_papers_layers(name):
    prior = build_prior(resolve_prior(CONFIG, name), 50)
    flow = prior.proposal if isinstance(prior, ResampledPrior) else prior.lazy
    transforms = list(flow.transform.transforms)
    assert len(transforms) == (5 if name == "maf" else 4)
    widths = [
        [layer.out_features for layer in transform.hyper if hasattr(layer, "weight")]
        for transform in transforms
    ]
    assert widths == ([[100, 100, 100]] * 5 if name == "maf" else [[100, 100, 50]] * 4)
    for transform in transforms:
        for layer in list(transform.hyper)[::2]:  # the others are nonlinearities
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound
            assert not layer.bias.any()


def test_realnvp_swaps_the_halves():
    masks = [layer.mask for layer in realnvp(50, 4, [10]).transform.transforms]
    assert all(int(mask.sum()) == 25 for mask in masks)
    for first, second in itertools.pairwise(masks):
        assert torch.equal(first, ~second)


def test_maf_permutes_at_random_between_its_layers():
    torch.manual_seed(0)
    orders = [layer.order for layer in maf(50, 5, [10]).transform.transforms]
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))
    assert len({tuple(order.tolist()) for order in orders}) == 5
    descending = list(range(49, -1, -1))
    assert all(order.tolist() not in (descending[::-1], descending) for order in orders)


@pytest.mark.parametrize("make", [realnvp, maf])
def test_flow_densities_integrate_to_1(make):
    torch.manual_seed(1)
    prior = DistributionPrior(make(2, 3, [8, 8])).double().requires_grad_(False)
    axis = torch.linspace(-15, 15, 1201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = prior.log_prob(grid).exp()
    area = float(axis[1] - axis[0]) ** 2
    assert float(density.sum() * area) == pytest.approx(1, abs=1e-4)
    standard = Normal(0.0, 1.0).log_prob(grid).sum(-1).exp()
    assert float((density - standard).abs().sum() * area) > 0.1  # no longer what it began from


@pytest.mark.parametrize("make", [realnvp, maf])
def test_flow_samples_follow_the_density(make):
    """E_p[f] by samples and by quadrature, four moments; false alarms 4 × 5e-4 of seeds."""
    torch.manual_seed(1)
    prior = DistributionPrior(make(2, 3, [8, 8])).requires_grad_(False)
    axis = torch.linspace(-12, 12, 601)
    grid = torch.cartesian_prod(axis, axis)
    weights = prior.log_prob(grid).exp().double() * float(axis[1] - axis[0]) ** 2

    def moments(z):
        return torch.stack([z[:, 0], z[:, 1], z[:, 0] * z[:, 1], z[:, 0] ** 2]).double()

    values = moments(prior.sample((50_000,)))
    error = values.std(dim=1) / math.sqrt(50_000)
    assert ((values.mean(dim=1) - moments(grid) @ weights).abs() < 3.5 * error).all()


def test_standard_prior_is_the_standard_normal():
    prior = build_prior(resolve_prior(CONFIG, "standard"), 3)
    z = torch.randn(4, 5, 3, generator=torch.manual_seed(0))
    expected = Independent(Normal(torch.zeros(3), torch.ones(3)), 1).log_prob(z)
    torch.testing.assert_close(prior.log_prob(z), expected)
    torch.testing.assert_close(prior.training_log_prob(z, torch.zeros(4, 5)), expected)
    assert prior.normalize(None).mean == 1  # nothing is asked
    assert prior.sample((6,)).shape == (6, 3)
    assert prior.distribution().log_prob(z).shape == (4, 5)


@pytest.mark.parametrize("name", ["lars", "lars_T2", "lars_Tinf", "lars_realnvp", "lars_10-10"])
def test_lars_priors_have_the_configs_settings(name):
    settings = CONFIG["priors"][name]
    prior = build_prior(resolve_prior(CONFIG, name), 50)
    assert isinstance(prior, ResampledPrior)
    assert prior.truncation == {"lars_T2": 2, "lars_Tinf": None}.get(name, 100)
    assert prior.smoothing == settings["smoothing"]
    assert prior.num_proposals == 1024
    widths = [m.out_features for m in prior.log_a.modules() if isinstance(m, nn.Linear)]
    assert widths == ([10, 10, 1] if name == "lars_10-10" else [100, 100, 1])
    assert bool(list(prior.proposal.parameters())) == (name == "lars_realnvp")


def test_unknown_families_are_named():
    with pytest.raises(ResampledPriorsError, match="unknown prior family 'vqvae': use one "):
        build_prior({"family": "vqvae"}, 2)
    settings = resolve_run(CONFIG, Run("short", "dynamic_mnist", "vae", "standard", 0))
    settings["model"]["family"] = "vqvae"
    with pytest.raises(ResampledPriorsError, match="unknown model family 'vqvae': use one of vae"):
        build_model(settings, (28, 28))


# --- parameter counts ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts_of_models(name):
    model = build(name)
    in_output = 784 * 300 + 300 + 300 * 300 + 300 + 300 + 1 if "output" in name else 0
    assert parameter_counts(model) == {
        "num_parameters": MODELS[name],
        "num_acceptance_parameters": in_output,
        "num_prior_parameters": 0,
    }
    assert count(model) == MODELS[name] + in_output


@pytest.mark.parametrize("name", PRIORS)
def test_parameter_counts_of_priors(name):
    acceptance, rest = PRIORS[name]
    counts = parameter_counts(build("vae", name))
    assert counts["num_parameters"] == MODELS["vae"]
    assert (counts["num_acceptance_parameters"], counts["num_prior_parameters"]) == (
        acceptance,
        rest,
    )


def test_parameter_counts_of_each_network():
    vae, two_level, convolutional = build("vae"), build("hvae"), build("conv_hvae")
    assert (count(vae.encoder), count(vae.decoder)) == (MLP_POSTERIOR, VAE_DECODER)
    for model, posterior_2, posterior_1, decoder in (
        (two_level, MLP_POSTERIOR, HVAE_POSTERIOR_1, HVAE_DECODER),
        (convolutional, CONV_POSTERIOR_2, CONV_POSTERIOR_1, CONV_DECODER),
    ):
        assert count(model.posterior_2) == posterior_2
        assert count(model.posterior_1_features) + count(model.posterior_1) == posterior_1
        assert count(model.prior_1) == LOWER_PRIOR
        assert count(model.decoder_features) + count(model.decoder) == decoder


# --- shapes and sharing --------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_samples", [1, 3])
def test_shapes(name, num_samples):
    model, x = build(name), images(4)
    latent_size = 2 if name == "vae_2d" else 50
    if "output" in name:
        model.output.log_z.fill_(-0.7)
    for training in (False, True):
        terms = model.terms(x, num_samples, training)
        assert [term.shape for term in terms] == 3 * [(num_samples, 4)]
    assert [part.shape for part in model.encode(x)] == 2 * [(4, latent_size)]
    means = model.decode(torch.randn(5, latent_size))
    assert means.shape == (5, 784)
    assert ((means >= 0) & (means <= 1)).all()
    assert model.latent_size == latent_size


def posteriors(model, x):
    """Each posterior as (trunk's output, last layer), the last one a function of the image."""
    if not hasattr(model, "posterior_1"):
        return [(model.encoder[0](x), model.encoder[1])]
    z = torch.randn(1, len(x), model.latent_size)
    return [
        (model.posterior_2[0](x), model.posterior_2[1]),
        (model.posterior_1_features(x, z), model.posterior_1),
        (model.prior_1[0](z), model.prior_1[1]),
    ]


@pytest.mark.parametrize("name", ["vae", "hvae", "conv_hvae"])
def test_mean_and_log_std_share_all_but_the_last_layer(name):
    model = build(name)
    for features, last in posteriors(model, images(3)):
        (layer,) = last.children()
        assert isinstance(layer, nn.Linear)
        mean, log_std = last(features)
        weight, bias = last.linear.weight, last.linear.bias
        torch.testing.assert_close(mean, features @ weight[:50].T + bias[:50])
        torch.testing.assert_close(log_std, features @ weight[50:].T + bias[50:])


# --- log densities -------------------------------------------------------------------------


def independent_normal(mean, log_std):
    return Independent(Normal(mean, log_std.exp()), 1)


def bernoulli(logits):
    return Independent(Bernoulli(logits=logits), 1)


def assert_terms(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-3)  # hundreds of nats


def restated_terms(model, x, num_samples, log_prior):
    """The terms from torch's distributions, drawing the same numbers in the same order."""
    mean, log_std = model.encode(x)
    shape = (num_samples, *mean.shape)
    z = mean + log_std.exp() * torch.randn(shape)
    log_q = independent_normal(mean, log_std).log_prob(z)
    if not hasattr(model, "posterior_1"):
        return z, bernoulli(model.decoder(z)).log_prob(x), log_prior(z), log_q
    q1 = independent_normal(*model.posterior_1(model.posterior_1_features(x, z)))
    z1 = q1.base_dist.loc + q1.base_dist.scale * torch.randn(shape)
    log_p1 = independent_normal(*model.prior_1(z)).log_prob(z1)
    likelihood = bernoulli(model.decoder(model.decoder_features(z1, z)))
    return z, likelihood.log_prob(x), log_prior(z) + log_p1, log_q + q1.log_prob(z1)


def standard_log_prob(z):
    return Normal(0.0, 1.0).log_prob(z).sum(-1)


@pytest.mark.parametrize("name", ["vae", "vae_2d", "hvae", "conv_hvae"])
def test_terms_against_torchs_distributions(name):
    model, x = build(name), images(4)
    torch.manual_seed(5)
    ours = model.terms(x, 3)
    torch.manual_seed(5)
    _, *theirs = restated_terms(model, x, 3, standard_log_prob)
    assert_terms(ours, theirs)
    torch.manual_seed(5)
    training = model.terms(x, 1, training=True)
    torch.manual_seed(5)
    _, *theirs = restated_terms(model, x, 1, standard_log_prob)
    assert_terms(training, theirs)
    assert model.resampling is model.prior
    assert model.prior.truncation == 1


def truncated_density(log_pi, log_a, z, truncation):
    """eq. 3 and 4, in linear space but for π."""
    a = log_a.double().exp()
    if truncation is None:
        return log_pi + (a / z).log()
    alpha = (1 - z) ** (truncation - 1)
    return log_pi + (a * (1 - alpha) / z + alpha).log()


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        *itertools.product(["vae", "hvae"], ["lars", "lars_T2", "lars_Tinf", "lars_realnvp"]),
        ("conv_hvae", "lars"),
    ],
)
def test_lars_reweights_the_prior_of_the_top_latent_alone(name, prior):
    model, x = build(name, prior), images(4)
    larger_weights(model.prior.log_a)
    model.prior.log_z.fill_(math.log(0.03))
    assert model.resampling is model.prior

    def log_prior(z):
        proposal = model.prior.proposal()
        log_pi = standard_log_prob(z) if prior != "lars_realnvp" else proposal.log_prob(z)
        log_a = F.logsigmoid(model.prior.log_a.network(z)).squeeze(-1)
        return truncated_density(log_pi, log_a, 0.03, model.prior.truncation).float()

    torch.manual_seed(5)
    ours = model.terms(x, 3)
    torch.manual_seed(5)
    z, *theirs = restated_terms(model, x, 3, log_prior)
    assert_terms(ours, theirs)
    # a(z) makes a difference that the tolerance would not hide
    assert float((log_prior(z) - standard_log_prob(z)).abs().detach().mean()) > 0.1


class RecordingPrior(Prior):
    """Keeps what a model hands to ``training_log_prob``; the density is a plain sum."""

    def distribution(self):
        raise AssertionError("the density is not asked of a distribution here")

    def training_log_prob(self, z, log_posterior):
        self.z, self.log_posterior = z, log_posterior
        return z.sum(-1)

    def log_prob(self, z):
        return z.sum(-1)


@pytest.mark.parametrize("make", [hvae, conv_hvae])
def test_algorithm_1_sees_the_posterior_of_the_top_latent_alone(make):
    torch.manual_seed(0)
    prior = RecordingPrior()
    model, x = make(prior, (28, 28), build_likelihood(None, 784), 50), images(4)
    torch.manual_seed(5)
    ours = model.terms(x, 1, training=True)
    torch.manual_seed(5)
    z2, *theirs = restated_terms(model, x, 1, lambda z: z.sum(-1))
    assert_terms(ours, theirs)
    torch.testing.assert_close(prior.z, z2)
    expected = independent_normal(*model.encode(x)).log_prob(z2)
    torch.testing.assert_close(prior.log_posterior, expected, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(prior.log_posterior, ours[2], atol=1.0)  # q(z1|x, z2) is left out


def test_training_terms_of_lars_are_algorithm_1s():
    model, x = build("vae", "lars"), images(4)
    larger_weights(model.prior.log_a)
    model.prior.z_average.fill_(0.2)
    torch.manual_seed(5)
    ours = model.terms(x, 1, training=True)
    new_average = model.prior.z_average.clone()
    assert float(new_average) != pytest.approx(0.2)
    model.prior.z_average.fill_(0.2)
    torch.manual_seed(5)
    z, *theirs = restated_terms(model, x, 1, standard_log_prob)
    expected = model.prior.training_log_prob(z, theirs[2])
    assert_terms(ours, (theirs[0], expected, theirs[2]))
    torch.testing.assert_close(new_average, model.prior.z_average)


# --- resampled outputs ---------------------------------------------------------------------


@pytest.fixture
def resampled_output():
    model = build("vae_resampled_output")
    larger_weights(model.output.log_a, std=2.0)
    return model


def test_resampled_output_adds_the_factor_of_eq_d24(resampled_output):
    model, x = resampled_output, images(4)
    model.output.log_z.fill_(math.log(0.02))
    torch.manual_seed(5)
    ours = model.terms(x, 3)
    torch.manual_seed(5)
    _, log_likelihood, log_prior, log_q = restated_terms(model, x, 3, standard_log_prob)
    log_a = F.logsigmoid(model.output.log_a.network(x)).squeeze(-1)
    factor = truncated_density(torch.zeros(4), log_a, 0.02, 100).float()
    assert float(factor.detach().std()) > 0.1
    assert_terms(ours, (log_likelihood + factor, log_prior, log_q))
    assert model.resampling is model.output
    widths = [m.out_features for m in model.output.log_a.modules() if isinstance(m, nn.Linear)]
    assert (widths, model.output.truncation) == ([300, 300, 1], 100)


def test_z_of_a_resampled_output_is_a_mean_over_decoded_prior_samples(resampled_output):
    """Two independent means, each with its error; false alarms in 5e-4 of seeds."""
    model = resampled_output
    torch.manual_seed(3)
    with torch.no_grad():
        z = torch.randn(8_000, 50)
        pixels = Bernoulli(logits=model.decoder(z)).sample()
        a = model.output.log_a.network(pixels).sigmoid().double()
    estimate = estimate_model_z(model, 8_000, target=None)
    assert estimate.num_samples == 8_000
    error = math.hypot(float(a.std()) / math.sqrt(8_000), estimate.standard_error)
    assert estimate.mean == pytest.approx(float(a.mean()), abs=3.5 * error)
    assert estimate.standard_error == pytest.approx(float(a.std()) / math.sqrt(8_000), rel=0.1)
    assert error < 0.02
    assert float(model.output.log_z) == pytest.approx(estimate.log_mean, rel=1e-6)


def test_training_z_of_a_resampled_output_against_eq_d25(resampled_output):
    model, x = resampled_output, images(4)
    model.output.z_average.fill_(0.3)
    torch.manual_seed(5)
    factor = model.output.log_factor(x, training=True)
    average = model.output.z_average.clone()
    torch.manual_seed(5)
    z = model.prior.sample((1024,))
    means = model.decode(z)
    pixels = (torch.rand_like(means) < means).float()
    current = model.output.log_a.network(pixels).sigmoid().mean()
    smooth = 0.9 * 0.3 + 0.1 * current
    torch.testing.assert_close(average, smooth.detach())
    z_r = current + (smooth - current).detach()
    a, alpha = model.output.log_a.network(x).sigmoid().squeeze(-1), (1 - z_r) ** 99
    expected = (a * (1 - alpha) / z_r + alpha).log()
    torch.testing.assert_close(factor, expected, rtol=1e-4, atol=1e-5)
    parameters = list(model.output.log_a.parameters())
    ours = torch.autograd.grad(factor.sum(), parameters)
    theirs = torch.autograd.grad(expected.sum(), parameters)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def test_no_gradient_of_z_passes_through_the_sampled_images(resampled_output):
    model, x = resampled_output, images(4)
    factor = model.output.log_factor(x, training=True)
    factor.sum().backward()
    assert all(p.grad is None for p in [*model.encoder.parameters(), *model.decoder.parameters()])
    assert all(p.grad.any() for p in model.output.log_a.parameters())


def test_resampled_output_is_trained_beside_an_unchanged_vae(resampled_output):
    """The factor leaves encoder and decoder the gradients that they have without it."""
    model, plain, x = resampled_output, build("vae"), images(4)
    plain.load_state_dict(model.state_dict(), strict=False)
    gradients = []
    for m in (model, plain):
        torch.manual_seed(5)
        log_likelihood, log_prior, log_posterior = m.terms(x, 1, training=True)
        (log_likelihood + log_prior - log_posterior).sum().backward()
        networks = [*m.encoder.parameters(), *m.decoder.parameters()]
        gradients.append([p.grad for p in networks])
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)


def test_proposal_images_are_bernoulli_draws_of_their_means(resampled_output):
    """The standardised sum of 784,000 pixels; false alarms in 5e-4 of seeds."""
    torch.manual_seed(0)
    p = resampled_output.image_distribution(resampled_output.prior.sample((1_000,)))
    pixels, means = p.sample(), p.mean
    assert pixels.shape == means.shape == (1_000, 784)
    assert set(pixels.unique().tolist()) == {0.0, 1.0}
    excess = (pixels - means).double().sum() / (means * (1 - means)).double().sum().sqrt()
    assert abs(float(excess)) < 3.5
    assert StandardNormal(3)().event_shape == (3,)
