"""One process at a time on a run, one Snakemake at a time on a results folder.

The operating system ends these locks with their process, however that ends: a kill leaves none.
Nothing here imports torch: Snakemake reads this module at every start.
"""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from ..errors import ResampledPriorsError
from ..experiment import files_of_runs
from ..files import not_written

LOCK, WORKFLOW_LOCK = ".lock", ".workflow.lock"


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Keep all other processes off a run's folder for a while, and remove what killed ones left.

    While another is at work there, this one waits: failed, it would be a job whose outputs
    Snakemake deletes, and the other's with them.
    """
    lock = folder / LOCK
    try:
        held = _acquire(lock)
    except filelock.Timeout:
        print(f"{folder}: another process is at work on this run: waiting for its end", flush=True)
        held = _acquire(lock, blocking=True)
    with held:
        for partial in folder.rglob(".*.part.*"):
            partial.unlink(missing_ok=True)
        try:
            yield
        finally:  # while it is held, so that nobody is left with a lock on a file that is gone
            lock.unlink(missing_ok=True)


def hold_workflow(results: Path) -> list[filelock.AcquireReturnProxy]:
    """Lock a results folder, and the working folder, against other Snakemakes.

    The locks hold for as long as what is returned is kept. Refused, too, while a process is at
    work on one of the runs: the jobs of a Snakemake that was killed go on, and another would
    delete their results under them.

    Raises:
        ResampledPriorsError: another process is at work.
    """
    working, shared = Path(".snakemake") / "workflow.lock", results / WORKFLOW_LOCK
    at_work = "another Snakemake is at work"
    held = [
        _acquire_or_refuse(working, f"{at_work} in this folder"),
        _acquire_or_refuse(shared, f"{results}: {at_work} on these results"),
    ]
    for lock in files_of_runs(results, LOCK):
        busy = f"{lock.parent}: a process is still at work on this run"
        with _acquire_or_refuse(lock, busy):
            pass
    atexit.register(shared.unlink, missing_ok=True)  # while it is held
    return held


def _acquire_or_refuse(lock: Path, busy: str) -> filelock.AcquireReturnProxy:
    try:
        return _acquire(lock)
    except filelock.Timeout as error:
        raise ResampledPriorsError(f"{busy}: wait for it, or end it") from error


def _acquire(lock: Path, blocking: bool = False) -> filelock.AcquireReturnProxy:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(lock).acquire(blocking=blocking, poll_interval=0.5)
    except filelock.Timeout:
        raise
    except OSError as error:
        raise not_written(lock.parent, error) from error
