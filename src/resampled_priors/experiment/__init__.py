"""From config to runs: which (data set, model, prior, seed) each table needs, and their settings.

Nothing here imports torch: Snakemake reads this module at every start.
"""

import math
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ResampledPriorsError
from ..experiment.configuration import (
    Config,
    check_schema,
    lookup,
    merge,
    own_code_sha256,
    read_config,
)

METRIC_LABELS = {
    "nll": "NLL",
    "elbo": "negative ELBO",
    "kl": "KL",
    "recons": "reconstruction",
    "z": "Z",
}


@dataclass(frozen=True)
class Run:
    """One trained model: the coordinates that are its folder."""

    dataset: str
    model: str
    prior: str
    seed: int

    @property
    def folder(self) -> str:
        """Relative to the results folder."""
        return f"runs/{self.dataset}/{self.model}/{self.prior}/seed{self.seed}"

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Run":
        """Read the coordinates off …/runs/{dataset}/{model}/{prior}/seed{seed}.

        Raises:
            ResampledPriorsError: the path has another form.
        """
        parts = Path(folder).absolute().parts[-5:]
        seed = re.fullmatch("seed([0-9]+)", parts[-1])
        if len(parts) < 5 or parts[0] != "runs" or seed is None:
            raise ResampledPriorsError(
                f"{folder} is not a run folder: it should end in runs/DATASET/MODEL/PRIOR/seedN"
            )
        return cls(parts[1], parts[2], parts[3], int(seed[1]))


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a metric of some runs, or a number quoted from elsewhere."""

    row: str
    column: str
    metric: str
    dataset: str
    model: str | None = None
    prior: str | None = None
    quoted: float | None = None

    @property
    def measured(self) -> bool:
        return self.model is not None and self.prior is not None

    @property
    def coordinates(self) -> str:
        return f"{self.dataset}/{self.model}/{self.prior}"


def paper_number(name: str) -> str:
    """What the paper calls a table or a figure: 1 of table1, D.7 of figD7."""
    return re.sub("^([A-Z])(?=[0-9])", r"\1.", re.sub("^(table|fig)", "", name))


# ---- the whole config ---------------------------------------------------------------------


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

    Raises:
        ResampledPriorsError: one line that names the key and the remedy.
    """
    check_schema(config)
    lookup(config, "budgets", config["budget"], "budget")
    for dataset in config["data"]["accept_unverified"]:
        lookup(config, "datasets", dataset, "data.accept_unverified")
    for name, budget in config["budgets"].items():
        for model in budget.get("models", {}):
            lookup(config, "models", model, f"budgets.{name}.models")
    for prior in config["priors"]:
        resolve_prior(config, prior)
    for table in config["tables"]:
        table_cells(config, table)
    for figure in config["figures"]:
        resolve_figure(config, figure)
        _check_figure(config, figure)


# ---- settings of a run --------------------------------------------------------------------


def _prior_settings(config: Config, name: str, place: str) -> Config:
    """A prior's entry without its label; for a class of the user's own, with its file's hash.

    The hash makes a run depend on that file, which is not part of the package.
    """
    settings = {k: v for k, v in lookup(config, "priors", name, place).items() if k != "label"}
    if ":" in settings["family"]:
        settings["code_sha256"] = own_code_sha256(settings["family"], f"priors.{name}.family")
    return settings


def resolve_prior(config: Config, name: str) -> Config:
    """A prior's settings, with the settings of its proposal in the place of its name.

    Raises:
        ResampledPriorsError: an unknown prior, proposal or base, or one that cannot serve; a
            class of the user's own that is not there.
    """
    settings = _prior_settings(config, name, "prior")
    if settings["family"] == "lars":
        place = f"priors.{name}.proposal"
        proposal = _prior_settings(config, settings["proposal"], place)
        if proposal["family"] == "lars":
            raise ResampledPriorsError(
                f"config: {place}: '{settings['proposal']}' is itself a LARS prior: "
                "name a prior of another family"
            )
        settings["proposal"] = proposal
    if "base" in settings:
        place = f"priors.{name}.base"
        base = lookup(config, "priors", settings["base"], place)
        if "base" in base or base["family"] == "lars":
            raise ResampledPriorsError(
                f"config: {place}: '{settings['base']}' is itself a LARS prior: "
                "name a prior of another family"
            )
    return {"name": name, **settings}


def resolve_run(config: Config, run: Run) -> Config:
    """All that training a run depends on, and nothing else: a change here retrains it.

    Raises:
        ResampledPriorsError: a coordinate of the run is not in the config.
    """
    dataset = lookup(config, "datasets", run.dataset, "data set")
    model = lookup(config, "models", run.model, "model")
    budget = lookup(config, "budgets", config["budget"], "budget")
    budget = merge(budget, budget.get("models", {}).get(run.model, {}))
    factor = dataset.get("schedule_factor", 1)
    training = dict(config["training"])
    training["iterations"] = budget["iterations"]
    training["warm_up"] = round(factor * budget["warm_up"])
    decay_after = budget.get("decay_after")
    training["decay_after"] = None if decay_after is None else round(factor * decay_after)
    if "precision" in budget:
        training["precision"] = budget["precision"]
    training["early_stopping"] = dataset.get("early_stopping", False)
    if not training["early_stopping"]:
        for key in ("validation_interval", "validation_importance_samples", "patience"):
            del training[key]
    return {
        "dataset": run.dataset,
        "model": {"name": run.model, **{k: v for k, v in model.items() if k != "label"}},
        "prior": resolve_prior(config, run.prior),
        "seed": run.seed,
        "training": training,
    }


def budget(config: Config) -> Config:
    """The budget in force."""
    return lookup(config, "budgets", config["budget"], "budget")


# ---- tables -------------------------------------------------------------------------------


def table_cells(config: Config, table: str) -> list[Cell]:
    """The cells of a table, row by row, coordinates checked; cells with nothing in them left out.

    Raises:
        ResampledPriorsError: an unknown table, data set, model, prior or metric.
    """
    settings = lookup(config, "tables", table, "table")
    cells: list[Cell] = []
    for row in settings["rows"]:
        for dataset in row.get("quoted", {}):
            lookup(config, "datasets", dataset, f"tables.{table}.rows.quoted")
    for row in settings["rows"]:
        for column in settings["columns"]:
            place = {**settings, **row, **column}
            cell = Cell(
                row=row.get("label") or _label(config, row),
                column=column.get("label") or _label(config, column),
                metric=place.get("metric", "nll"),
                dataset=place.get("dataset", ""),
                model=place.get("model"),
                prior=place.get("prior"),
                quoted=row.get("quoted", {}).get(place.get("dataset")),
            )
            lookup(config, "datasets", cell.dataset, f"tables.{table}")
            if cell.measured:
                lookup(config, "models", cell.model, f"tables.{table}")
                lookup(config, "priors", cell.prior, f"tables.{table}")
                _check_model_and_prior(config, cell.model, cell.prior, f"tables.{table}")
            elif "quoted" not in row:
                raise ResampledPriorsError(
                    f"config: tables.{table}: row '{cell.row}' names no model or prior "
                    "and quotes nothing: give it a model and a prior, or quoted numbers"
                )
            if cell.measured or cell.quoted is not None:
                cells.append(cell)
    if not cells:
        raise ResampledPriorsError(
            f"config: tables.{table}: no cell has a number in it: give a row a model and a prior, "
            "or numbers quoted for the table's data sets"
        )
    places = [(cell.row, cell.column) for cell in cells]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise ResampledPriorsError(
            f"config: tables.{table}: two cells are in row '{twice[0]}', column '{twice[1]}': "
            "give their rows or columns labels that differ"
        )
    return cells


def _check_model_and_prior(config: Config, model: str, prior: str, place: str) -> None:
    if "output" in config["models"][model] and config["priors"][prior]["family"] == "lars":
        raise ResampledPriorsError(
            f"config: {place}: model '{model}' has a resampled output and takes no LARS prior "
            f"('{prior}'), since there is one Z to estimate: name a prior of another family"
        )


def _label(config: Config, coordinates: dict[str, Any]) -> str:
    """The labels of a row's or column's coordinates, joined."""
    sections = {"dataset": "datasets", "model": "models", "prior": "priors"}
    labels = [
        config[section].get(coordinates[key], {}).get("label", coordinates[key])
        for key, section in sections.items()
        if key in coordinates
    ]
    if "metric" in coordinates:
        labels.append(METRIC_LABELS[coordinates["metric"]])
    return "; ".join(labels)


def table_runs(config: Config, table: str) -> list[Run]:
    """The runs a table shows, each once, in order of appearance."""
    seeds = budget(config)["seeds"]
    runs = [
        Run(cell.dataset, cell.model, cell.prior, seed)
        for cell in table_cells(config, table)
        if cell.model is not None and cell.prior is not None
        for seed in seeds
    ]
    return list(dict.fromkeys(runs))


def resolve_table(config: Config, table: str) -> Config:
    """All that a table shows depends on, and nothing else: cells, labels, caption, budget, seeds.

    Raises:
        ResampledPriorsError: as ``table_cells``.
    """
    return {
        "caption": lookup(config, "tables", table, "table")["caption"],
        "budget": config["budget"],
        "seeds": budget(config)["seeds"],
        "cells": [asdict(cell) for cell in table_cells(config, table)],
    }


# ---- toys and figures ---------------------------------------------------------------------


def figure_runs(config: Config, figure: str) -> list[Run]:
    """The runs a figure shows, of the budget's first seed.

    Raises:
        ResampledPriorsError: an unknown figure, data set, model or prior.
    """
    runs = []
    place = f"figures.{figure}.runs"
    for coordinates in lookup(config, "figures", figure, "figure").get("runs", []):
        dataset, model, prior = coordinates.split("/")  # the schema has seen to the form
        lookup(config, "datasets", dataset, place)
        lookup(config, "models", model, place)
        lookup(config, "priors", prior, place)
        _check_model_and_prior(config, model, prior, place)
        runs.append(Run(dataset, model, prior, budget(config)["seeds"][0]))
    return runs


def resolve_figure(config: Config, figure: str, runs: list[Run] | None = None) -> Config:
    """All that a figure depends on, and nothing else: ``runs`` as folders, with their labels.

    Args:
        runs: those of its runs to show; all by default.

    Raises:
        ResampledPriorsError: as ``figure_runs``; an unknown toy.
    """
    settings = dict(lookup(config, "figures", figure, "figure"))
    del settings["caption"]  # beside the figure, not in it
    for toy in settings.get("toys", []):
        lookup(config, "toys", toy, f"figures.{figure}.toys")
    if "runs" in settings:
        runs = figure_runs(config, figure) if runs is None else runs
        settings["runs"] = [run.folder for run in runs]
        settings["labels"] = [config["datasets"][run.dataset]["label"] for run in runs]
    if settings.get("num_samples", 0) is None:
        settings["num_samples"] = budget(config)["z_samples"]
    return settings


def _check_figure(config: Config, figure: str) -> None:
    """Refuse a figure of what its runs and toys have not got."""
    settings, place = config["figures"][figure], f"config: figures.{figure}"
    for run in figure_runs(config, figure):
        model, prior = config["models"][run.model], config["priors"][run.prior]
        accepts = prior["family"] == "lars" or "output" in model
        if not accepts and settings.keys() & {"grid", "num_samples"}:
            raise ResampledPriorsError(
                f"{place}.runs: prior '{run.prior}' has no acceptance function to show: "
                "name a LARS prior, or a model with a resampled output"
            )
        if "encodes_data" in settings and model["latent_size"] != 2:
            raise ResampledPriorsError(
                f"{place}.runs: model '{run.model}' has latent_size {model['latent_size']}: "
                "name one with latent_size 2"
            )
    if math.prod(settings.get("grid", [])) > settings.get("num_proposals", 1):
        raise ResampledPriorsError(
            f"{place}.grid: {settings['grid']} has room for more than the num_proposals of "
            f"{settings['num_proposals']}: make it smaller, or draw more"
        )
    target = "mixture_1d" if figure == "fig1" else "gaussian_grid"
    for toy in settings.get("toys", []):
        if config["toys"][toy]["target"] != target:
            raise ResampledPriorsError(
                f"{place}.toys: '{toy}' has another target than {target}: name one with that"
            )


def resolve_toy(config: Config, toy: str) -> Config:
    """A toy's settings."""
    return lookup(config, "toys", toy, "toy")


# ---- everything ---------------------------------------------------------------------------


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
