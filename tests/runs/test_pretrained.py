"""Weights that a clone comes with: found by a name, described by a card, not too many of them."""

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from figure_runs import make_run
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from resampled_priors import load_pretrained
from resampled_priors.cli import app
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.files import read_json, sha256, write_json
from resampled_priors.report.card import card
from resampled_priors.runs.steps import estimate_run_z

ROOT = Path(__file__).parents[2]
NAME = "digits/vae/lars"
DATA = {"data": [{"name": "a", "verified": True}], "data_sha256": "d" * 64, "git_commit": "c" * 40}
METRICS = {"kl": 20.0, "recons": 70.0, "z": 0.5, "log_z_se": 0.001, "num_z_samples": 20_000}
METRICS |= {"num_importance_samples": 1_000, "num_test_images": 10_000, "iterations": 20_000}
METRICS |= {"device": "cpu"}


def make(results, budget="short", name=NAME, nll=None, iterations=0):
    """A run with an untrained model, and metrics where its NLL is given."""
    folder = results / "runs" / budget / name / "seed0"
    make_run(results, folder.relative_to(results).as_posix())
    run = read_json(folder / "run.json") | DATA | {"iterations": iterations}
    write_json(folder / "run.json", run)
    estimate_run_z(folder, 20_000, None, "cpu")  # which names run.json
    if nll is not None:
        metrics = METRICS | {"nll": nll, "nll_se": 0.25, "elbo": nll + 4, "elbo_se": 0.375}
        write_json(folder / "metrics.json", metrics | {"model_sha256": run["model_sha256"]})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Budgets and seeds of one model, by the order in which they should be taken."""
    results = tmp_path_factory.mktemp("results")
    make(results, "short", nll=89.0, iterations=20)
    first = make(results, "converged", nll=87.0, iterations=200)
    shutil.copytree(first, first.with_name("seed1"))
    write_json(first.with_name("seed1") / "metrics.json", METRICS | {"nll": 86.5})
    make(results, "mine", iterations=1_000)
    make(results, "short", "digits/vae/standard")
    return results


@pytest.fixture
def loaded(monkeypatch):
    """The folder that load_pretrained chooses."""
    chosen = "resampled_priors.runs.pretrained.load_run"
    monkeypatch.setattr(chosen, lambda folder, device: Path(folder))
    return lambda *arguments: "/".join(load_pretrained(NAME, *arguments).parts[-5:])


def test_the_best_budget_and_its_first_seed_are_taken(made, loaded):
    assert loaded(made) == f"converged/{NAME}/seed0"


def test_without_a_test_nll_the_longest_training_is_taken(tmp_path, loaded):
    make(tmp_path, "short", iterations=20)
    make(tmp_path, "long", iterations=30)
    assert loaded(str(tmp_path)) == f"long/{NAME}/seed0"


def test_what_is_loaded_is_that_model_with_its_z(made, monkeypatch):
    monkeypatch.chdir(made.parent)
    shutil.copytree(made, "results")  # where it is looked for by default
    model = load_pretrained(NAME)
    z = read_json(f"results/runs/converged/{NAME}/seed0/z.json")
    assert model.prior.log_z.item() == pytest.approx(math.log(z["z"]), abs=1e-6)
    assert model.decode(model.prior.sample((2,))).shape == (2, 784)
    assert not model.training


def test_an_unknown_name_says_what_there_is(made, tmp_path):
    with pytest.raises(ResampledPriorsError) as error:
        load_pretrained("digits/vae/maf", made)
    there = "digits/vae/lars, digits/vae/standard"
    assert f"has no weights of digits/vae/maf: it has {there}; train it" in str(error.value)
    with pytest.raises(ResampledPriorsError, match=r"it has none at all.*results=") as error:
        load_pretrained(NAME, tmp_path)
    assert "\n" not in str(error.value)


# Cards -------------------------------------------------------------------------------------------


def test_a_card_says_what_the_records_say(tmp_path):
    folder = make(tmp_path, nll=87.654, iterations=20_000)
    done = CliRunner().invoke(app, ["card", str(folder)])
    assert done.exit_code == 0, done.output
    text = (folder / "card.md").read_text(encoding="utf-8")
    run, z = read_json(folder / "run.json"), read_json(folder / "z.json")
    assert text.startswith(f"# {NAME}\n")
    assert "87.65 ± 0.25 nats (K = 1,000, 10,000 test images)" in text
    assert "91.65 ± 0.38 nats" in text and f"| Z | {z['z']:.4g} ± " in text
    for written in (sha256(folder / "model.safetensors"), "d" * 64, "c" * 40, "20,000 iterations"):
        assert written in text
    settings = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    assert yaml.safe_load(settings) == run["settings"]
    assert f'load_run("results/runs/short/{NAME}/seed0")' in text


def test_a_card_of_a_run_without_metrics_has_no_nll(tmp_path):
    text = card(make(tmp_path, name="digits/vae/standard"))
    assert "NLL" not in text and "| Z | 1 |" in text


def test_no_card_of_other_weights(tmp_path):
    folder = make(tmp_path)
    weights = folder / "model.safetensors"
    state = load_file(weights)
    save_file({key: torch.zeros_like(value) for key, value in state.items()}, weights)
    with pytest.raises(ResampledPriorsError, match=r"run\.json is not of model\.safetensors"):
        card(folder)
    weights.unlink()
    with pytest.raises(ResampledPriorsError, match=r"model\.safetensors is missing"):
        card(folder)


def test_no_card_of_records_that_lack_something(tmp_path):
    folder = make(tmp_path, nll=80.0)
    write_json(folder / "metrics.json", {"nll": 80.0})
    with pytest.raises(ResampledPriorsError, match=r"metrics\.json is not what it should be"):
        card(folder)
    make_run(tmp_path, f"runs/long/{NAME}/seed0")
    with pytest.raises(ResampledPriorsError, match=r"lacks 'data': train and evaluate"):
        card(tmp_path / f"runs/long/{NAME}/seed0")


# What the repository holds -----------------------------------------------------------------------


def committed_weights():
    listing = ["git", "-C", str(ROOT), "ls-files", "results/*.safetensors"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    return [ROOT / line for line in done.stdout.splitlines()]


def test_committed_weights_are_small_enough_to_be_cloned():
    assert sum(path.stat().st_size for path in committed_weights()) < 60_000_000


def test_committed_weights_have_a_current_card():
    """After a new training: resampled-priors card RUN"""
    for weights in committed_weights():
        written = (weights.parent / "card.md").read_text(encoding="utf-8")
        assert written == card(weights.parent), f"resampled-priors card {weights.parent}"
