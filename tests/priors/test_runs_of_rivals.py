"""Each rival prior of the config trains, resumes to the same bits, is saved, loaded, evaluated."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import (
    Interrupted,
    assert_same_results,
    interrupt_at,
    rows_of,
    run,
    settings_for,
)

from resampled_priors import load_run
from resampled_priors.data.dataset import load_dataset
from resampled_priors.files import read_json
from resampled_priors.machine import linear as onednn
from resampled_priors.models import parameter_counts
from resampled_priors.report.recompute import metrics_problems
from resampled_priors.runs.records import read_metrics, read_run, read_z
from resampled_priors.runs.steps import estimate_run_z, evaluate_run
from resampled_priors.runs.training import build_run_model
from resampled_priors.training.loop import is_finished

VAE = 697_484
ENERGY = 50 * 100 + 100 + 100 * 100 + 100 + 100
MOMENTUM = 50 * 300 + 300 + 300 * 300 + 300 + 300 * 100 + 100
A, PSEUDO = ENERGY + 1, 500 * 784
# prior -> parameters of a, of the rest of the prior, and whether its density is a bound
PRIORS = {
    "vamp": (0, PSEUDO, False),
    "vamp_weighted": (0, PSEUDO + 500, False),
    "lars_vamp": (A, PSEUDO, False),
    "realnvp_large": (0, 8 * (25 * 128 + 128 + 128 * 128 + 128 + 128 * 50 + 50), False),
    "spline": (0, 4 * (25 * 100 + 100 + 100 * 100 + 100 + 100 * 575 + 575), False),
    "dimensionwise": (50 * (10 + 10 + 10 + 1), 0, False),
    "exemplar": (0, 1, False),
    "mixture": (0, 500 * (50 + 50 + 1), False),
    "snis": (0, ENERGY, True),
    "trs": (ENERGY + 1, 1, False),
    "nce": (ENERGY + 1, 0, False),
    "his": (0, ENERGY + MOMENTUM + 50 + 5, True),
}


@pytest.fixture(scope="module")
def standard(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("standard")
    run(load_dataset(digits), settings_for(iterations=6, warm_up=3), folder)
    estimate_run_z(folder, 2_000, None, "cpu")
    return folder / "model.safetensors"


@pytest.mark.parametrize("prior", PRIORS)
def test_it_trains_resumes_and_is_evaluated(prior, digits, standard, tmp_path, monkeypatch):
    settings = settings_for(prior=prior, iterations=6, warm_up=3)
    base = standard if "base" in settings["prior"] else None
    data, whole = load_dataset(digits), tmp_path / "whole"
    model, trainer = run(data, settings, whole, base)
    assert is_finished(trainer)
    assert np.isfinite(rows_of(whole)["loss"]).all()

    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        with pytest.raises(Interrupted):
            run(data, settings, tmp_path / "resumed", base, checkpoint_seconds=0)
    run(data, settings, tmp_path / "resumed", base)
    assert_same_results(whole, tmp_path / "resumed")

    acceptance, rest, is_bound = PRIORS[prior]
    estimate_run_z(whole, 2_000, None, "cpu")
    evaluate_run(whole, digits, 3, "cpu")
    record = read_run(whole)
    metrics = read_metrics(whole, record)
    assert metrics["nll"] <= metrics["elbo"]
    assert read_json(whole / "metrics.json").get("is_bound", False) is is_bound
    path = whole / "metrics.json"
    assert list(metrics_problems(path, metrics, record, read_z(whole, record))) == []
    if is_bound:
        metrics.pop("is_bound")
        [problem] = metrics_problems(path, metrics, record, None)
        assert "is_bound is None, its settings make True" in problem

    loaded = load_run(whole)
    if base is not None:
        fixed = load_file(base)
        for key, value in load_file(whole / "model.safetensors").items():
            assert key.startswith("prior.") or (value == fixed[key]).all(), key
    assert loaded.decode(loaded.prior.sample((2,))).shape == (2, 784)
    assert list(parameter_counts(loaded).values()) == [VAE, acceptance, rest]
    saved = load_file(whole / "model.safetensors")
    trained = sum(p.numel() for p in model.parameters())
    assert sum(saved[key].numel() for key, _ in model.named_parameters()) == trained
    assert sum(parameter_counts(loaded).values()) == trained


@pytest.mark.parametrize("prior", ["his", "nce"])
def test_what_a_gpu_compiles_gives_the_same(prior, digits, standard, monkeypatch):
    """Traced in one piece, a gradient within and parameters that are put in for others as well."""
    monkeypatch.setattr(onednn, "FASTER", False)  # it rounds otherwise, and is never traced
    settings = settings_for(prior=prior)
    model = build_run_model(settings, standard if prior == "nce" else None)
    x = load_dataset(digits).evaluation_images("validation", 0)[:8]
    compiled = torch.compile(model.training_terms, backend="aot_eager", fullgraph=True)
    results = []
    for function in (model.training_terms, compiled):
        torch.manual_seed(0)
        terms, prior_loss = function(x, 1)
        model.zero_grad()
        (sum(term.mean() for term in terms) + prior_loss).backward()
        gradients = [p.grad.clone() for p in model.prior.parameters()]
        results.append([*terms, torch.as_tensor(prior_loss), *gradients])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
