"""The address of a run: built and parsed here, and nowhere else."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import ResampledPriorsError


@dataclass(frozen=True)
class Run:
    """One trained model: the coordinates that are its folder."""

    dataset: str
    model: str
    prior: str
    seed: int

    @property
    def folder(self) -> str:
        """Relative to the results folder."""
        return f"runs/{self.dataset}/{self.model}/{self.prior}/seed{self.seed}"

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Run":
        """Read the coordinates off …/runs/{dataset}/{model}/{prior}/seed{seed}.

        Raises:
            ResampledPriorsError: the path has another form.
        """
        parts = Path(folder).absolute().parts[-5:]
        seed = re.fullmatch("seed([0-9]+)", parts[-1])
        if len(parts) < 5 or parts[0] != "runs" or seed is None:
            raise ResampledPriorsError(
                f"{folder} is not a run folder: it should end in runs/DATASET/MODEL/PRIOR/seedN"
            )
        return cls(parts[1], parts[2], parts[3], int(seed[1]))
