"""What figures read: runs, data sets, and the saved numbers; what is missing is named."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.dataset import Dataset, load_dataset
from ...errors import ResampledPriorsError
from ...experiment import Run
from ...files import atomic_write
from ...models import LatentVariableModel
from ...runs.load import load_run
from .style import Numbers


def open_run(results: Path, run: str, device: str = "cpu") -> LatentVariableModel:
    """The trained model of a run folder (relative to results), Z stored in it.

    Raises:
        ResampledPriorsError: not trained, or Z not estimated, with the target that makes it.
    """
    target = results / run / "z.json"
    for name in ("run.json", "model.safetensors", "z.json"):
        if not (results / run / name).exists():
            raise ResampledPriorsError(
                f"the run {run} has no {name} yet: make it with `snakemake --cores 1 {target}`"
            )
    return load_run(results / run, device)


def read_data(data_folder: Path, run: str) -> Dataset:
    """The prepared data set that a run was trained on."""
    return load_dataset(data_folder / f"{Run.from_folder(run).dataset}.safetensors")


def save_numbers(numbers: Numbers, path: Path) -> None:
    """Write the numbers behind a figure as a compressed npz file."""
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **numbers)


def load_numbers(path: Path, remedy: str) -> dict[str, NDArray]:
    """Read an npz file of plain arrays; a missing one is an error that names the remedy."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError as error:
        raise ResampledPriorsError(f"{path} is missing: {remedy}") from error
    except Exception as error:  # a damaged archive makes numpy raise any of a dozen kinds
        raise damaged(path, error, remedy) from error


def damaged(path: Path, error: Exception, remedy: str) -> ResampledPriorsError:
    """The one-line error for a file that does not hold what it should."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return ResampledPriorsError(f"{path} is damaged ({reason}): delete it; {remedy}")
