"""Do results still belong together, and what made each number: hashes of inputs and outputs.

What is looked at: weights, data and base model of a run against run.json; z.json and metrics.json
against the model they name and one another; tables against the metrics of their runs. Weights and
data that are not there (results without weights are committed) are said to be absent, no more.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import ResampledPriorsError
from ..experiment import Cell, Run, files_of_runs
from ..files import read_json, sha256
from ..report.tables import layout, table_row
from ..runs.records import check_same_model, read_run, read_z

Z_COPIES = ("z", "z_se", "log_z_se", "num_z_samples")  # metrics.json repeats them of z.json
RUN_COPIES = ("iterations", "train_seconds")  # and these of run.json
NUMBERS = ("ours", "standard_error", "log_z_se", "iterations", "num_importance_samples",
           "num_z_samples", "device", "verified")  # fmt: skip


def verify(results: Path, data: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """What made each run, where each number of a table comes from, and what does not match.

    Args:
        data: the folder of prepared data sets.

    Raises:
        ResampledPriorsError: no runs there.
    """
    folders = [path.parent for path in files_of_runs(results, "run.json")]
    if not folders:
        raise ResampledPriorsError(f"{results} has no runs: name a results folder")
    problems: list[str] = []
    runs = [_verify_run(folder, results, data, problems) for folder in folders]
    numbers: list[dict[str, str]] = []
    for table in sorted(results.glob("table*.csv")):
        try:
            numbers += _verify_table(table, results, problems)
        except ResampledPriorsError as error:
            problems.append(str(error))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"{table} is not a table ({error}): make it again")
    return pd.DataFrame(runs), pd.DataFrame(numbers), problems


def _verify_run(folder: Path, results: Path, data: Path, problems: list[str]) -> dict[str, str]:
    """What made a run; appends to ``problems`` what of it does not match."""
    row = {"run": Run.from_folder(folder).name}
    try:
        run = read_run(folder)
        settings = run["settings"]
        text = json.dumps(settings, sort_keys=True)
        row["settings"] = hashlib.sha256(text.encode()).hexdigest()[:12]
        row["trained by"] = _commit(run)
        weights = folder / "model.safetensors"
        row["weights"] = _compare(weights, run["model_sha256"], problems)
        prepared = data / f"{settings['dataset']}.safetensors"
        row["data"] = _compare(prepared, run.get("data_sha256", ""), problems)
        if not all(file["verified"] for file in run.get("data", [])):
            row["data"] += ", not the published files"
        problems += _base_problems(folder, results, run)
        if (folder / "metrics.json").exists():
            row["evaluated by"] = _commit(read_json(folder / "metrics.json"))
            problems += _metrics_problems(folder, run)
    except ResampledPriorsError as error:
        problems.append(str(error))
    return row


def _commit(record: dict[str, Any]) -> str:
    """The commit of the code, and whether the code had been changed since."""
    changed = " changed" if record.get("git_dirty") else ""
    return (record.get("git_commit") or "unknown")[:7] + changed


def _compare(path: Path, recorded: str, problems: list[str]) -> str:
    """The hash that was recorded, and whether the file on disk, if any, still has it."""
    if not path.is_file():
        return f"{recorded[:12]} absent"
    if sha256(path) == recorded:
        return f"{recorded[:12]} ok"
    problems.append(f"{path} is not the file that run.json names")
    return f"{recorded[:12]} DIFFERS"


def _base_problems(folder: Path, results: Path, run: dict[str, Any]) -> Iterator[str]:
    """Post hoc: whether the base run still has the model that this one was fitted to."""
    prior = str(run["settings"]["prior"].get("base"))
    base = results / replace(Run.from_folder(folder), prior=prior).folder
    recorded = run.get("base_sha256")
    if recorded and (base / "run.json").exists() and read_run(base)["model_sha256"] != recorded:
        yield f"{folder} was fitted to another model than that of {base}: train it again"


def _metrics_problems(folder: Path, run: dict[str, Any]) -> Iterator[str]:
    path = folder / "metrics.json"
    metrics, z = read_json(path), read_z(folder, run)
    check_same_model(path, metrics, run, "evaluate the run again")
    if metrics.get("data_sha256", run.get("data_sha256")) != run.get("data_sha256"):
        yield f"{path} was made from other data than run.json names: evaluate the run again"
    for key in (*Z_COPIES, *RUN_COPIES):
        record, name = (z, "z.json") if key in Z_COPIES else (run, "run.json")
        if metrics.get(key) != record[key]:
            yield f"{path}: {key} is not that of {name}: evaluate the run again"


def _verify_table(path: Path, results: Path, problems: list[str]) -> Iterator[dict[str, str]]:
    """Each number of a CSV against the metrics of its runs, and the Markdown against the CSV."""
    rows = pd.read_csv(path)
    markdown = path.with_suffix(".md")
    if markdown.exists():
        shown = layout(rows).to_markdown(disable_numparse=True)
        if shown not in markdown.read_text(encoding="utf-8"):
            problems.append(f"{markdown} does not show what {path.name} holds: make it again")
    for row in rows[rows["ours"].notna()].to_dict("records"):
        place = {key: row[key] for key in ("row", "column", "metric", "dataset", "model", "prior")}
        seeds = [int(float(seed)) for seed in str(row["seeds"]).split()]
        cell = Cell(**place)
        runs = [cell.run(row["budget"], seed) for seed in seeds]
        if all((results / run.folder / "metrics.json").is_file() for run in runs):
            found = _compare_row(
                path, row, table_row(path.stem, cell, row["budget"], seeds, results)
            )
            problems += [f"{path}: {row['row']}, {row['column']}: {found}"] if found else []
        else:
            found = "absent"
        yield {
            "table": path.stem,
            "row": row["row"],
            "column": row["column"],
            "number": f"{row['ours']:.6g}",
            "runs": " ".join(run.name for run in runs),
            "metrics": found or "ok",
        }


def _compare_row(path: Path, row: dict[str, Any], again: dict[str, Any]) -> str:
    """The columns that the metrics of today would make otherwise."""
    pairs = {key: (row.get(key), again[key]) for key in NUMBERS}
    return ", ".join(
        f"{key} is {old}, by the metrics {new}"
        for key, (old, new) in pairs.items()
        if old != new and not (pd.isna(old) and pd.isna(new))
    )
