"""Fig. R2: curves of runs at several budgets, those that are there, from their records alone."""

import numpy as np
import pandas as pd
import pytest
from changed_config import CONFIG
from figure_runs import METRICS, add_training

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import (
    Run,
    all_runs,
    figure_runs,
    merge,
    resolve_figure,
    resolve_run,
    validate_config,
    with_other_budgets,
)
from resampled_priors.files import write_json
from resampled_priors.report.figures.learning_curves import (
    draw_learning_curves,
    learning_curves_numbers,
    read_curve,
)

STANDARD, LARS = "dynamic_mnist/vae/standard", "dynamic_mnist/vae/lars"
SETTINGS = resolve_figure(CONFIG, "figR2")


def add_run(results, budget, place, iterations, nll=None, **columns):
    folder = Run(budget, *place.split("/"), 0).folder
    (results / folder).mkdir(parents=True)
    add_training(results, folder, iterations, **columns)
    if nll is not None:
        settings = resolve_run(CONFIG, Run.from_folder(folder))
        record = {"settings": settings, "device": "cpu", "iterations": iterations}
        record |= {"train_seconds": 1.0, "model_sha256": "0" * 64}
        write_json(results / folder / "run.json", record)
        metrics = METRICS | {"nll": nll, "z": 1.0, "model_sha256": "0" * 64}
        write_json(results / folder / "metrics.json", metrics)


@pytest.fixture
def results(tmp_path):
    add_run(tmp_path, "short", STANDARD, 20_000, 90.5)
    add_run(tmp_path, "short", LARS, 20_000, 88.0)
    add_run(tmp_path, "long", LARS, 1_000_000)
    return tmp_path


def test_the_runs_that_are_there_are_shown(results):
    numbers = learning_curves_numbers(SETTINGS, results, results)
    names = [f"short/{STANDARD}", f"short/{LARS}", f"long/{LARS}"]
    assert list(numbers["runs"]) == [f"{name}/seed0" for name in names]
    assert list(numbers["labels"]) == ["standard", "LARS", "LARS"]
    assert [float(numbers[f"{i}/nll"]) for i in range(2)] == [90.5, 88.0]
    assert np.isnan(numbers["2/nll"]) and numbers["2/iteration"][-1] == 1_000_000
    rows = pd.read_csv(results / f"runs/short/{LARS}/seed0/training.csv")
    np.testing.assert_allclose(numbers["1/nats"], rows["recons"] + rows["kl"])
    assert "training" in str(numbers["1/quantity"])


def test_none_of_them_is_an_error_that_says_what_makes_one(tmp_path):
    with pytest.raises(ResampledPriorsError, match=r"standard/seed0 has no training\.csv.*snake"):
        learning_curves_numbers(SETTINGS, tmp_path, tmp_path)


def test_validation_is_shown_where_there_is_any(tmp_path):
    validation = np.full(100, np.nan)
    validation[9::10] = np.arange(100, 90, -1)
    add_run(tmp_path, "short", STANDARD, 20_000, validation_nll=validation)
    path = tmp_path / f"runs/short/{STANDARD}/seed0/training.csv"
    iteration, nats, quantity = read_curve(path)
    assert list(nats) == list(range(100, 90, -1)) and quantity == "NLL of validation"
    assert list(iteration) == list(range(2_000, 20_001, 2_000))
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ResampledPriorsError, match=r"training\.csv is not the record of a train"):
        read_curve(path)


def test_the_picture_has_curves_dots_budgets_and_the_papers_lines(results):
    numbers = learning_curves_numbers(SETTINGS, results, results)
    paper = {f"paper/{STANDARD}/nll": np.array(84.97), f"paper/{LARS}/nll": np.array(83.03)}
    [axes] = draw_learning_curves(numbers | paper).axes
    drawn = [line for line in axes.lines if len(line.get_xydata())]
    lines = {line.get_ydata()[0] for line in drawn if line.get_linestyle() == "--"}
    dots = [list(line.get_xydata()[0]) for line in drawn if line.get_marker() == "o"]
    assert lines == {84.97, 83.03} and [20_000, 90.5] in dots and [20_000, 88.0] in dots
    assert {text.get_text() for text in axes.texts} == {"short", "long"}
    axes.figure.draw_without_rendering()  # the names lie above the curves
    assert all(text.get_window_extent().y0 >= axes.bbox.y1 for text in axes.texts)
    low, high = axes.get_ylim()
    assert low < 83.03 and 90.5 < high < 150  # the first steps are cut off
    assert axes.get_xscale() == "log" and axes.get_ylabel() == "negative ELBO of training (nats)"
    [without] = draw_learning_curves(numbers).axes
    assert "the paper's" in [line.get_label() for line in axes.lines]
    assert "the paper's" not in [line.get_label() for line in without.lines]


# What is asked for -------------------------------------------------------------------------------


def test_other_budgets_are_shown_and_never_asked_for():
    assert {run.budget for run in figure_runs(CONFIG, "figR2")} == {"short"}
    budgets = [run.budget for run in with_other_budgets(CONFIG, "figR2")]
    assert budgets == ["short", "converged", "long"] * 2
    assert {run.budget for run in all_runs(CONFIG)} == {"short"}
    assert SETTINGS["labels"] == ["standard"] * 3 + ["LARS"] * 3


def test_a_budget_that_is_none_is_refused():
    with pytest.raises(
        ResampledPriorsError, match=r"figR2\.budgets: unknown budget 'shrot'.*short"
    ):
        validate_config(merge(CONFIG, {"figures": {"figR2": {"budgets": ["shrot"]}}}))
    with pytest.raises(ResampledPriorsError, match="budgets"):
        validate_config(merge(CONFIG, {"figures": {"fig3": {"budgets": ["short"]}}}))
