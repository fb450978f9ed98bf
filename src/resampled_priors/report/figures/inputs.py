"""What figures read of runs and data sets; what is missing is named."""

from collections.abc import Sequence
from pathlib import Path

from ...data.dataset import Dataset, load_dataset
from ...errors import ResampledPriorsError
from ...experiment import Run
from ...models import LatentVariableModel
from ...runs.load import load_run


def open_run(results: Path, run: str, device: str = "cpu") -> LatentVariableModel:
    """The trained model of a run folder (relative to results), Z stored in it.

    Raises:
        ResampledPriorsError: not trained, or Z not estimated, with the target that makes it.
    """
    require_files(results, run, ("run.json", "model.safetensors", "z.json"))
    return load_run(results / run, device)


def require_files(results: Path, run: str, names: Sequence[str]) -> None:
    """Refuse a run folder (relative to results) that lacks a file, naming how the last is made."""
    for name in names:
        if not (results / run / name).exists():
            target = results / run / names[-1]
            raise ResampledPriorsError(
                f"the run {run} has no {name} yet: make it with `snakemake --cores 1 {target}`"
            )


def read_data(data_folder: Path, run: str) -> Dataset:
    """The prepared data set that a run was trained on."""
    return load_dataset(data_folder / f"{Run.from_folder(run).dataset}.safetensors")
