"""Tables: the cells of each, and the runs that they show."""

from dataclasses import asdict, dataclass

from ..errors import ResampledPriorsError
from .address import Run
from .configuration import Config, lookup
from .labels import label_of
from .resolve import budget


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a metric of some runs, or a number quoted from elsewhere.

    Attributes:
        budget: another than that in force: shown where it is there, and no table has it trained.
    """

    row: str
    column: str
    metric: str
    dataset: str
    model: str | None = None
    prior: str | None = None
    quoted: float | None = None
    budget: str | None = None

    @property
    def measured(self) -> bool:
        return self.model is not None and self.prior is not None

    def run(self, budget: str, seed: int) -> Run:
        """A run that a measured cell shows, where this budget is in force."""
        assert self.model is not None and self.prior is not None
        return Run(self.budget or budget, self.dataset, self.model, self.prior, seed)

    @property
    def coordinates(self) -> str:
        return f"{self.dataset}/{self.model}/{self.prior}"


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
                row=row.get("label") or label_of(config, row),
                column=column.get("label") or label_of(config, column),
                metric=place.get("metric", "nll"),
                dataset=place.get("dataset", ""),
                model=place.get("model"),
                prior=place.get("prior"),
                quoted=row.get("quoted", {}).get(place.get("dataset")),
                budget=place.get("budget"),
            )
            if cell.budget is not None:
                lookup(config, "budgets", cell.budget, f"tables.{table}")
            lookup(config, "datasets", cell.dataset, f"tables.{table}")
            if cell.measured:
                lookup(config, "models", cell.model, f"tables.{table}")
                lookup(config, "priors", cell.prior, f"tables.{table}")
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


def table_runs(config: Config, table: str) -> list[Run]:
    """The runs of the budget in force that a table shows, each once, in order of appearance."""
    return [run for run in _shown(config, table) if run.budget == config["budget"]]


def table_runs_of_other_budgets(config: Config, table: str) -> list[Run]:
    """The runs that a table shows where they are there, each once."""
    return [run for run in _shown(config, table) if run.budget != config["budget"]]


def _shown(config: Config, table: str) -> list[Run]:
    cells = [cell for cell in table_cells(config, table) if cell.measured]
    runs = [cell.run(config["budget"], s) for cell in cells for s in budget(config)["seeds"]]
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
