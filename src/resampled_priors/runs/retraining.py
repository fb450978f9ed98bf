"""Results that took long are not made again, or replaced, unless somebody wants it.

Nothing here imports torch: Snakemake reads this module at every start.
"""

from pathlib import Path

from ..errors import ResampledPriorsError
from ..experiment import Config
from ..files import read_json
from .finished import SECONDS, is_kept
from .records import first_difference

HOUR = 3600.0


def hours_lost(record: Path) -> float:
    """How long the work took that a record is of; 0 below an hour, and where it would be put back.

    A record that is missing or damaged stands for nothing that could be lost.
    """
    try:
        seconds = read_json(record)[SECONDS[record.name]]
    except (ResampledPriorsError, KeyError, TypeError):
        return 0.0
    if not isinstance(seconds, int | float) or seconds < HOUR or is_kept(record):
        return 0.0
    return seconds / HOUR


def changed_settings(run_record: Path, settings: Config) -> str | None:
    """The first key by which a run's settings differ from these; None where it is no record."""
    try:
        found = first_difference(read_json(run_record)["settings"], settings)
    except (ResampledPriorsError, KeyError, TypeError):
        return None
    return found and "{}: {} -> {}".format(*found)


def refuse_to_replace(folder: Path, settings: Config) -> None:
    """Keep a training off a folder that holds a run of other settings.

    Raises:
        ResampledPriorsError: there is one that took more than an hour.
    """
    record = folder / "run.json"
    changed = changed_settings(record, settings)
    hours = hours_lost(record) if changed else 0.0
    if hours:
        raise ResampledPriorsError(
            f"{folder} holds a run that took {hours:.1f} hours, with other settings ({changed}): "
            "move it away, or delete it"
        )
