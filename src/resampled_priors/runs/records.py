"""What a run says of itself: run.json, z.json, metrics.json, and whether they belong together.

Nothing here imports torch.
"""

from pathlib import Path
from typing import Any

from ..errors import ResampledPriorsError
from ..experiment.configuration import what_is_wrong
from ..files import read_json


def check_same_model(path: Path, record: dict[str, Any], run: dict[str, Any], remedy: str) -> None:
    """Compare the model that z.json or metrics.json was made from with that of run.json.

    A record of the time before records named their model has no ``model_sha256``, and is not
    checked: the results that were committed then count as they are.

    Raises:
        ResampledPriorsError: they differ.
    """
    hashes = {r["model_sha256"] for r in (record, run) if "model_sha256" in r}
    if len(hashes) > 1:
        raise ResampledPriorsError(f"{path} was made from another model than run.json: {remedy}")


def read_run(folder: Path) -> dict[str, Any]:
    """A run's run.json.

    Raises:
        ResampledPriorsError: missing, damaged, or not the record of a run.
    """
    return read_record(folder / "run.json", "run_record", "train the run again")


def read_z(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """The z.json of a run whose run.json is given.

    Raises:
        ResampledPriorsError: missing, damaged, not an estimate of Z, or that of another model.
    """
    path, remedy = folder / "z.json", "estimate Z of the run again"
    z = read_record(path, "z_record", remedy)
    check_same_model(path, z, run, remedy)
    return z


def read_record(path: Path, definition: str, remedy: str) -> dict[str, Any]:
    """A JSON file of the form that the schema defines under this name.

    Raises:
        ResampledPriorsError: missing, damaged, or of another form.
    """
    record = read_json(path)
    message = what_is_wrong(record, definition)
    if message is not None:
        raise ResampledPriorsError(f"{path} is not what it should be ({message}): {remedy}")
    return record
