"""Do results still belong together, and what made each number: hashes of inputs and outputs.

What is looked at: weights, training.csv, data and base of a run against run.json; z.json and
metrics.json against what they name, one another and what can be computed again; tables and
figures against their records, and tables against what their runs' metrics make today. Weights and
data that are not there (results without weights are committed) are said to be absent, no more.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import ResampledPriorsError
from ..experiment import Cell, Run, files_of_runs
from ..files import sha256
from ..runs.records import Record, read_metrics, read_run, read_z
from .numbers import load_numbers
from .recompute import metrics_problems, run_problems, z_problems
from .shown import read_shown, record_problems, there
from .tables import table_row, table_texts

NUMBERS = ("ours", "standard_error", "log_z_se", "iterations", "num_importance_samples",
           "num_z_samples", "device", "verified", "is_bound")  # fmt: skip


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
    for name in _names(results, "csv", "table"):
        numbers += _verify_table(results / f"{name}.csv", results, data, problems)
    for name in _names(results, "npz", "figure"):
        problems += _figure_problems(results / f"{name}.json", results, data)
    return pd.DataFrame(runs), pd.DataFrame(numbers), list(dict.fromkeys(problems))


def _names(results: Path, suffix: str, kind: str) -> list[str]:
    """The tables or figures that are there, by a file of theirs or their record."""
    records = [path for path in results.glob("*.json") if f'"{suffix}"' in _text(path)]
    return sorted({path.stem for path in [*results.glob(f"*.{suffix}"), *records]})


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


# ---- runs ---------------------------------------------------------------------------------


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
        if "training_sha256" in run:
            _compare(folder / "training.csv", run["training_sha256"], problems)
        problems += run_problems(folder, run)
        problems += _base_problems(folder, results, run)
        z = read_z(folder, run) if (folder / "z.json").exists() else None
        problems += z_problems(folder / "z.json", z) if z else []
        if (folder / "metrics.json").exists():
            metrics = read_metrics(folder, run)
            row["evaluated by"] = _commit(metrics)
            problems += metrics_problems(folder / "metrics.json", metrics, run, z)
    except ResampledPriorsError as error:
        problems.append(str(error))
    return row


def _commit(record: Record) -> str:
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


def _base_problems(folder: Path, results: Path, run: Record) -> Iterator[str]:
    """Post hoc: whether the base run still is the one that this one was fitted to."""
    base = replace(Run.from_folder(folder), prior=str(run["settings"]["prior"].get("base")))
    path = results / base.folder / "run.json"
    if not path.exists():
        return
    if run.get("base_sha256") not in (None, read_run(path.parent)["model_sha256"]):
        yield f"{folder} was fitted to another model than that of {path.parent}: train it again"
    elif run.get("base_run_sha256") not in (None, sha256(path)):
        yield f"{folder} was fitted to a run with another run.json than {path}: train it again"


# ---- tables and figures -------------------------------------------------------------------


def _verify_table(
    path: Path, results: Path, data: Path, problems: list[str]
) -> Iterator[dict[str, str]]:
    """Each number of a CSV against the metrics of its runs, and all forms against the record."""
    wrong = len(problems)
    record_path = path.with_suffix(".json")
    try:
        record = read_shown(record_path, "table")
        problems += record_problems(record_path, record, results, data)
        if len(problems) == wrong and _all_there(record, results):
            for suffix, text in table_texts(path.stem, record["settings"], results).items():
                if path.with_suffix(f".{suffix}").read_bytes() != text.encode():
                    problems.append(
                        f"{path.stem}.{suffix} is not what the metrics of its runs and "
                        f"{record_path} make: make {path.stem} again"
                    )
    except ResampledPriorsError as error:
        problems.append(str(error))
    try:
        yield from _numbers(path, results, problems)
    except ResampledPriorsError as error:
        problems.append(str(error))
    except (KeyError, TypeError, ValueError, OSError) as error:
        if len(problems) == wrong:
            problems.append(f"{path} is not a table ({error}): make it again")


def _all_there(record: Record, results: Path) -> bool:
    return set(record["made_from"]) == set(there(record["settings"], results, results))


def _numbers(path: Path, results: Path, problems: list[str]) -> Iterator[dict[str, str]]:
    """Where each number of a CSV comes from, and whether the metrics of today make it."""
    rows = pd.read_csv(path)
    for row in rows[rows["ours"].notna()].to_dict("records"):
        place = {key: row[key] for key in ("row", "column", "metric", "dataset", "model", "prior")}
        seeds = [int(float(seed)) for seed in str(row["seeds"]).split()]
        cell = Cell(**place)
        runs = [cell.run(row["budget"], seed) for seed in seeds]
        if all((results / run.folder / "metrics.json").is_file() for run in runs):
            found = _compare_row(row, table_row(path.stem, cell, row["budget"], seeds, results))
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


def _compare_row(row: dict[str, Any], again: dict[str, Any]) -> str:
    """The columns that the metrics of today would make otherwise."""
    pairs = {key: (row.get(key), again.get(key)) for key in NUMBERS}
    return ", ".join(
        f"{key} is {old}, by the metrics {new}"
        for key, (old, new) in pairs.items()
        if old != new and not (pd.isna(old) and pd.isna(new))
    )


def _figure_problems(path: Path, results: Path, data: Path) -> Iterator[str]:
    try:
        record = read_shown(path, "figure")
        yield from record_problems(path, record, results, data)
        numbers = load_numbers(path.with_suffix(".npz"), f"make {path.stem} again")
        made = json.loads(str(numbers.get("settings", np.array("null"))))
        if made not in (None, record["settings"]):
            yield f"{path}: settings are not those of {path.stem}.npz: make {path.stem} again"
    except ResampledPriorsError as error:
        yield str(error)
    except ValueError as error:
        yield f"{path.with_suffix('.npz')} has no settings ({error}): make {path.stem} again"
