"""The address of a run: built and parsed here, and nowhere else."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import ResampledPriorsError

# Also patterns of Snakemake's, whose wildcards are the fields of a Run.
FOLDER = "runs/{budget}/{dataset}/{model}/{prior}/seed{seed}"
LOG_NAME = "{budget}.{dataset}.{model}.{prior}.seed{seed}"


@dataclass(frozen=True)
class Run:
    """One trained model: the coordinates that are its folder."""

    budget: str
    dataset: str
    model: str
    prior: str
    seed: int

    @property
    def folder(self) -> str:
        """Relative to the results folder."""
        return FOLDER.format(**vars(self))

    @property
    def name(self) -> str:
        """What a list of runs calls it: the folder, but for what all of them share."""
        return self.folder.removeprefix("runs/")

    @property
    def log_name(self) -> str:
        """The stem of its logs, one below each step's folder in results/logs."""
        return LOG_NAME.format(**vars(self))

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Run":
        """Read the coordinates off …/runs/{budget}/{dataset}/{model}/{prior}/seed{seed}.

        Raises:
            ResampledPriorsError: the path has another form.
        """
        parts = Path(folder).absolute().parts[-6:]
        seed = re.fullmatch("seed([0-9]+)", parts[-1])
        if len(parts) < 6 or parts[0] != "runs" or seed is None:
            raise ResampledPriorsError(
                f"{folder} is not a run folder: "
                "it should end in runs/BUDGET/DATASET/MODEL/PRIOR/seedN"
            )
        return cls(*parts[1:5], int(seed[1]))


def files_of_runs(results: Path, name: str) -> list[Path]:
    """The files of this name in the folders of all runs below a results folder, in order."""
    return sorted(results.glob(f"runs/*/*/*/*/seed*/{name}"))
