"""A prior, an objective and a likelihood of one's own: a file each, the package as it is.

The files are those of examples/parts, used as a user would: named in an overlay of the config.
Each trains, goes on after an interruption to the same bits, is saved, loaded and evaluated.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from sklearn.datasets import load_digits
from training_runs import (
    Interrupted,
    assert_same_results,
    interrupt_at,
    rows_of,
    run,
)

from resampled_priors import load_run
from resampled_priors.data.dataset import load_dataset
from resampled_priors.data.prepare import prepare_own
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.files import read_json
from resampled_priors.models import build_model, parameter_counts
from resampled_priors.runs.steps import estimate_run_z, evaluate_run
from resampled_priors.runs.training import build_run_model
from resampled_priors.training.loop import is_finished

ROOT = Path(__file__).parents[1]
VAE, A = 697_484, 50 * 100 + 100 + 100 * 100 + 100 + 100 + 1
PROTOTYPES, PIXELS = 20, 784
# run -> parameters of encoder and decoder, of a, of the rest of the prior
PARTS = {
    "digits/vae/prototypes": (VAE, 0, 50 + 50 + PROTOTYPES),
    "digits/hvae/prototypes": (None, 0, 50 + 50 + PROTOTYPES),
    "digits/vae/lars_prototypes": (VAE, A, 50 + 50 + PROTOTYPES),
    "digits/vae/blockwise": (VAE, 25 * (2 * 10 + 10 + 10 + 1), 0),
    "digits/vae_renyi/lars": (VAE, A, 0),
    "digits_8x8/vae_gaussian/standard": (None, 0, 0),
}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)  # the overlay names files from here


def settings_of(name, iterations=8):
    config = load_config([ROOT / "config.yaml", ROOT / "examples/parts/parts.yaml"])
    config["priors"]["prototypes"]["prototypes"] = PROTOTYPES
    settings = resolve_run(config, Run("short", *name.split("/"), 0))
    settings["training"] |= {"iterations": iterations, "warm_up": 4}
    return settings


@pytest.fixture(scope="module")
def data_files(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    grey = (load_digits().images / 16).astype(np.float32)
    np.savez(
        folder / "own.npz", train=grey[:1_297], validation=grey[1_297:1_497], test=grey[1_497:]
    )
    prepare_own("digits_8x8", folder / "own.npz", folder / "digits_8x8.safetensors")
    return {"digits": digits, "digits_8x8": folder / "digits_8x8.safetensors"}


@pytest.mark.parametrize("name", PARTS)
def test_it_trains_resumes_and_is_evaluated(name, data_files, tmp_path, monkeypatch):
    settings, file = settings_of(name), data_files[name.split("/")[0]]
    data = load_dataset(file)
    model, trainer = run(data, settings, tmp_path / "whole")
    assert is_finished(trainer)
    assert np.isfinite(rows_of(tmp_path / "whole")["loss"]).all()

    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(Interrupted):
            run(data, settings, tmp_path / "resumed", checkpoint_seconds=0)
    run(data, settings, tmp_path / "resumed")
    assert_same_results(tmp_path / "whole", tmp_path / "resumed")

    folder = tmp_path / "whole"
    estimate_run_z(folder, 2_000, None, "cpu")
    evaluate_run(folder, file, 3, "cpu")
    metrics = read_json(folder / "metrics.json")
    assert metrics["nll"] <= metrics["elbo"]
    loaded = load_run(folder)
    assert loaded.decode(loaded.prior.sample((2,))).shape == (2, math.prod(data.image_shape))

    counts = parameter_counts(loaded)
    wanted = dict(zip(counts, PARTS[name], strict=True))
    assert {k: v for k, v in wanted.items() if v is not None and counts[k] != v} == {}
    trained = sum(p.numel() for p in model.parameters())
    assert sum(counts.values()) == trained
    saved = load_file(folder / "model.safetensors")
    assert sum(saved[key].numel() for key, _ in model.named_parameters()) == trained


def test_every_parameter_of_a_prior_and_of_the_encoder_it_uses_is_trained(data_files):
    settings = settings_of("digits/vae/lars_prototypes")
    model = build_run_model(settings, None)
    data = load_dataset(data_files["digits"])
    images = data.means("train")
    model.start(images)
    # Not by a product of matrices, whose rounding is 0.01 at a distance of 0.
    distances = torch.cdist(
        model.prior.proposal.images, images, compute_mode="donot_use_mm_for_euclid_dist"
    )
    assert distances.min(dim=1).values.max() < 1e-2
    terms = model.terms(data.evaluation_images("validation", 0)[:16], 1, training=True)
    (terms.log_prior.mean() + terms.log_likelihood.mean()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_the_prototypes_are_the_mixture_written_out():
    torch.manual_seed(0)
    settings = settings_of("digits/vae/prototypes")
    model = build_model(settings, (28, 28)).double()
    model.start(torch.rand(100, PIXELS).double())
    for parameter in model.prior.parameters():
        torch.nn.init.normal_(parameter)
    mean, _ = model.encode(model.prior.images)
    scale, freedom = model.prior.log_scale.exp(), 1 + model.prior.log_freedom.exp()
    z = torch.randn(7, 50).double()
    components = stats.t.logpdf(
        *(v.detach().numpy() for v in (z[:, None], freedom, mean, scale))
    ).sum(-1)
    weights = model.prior.logits.softmax(0)
    expected = (torch.from_numpy(components).exp() * weights).sum(1).log()
    torch.testing.assert_close(model.prior.log_prob(z), expected)


def test_the_renyi_objective_is_the_bound_written_out(data_files):
    data = load_dataset(data_files["digits"])
    settings = settings_of("digits/vae_renyi/lars")
    _, trainer = run(data, settings, data_files["digits_8x8"].parent / "renyi")
    assert trainer.objective.num_samples == 5
    torch.manual_seed(0)
    terms = trainer.model.terms(data.evaluation_images("validation", 0)[:4], 5, training=True)
    weights = (terms.log_likelihood + terms.log_prior - terms.log_posterior).double().exp()
    expected = -((weights**0.5).mean(0).log() / 0.5).mean()
    assert trainer.objective(terms, 1.0).item() == pytest.approx(expected.item(), rel=1e-5)


@torch.no_grad()
def test_each_block_has_a_z_of_its_own(data_files, tmp_path):
    settings = settings_of("digits/vae/blockwise")
    with torch.enable_grad():
        run(load_dataset(data_files["digits"]), settings, tmp_path)
    estimate_run_z(tmp_path, 20_000, None, "cpu")
    record = read_json(tmp_path / "z.json")
    assert len(record["factors"]) == 25
    assert record["log_z"] == pytest.approx(sum(math.log(z) for z, _, _ in record["factors"]))
    prior = load_run(tmp_path).prior
    axis = torch.linspace(-8, 8, 201)
    plane, centre = torch.cartesian_prod(axis, axis), 201**2 // 2
    for i in (0, 24):
        z = torch.zeros(len(plane), 50)
        z[:, 2 * i : 2 * i + 2] = plane
        rest = prior.log_prob(torch.zeros(1, 50))
        density = (prior.log_prob(z) - rest).exp()
        # ∫ of one block's density over its value at 0
        a, block_z = prior.blocks[i].log_a(plane).exp(), prior.blocks[i].log_z.exp()
        normal = (-plane.square().sum(1) / 2).exp() / (2 * math.pi)
        truth = normal * a * (1 - (1 - block_z) ** 99) / block_z + (1 - block_z) ** 99 * normal
        torch.testing.assert_close(density, truth / truth[centre], rtol=1e-3, atol=1e-5)
        assert float(truth.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=0.02)
