"""Objectives against their bounds written out, in float64."""

import itertools
import math

import pytest
import torch
from training_runs import CONFIG, Interrupted, assert_same_results, interrupt_at, run, settings_for

from resampled_priors.contracts import Terms
from resampled_priors.evaluation import importance_weighted_terms
from resampled_priors.models import build_model
from resampled_priors.training.objectives import ELBO, IWAE, build_objective


def terms_of(num_samples, batch=5, seed=0):
    """Terms that depend on a parameter, as a model's do."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(3, num_samples, batch, generator=generator, dtype=torch.float64)
    return theta, Terms(
        *(-(theta * noise.roll(i, 0).movedim(0, -1)).square().sum(-1) - i for i in range(3))
    )


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_iwae_of_one_sample_is_the_elbo(beta):
    _, terms = terms_of(1)
    torch.testing.assert_close(IWAE(1)(terms, beta), ELBO()(terms, beta))


@pytest.mark.parametrize("num_samples", [1, 5, 50])
def test_iwae_and_its_gradient_are_those_of_the_bound_written_out(num_samples):
    theta, terms = terms_of(num_samples)
    loss = IWAE(num_samples)(terms, 1.0)
    weights = (terms.log_likelihood + terms.log_prior - terms.log_posterior).exp()
    bound = weights.mean(0).log().mean()
    torch.testing.assert_close(loss, -bound)
    [ours], [written_out] = (
        torch.autograd.grad(x, theta, retain_graph=True) for x in (loss, -bound)
    )
    torch.testing.assert_close(ours, written_out)
    # and as importance weights of the samples' own gradients
    shares = (weights / weights.sum(0)).detach()
    log_weights = terms.log_likelihood + terms.log_prior - terms.log_posterior
    [weighed] = torch.autograd.grad(-(shares * log_weights).sum(0).mean(), theta)
    torch.testing.assert_close(ours, weighed)


def test_more_samples_give_a_tighter_bound():
    """E[L_k] grows with k: means over 4,000 images, each pair apart by over five errors."""
    losses = []
    for num_samples in (1, 5, 50):
        with torch.no_grad():
            _, terms = terms_of(num_samples, batch=4_000)
        log_weights = terms.log_likelihood + terms.log_prior - terms.log_posterior
        per_image = math.log(num_samples) - log_weights.logsumexp(0)
        losses.append((float(per_image.mean()), float(per_image.std()) / math.sqrt(4_000)))
        assert float(IWAE(num_samples)(terms, 1.0)) == pytest.approx(losses[-1][0])
    for (looser, error), (tighter, other) in itertools.pairwise(losses):
        assert looser - tighter > 5 * math.hypot(error, other)


def test_the_training_loss_is_the_evaluations_bound(small):
    """The same images and noise: −IWAE is the mean of the importance-weighted log likelihood."""
    model = build_model(settings_for(model="vae_iwae5"), (28, 28))
    x = small.evaluation_images("test", 0)[:8]
    torch.manual_seed(1)
    loss = IWAE(5)(model.terms(x, 5), 1.0)
    torch.manual_seed(1)
    evaluated = importance_weighted_terms(model, x, 5)["log_likelihood"].mean()
    assert loss.item() == pytest.approx(-float(evaluated), rel=1e-6)


@pytest.mark.parametrize("model", ["vae", "hvae"])
def test_the_models_entry_names_the_objective_and_nothing_else(model):
    assert isinstance(
        build_objective(settings_for(model=model)["training"].get("objective")), ELBO
    )
    for k in (5, 50):
        entry = CONFIG["models"][f"{model}_iwae{k}"]
        own = {key: entry[key] for key in ("label", "training")}
        assert entry == CONFIG["models"][model] | own
        objective = build_objective(
            settings_for(model=f"{model}_iwae{k}")["training"]["objective"]
        )
        assert isinstance(objective, IWAE) and objective.num_samples == k


@pytest.mark.parametrize(("model", "prior"), [("vae_iwae5", "lars"), ("hvae_iwae5", "standard")])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    model, prior, small, tmp_path, monkeypatch
):
    settings = settings_for(model=model, prior=prior, iterations=6, warm_up=3)
    run(small, settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        with pytest.raises(Interrupted):
            run(small, settings, tmp_path / "resumed", checkpoint_seconds=0)
    run(small, settings, tmp_path / "resumed")
    assert_same_results(tmp_path / "whole", tmp_path / "resumed")
