"""From config to runs: the runs that tables and figures need, and their settings.

Nothing here imports torch: Snakemake reads this package at every start.
"""

from .address import FOLDER, LOG_NAME, Run, files_of_runs
from .configuration import Config, merge
from .figures import encodes_data, figure_files, figure_runs, resolve_figure, with_other_budgets
from .labels import paper_number
from .plan import all_runs, resolve_index, runs_trained_together
from .resolve import (
    budget,
    image_shape,
    resolve_evaluation,
    resolve_prior,
    resolve_run,
    resolve_toy,
    resolve_z,
)
from .tables import (
    Cell,
    resolve_table,
    table_cells,
    table_runs,
    table_runs_of_other_budgets,
)
from .validation import load_config, validate_config

__all__ = [
    "FOLDER",
    "LOG_NAME",
    "Cell",
    "Config",
    "Run",
    "all_runs",
    "budget",
    "encodes_data",
    "figure_files",
    "figure_runs",
    "files_of_runs",
    "image_shape",
    "load_config",
    "merge",
    "paper_number",
    "resolve_evaluation",
    "resolve_figure",
    "resolve_index",
    "resolve_prior",
    "resolve_run",
    "resolve_table",
    "resolve_toy",
    "resolve_z",
    "runs_trained_together",
    "table_cells",
    "table_runs",
    "table_runs_of_other_budgets",
    "validate_config",
    "with_other_budgets",
]
