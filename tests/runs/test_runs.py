"""What the steps of a run leave, and that they give the same again."""

import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from run_steps import (
    FILES,
    METRICS,
    assert_one_line,
    make_run,
    settings_for,
    without_timings,
)
from safetensors.torch import load_file, save_file

from resampled_priors.data.dataset import load_dataset
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.evaluation import evaluate
from resampled_priors.files import read_json, sha256, write_json
from resampled_priors.runs import finished, steps, training
from resampled_priors.runs.load import load_run
from resampled_priors.runs.steps import (
    estimate_run_z,
    evaluate_run,
    train_run,
    train_runs_together,
)
from resampled_priors.training.trainer import Trainer

# --- what a run leaves ---------------------------------------------------------------------


def test_a_run_leaves_its_five_files_and_copies_until_snakemake_has_noted_them(copy, lars_run):
    names = {path.name for path in lars_run.rglob("*") if path.is_file()}
    kept = {path.name for path in (lars_run / "checkpoint").iterdir()}
    assert {name.split(".")[0] for name in kept} == set(finished.RECORDS)
    assert len(kept) == 3 and names == kept | set(FILES)
    shutil.copytree(lars_run / "checkpoint", copy / "checkpoint")
    for record in finished.RECORDS.values():
        assert finished.is_kept(copy / record)
        finished.confirm(copy / record)
        assert not finished.is_kept(copy / record)
    assert {path.name for path in copy.iterdir()} == set(FILES)


@pytest.mark.parametrize("step", finished.RECORDS)
def test_finished_work_whose_outputs_were_deleted_is_put_back(
    step, lars_run, digits, tmp_path, monkeypatch, capsys
):
    """As Snakemake deletes them, after a kill of itself or of a job that had just finished."""
    folder = Path(shutil.copytree(lars_run, tmp_path / "run"))
    before = {name: (folder / name).read_bytes() for name in FILES}
    outputs = FILES[:3] if step == "train" else [finished.RECORDS[step]]
    for name in outputs:
        (folder / name).unlink()
    monkeypatch.setattr(Trainer, "start", None)
    monkeypatch.setattr(steps, "estimate_model_z", None)
    monkeypatch.setattr(steps, "evaluate", None)
    if step == "train":
        train_run(folder, settings_for(prior="lars"), digits, None, "cpu")
    elif step == "estimate_z":
        estimate_run_z(folder, 2_000, None, "cpu")
    else:
        evaluate_run(folder, digits, 2, "cpu")
    assert f"{step} was finished before" in capsys.readouterr().out
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_damaged_copy_is_not_put_back(lars_run, digits, tmp_path, capsys):
    folder = Path(shutil.copytree(lars_run, tmp_path / "run"))
    [kept] = folder.glob("checkpoint/train.*")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    (folder / "model.safetensors").unlink()
    train_run(folder, settings_for(prior="lars"), digits, None, "cpu")
    out = capsys.readouterr().out
    assert f"{kept} is damaged" in out and f"trained {folder}" in out
    assert sha256(folder / "model.safetensors") == sha256(lars_run / "model.safetensors")
    assert finished.is_kept(folder / "run.json")


def test_training_by_hand_replaces_no_run_of_other_settings_that_took_long(copy, digits):
    def took(seconds):
        write_json(copy / "run.json", read_json(copy / "run.json") | {"train_seconds": seconds})

    took(7_200.0)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    other = settings_for(prior="lars", iterations=4)
    with pytest.raises(ResampledPriorsError) as error:
        train_run(copy, other, digits, None, "cpu")
    changed = "took 2.0 hours, with other settings (training.iterations: 3 -> 4)"
    assert_one_line(str(error.value), str(copy), changed)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    took(3_500.0)
    train_run(copy, other, digits, None, "cpu")
    assert read_json(copy / "run.json")["settings"] == other


def test_metrics(lars_run, standard_run):
    metrics = read_json(lars_run / "metrics.json")
    assert metrics.keys() >= METRICS
    assert metrics["elbo"] == pytest.approx(metrics["kl"] + metrics["recons"])
    assert metrics["nll"] <= metrics["elbo"]
    z = read_json(lars_run / "z.json")
    assert all(metrics[key] == z[key] for key in ("z", "z_se", "log_z_se", "num_z_samples"))
    assert 0 < metrics["z"] < 1
    wanted = {
        "num_importance_samples": 2,
        "num_z_samples": 2_000,
        "num_test_images": 300,
        "iterations": 3,
        "device": "cpu",
        "num_parameters": 235_500 + 90_300 + 30_100 + 15_300 + 90_300 + 235_984,
        "num_acceptance_parameters": 15_301,
        "num_prior_parameters": 0,
        "seed": 0,
    }
    assert {key: metrics[key] for key in wanted} == wanted
    assert metrics["train_seconds"] > 0
    plain = read_json(standard_run / "metrics.json")
    assert plain.keys() == metrics.keys()
    assert (plain["z"], plain["z_se"], plain["log_z_se"], plain["num_z_samples"]) == (1, 0, 0, 0)


def test_provenance(lars_run, digits):
    run = read_json(lars_run / "run.json")
    assert run["settings"] == settings_for(prior="lars")
    assert run.keys() >= {"git_commit", "git_dirty", "python", "machine", "threads"}
    assert run["packages"]["torch"] == torch.__version__
    assert {"resampled-priors", "zuko", "numpy"} <= run["packages"].keys()
    assert len(run["data"]) == 1
    assert run["data"][0].keys() == {"name", "sha256", "verified"}
    assert run["data"] == load_dataset(digits).provenance
    assert run["data"][0]["verified"] is True
    assert run["data_sha256"] == sha256(digits)
    assert run["model_sha256"] == sha256(lars_run / "model.safetensors")
    assert (run["device"], run["iterations"], run["best_iteration"]) == ("cpu", 3, None)
    assert "base_sha256" not in run


def test_provenance_of_unverified_data(digits, tmp_path):
    """A prepared file whose raw file was not the published one: run.json says so."""
    content = load_file(digits)
    provenance = [{"name": "digits", "sha256": "0" * 64, "verified": False}]
    about = {"format_version": 1, "name": "digits", "kind": "grey", "provenance": provenance}
    data = tmp_path / "digits.safetensors"
    save_file(content, data, {"resampled_priors": json.dumps(about)})
    train_run(tmp_path / "run", settings_for(), data, None, "cpu")
    assert read_json(tmp_path / "run" / "run.json")["data"] == provenance


# --- the same again ------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_metrics_and_another_seed_another(lars_run, digits, tmp_path):
    first = without_timings(read_json(lars_run / "metrics.json"))
    again = make_run(tmp_path / "again", settings_for(prior="lars"), digits)
    assert without_timings(again) == first
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        lars_run / "model.safetensors"
    ).read_bytes()
    other = without_timings(
        make_run(tmp_path / "other", settings_for(prior="lars", seed=1), digits)
    )
    same = {key for key in other if other[key] == first[key]}
    assert {"nll", "elbo", "kl", "recons", "z", "nll_se", "seed"}.isdisjoint(same)


FAMILIES = [
    ("vae", "standard"),
    ("vae", "lars"),
    ("vae", "lars_Tinf"),
    ("vae", "realnvp"),
    ("vae", "maf"),
    ("vae", "lars_realnvp"),
    ("vae_2d", "lars"),
    ("hvae", "lars"),
    ("conv_hvae", "lars"),
    ("vae_resampled_output", "standard"),
]


@pytest.mark.parametrize(("model", "prior"), FAMILIES)
def test_a_loaded_run_evaluates_like_the_one_in_memory(
    model, prior, digits, tmp_path, monkeypatch
):
    in_memory = []

    class Spy(Trainer):
        def __init__(self, model, *arguments):
            super().__init__(model, *arguments)
            in_memory.append(model)

    monkeypatch.setattr(training, "Trainer", Spy)
    settings = settings_for(model, prior, seed=3, iterations=2)
    metrics = make_run(tmp_path, settings, digits, z_samples=500)
    (trained,) = in_memory
    loaded = load_run(tmp_path)
    if trained.resampling.truncation != 1:
        trained.resampling.log_z.fill_(read_json(tmp_path / "z.json")["log_z"])
    trained.eval()
    images = load_dataset(digits).evaluation_images("test", 0)
    for one in (trained, loaded):
        torch.manual_seed(settings["seed"] + 2)
        again = evaluate(one, images, 2)
        assert {key: metrics[key] for key in again} == again
    assert not loaded.training
    for key, value in trained.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=0, atol=0)


# --- post hoc ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prior", "learned"), [("lars_posthoc", "prior.log_a."), ("maf", "prior.lazy.")]
)
def test_post_hoc_run(standard_run, digits, tmp_path, prior, learned):
    base = standard_run / "model.safetensors"
    before = sha256(base)
    settings = settings_for(prior=prior)
    settings["prior"]["base"] = "standard"
    metrics = make_run(tmp_path, settings, digits, base)
    assert sha256(base) == before  # the base is read, never trained
    run = read_json(tmp_path / "run.json")
    assert run["base_sha256"] == before
    weights, fixed = load_file(tmp_path / "model.safetensors"), load_file(base)
    for key in fixed.keys() - {key for key in fixed if key.startswith("prior.")}:
        assert torch.equal(weights[key], fixed[key])
    assert any(key.startswith(learned) for key in weights)
    plain = read_json(standard_run / "metrics.json")
    assert metrics["recons"] == plain["recons"]  # the same samples, too
    assert metrics["kl"] != plain["kl"]
    assert metrics["num_parameters"] == plain["num_parameters"]


# --- several runs in one process -----------------------------------------------------------


def test_runs_trained_together_end_as_if_trained_alone(digits, tmp_path):
    kinds = [("standard", 0), ("lars", 0), ("lars", 1), ("lars_realnvp", 0)]
    settings = {
        tmp_path / "together" / f"{prior}{seed}": settings_for(
            prior=prior, seed=seed, iterations=n
        )
        for n, (prior, seed) in enumerate(kinds, start=4)
    }
    start = time.monotonic()
    train_runs_together(settings, digits, "cpu")
    spent = [read_json(folder / "run.json")["train_seconds"] for folder in settings]
    assert 0 < min(spent) and sum(spent) < time.monotonic() - start  # each its own turns
    for folder, of_run in settings.items():
        alone = tmp_path / "alone" / folder.name
        torch.seed()
        train_run(alone, of_run, digits, None, "cpu")
        weights = [(f / "model.safetensors").read_bytes() for f in (folder, alone)]
        assert weights[0] == weights[1]
        rows = [pd.read_csv(f / "training.csv").drop(columns="seconds") for f in (folder, alone)]
        pd.testing.assert_frame_equal(*rows, check_exact=True)
        assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in alone.iterdir())


def test_one_run_that_fails_does_not_stop_the_others(digits, tmp_path):
    bad = settings_for(iterations=5)
    bad["training"]["learning_rate"] = 1e30
    settings = {tmp_path / "bad": bad, tmp_path / "good": settings_for(iterations=6)}
    with pytest.raises(ResampledPriorsError, match=r"1 of 2 failed: .*bad \("):
        train_runs_together(settings, digits, "cpu")
    assert not (tmp_path / "bad" / "model.safetensors").exists()
    assert read_json(tmp_path / "good" / "run.json")["iterations"] == 6
