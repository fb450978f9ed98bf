"""Parts that users bring: a prior by a class of their own, and their own images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_workflow import copy_workflow, planned, snakemake
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from resampled_priors import load_run
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import load_config, resolve_prior
from resampled_priors.files import read_json, sha256
from resampled_priors.models import build_model, parameter_counts
from resampled_priors.own_code import has_own_class
from resampled_priors.priors import build_prior

ROOT = Path(__file__).parents[2]
CONFIG_FILES = [ROOT / "config.yaml", ROOT / "examples" / "mixture_prior.yaml"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with the example in it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Priors ------------------------------------------------------------------------------------------


def test_the_examples_prior_is_that_mixture(folder):
    settings = resolve_prior(load_config(CONFIG_FILES), "ten_gaussians")
    assert settings == {
        "name": "ten_gaussians",
        "family": "examples/mixture_prior.py:MixtureOfGaussians",
        "components": 10,
        "code_sha256": sha256(folder / "examples" / "mixture_prior.py"),
    }
    torch.manual_seed(0)
    prior = build_prior(settings, 3)
    parameters = dict(prior.named_parameters())
    means, log_stds, logits = (parameters[f"lazy.{n}"] for n in ("means", "log_stds", "logits"))
    assert means.shape == (10, 3)
    expected = MixtureSameFamily(
        Categorical(logits=logits), Independent(Normal(means, log_stds.exp()), 1)
    )
    z = torch.randn(4, 2, 3)
    log_prob = prior.training_log_prob(z, torch.zeros(4, 2))
    torch.testing.assert_close(log_prob, expected.log_prob(z))
    assert prior.sample((5,)).shape == (5, 3)


def test_lars_reweights_a_prior_of_ones_own(folder):
    settings = resolve_prior(load_config(CONFIG_FILES), "lars_ten_gaussians")
    assert settings["proposal"]["components"] == 10
    assert settings["proposal"]["code_sha256"]
    model_settings = {"name": "vae", "family": "vae", "latent_size": 5}
    model = build_model({"model": model_settings, "prior": settings}, (28, 28))
    counts = parameter_counts(model)
    assert counts["num_prior_parameters"] == 10 * (2 * 5 + 1)
    assert counts["num_acceptance_parameters"] == 5 * 100 + 100 + 100 * 100 + 100 + 100 + 1
    x = torch.ones(4, 784)
    model.terms(x, 1, training=True).log_prior.sum().backward()
    assert model.prior.z_average.isfinite()
    assert all(p.grad.any() for n, p in model.named_parameters() if n.startswith("prior."))


@pytest.mark.parametrize(
    ("name", "own"),
    [("ten_gaussians", True), ("lars_ten_gaussians", True), ("lars", False), ("maf", False)],
)
def test_settings_with_an_own_class_are_known(folder, name, own):
    assert has_own_class(resolve_prior(load_config(CONFIG_FILES), name)) == own


CODE = """
import torch
from torch import nn
from torch.distributions import Independent, Normal

class Wide(nn.Module):
    def __init__(self, features, width=2.0):
        super().__init__()
        self.register_buffer("std", torch.full((features,), float(width)))

    def forward(self):
        return Independent(Normal(torch.zeros_like(self.std), self.std), 1)

class Batch(Wide):
    def forward(self):
        return Normal(torch.zeros_like(self.std), self.std)

class Plain:
    def __init__(self, features): ...
    def __call__(self):
        return Independent(Normal(torch.zeros(3), torch.ones(3)), 1)

class Silent(Wide):
    def forward(self):
        return None

class Two(Wide):
    def forward(self):
        return torch.zeros_like(self.std), self.std

number = 3
"""
REFUSED = {
    "another name": ("mine.py:Wde", {}, "mine.py has no class Wde: did you mean 'Wide'?"),
    "no class": ("mine.py:number", {}, "'int' object is not callable"),
    "setting": ("mine.py:Wide", {"widht": 3}, "unexpected keyword argument 'widht'"),
    "value": ("mine.py:Wide", {"width": "x"}, r"'width': 'x'.* \(ValueError: .*correct the class"),
    "batch shape": (
        "mine.py:Batch",
        {},
        r"and event shape \(3,\): it is a Batch that gives",
    ),
    "no module": ("mine.py:Plain", {}, "nn.Module .* it is a Plain"),
    "no distribution": (
        "mine.py:Silent",
        {},
        r"nn\.Module .* a Silent that gives a NoneType",
    ),
    "two tensors": ("mine.py:Two", {}, r"nn\.Module .* a Two that gives a tuple"),
}


def build(config, features=3):
    """As the workflow does it: the prior of an entry in the config."""
    config = {"priors": {"mine": {"label": "mine", **config}}}
    return build_prior(resolve_prior(config, "mine"), features)


@pytest.mark.parametrize(("family", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_prior_is_refused(tmp_path, monkeypatch, family, settings, message):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CODE)
    assert build({"family": "mine.py:Wide", "width": 4}).sample((2,)).shape == (2, 3)
    with pytest.raises(ResampledPriorsError, match=f"^[^\n]*{message}[^\n]*$"):
        build({"family": family, **settings})


def test_files_that_cannot_be_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = {"family": "mine.py:Wide"}
    with pytest.raises(ResampledPriorsError, match=r"priors\.mine\.family: mine\.py cannot be re"):
        build(entry)
    for code, reason in {
        "class": r"config: .* mine\.py cannot be read as Python \(invalid syntax",
        "\0": r"config: .* mine\.py cannot be read as Python",
        "Wide = None\nimport nonsense": r"mine\.py cannot be used \(ModuleNotFoundError: ",
    }.items():
        Path("mine.py").write_text(code)
        with pytest.raises(ResampledPriorsError, match=rf"^{reason}[^\n]*$"):
            build(entry)
    Path("mine.py").write_text(CODE)
    settings = resolve_prior({"priors": {"mine": {"label": "mine", **entry}}}, "mine")
    Path("mine.py").write_text(CODE.replace("2.0", "3.0"))
    with pytest.raises(ResampledPriorsError, match=r"mine\.py has changed since"):
        build_prior(settings, 3)
    Path("mine.py").unlink()
    with pytest.raises(ResampledPriorsError, match=r"mine\.py cannot be used \(FileNotFoundErr"):
        build_prior(settings, 3)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"family": "mixture"}, r"'mixture' is not one of .* FILE\.py:CLASS for a prior of your"),
        ({"family": "mine.py"}, r"priors\.mine\.family: 'mine\.py' .*; it is FILE\.py:CLASS"),
        ({"family": "mine.py:3"}, r"it is FILE\.py:CLASS"),
        ({"family": "mine.py:A", "base": 3}, r"mine\.base: 3 is not of type 'string'"),
        ({"family": "mine.py:A", "code_sha256": "0"}, r"mine\.code_sha256: this key does not bel"),
        ({"family": "mine.py:A", "features": 3}, r"mine\.features: this key does not belong"),
    ],
)
def test_entries_that_the_schema_refuses(tmp_path, entry, message):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"priors": {"mine": {"label": "mine", **entry}}}))
    with pytest.raises(ResampledPriorsError, match=f"^[^\n]*{message}[^\n]*$"):
        load_config([ROOT / "config.yaml", overlay])


# Through the workflow ----------------------------------------------------------------------------


def test_an_own_prior_on_own_images_through_snakemake(tmp_path, monkeypatch):
    folder = copy_workflow(tmp_path / "work")
    shutil.copytree(ROOT / "examples", folder / "examples")
    random = np.random.default_rng(0)
    sizes = {"train": 20, "validation": 5, "test": 7}
    letters = {s: random.integers(0, 256, (n, 28, 28), np.uint8) for s, n in sizes.items()}
    np.savez(folder / "letters.npz", **letters)
    overlay = {"datasets": {"letters": {"label": "letters", "images": "letters.npz"}}}
    overlay |= yaml.safe_load((folder / "examples" / "mixture_prior.yaml").read_text())
    (folder / "own.yaml").write_text(yaml.safe_dump(overlay))
    run = Path("my results/runs/demo/letters/vae/lars_ten_gaussians/seed0")
    target = str(run / "metrics.json")
    configfiles = ["config/demo.yaml", "tiny.yaml", "own.yaml"]
    done = snakemake(folder, target, configfiles=configfiles)
    assert done.returncode == 0, done.stdout

    settings = read_json(folder / run / "run.json")["settings"]
    assert settings["dataset"] == "letters"
    assert settings["prior"]["proposal"]["components"] == 10
    metrics = json.loads((folder / target).read_text())
    assert metrics["num_test_images"] == 7
    assert metrics["num_prior_parameters"] == 10 * (2 * 50 + 1)
    assert planned(folder, overlay, target) == {}

    code = folder / "examples" / "mixture_prior.py"
    code.write_text(code.read_text().replace("zeros(components)", "ones(components)"))
    jobs = {job[0] for job in planned(folder, overlay, target)}
    assert jobs == {"train", "estimate_z", "evaluate"}
    for working_folder, message in ((folder, "has changed"), (tmp_path, "cannot be used")):
        monkeypatch.chdir(working_folder)
        with pytest.raises(ResampledPriorsError, match=rf"^examples/mixture_prior\.py {message}"):
            load_run(folder / run)
