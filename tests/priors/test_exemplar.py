"""Exemplar prior: against the mixture written out, in training and after it; its samples."""

import math

import pytest
import torch
from energy_priors import ERROR_RATE, chi_square, grid
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from training_runs import Interrupted, run, settings_for

from resampled_priors import load_run
from resampled_priors.data.dataset import load_dataset
from resampled_priors.models import build_model
from resampled_priors.priors import mixture
from resampled_priors.priors.exemplar import SphericalMixture

PIXELS = 784


def spherical(components, features, std=0.4, seed=0):
    torch.manual_seed(seed)
    means = 1 + 1.5 * torch.randn(components, features, dtype=torch.float64)
    return SphericalMixture(means, torch.tensor(std).double().log())


def written_out(p):
    normals = Independent(Normal(p.means, p.log_std.exp().expand_as(p.means)), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(len(p.means)).double()), normals)


@pytest.mark.parametrize("block", [1, 30, 2**20])
def test_the_density_is_the_mixture_written_out(block, monkeypatch):
    monkeypatch.setitem(mixture.LARGEST_BLOCK, "cpu", block)
    p = spherical(9, 5)
    z = 2 * torch.randn(3, 4, 5).double()
    torch.testing.assert_close(p.log_prob(z), written_out(p).log_prob(z))


def test_single_precision_is_enough_for_many_exemplars():
    p = spherical(5_000, 50, std=0.1)
    z = p.means[:20] + 0.1 * torch.randn(20, 50)
    ours = SphericalMixture(p.means.float(), p.log_std.float()).log_prob(z.float())
    torch.testing.assert_close(ours.double(), p.log_prob(z), rtol=0, atol=0.02)


def test_the_density_is_one_by_quadrature():
    z, weight = grid(2, 301, reach=9.0)
    density = spherical(7, 2).log_prob(z).exp()
    assert float(density.sum() * weight) == pytest.approx(1, abs=1e-4)


def test_samples_have_the_density():
    p = spherical(4, 1)
    torch.manual_seed(1)
    samples = p.sample((50_000,))
    assert chi_square(samples, lambda z: p.log_prob(z).exp()) > ERROR_RATE
    other = spherical(4, 1, seed=3)
    assert chi_square(samples, lambda z: other.log_prob(z).exp()) < 1e-20
    assert p.sample().shape == (1,)


def model_of(images, **settings):
    of_run = settings_for(prior="exemplar")
    of_run["prior"] |= settings
    torch.manual_seed(0)
    model = build_model(of_run, (28, 28)).double()
    model.start(images)
    return model


@pytest.mark.parametrize("model_settings", [{}, {"exemplars": 12}, {"neighbours": 3}])
def test_training_is_the_mixture_without_the_image_itself(model_settings):
    """With all neighbours it is exact; with some, or of some exemplars, what these give."""
    images, rows = torch.rand(20, PIXELS).double(), torch.tensor([3, 7])
    model = model_of(images, **{"exemplars": 20, "neighbours": 19} | model_settings)
    prior = model.prior
    assert torch.equal(prior.means, model.encode(images)[0])
    with torch.no_grad():
        prior.log_std.fill_(-0.5)
        prior.means += 0.01  # out of date
    z = torch.randn(2, 2, 50).double()
    prior.before_step(rows, lambda rows: images[rows])
    torch.manual_seed(1)
    log_p = prior.training_log_prob(z, None)
    torch.manual_seed(1)
    chosen = torch.randperm(20)[: prior.exemplars].tolist()
    means = model.encode(images)[0]
    for s in range(2):
        for b in range(2):
            left = [n for n in chosen if n != rows[b]]
            distances = (z[s, b] - means[left]).norm(dim=1)
            nearest = distances.sort().values[: prior.neighbours]
            std = math.exp(-0.5)
            terms = (-0.5 * (nearest / std) ** 2).exp() / (2 * math.pi * std**2) ** 25
            torch.testing.assert_close(log_p[s, b], (terms.sum() / len(left)).log())
    gradients = torch.autograd.grad(log_p.sum(), [prior.log_std, *model.encoder.parameters()])
    assert all(g.any() for g in gradients[:-1])
    renewed = (prior.means - means).abs().amax(1) < 1e-12
    assert renewed[rows].all()
    assert renewed.all() == (not model_settings)
    model.finish(lambda rows: images[rows])
    torch.testing.assert_close(prior.means, means)


def test_without_a_step_training_is_the_whole_mixture():
    model = model_of(torch.rand(5, PIXELS).double())
    z = torch.randn(3, 50).double()
    torch.testing.assert_close(model.prior.training_log_prob(z, None), model.prior.log_prob(z))


def test_what_is_saved_is_of_the_trained_encoder_and_a_resumed_run_has_it_too(
    digits, tmp_path, monkeypatch
):
    """Also where training had ended and only its results were to be written."""
    data, settings = load_dataset(digits), settings_for(prior="exemplar", iterations=4, warm_up=2)
    images = data.means("train")
    for name, stop in {"whole": None, "at the end": 4}.items():
        if stop:
            with monkeypatch.context() as patch:
                patch.setattr("training_runs.TrainingRun.finish", interrupted)
                with pytest.raises(Interrupted):
                    run(data, settings, tmp_path / name, checkpoint_seconds=0)
        run(data, settings, tmp_path / name)
        model = load_run(tmp_path / name)
        torch.testing.assert_close(model.prior.means, model.encode(images)[0])


def interrupted(self):
    raise Interrupted
