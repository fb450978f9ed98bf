"""The models of Table 2: each trains, goes on to the same bits, is saved, loaded and evaluated."""

import copy

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
from resampled_priors.models import build_model, parameter_counts
from resampled_priors.runs.steps import estimate_run_z, evaluate_run
from resampled_priors.runs.training import build_run_model

ENCODER = 784 * 300 + 300 + 300 * 300 + 300 + 300 * 100 + 100
DECODER = 50 * 300 + 300 + 300 * 300 + 300 + 300 * 784 + 784
MADE = (50 + 300) * 320 + 320 + 320 * 320 + 320 + 320 * 100 + 100
# A layer with batch normalisation has a scale and a shift for each unit, and no bias.
UPWARDS = sum(
    below * width + width * width + 4 * width + width * 2 * latents + 2 * latents
    for below, width, latents in zip(
        (784, 512, 256, 128, 64), (512, 256, 128, 64, 32), (64, 32, 16, 8, 4), strict=True
    )
)
DOWNWARDS = sum(
    above * width + width * width + 4 * width + width * 2 * below + 2 * below
    for above, width, below in zip(
        (32, 16, 8, 4), (256, 128, 64, 32), (64, 32, 16, 8), strict=True
    )
)
LADDER = UPWARDS + DOWNWARDS + 64 * 512 + 512 * 512 + 4 * 512 + 512 * 784 + 784
# One gated layer of 16 channels: the two masked kernels, down, the map, the residual.
AFTER = 32 * 32 + 32 + 1 * 64 + 64 + 16 * 16 + 16
GATED = [(3 * 5 * inputs + 1) * 32 + (3 * inputs + 1) * 32 + AFTER for inputs in (1, 16, 16, 16)]
COUNTS = {
    "vae_iaf": ENCODER + DECODER + 4 * MADE,
    "lvae": LADDER,
    "vae_pixelcnn": ENCODER + DECODER + sum(GATED) + 16 * 16 + 16 + 16 + 1,
}
SMALL = {
    "vae_iaf": {"layers": 2, "hidden": [10]},
    "lvae": {"hidden": [16, 12, 8], "lower_latents": [6, 5], "latent_size": 4},
    "vae_pixelcnn": {"likelihood": {"family": "pixelcnn", "layers": 2, "channels": 4}},
}


def small_settings(model, prior="lars", **schedule):
    settings = settings_for(model=model, prior=prior, batch_size=16, **schedule)
    return settings | {"model": settings["model"] | SMALL[model]}


@pytest.fixture(scope="module")
def data(digits):
    return load_dataset(digits)


@pytest.mark.parametrize("model", COUNTS)
def test_parameters_are_counted_once(model):
    built = build_model(settings_for(model=model, prior="lars"), (28, 28))
    counts = parameter_counts(built)
    assert counts["num_parameters"] == COUNTS[model]
    assert sum(counts.values()) == sum(p.numel() for p in built.parameters())
    d = settings_for(model=model)["model"]["latent_size"]
    a = d * 100 + 100 + 100 * 100 + 100 + 100 + 1
    assert (counts["num_acceptance_parameters"], counts["num_prior_parameters"]) == (a, 0)


@pytest.mark.parametrize("model", COUNTS)
def test_it_trains_resumes_and_is_evaluated(model, data, digits, tmp_path, monkeypatch):
    settings = small_settings(model, iterations=8, warm_up=4, output_bias="mean_image")
    trained, _ = run(data, settings, tmp_path / "whole")
    assert np.isfinite(rows_of(tmp_path / "whole")["loss"]).all()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(Interrupted):
            run(data, settings, tmp_path / "resumed", checkpoint_seconds=0)
    run(data, settings, tmp_path / "resumed")
    assert_same_results(tmp_path / "whole", tmp_path / "resumed")

    folder = tmp_path / "whole"
    estimate_run_z(folder, 2_000, None, "cpu")
    evaluate_run(folder, digits, 2, "cpu")
    metrics = read_json(folder / "metrics.json")
    assert metrics["nll"] <= metrics["elbo"] and metrics["z"] < 1
    loaded = load_run(folder)
    saved = load_file(folder / "model.safetensors")
    assert sum(saved[key].numel() for key, _ in loaded.named_parameters()) == sum(
        p.numel() for p in trained.parameters()
    )
    means = loaded.decode(loaded.prior.sample((2,)))
    assert means.shape == (2, 784) and ((means >= 0) & (means <= 1)).all()


@pytest.mark.parametrize("model", COUNTS)
def test_every_parameter_is_trained(model, data):
    torch.manual_seed(0)
    built = build_run_model(small_settings(model), None).train()
    built.start(data.means("train"))
    terms = built.terms(data.evaluation_images("validation", 0)[:16], 2, training=True)
    (terms.log_likelihood + terms.log_prior - terms.log_posterior).mean().backward()
    assert [name for name, p in built.named_parameters() if p.grad is None] == []
    assert [name for name, p in built.named_parameters() if not p.grad.any()] == []


@pytest.mark.parametrize("model", COUNTS)
def test_post_hoc_the_model_stays_as_it_is(model, data, tmp_path):
    base = small_settings(model, "standard", iterations=3, warm_up=0)
    run(data, base, tmp_path / "base")
    settings = small_settings(model, "lars_posthoc", iterations=3, warm_up=0)
    fitted, _ = run(data, settings, tmp_path / "fitted", tmp_path / "base/model.safetensors")
    before = load_file(tmp_path / "base/model.safetensors")
    after = fitted.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if key[:6] != "prior.")
    started = copy.deepcopy(build_run_model(settings, tmp_path / "base/model.safetensors"))
    start = started.state_dict()
    assert any(not torch.equal(start[key], after[key]) for key in after if ".log_a." in key)
