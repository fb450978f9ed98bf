"""What a run says of itself: run.json, z.json, metrics.json, and whether they belong together.

Each names the hashes of what it was made from, the record before it among them: run.json those of
the data, the weights and training.csv; z.json that of run.json; metrics.json those of both. Who
reads one compares. Records of the time before they had a hash are read without it.
Nothing here imports torch.
"""

from pathlib import Path
from typing import Any

from ..errors import ResampledPriorsError
from ..experiment import Run
from ..experiment.configuration import what_is_wrong
from ..files import read_json, sha256

Record = dict[str, Any]
REMEDIES = {
    "run.json": "train the run again",
    "z.json": "estimate Z of the run again",
    "metrics.json": "evaluate the run again",
}


def hashes(folder: Path, *names: str) -> dict[str, str]:
    """Of files of a run, as a record names them: run.json -> run_sha256."""
    return {_key(name): sha256(folder / name) for name in names}


def _key(name: str) -> str:
    return f"{name.partition('.')[0]}_sha256"


def read_run(folder: Path) -> Record:
    """A run's run.json.

    Raises:
        ResampledPriorsError: missing, damaged, not the record of a run, or that of a run with
            another address than the folder's.
    """
    run = read_record(folder / "run.json", "run_record")
    _check_address(folder, run["settings"])
    return run


def read_z(folder: Path, run: Record) -> Record:
    """The z.json of a run whose run.json is given.

    Raises:
        ResampledPriorsError: missing, damaged, not an estimate of Z, or that of another model or
            run.json.
    """
    z = read_record(folder / "z.json", "z_record")
    _check_made_from(folder, "z.json", z, run, ["run.json"])
    return z


def read_metrics(folder: Path, run: Record) -> Record:
    """The metrics.json of a run whose run.json is given.

    Raises:
        ResampledPriorsError: missing, damaged, no metrics, or those of another model, run.json
            or z.json.
    """
    metrics = read_record(folder / "metrics.json", "metrics_record")
    _check_made_from(folder, "metrics.json", metrics, run, ["run.json", "z.json"])
    return metrics


def read_record(path: Path, definition: str | None = None) -> Record:
    """A JSON file of a run, of the form that the schema defines.

    Raises:
        ResampledPriorsError: missing, damaged, or of another form.
    """
    record = read_json(path)
    message = what_is_wrong(record, definition or f"{path.stem}_record")
    if message is not None:
        remedy = REMEDIES.get(path.name, "make it again")
        raise ResampledPriorsError(f"{path} is not what it should be ({message}): {remedy}")
    return record


def _check_address(folder: Path, settings: Record) -> None:
    """A folder whose path says of what run it is holds that run, if it holds any."""
    try:
        run = Run.from_folder(folder)
    except ResampledPriorsError:  # a copy elsewhere, whose path says nothing
        return
    said = {
        "dataset": (run.dataset, settings["dataset"]),
        "model": (run.model, settings["model"]["name"]),
        "prior": (run.prior, settings["prior"]["name"]),
        "seed": (run.seed, settings["seed"]),
    }
    for key, (of_folder, of_record) in said.items():
        if of_folder != of_record:
            raise ResampledPriorsError(
                f"{folder / 'run.json'} is of a run whose {key} is {of_record}, the folder's is "
                f"{of_folder}: move it to where it belongs, or train the run again"
            )


def _check_made_from(
    folder: Path, name: str, record: Record, run: Record, predecessors: list[str]
) -> None:
    said = {r["model_sha256"] for r in (record, run) if "model_sha256" in r}
    if len(said) > 1:
        raise ResampledPriorsError(
            f"{folder / name} was made from another model than run.json: {REMEDIES[name]}"
        )
    for before in predecessors:
        recorded, path = record.get(_key(before)), folder / before
        if recorded is not None and path.is_file() and sha256(path) != recorded:
            raise ResampledPriorsError(
                f"{folder / name} was made from another {before} than the one beside it: "
                f"{REMEDIES[name]}"
            )


def check_settings_of(folder: Path, settings: Record) -> None:
    """Compare the settings of a run that is there with those that are wished.

    Args:
        settings: ``experiment.resolve_run``.

    Raises:
        ResampledPriorsError: as ``read_run``; they differ, with the first key that does.
    """
    path = folder / "run.json"
    if path.is_file():
        found = first_difference(read_run(folder)["settings"], settings)
        if found is not None:
            key, made, wished = found
            raise ResampledPriorsError(
                f"{folder}: {key} is {made} in run.json and {wished} in the config: train it "
                "again (delete the folder), or correct the config"
            )


def first_difference(made: Any, wished: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """The key at which two settings first differ, dotted, and what each has there."""
    if isinstance(made, dict) and isinstance(wished, dict):
        for key in dict.fromkeys([*wished, *made]):
            inside = f"{place}.{key}" if place else key
            found = first_difference(made.get(key, "missing"), wished.get(key, "missing"), inside)
            if found is not None:
                return found
        return None
    return None if made == wished else (place, made, wished)
