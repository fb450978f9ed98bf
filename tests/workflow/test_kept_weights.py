"""Weights in a fresh clone: figures are drawn from them, without data and without training."""

import json
from collections import Counter

from small_workflow import TINY_DEMO, planned, run_jobs

from resampled_priors.experiment import Run, figure_runs, resolve_run


def check_out(folder, run):
    """A run's files as Git writes them: one after another in the order of their names."""
    place = folder / "my results" / run.folder
    place.mkdir(parents=True)
    record = {"settings": resolve_run(TINY_DEMO, run), "iterations": 5, "train_seconds": 1.0}
    record |= {"device": "cpu", "model_sha256": "0" * 64}
    for name in ("metrics.json", "model.safetensors", "run.json", "training.csv", "z.json"):
        (place / name).write_text(json.dumps(record) if name == "run.json" else "{}")


def test_a_figure_of_runs_that_are_there_is_one_job(fresh):
    for run in figure_runs(TINY_DEMO, "fig3"):
        check_out(fresh, run)
    assert planned(fresh, target="my results/fig3.pdf") == Counter([("figure", "fig3")])


def test_learning_curves_ask_for_the_budget_in_force_alone(fresh):
    """Those of other budgets are shown where they are there."""
    runs = [Run("demo", "digits", "vae", prior, 0) for prior in ("standard", "lars")]
    expected = Counter([job for run in runs for job in run_jobs(run)] + [("figure", "figR2")])
    plan = planned(fresh, target="my results/figR2.pdf")
    assert Counter({job: n for job, n in plan.items() if job[0] != "prepare"}) == expected
