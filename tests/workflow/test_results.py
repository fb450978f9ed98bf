"""The demo in small: what it makes, and what is made again after which change."""

import json
import os
import shutil
import time
import zipfile
from collections import Counter

import pandas as pd
import pytest
from small_workflow import (
    DEMO,
    LARS_NEW,
    TINY,
    TINY_DEMO,
    TINY_RUNS,
    Job,
    jobs_of,
    jobs_of_all,
    planned,
    run_jobs,
    snakemake,
)

from resampled_priors.experiment import Config, Run


def test_the_demo_makes_every_table_and_file(finished):
    results = finished / "my results"
    for table in TINY_DEMO["tables"]:
        for suffix in ("csv", "md", "tex", "html"):
            assert (results / f"{table}.{suffix}").stat().st_size > 0
        rows = pd.read_csv(results / f"{table}.csv")
        assert rows["ours"].notna().all() and rows["missing"].isna().all()
    for run in TINY_RUNS:
        assert {path.name for path in (results / run.folder).iterdir()} == {
            *("model.safetensors", "training.csv", "run.json", "z.json", "metrics.json")
        }
        for step in ("train", "estimate_z", "evaluate"):
            name = run.log_name
            assert (results / "logs" / step / f"{name}.log").is_file()
            assert (results / "logs" / step / f"{name}.benchmark.tsv").is_file()
    assert (finished / "my data" / "prepared" / "digits.safetensors").is_file()
    assert not (finished / "results").exists() and not (finished / "data").exists()


def test_every_job_has_a_log_that_says_all_there_is_to_know(finished):
    logs = list((finished / "my results" / "logs").glob("*/*.log"))
    assert {path.parent.name for path in logs} == {
        *("prepare", "train", "estimate_z", "evaluate", "tables")
    }
    for path in logs:
        lines = path.read_text().splitlines()
        assert [line.split(": ")[0] for line in lines[:3]] == ["started", "command", "versions"]
        assert lines[3].startswith("settings: {") or path.parent.name == "prepare"
        if path.parent.name == "train":
            assert any("5/5" in line and "loss" in line for line in lines)


def test_the_tables_show_the_runs(finished):
    results = finished / "my results"
    rows = pd.read_csv(results / "tableD1.csv")
    assert list(rows["prior"].unique()) == ["standard", "lars_posthoc", "lars"]
    for _, row in rows.iterrows():
        folder = results / Run("demo", "digits", "vae", row["prior"], 0).folder
        metrics = json.loads((folder / "metrics.json").read_text())
        assert row["ours"] == metrics[row["metric"]]
        assert row["iterations"] == 5 and row["num_importance_samples"] == 2
    # post hoc: the encoder and decoder are the base's
    recons = rows[rows["metric"] == "recons"].set_index("prior")["ours"]
    assert recons["lars_posthoc"] == pytest.approx(recons["standard"], rel=0.01)


CHANGES: dict[str, tuple[Config, Counter[Job]]] = {
    "nothing": ({}, Counter()),
    "device, mirror, partial, and what nothing here uses": (
        {
            "device": "cuda",
            "data": {"mirror": "elsewhere", "accept_unverified": ["omniglot"]},
            "partial": True,
            "budgets": {"short": {"iterations": 7, "seeds": [4]}},
            "priors": {"lars_T50": {"truncation": 49}},
            "training": {"patience": 3},
        },
        Counter(),
    ),
    "T of one prior": (
        {"priors": {"lars_T2": {"truncation": 3}}},
        jobs_of("lars_T2", "D3"),
    ),
    "widths of one prior": (
        {"priors": {"lars_10-10": {"hidden": [11, 10]}}},
        jobs_of("lars_10-10", "D2"),
    ),
    "a post-hoc prior": (
        {"priors": {"lars_posthoc": {"num_proposals": 100}}},
        jobs_of("lars_posthoc", "D1"),
    ),
    "a prior that is another's proposal": (
        {"priors": {"realnvp": {"layers": 2}}},
        jobs_of("realnvp lars_realnvp", "D4 D5"),
    ),
    "a new prior and a row": (
        {
            "priors": {"lars_T3": LARS_NEW},
            "tables": {
                "tableD3": {"rows": [*TINY["tables"]["tableD3"]["rows"], {"prior": "lars_T3"}]}
            },
        },
        jobs_of("lars_T3", "D3"),
    ),
    "a new table": (
        {"tables": {"tableX": TINY_DEMO["tables"]["tableD4"]}},
        jobs_of("", "X"),
    ),
    "a label": (
        {"priors": {"lars_10-10": {"label": "another"}}},
        jobs_of("", "D2"),
    ),
    "a caption": ({"tables": {"table1": {"caption": "another"}}}, jobs_of("", "1")),
    "the importance samples": (
        {"budgets": {"demo": {"importance_samples": 3}}},
        jobs_of_all(("evaluate",)),
    ),
    "the samples of Z": (
        {"budgets": {"demo": {"z_samples": 3_000}}},
        jobs_of_all(("estimate_z", "evaluate")),
    ),
    "one more seed": (
        {"budgets": {"demo": {"seeds": [0, 1]}}},
        jobs_of_all(seed=1),
    ),
}


@pytest.mark.parametrize(("overlay", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_re_runs_what_depends_on_it(again, overlay, expected):
    assert planned(again, overlay) == expected


@pytest.mark.parametrize("suffix", ["csv", "md", "tex", "html"])
def test_a_lost_table_is_made_again(again, suffix):
    (again / "my results" / f"tableD6.{suffix}").unlink()
    assert planned(again) == Counter([("table", "tableD6")])


def test_the_report_has_every_table(again):
    done = snakemake(again, "--report", "report.zip", "tables", configfiles=DEMO)
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(again / "report.zip") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
        page = archive.read("report/report.html").decode()
    for table, settings in TINY_DEMO["tables"].items():
        assert (again / "my results" / f"{table}.html").read_bytes() in contents
        assert json.dumps(settings["caption"]) in page  # as a label
    assert "Budget <strong>demo</strong>: 5 iterations" in page


def test_committed_results_count_as_made_once_they_are_touched(again):
    """A clone has no weights, data or logs, and times that say nothing: only what is missing of
    the tables is made."""
    results = again / "my results"
    missing = Run("demo", "digits", "vae", "lars_T2", 0)
    for folder in (
        again / ".snakemake",
        again / "my data",
        results / "logs",
        results / missing.folder,
    ):
        shutil.rmtree(folder)
    for weights in results.rglob("*.safetensors"):
        weights.unlink()
    newest_first = ("z.json", "run.json", "training.csv", "metrics.json", "table*")
    for age, name in enumerate(newest_first, start=1_000):
        for path in results.rglob(name):
            os.utime(path, times=(time.time() - age,) * 2)
    metrics = {path: path.read_bytes() for path in results.rglob("metrics.json")}

    for target in (["--touch", "tables", "--config", "partial=True"], ["datasets"]):
        done = snakemake(again, *target, configfiles=DEMO)
        assert done.returncode == 0, done.stdout
    assert planned(again) == Counter([*run_jobs(missing), ("table", "tableD3")])
    assert planned(again, {"priors": {"lars_10-10": {"hidden": [11, 10]}}}) == Counter(
        [*run_jobs(missing), ("table", "tableD3"), *jobs_of("lars_10-10", "D2").elements()]
    )
    assert {path: path.read_bytes() for path in results.rglob("metrics.json")} == metrics
