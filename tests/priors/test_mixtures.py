"""Mixtures of Gaussians and VampPrior: against the mixture written out, quadrature, chi-square."""

import math

import pytest
import torch
from energy_priors import ERROR_RATE, chi_square, grid
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from training_runs import CONFIG, settings_for

from resampled_priors.data.dataset import load_dataset
from resampled_priors.experiment import Run, resolve_run
from resampled_priors.lars import AcceptanceFunction, ResampledPrior
from resampled_priors.models import build_model
from resampled_priors.priors import build_prior, mixture
from resampled_priors.priors.mixture import DiagonalMixture

PIXELS = 784


def components(number, features, weighted=True, seed=0):
    """Means, log standard deviations from 0.3 to 1, and logits."""
    torch.manual_seed(seed)
    mean = 2 * torch.randn(number, features)
    log_std = (0.3 + 0.7 * torch.rand(number, features)).log()
    return mean, log_std, torch.randn(number) if weighted else None


def written_out(mean, log_std, logits):
    logits = torch.zeros(len(mean)).to(mean) if logits is None else logits
    normals = Independent(Normal(mean, log_std.exp()), 1)
    return MixtureSameFamily(Categorical(logits=logits), normals)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_density_and_its_gradient_are_those_of_the_mixture_written_out(weighted):
    parts = [p for p in components(7, 5, weighted) if p is not None]
    given = [p.double().requires_grad_() for p in parts]
    args = given if weighted else [*given, None]
    z = torch.randn(2, 3, 5).double()
    ours = DiagonalMixture(*args).log_prob(z)
    theirs = written_out(*args).log_prob(z)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(
        *(torch.autograd.grad(p.sum(), given) for p in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(mine, other)


def test_narrow_components_far_from_zero_lose_no_digits():
    """Where a float32 product would be off by nats: terms of 1e6, whose sum is about 1."""
    torch.manual_seed(0)
    mean = 20 + torch.randn(500, 50)
    log_std = torch.full((500, 50), 0.02).log()
    z = mean[:9] + 0.02 * torch.randn(9, 50)
    truth = written_out(mean.double(), log_std.double(), None).log_prob(z.double())
    ours = DiagonalMixture(mean, log_std).log_prob(z)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), truth, rtol=0, atol=1e-4)


def test_blocks_change_nothing(monkeypatch):
    p = DiagonalMixture(*components(7, 3))
    z = torch.randn(4, 5, 3)
    whole = p.log_prob(z)
    for block in (1, 20, 21):
        monkeypatch.setitem(mixture.LARGEST_BLOCK, "cpu", block)
        torch.testing.assert_close(p.log_prob(z), whole)


@torch.no_grad()
@pytest.mark.parametrize("weighted", [False, True])
def test_densities_are_one_by_quadrature(weighted):
    """The mixture's, and that of LARS on it."""
    parts = [p if p is None else p.double() for p in components(4, 2, weighted)]
    p = DiagonalMixture(*parts)
    z, weight = grid(2, 201, reach=10.0)
    density = p.log_prob(z).exp()
    assert float(density.sum() * weight) == pytest.approx(1, abs=1e-4)
    lars = ResampledPrior(p, AcceptanceFunction(2, (5,)).double(), truncation=5).double()
    a = lars.log_acceptance(z).exp()
    lars.log_z.fill_((a * density).sum().mul(weight).log())
    assert float(lars.log_prob(z).exp().sum() * weight) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_samples_have_the_density(weighted):
    p = DiagonalMixture(*(c if c is None else c.double() for c in components(5, 1, weighted)))
    torch.manual_seed(1)
    samples = p.sample((100_000,))
    assert chi_square(samples, lambda z: p.log_prob(z).exp()) > ERROR_RATE
    other = DiagonalMixture(*(c.double() for c in components(5, 1, True, seed=1)))
    assert chi_square(samples, lambda z: other.log_prob(z).exp()) < 1e-20
    assert [p.sample(s).shape for s in [(), (0,), (2, 3)]] == [(1,), (0, 1), (2, 3, 1)]


def test_samples_have_a_gradient_where_nothing_of_it_is_missing():
    """d E[z²] of equal weights: 2 m_k / K for each mean, 2 s_k² / K for each log s_k."""
    mean, log_std, logits = components(3, 1)
    mean, log_std = mean.requires_grad_(), log_std.requires_grad_()
    assert not DiagonalMixture(mean, log_std, logits).has_rsample
    p = DiagonalMixture(mean, log_std)
    assert p.has_rsample and not p.sample((2,)).requires_grad
    of_mean, of_std = torch.autograd.grad(p.rsample((200_000,)).square().mean(), (mean, log_std))
    torch.testing.assert_close(of_mean, 2 * mean.detach() / 3, rtol=0.03, atol=0.01)
    torch.testing.assert_close(of_std, 2 * (2 * log_std.detach()).exp() / 3, rtol=0.03, atol=0.01)


# VampPrior ---------------------------------------------------------------------------------------


def vamp_model(prior="vamp", components=20):
    settings = settings_for(prior=prior)
    vamp = settings["prior"].get("proposal", settings["prior"])
    vamp["components"] = components
    return build_model(settings, (28, 28))


@pytest.mark.parametrize("prior", ["vamp", "vamp_weighted"])
def test_vamp_is_the_mixture_written_out(prior):
    torch.manual_seed(0)
    model = vamp_model(prior).double()
    model.start(torch.rand(100, PIXELS).double())
    prior = model.prior
    weights = torch.ones(20).double() / 20
    if prior.logits is not None:
        torch.nn.init.normal_(prior.logits)
        weights = prior.logits.softmax(0)
    mean, log_std = model.encode(prior.pseudo_inputs.clamp(prior.lowest, prior.highest))
    z = torch.randn(7, 50).double()
    difference = (z[:, None] - mean) / log_std.exp()
    densities = -0.5 * (difference**2 + math.log(2 * math.pi)) - log_std
    expected = (densities.sum(-1).exp() * weights).sum(1).log()
    torch.testing.assert_close(prior.log_prob(z), expected)


@pytest.mark.parametrize("prior", ["vamp_weighted", "lars_vamp"])
def test_every_parameter_of_a_vamp_prior_and_its_encoder_is_trained(prior, digits):
    model, data = vamp_model(prior), load_dataset(digits)
    images = data.means("train")
    model.start(images)
    vamp = getattr(model.prior, "proposal", model.prior)
    nearest = torch.cdist(vamp.pseudo_inputs, images).min(dim=1).values
    assert nearest.max() < 0.02 * math.sqrt(PIXELS)  # training images and a little noise
    terms = model.terms(data.evaluation_images("validation", 0)[:16], 1, training=True)
    (terms.log_prior.mean() + terms.log_likelihood.mean()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_the_proposals_of_lars_give_vamp_the_gradient_of_z():
    """That of log Z alone, by samples, is that of E_π[a(z)] by the density (score function)."""
    torch.manual_seed(0)
    model = vamp_model("lars_vamp", components=3).double()
    model.start(torch.rand(10, PIXELS).double())
    prior = model.prior
    weight = model.encoder[1].linear.weight
    p = prior.proposal_distribution()
    z = p.rsample((20_000,))
    [by_samples] = torch.autograd.grad(prior.log_acceptance(z).exp().mean(), weight)
    z = z.detach()
    a = prior.log_acceptance(z).exp().detach()
    log_p = prior.proposal_distribution().log_prob(z)
    [by_density] = torch.autograd.grad(((a - a.mean()) * log_p).mean(), weight)
    cosine = torch.nn.functional.cosine_similarity(by_samples.ravel(), by_density.ravel(), dim=0)
    assert cosine > 0.9
    assert float(by_samples.norm() / by_density.norm()) == pytest.approx(1, abs=0.2)


def test_pseudo_inputs_stay_in_the_range_of_the_images():
    model = vamp_model(components=4)
    model.start(torch.rand(10, PIXELS) * 4 - 2)
    prior = model.prior
    with torch.no_grad():
        prior.pseudo_inputs.fill_(7.0)
    prior.log_prob(torch.zeros(1, 50)).sum().backward()
    assert -2 < prior.lowest < -1.9 < 1.9 < prior.highest < 2
    assert (prior.pseudo_inputs == prior.highest).all()  # put back, where it has a gradient
    assert prior.pseudo_inputs.grad.any(1).all()
    before = prior.pseudo_inputs.detach().clone() + 1
    with torch.no_grad():
        prior.eval().pseudo_inputs.copy_(before)
    prior.log_prob(torch.zeros(1, 50))
    assert (prior.pseudo_inputs == before).all()  # evaluation changes nothing


def test_omniglot_has_twice_as_many():

    for name in ("vamp", "vamp_weighted", "lars_vamp", "mixture"):
        for dataset, number in {"omniglot": 1_000, "fashion_mnist": 500}.items():
            settings = resolve_run(CONFIG, Run("short", dataset, "hvae", name, 0))["prior"]
            assert settings.get("proposal", settings)["components"] == number


def test_the_learned_mixture_fits_what_it_is_shown():
    torch.manual_seed(0)
    prior = build_prior({"family": "gaussian_mixture", "components": 4}, 2)
    target = DiagonalMixture(*components(3, 2))
    optimizer = torch.optim.Adam(prior.parameters(), 0.05)
    for _ in range(200):
        z = target.sample((256,))
        loss = -(prior.training_log_prob(z, None) - target.log_prob(z)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1  # KL, nats
