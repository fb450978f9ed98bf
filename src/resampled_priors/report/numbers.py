"""The npz files beside figures and toys: named arrays without pickles, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ResampledPriorsError
from ..files import atomic_write

Numbers = Mapping[str, NDArray]  # what a figure shows, as it lies in its npz file


def save_numbers(numbers: Mapping[str, ArrayLike], path: Path) -> None:
    """Write arrays as a compressed npz file."""
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **numbers)


def load_numbers(path: Path, remedy: str) -> dict[str, NDArray]:
    """Read an npz file of plain arrays.

    Raises:
        ResampledPriorsError: missing or damaged, with the remedy.
    """
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


def saved_truncation(truncation: int | None) -> int:
    """T as a file holds it, which knows no None: 0 stands for T = ∞."""
    return 0 if truncation is None else truncation


def read_truncation(numbers: Numbers, key: str) -> int | None:
    """T of ``numbers[key]``; None for p_∞."""
    return int(numbers[key]) or None
