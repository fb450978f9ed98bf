"""Progress on long work: a bar in a terminal, plain lines in a log, TensorBoard if wished."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .errors import ResampledPriorsError


class _Lines:
    """A stream that ends each bar tqdm draws with a line break instead of a carriage return."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar with tqdm's own options; a line every 30 seconds where there is no terminal."""
    if sys.stderr.isatty():
        return tqdm(dynamic_ncols=True, **options)
    # At position 0, else the bars of runs side by side move a cursor that a log has not.
    every = {"mininterval": 30, "maxinterval": 30}
    return tqdm(file=_Lines(), ascii=True, ncols=100, position=0, **every, **options)


@contextmanager
def tensorboard(run_folder: Path, iteration: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield a function that writes a row of training.csv to run_folder/tensorboard as well.

    It does nothing unless the environment variable RESAMPLED_PRIORS_TENSORBOARD is set: a setting
    would be another run.

    Args:
        iteration: where training (re)starts; what an earlier attempt wrote from there on is void.

    Raises:
        ResampledPriorsError: the package tensorboard is not installed.
    """
    if not os.environ.get("RESAMPLED_PRIORS_TENSORBOARD"):
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ResampledPriorsError(
            f"TensorBoard cannot be written ({error}): pip install 'resampled-priors[tensorboard]'"
        ) from error
    with SummaryWriter(run_folder / "tensorboard", purge_step=iteration + 1) as writer:

        def write(row: dict[str, float]) -> None:
            for name in ("loss", "recons", "kl", "kl_weight", "z", "learning_rate"):
                writer.add_scalar(name, row[name], int(row["iteration"]))

        yield write
