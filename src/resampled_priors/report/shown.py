"""The record beside a table or a figure, NAME.json: its settings, and the hashes of files.

``made_from`` are the records of its runs, its toys and its data sets; ``files`` is what was made.
It is the last link of the chain: no other file names it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..experiment import Cell, Config, Run
from ..experiment.figures import SHOW_LATENTS, SHOW_METRICS, SHOW_TRAINING
from ..files import sha256, write_json
from ..runs.records import read_record

EVALUATED = ("metrics.json", "z.json", "run.json")
DATA = "data/"  # before the names of prepared data sets, whose folder may be anywhere


def inputs(settings: Config) -> list[str]:
    """What a table or a figure with these settings can be made from, as its record names it."""
    if "cells" in settings:
        cells = [cell for cell in (Cell(**cell) for cell in settings["cells"]) if cell.measured]
        seeds = settings["seeds"]
        runs = [cell.run(settings["budget"], seed).folder for cell in cells for seed in seeds]
        names = EVALUATED
    else:
        runs = settings.get("runs", [])
        evaluated = settings["kind"] in SHOW_METRICS | SHOW_TRAINING
        names = EVALUATED if evaluated else EVALUATED[1:]
    files = [f"{run}/{name}" for run in runs for name in names]
    files += [f"toy/{toy}.npz" for toy in settings.get("toys", [])]
    if settings.get("kind") in SHOW_LATENTS:
        files += [f"{DATA}{Run.from_folder(run).dataset}.safetensors" for run in runs]
    return list(dict.fromkeys(files))


def there(settings: Config, results: Path, data: Path) -> dict[str, str]:
    """What is there of that: the file as a record names it -> its SHA-256.

    Of a table's runs, those that have been evaluated.
    """
    found = {}
    for file in inputs(settings):
        path = data / file.removeprefix(DATA) if file.startswith(DATA) else results / file
        evaluated = "cells" not in settings or path.with_name("metrics.json").is_file()
        if path.is_file() and evaluated:
            found[file] = sha256(path)
    return found


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
    possible, made_from = inputs(record["settings"]), record["made_from"]
    found = there(record["settings"], results, data)
    for file in made_from:
        if file not in possible:
            yield f"{path} names {file}, which its settings do not: {again}"
    for file in found:
        if found[file] != made_from.get(file):
            how = "another" if file in made_from else "without the"
            yield f"{path} was made from {how} {file} than is there: {again}"
