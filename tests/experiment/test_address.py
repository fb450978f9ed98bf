"""The address of a run: built, and parsed."""

from pathlib import Path

import pytest
from changed_config import CONFIG, all_runs
from refusals import refused

from resampled_priors import experiment
from resampled_priors.experiment import Run


@pytest.mark.parametrize("root", [".", "results", "/a/b c/results", "runs/runs"])
def test_a_run_from_its_folder(root):
    for run in all_runs(CONFIG)[::7]:
        assert Run.from_folder(Path(root) / run.folder) == run
        assert Run.from_folder(f"{root}/{run.folder}/") == run
    assert Run("short", "digits", "vae", "lars_10-10", 12).folder == (
        "runs/short/digits/vae/lars_10-10/seed12"
    )


def test_all_runs_below_a_results_folder(tmp_path):
    runs = [Run(budget, "digits", "vae", "lars_10-10", 12) for budget in ("paper", "short")]
    for run in runs:
        (tmp_path / run.folder).mkdir(parents=True)
        (tmp_path / run.folder / "z.json").touch()
    (tmp_path / runs[0].folder / "run.json").touch()
    (tmp_path / "runs" / "digits" / "vae" / "lars" / "seed0").mkdir(parents=True)  # no budget
    (tmp_path / "runs" / "digits" / "vae" / "lars" / "seed0" / "z.json").touch()
    found = experiment.files_of_runs(tmp_path, "z.json")
    assert [Run.from_folder(path.parent) for path in found] == runs
    assert len(experiment.files_of_runs(tmp_path, "run.json")) == 1


def test_names_of_a_run():
    run = Run("short", "digits", "vae", "lars_10-10", 12)
    assert run.name == "short/digits/vae/lars_10-10/seed12"
    assert run.log_name == "short.digits.vae.lars_10-10.seed12"


@pytest.mark.parametrize(
    "folder",
    [
        "/",
        "results",
        "runs/short/digits/vae/lars",
        "runs/short/digits/vae/lars/0",
        "runs/short/digits/vae/lars/seed",
        "runs/short/digits/vae/lars/seed-1",
        "runs/short/digits/vae/lars/seed1x",
        "runs/short/digits/vae/lars/seed²",
        "runs/short/digits/vae/lars/seed0/metrics.json",
        "run/short/digits/vae/lars/seed0",
        "short/digits/vae/lars/seed0",
        "runs/digits/vae/lars/seed0",
    ],
)
def test_not_a_run_folder(folder):
    with refused(
        f"{folder} is not a run folder: it should end in runs/BUDGET/DATASET/MODEL/PRIOR/seedN"
    ):
        Run.from_folder(folder)
