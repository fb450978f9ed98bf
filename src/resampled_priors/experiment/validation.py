"""A whole config: read, and its names checked against one another."""

from pathlib import Path

from .configuration import Config, check_schema, lookup, read_config, remove_nulls, with_code
from .figures import check_figure
from .resolve import resolve_prior, with_dataset_priors
from .tables import table_cells


def load_config(paths: list[Path], values: list[str] | None = None) -> Config:
    """The config files laid over one another, then ``key=value`` pairs, checked.

    Raises:
        ResampledPriorsError: a file that is missing or not YAML, or a config that is wrong.
    """
    config = read_config(paths, values or [])
    validate_config(config)
    return config


def validate_config(config: Config) -> None:
    """Check a whole config against the schema and its names against one another.

    Entries that are null are removed first, from `config` itself: a table, say, that an overlay
    does not want.

    Raises:
        ResampledPriorsError: one line that names the key and the remedy.
    """
    remove_nulls(config)
    check_schema(config)
    lookup(config, "budgets", config["budget"], "budget")
    for dataset in config["data"]["accept_unverified"]:
        lookup(config, "datasets", dataset, "data.accept_unverified")
    for name, budget in config["budgets"].items():
        for model in budget.get("models", {}):
            lookup(config, "models", model, f"budgets.{name}.models")
    for prior in config["priors"]:
        resolve_prior(config, prior)
    for name, dataset in config["datasets"].items():
        for prior in dataset.get("priors", {}):
            lookup(config, "priors", prior, f"datasets.{name}.priors")
        if "priors" in dataset:
            check_schema(with_dataset_priors(config, name), f"datasets.{name}: ")
    for section in ("budgets", "training", "models"):
        with_code(config[section], section)
    for table in config["tables"]:
        table_cells(config, table)
    for figure in config["figures"]:
        check_figure(config, figure)
