"""From config to runs: which (data set, model, prior, seed) each table needs, and their settings.

Nothing here imports torch: Snakemake reads this package at every start.
"""

from .address import Run
from .configuration import Config, merge
from .figures import encodes_data, figure_runs, resolve_figure
from .labels import paper_number
from .plan import all_runs, runs_trained_together
from .resolve import budget, image_shape, resolve_prior, resolve_run, resolve_toy
from .tables import Cell, resolve_table, table_cells, table_runs
from .validation import load_config, validate_config

__all__ = [
    "Cell",
    "Config",
    "Run",
    "all_runs",
    "budget",
    "encodes_data",
    "figure_runs",
    "image_shape",
    "load_config",
    "merge",
    "paper_number",
    "resolve_figure",
    "resolve_prior",
    "resolve_run",
    "resolve_table",
    "resolve_toy",
    "runs_trained_together",
    "table_cells",
    "table_runs",
    "validate_config",
]
