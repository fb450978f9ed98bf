"""The shipped config, and copies of it with something changed."""

import copy
import itertools
from pathlib import Path
from typing import Any

from resampled_priors import experiment
from resampled_priors.experiment import Run, load_config

ROOT = Path(__file__).parents[1]
CONFIG = load_config([ROOT / "config.yaml"])
REMOVED = object()


def with_value(path: str, value: Any, config: experiment.Config = CONFIG) -> experiment.Config:
    """A copy of the config with one value changed (or removed); path 'priors.lars.hidden'."""
    config = copy.deepcopy(config)
    *folders, last = (int(part) if part.isdigit() else part for part in path.split("."))
    place = config
    for folder in folders:
        place = place[folder]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return config


def paper_tables(config: experiment.Config) -> list[str]:
    """Those that the paper has, or a test adds: not R.1 to R.3."""
    return [table for table in config["tables"] if not table.startswith("tableR")]


def all_runs(config: experiment.Config) -> list[Run]:
    """The runs of the paper's tables."""
    tables = [experiment.table_runs(config, table) for table in paper_tables(config)]
    return list(dict.fromkeys(itertools.chain(*tables)))
