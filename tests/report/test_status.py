"""What `status` and the results page say of a results folder made up for it."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from resampled_priors.cli import app
from resampled_priors.experiment import Run, load_config, merge, resolve_run, resolve_table
from resampled_priors.report import status, tables
from resampled_priors.report.page import write_results_page

ROOT = Path(__file__).parents[2]
TABLE = {
    "caption": "Test NLL (nats)",
    "dataset": "digits",
    "model": "vae",
    "rows": [{"prior": "standard"}, {"prior": "lars"}, {"label": "IWAE", "quoted": {"digits": 7}}],
    "columns": [{"metric": "nll"}],
}
CONFIG = merge(load_config([ROOT / "config.yaml"]), {"budgets": {"short": {"seeds": [0, 1]}}})
CONFIG["tables"] = {"tableD9": TABLE}
RUN = Run("short", "digits", "vae", "standard", 0)
LINES = """\
  0%|                                       | 0/5000 [00:00<?, ?it/s]
97%|####################################9 | 4856/5000 [05:03<00:09, 15.94it/s, loss 102.15 Z 0.013]
"""
PROGRESS = "97% 4856/5000 [05:03<00:09, 15.94it/s, loss 102.15 Z 0.013]"


def write(path: Path, text: str, age: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, times=(time.time() - age,) * 2)


def log_of(results: Path, step: str, run: Run = RUN) -> Path:
    return (
        results
        / f"logs/{step}/{run.budget}.{run.dataset}.{run.model}.{run.prior}.seed{run.seed}.log"
    )


def write_metrics(results: Path, run: Run, nll: float) -> None:
    metrics = dict.fromkeys(["elbo", "kl", "recons", "log_z_se"], 0.0)
    metrics |= dict.fromkeys(tables.COSTS, 1) | {"z": 1.0, "nll": nll, "device": "cpu"}
    write(results / run.folder / "metrics.json", json.dumps(metrics))
    record = {"settings": resolve_run(CONFIG, run), "device": "cpu", "model_sha256": "1"}
    record |= {"iterations": 1, "train_seconds": 1.0}
    write(results / run.folder / "run.json", json.dumps(record))


def shown(results: Path) -> list[str]:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))
    console.print(status.table_status(CONFIG, "tableD9", results))
    return console.export_text().splitlines()


def row(results: Path, label: str) -> str:
    [line] = [line for line in shown(results) if line.startswith(f"{label} ")]
    return line.removeprefix(label).strip()


STATES = {
    "missing": ({}, ("missing", "")),
    "at work": ({"train": (LINES, 5)}, ("running", PROGRESS)),
    "just begun": ({"train": ("", 5)}, ("running", "")),
    "no progress yet": ({"train": ("command: train\nsettings: {}\n", 5)}, ("running", "")),
    "at work by hand": ({"checkpoint": ("x", 5)}, ("running", "")),
    "killed": ({"train": (LINES, 500), "checkpoint": ("x", 520)}, ("interrupted", "")),
    "killed before a checkpoint": ({"train": (LINES, 500)}, ("missing", "")),
    "trained": ({"train": (LINES, 500), "run": ("{}", 500)}, ("trained", "")),
    "evaluated just now": (
        {"train": (LINES, 500), "run": ("{}", 500), "evaluate": ("NLL:  5%|# | 5/9 [1<2]", 5)},
        ("running", "NLL:  5% 5/9 [1<2]"),
    ),
    "failed": ({"train": (f"{LINES}error: no space\n", 500)}, ("failed", "error: no space")),
    "done": ({"train": (LINES, 5), "run": ("{}", 5), "metrics": ("{}", 5)}, ("done", "")),
}


@pytest.mark.parametrize(("files", "expected"), STATES.values(), ids=STATES)
def test_the_state_of_a_run(tmp_path, files, expected):
    folder = tmp_path / RUN.folder
    places = {
        "train": log_of(tmp_path, "train"),
        "evaluate": log_of(tmp_path, "evaluate"),
        "checkpoint": folder / "checkpoint" / "0123456789abcdef.pt",
        "run": folder / "run.json",
        "metrics": folder / "metrics.json",
    }
    for name, (text, age) in files.items():
        write(places[name], text, age)
    assert status.run_state(tmp_path, RUN) == expected


def test_a_table_as_it_stands(tmp_path):
    lars = [Run("short", "digits", "vae", "lars", seed) for seed in (0, 1)]
    write_metrics(tmp_path, RUN, 90.0)
    write_metrics(tmp_path, lars[0], 80.0)
    write_metrics(tmp_path, lars[1], 82.0)
    write(log_of(tmp_path, "train", Run("short", "digits", "vae", "standard", 1)), LINES)
    assert row(tmp_path, "standard") == "90.00, running 97%"
    assert row(tmp_path, "LARS") == "81.00 ± 1"
    assert row(tmp_path, "IWAE") == "7.00‡"
    lines = [line.strip() for line in shown(tmp_path)]
    assert lines[0] == "Table D.9. Test NLL (nats)"
    assert "3 of 4 runs are done; 1 running" in lines
    assert f"short/digits/vae/standard/seed1: running: {PROGRESS}" in lines


def test_a_table_of_which_nothing_is_there(tmp_path):
    assert row(tmp_path, "standard") == row(tmp_path, "LARS") == "missing"


def test_the_command_shows_the_tables_that_are_asked_for():
    arguments = ["status", "table1", "tableD3", "--configfile", str(ROOT / "config.yaml")]
    done = CliRunner().invoke(app, [*arguments, "--results", str(ROOT / "results")])
    assert done.exit_code == 0, done.output
    assert "Table 1." in done.output and "Table D.3." in done.output
    assert "Table 2." not in done.output


def test_nothing_is_cut_in_a_terminal_of_80_columns():
    """Every word of the paper's tables, the results of a budget beside the paper's numbers."""
    config = merge(load_config([ROOT / "config.yaml"]), {"budget": "constant_rate"})
    results = ROOT / "results"
    for name in config["tables"]:
        console = Console(width=80, record=True, file=open(os.devnull, "w"))
        console.print(status.table_status(config, name, results))
        words = Counter(console.export_text().split())
        spec = resolve_table(config, name)
        wide = tables.layout(tables.table_rows(name, spec, results))
        texts = [*wide.columns, *wide.index, *wide.to_numpy().ravel()]
        there = [text for text in texts if not text.startswith("—")]
        assert not Counter(" ".join(there).split()) - words, name


def test_the_command_explains_its_signs_and_counts_the_runs():
    arguments = ["status", "tableD4", "tableD5", "--config", "budget=constant_rate"]
    arguments += ["--configfile", str(ROOT / "config.yaml"), "--results", str(ROOT / "results")]
    lines = CliRunner().invoke(app, arguments).output.splitlines()
    assert "° made from data files that are not the published ones" in lines
    assert "‡ quoted, not measured here" in lines
    assert lines[-1] == "In all, 9 of 9 runs are done"


def test_the_command_imports_no_torch():
    code = (
        "import sys; from resampled_priors.cli import app; app(['status'], standalone_mode=False)"
    )
    code += "; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


# The results page --------------------------------------------------------------------------------


def test_the_page_shows_what_is_there(tmp_path):
    results, page = tmp_path / "some results", tmp_path / "docs" / "results.md"
    write_metrics(results, RUN, 90.0)
    tables.write_table("tableD9", resolve_table(CONFIG, "tableD9"), results)
    write(results / "figD7.png", "")
    write_results_page(CONFIG, results, page)
    text = page.read_text()
    assert (results / "tableD9.md").read_text() in text
    assert "](../some%20results/figD7.png)" in text
    assert text.count("![") == 1 and "20,000 iterations" in text


def test_the_committed_page_is_current(tmp_path):
    """After new tables or figures: resampled-priors results-page"""
    (tmp_path / "docs").mkdir()
    (tmp_path / "results").symlink_to(ROOT / "results")
    page = tmp_path / "docs" / "results.md"
    write_results_page(load_config([ROOT / "config.yaml"]), tmp_path / "results", page)
    assert page.read_text() == (ROOT / "docs" / "results.md").read_text(), "results-page: write it"
