"""One process at a time on a run, one Snakemake at a time in a folder.

The operating system ends these locks with their process, however that ends: a kill leaves none.
Nothing here imports torch: Snakemake reads this module at every start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from ..errors import ResampledPriorsError
from ..experiment import files_of_runs
from ..files import not_written

LOCK = ".lock"


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Keep all other processes off a run's folder for a while, and remove what killed ones left.

    Raises:
        ResampledPriorsError: another process is at work there.
    """
    lock = folder / LOCK
    busy = f"{folder}: another process is at work on this run: wait for it, or end it"
    with _acquire(lock, busy):
        for partial in folder.rglob(".*.part.*"):
            partial.unlink(missing_ok=True)
        try:
            yield
        finally:  # while it is held, so that nobody is left with a lock on a file that is gone
            lock.unlink(missing_ok=True)


def hold_workflow(results: Path) -> filelock.AcquireReturnProxy:
    """Lock the working directory against other Snakemakes for as long as the lock is kept.

    Refused, too, while a process is at work on one of the runs: the jobs of a Snakemake that was
    killed go on, and another would delete their results under them.

    Raises:
        ResampledPriorsError: another process is at work.
    """
    held = _acquire(
        Path(".snakemake") / "workflow.lock",
        "another Snakemake is at work in this folder: wait for it, or end it",
    )
    for lock in files_of_runs(results, LOCK):
        busy = f"{lock.parent}: a process is still at work on this run: wait for it, or end it"
        with _acquire(lock, busy):
            pass
    return held


def _acquire(lock: Path, busy: str) -> filelock.AcquireReturnProxy:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(lock).acquire(blocking=False)
    except filelock.Timeout as error:
        raise ResampledPriorsError(busy) from error
    except OSError as error:
        raise not_written(lock.parent, error) from error
