"""The record beside a table or a figure, NAME.json: its settings, and the hashes of files.

``made_from`` are the records of its runs, its toys and its data sets; ``files`` is what was made.
It is the last link of the chain: no other file names it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..experiment import Cell, Config, Run
from ..experiment.figures import SHOW_LATENTS
from ..files import sha256, write_json
from ..runs.records import read_record

RUN_RECORDS = ("run.json", "z.json", "metrics.json")
DATA = "data/"  # before the names of prepared data sets, whose folder may be anywhere


def table_runs(spec: Config, results: Path) -> list[str]:
    """The folders of a table's runs that have been evaluated, relative to the results folder."""
    cells = [Cell(**cell) for cell in spec["cells"]]
    runs = [
        cell.run(spec["budget"], seed).folder
        for cell in cells
        if cell.measured
        for seed in spec["seeds"]
    ]
    return [run for run in dict.fromkeys(runs) if (results / run / "metrics.json").is_file()]


def inputs(settings: Config, results: Path) -> list[str]:
    """What a table or a figure with these settings is made from, as its record names it."""
    if "cells" in settings:
        runs, names = table_runs(settings, results), RUN_RECORDS
    else:
        runs, names = settings.get("runs", []), ("run.json", "z.json")
    files = [f"{run}/{name}" for run in runs for name in names]
    files += [f"toy/{toy}.npz" for toy in settings.get("toys", [])]
    if settings.get("kind") in SHOW_LATENTS:
        files += [f"{DATA}{Run.from_folder(run).dataset}.safetensors" for run in runs]
    return list(dict.fromkeys(files))


def _place(file: str, results: Path, data: Path) -> Path:
    return data / file.removeprefix(DATA) if file.startswith(DATA) else results / file


def hashes_of(files: Iterable[str], results: Path, data: Path) -> dict[str, str]:
    """File as a record names it -> SHA-256, of those that are there."""
    places = {file: _place(file, results, data) for file in files}
    return {file: sha256(path) for file, path in places.items() if path.is_file()}


def write_record(
    name: str, settings: Config, made_from: dict[str, str], suffixes: Iterable[str], results: Path
) -> None:
    """Write NAME.json beside what was made: NAME.SUFFIX for each suffix."""
    files = {suffix: sha256(results / f"{name}.{suffix}") for suffix in suffixes}
    record = {"settings": settings, "made_from": made_from, "files": files}
    write_json(results / f"{name}.json", record)


def read_shown(path: Path, kind: str) -> dict[str, Any]:
    """The record of a table or a figure, as ``kind`` says.

    Raises:
        ResampledPriorsError: missing, damaged or of another form.
    """
    return read_record(path, f"{kind}_record")


def record_problems(
    path: Path, record: dict[str, Any], results: Path, data: Path
) -> Iterator[str]:
    """What is not as the record says: its files, and what they were made from, if it is there."""
    again = f"make {path.stem} again"
    for suffix, recorded in record["files"].items():
        file = path.with_suffix(f".{suffix}")
        if not file.is_file():
            yield f"{file} is missing: {again}"
        elif sha256(file) != recorded:
            yield f"{file} is not the file that {path.name} names: {again}"
    expected, recorded = inputs(record["settings"], results), record["made_from"]
    for file in dict.fromkeys([*expected, *recorded]):
        found = hashes_of([file], results, data).get(file)
        if file not in expected:
            yield f"{path} names {file}, which {path.stem} is not made from: {again}"
        elif found is not None and found != recorded.get(file):
            how = "another" if file in recorded else "without the"
            yield f"{path} was made from {how} {file} than is there: {again}"
