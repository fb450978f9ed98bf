"""All runs of an experiment, and which of them are trained together."""

from dataclasses import replace

from .address import Run
from .configuration import Config
from .figures import figure_runs
from .resolve import budget
from .tables import table_runs


def all_runs(config: Config) -> list[Run]:
    """The runs of all tables and figures, each once, and those that post-hoc runs start from."""
    shown = [run for table in config["tables"] for run in table_runs(config, table)]
    shown += [run for figure in config["figures"] for run in figure_runs(config, figure)]
    runs = []
    for run in shown:
        base = config["priors"][run.prior].get("base")
        runs += [run] if base is None else [replace(run, prior=base), run]
    return list(dict.fromkeys(runs))


def runs_trained_together(config: Config) -> list[list[Run]]:
    """The runs of all tables and figures, but for post-hoc ones, in groups for one process each.

    A group's runs share data set and model, so that they take about as long as each other.

    Raises:
        ResampledPriorsError: as ``table_runs`` and ``figure_runs``.
    """
    alike: dict[tuple[str, str], list[Run]] = {}
    for run in all_runs(config):
        if "base" not in config["priors"][run.prior]:
            alike.setdefault((run.dataset, run.model), []).append(run)
    size = config.get("runs_per_process", 1)
    return [runs[i : i + size] for runs in alike.values() for i in range(0, len(runs), size)]


def resolve_index(config: Config) -> Config:
    """What the page of everything shows, and the schedule that it was made with.

    Raises:
        ResampledPriorsError: as ``all_runs``.
    """
    keys = ("iterations", "warm_up", "importance_samples", "z_samples", "seeds")
    return {
        "budget": config["budget"],
        "schedule": {key: budget(config)[key] for key in keys},
        "tables": list(config["tables"]),
        "figures": {name: figure["caption"] for name, figure in config["figures"].items()},
        "runs": [run.folder for run in all_runs(config)],
    }
