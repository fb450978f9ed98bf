"""Estimates of the time: from measured rates alone, and unknown where there are none."""

import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from resampled_priors.experiment import Run, load_config, merge, resolve_run
from resampled_priors.report import timing

ROOT = Path(__file__).parents[2]
CONFIG = merge(load_config([ROOT / "config.yaml"]), {"device": "cpu"})
LARS = Run("short", "dynamic_mnist", "vae", "lars", 0)
STANDARD = Run("short", "dynamic_mnist", "vae", "standard", 0)


def write_run(results: Path, run: Run, train_seconds: float, evaluated: bool = True, **metrics):
    """A run as the workflow leaves it, as far as times go: 1,000 iterations, K = 100, 5 images."""
    folder = results / run.folder
    folder.mkdir(parents=True)
    common = {"device": "cpu", "iterations": 1_000, "train_seconds": train_seconds} | metrics
    z = {"num_z_samples": 0 if run.prior == "standard" else 4_000, "seconds": 2.0}
    z |= {"z": 1.0, "z_se": 0.0, "log_z": 0.0, "log_z_se": 0.0}
    record = {"settings": resolve_run(CONFIG, run), "model_sha256": "0", **common}
    (folder / "run.json").write_text(json.dumps(record))
    if evaluated:
        (folder / "z.json").write_text(json.dumps(z))
        evaluation = {"num_test_images": 5, "num_importance_samples": 100, "evaluate_seconds": 10}
        evaluation |= dict.fromkeys(["nll", "elbo", "kl", "recons", "log_z_se"], 0.0) | {"z": 1.0}
        (folder / "metrics.json").write_text(
            json.dumps(common | evaluation | {"num_z_samples": z["num_z_samples"]})
        )


@pytest.fixture
def times(tmp_path) -> pd.DataFrame:
    """Three seeds of LARS at 100, 200 and 1,000 iterations a second; one standard run."""
    for seed, seconds in enumerate([10.0, 5.0, 1.0]):
        write_run(tmp_path, Run("short", "dynamic_mnist", "vae", "lars", seed), seconds)
    write_run(tmp_path, STANDARD, 4.0)
    return timing.measured_times(tmp_path)


def test_an_estimate_is_the_work_at_the_median_rate(times):
    short = CONFIG["budgets"]["short"]
    train = timing.step_seconds(CONFIG, "train", LARS, times)
    assert train == pytest.approx(short["iterations"] / 200)
    z = timing.step_seconds(CONFIG, "estimate_z", LARS, times)
    assert z == pytest.approx(short["z_samples"] / 2_000)
    evaluate = timing.step_seconds(CONFIG, "evaluate", LARS, times)
    assert evaluate == pytest.approx(5 * short["importance_samples"] / (5 * 100 / 10))
    assert timing.step_seconds(CONFIG, "estimate_z", STANDARD, times) == 0


def test_a_model_with_fewer_iterations_takes_less(times):
    half = merge(CONFIG, {"budgets": {"short": {"models": {"vae": {"iterations": 10_000}}}}})
    whole_run, half_run = (timing.step_seconds(c, "train", LARS, times) for c in (CONFIG, half))
    assert half_run == pytest.approx(whole_run / 2)


def test_what_was_not_measured_is_unknown(times):
    for step in timing.STEPS:
        assert (
            timing.step_seconds(
                CONFIG, step, Run("short", "dynamic_mnist", "vae", "maf", 0), times
            )
            is None
        )
    other_data = Run("short", "omniglot", "vae", "lars", 0)  # how many test images?
    assert timing.step_seconds(CONFIG, "evaluate", other_data, times) is None
    assert timing.step_seconds(CONFIG, "train", other_data, times) is not None


def test_a_run_that_is_only_trained_tells_how_long_that_took(tmp_path):
    write_run(tmp_path, LARS, 5.0, evaluated=False)
    times = timing.measured_times(tmp_path)
    assert timing.step_seconds(CONFIG, "train", LARS, times) == pytest.approx(100)
    assert timing.step_seconds(CONFIG, "estimate_z", LARS, times) is None
    assert timing.step_seconds(CONFIG, "evaluate", LARS, times) is None


def test_the_estimate_in_words(times, monkeypatch):
    monkeypatch.setattr(timing, "known_times", lambda results: times)
    maf = Run("short", "dynamic_mnist", "vae", "maf", 0)
    jobs = [("train", LARS), ("train", STANDARD), ("evaluate", LARS), ("train", maf)]
    training = CONFIG["budgets"]["short"]["iterations"] * (1 / 200 + 1 / 250)
    evaluation = CONFIG["budgets"]["short"]["importance_samples"] / 10
    assert timing.estimate(CONFIG, jobs, Path("anywhere")).splitlines() == [
        "Time at the rates measured on cpu, one job after another:",
        f"  training {timedelta(seconds=training)}, evaluation {timedelta(seconds=evaluation)};"
        f" in all {timedelta(seconds=training + evaluation)}",
        "  unknown, never measured on cpu: train 1 times: dynamic_mnist/vae/maf",
        "  not counted: data, toys, figures, tables",
    ]


def test_another_device_is_another_rate(times, monkeypatch):
    monkeypatch.setattr(timing, "known_times", lambda results: times)
    monkeypatch.setattr(timing, "kind_of_device", lambda device: "NVIDIA H200")
    words = timing.estimate(CONFIG, [("train", LARS)], Path("anywhere"))
    assert "unknown, never measured on NVIDIA H200: train 1 times: dynamic_mnist/vae/lars" in words
    assert "in all" not in words


def test_the_kind_of_device(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200'\necho 'NVIDIA H200'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert [timing.kind_of_device(d) for d in ("auto", "cuda", "cpu")] == [
        *("NVIDIA H200", "NVIDIA H200", "cpu")
    ]
    program.write_text("#!/bin/sh\necho 'no driver' >&2\nexit 9\n")
    assert timing.kind_of_device("auto") == "cpu"
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert timing.kind_of_device("auto") == "cpu"


def test_the_times_that_come_with_the_package_give_rates():
    """They are written by `resampled-priors measured-times`."""
    times = timing.known_times(ROOT / "no such folder")
    assert list(times.columns) == timing.COLUMNS
    assert (times["train_seconds"] > 0).all() and (times["iterations"] > 0).all()
    assert timing.step_seconds(CONFIG, "train", LARS, times[times["device"] == "cpu"]) > 0
