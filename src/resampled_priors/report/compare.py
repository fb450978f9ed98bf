"""Our numbers and the paper's, by code: the order of cells, what LARS gains, which cells differ.

All differences are in nats; a Z is compared as log Z.

Two of our cells share test images and their bits, so what makes their difference uncertain is the
training: the standard deviation over seeds, pooled over all runs of the budget that have several.
The paper's models had other bits: there the standard error over test images counts as well, and
half a unit of the paper's last digit, as a uniform error. The paper gives no errors of its own.
"""

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import ResampledPriorsError
from ..experiment import Config, Run, files_of_runs, paper_number
from ..experiment.labels import METRIC_LABELS
from ..runs.records import read_record
from .numbers import Numbers, damaged, load_numbers
from .paper import paper_values

Spread = dict[str, float]  # metric -> standard deviation over seeds, nats
GAINS = ("nll", "elbo")  # lower is better
LABELS = METRIC_LABELS | {"z": "log Z", "kl_proposal": "KL to the proposal"}


@dataclass(frozen=True)
class Compared:
    """One cell that has our number and the paper's, both in nats.

    Attributes:
        run: dataset/model/prior; empty where the number is quoted, here as there.
        error: standard error of ours over test images, or of the estimate; NaN: unknown.
        rounding: standard deviation of what the paper's digits leave open.
        seeds: how many trainings ours is the mean of; infinitely many of a quoted number.
    """

    run: str
    name: str
    dataset: str
    metric: str
    ours: float
    paper: float
    error: float
    rounding: float
    seeds: float

    @property
    def difference(self) -> float:
        return self.ours - self.paper

    def standard_error(self, spread: Spread) -> float:
        """Of the difference to the paper; NaN where that over test images is unknown."""
        of_training = spread.get(self.metric, 0.0) / math.sqrt(self.seeds)
        return math.hypot(self.error, self.rounding, of_training)


class Exchange(NamedTuple):
    """Neighbours in the paper's order that have the other order here."""

    above: Compared  # here; below the other in the paper
    below: Compared
    noise: float

    @property
    def ours(self) -> float:
        return self.above.ours - self.below.ours

    @property
    def paper(self) -> float:
        return self.below.paper - self.above.paper


class Gain(NamedTuple):
    """What a LARS prior gains over its proposal as the prior, in nats."""

    cell: Compared
    over: Compared
    noise: float

    @property
    def ours(self) -> float:
        return self.over.ours - self.cell.ours

    @property
    def paper(self) -> float:
        return self.over.paper - self.cell.paper


# ---- cells ----------------------------------------------------------------------------------


def compared(metric: str, ours: float, paper: float, error: float, **rest: Any) -> Compared:
    """A cell of numbers as they are published: Z becomes log Z."""
    digit = 10.0 ** _last_digit(paper)
    if metric == "z":
        digit, ours, paper = digit / paper, math.log(ours), math.log(paper)
    else:
        digit = min(digit, 0.1)  # 89.0 is written with a decimal
    rounding = digit / math.sqrt(12)
    return Compared(metric=metric, ours=ours, paper=paper, error=error, rounding=rounding, **rest)


def _last_digit(value: float) -> int:
    """The power of ten of a number's last digit, at most that of units: −2 of 84.97."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    return int(exponent or 0) - len(mantissa.partition(".")[2].removesuffix("0"))


def read_table(name: str, config: Config, results: Path) -> list[Compared]:
    """The cells of ``results/NAME.csv`` that have both numbers, of the budget in force.

    None where there is no table.

    Raises:
        ResampledPriorsError: a damaged table, or metrics.json of its runs.
    """
    path = results / f"{name}.csv"
    if not path.exists():
        return []
    try:
        rows = pd.read_csv(path)
        rows = rows[rows["budget"] == config["budget"]].to_dict("records")
        return [cell for row in rows for cell in _cell(row, config, results)]
    except (KeyError, TypeError, ValueError) as error:
        raise ResampledPriorsError(
            f"{path} is not a table ({' '.join(str(error).split())}): make it again"
        ) from error


def _cell(row: dict[str, Any], config: Config, results: Path) -> list[Compared]:
    """The cell of a CSV's row, or none; its name is what row and column say besides these two."""
    dataset = config["datasets"].get(row["dataset"], {}).get("label")
    said = {METRIC_LABELS.get(row["metric"]), dataset}
    names = [label for label in (row["row"], row["column"]) if label not in said]
    place = {"name": ", ".join(names) or row["row"], "dataset": row["dataset"]}
    quoted = row["quoted"]
    if pd.notna(quoted):
        return [compared(row["metric"], quoted, quoted, 0.0, run="", seeds=math.inf, **place)]
    if pd.isna(row["ours"]) or pd.isna(row["paper"]) or (row["metric"], row["paper"]) == ("z", 1):
        return []  # Z = 1 is no measurement
    seeds = [int(float(seed)) for seed in str(row["seeds"]).split()]
    coordinates = (row["dataset"], row["model"], row["prior"])
    folders = [results / Run(row["budget"], *coordinates, seed).folder for seed in seeds]
    paths = [folder / "metrics.json" for folder in folders]
    errors = [_number(path, _error_key(row["metric"])) for path in paths if path.exists()]
    error = max(errors, default=math.nan)
    place |= {"run": "/".join(coordinates), "seeds": len(seeds)}
    return [compared(row["metric"], row["ours"], row["paper"], error, **place)]


def _number(path: Path, key: str) -> float:
    """A number of a metrics.json."""
    metrics = read_record(path)
    try:
        return float(metrics[key])
    except (KeyError, TypeError, ValueError) as error:
        raise ResampledPriorsError(f"{path} lacks {error}: evaluate the run again") from error


def _error_key(metric: str) -> str:
    return "log_z_se" if metric == "z" else f"{metric}_se"


def read_figures(config: Config, results: Path) -> list[Compared]:
    """The KLs and Z that figures of a latent space state, where the paper's are known."""
    cells = []
    for figure, settings in config["figures"].items():
        path = results / f"{figure}.npz"
        if settings["kind"] == "latent_density" and path.exists():
            remedy = f"run `resampled-priors figure {figure}`."
            numbers = load_numbers(path, remedy)
            try:
                cells += _figure_cells(figure, numbers)
            except (KeyError, TypeError, ValueError) as error:
                raise damaged(path, error, remedy) from error
    return cells


def _figure_cells(figure: str, numbers: Numbers) -> list[Compared]:
    run = str(numbers["run"])
    place = {"run": run, "dataset": run.split("/")[0], "seeds": 1}
    place["name"] = f"Fig. {paper_number(figure)}"
    cells = []
    for metric, paper in paper_values().get(figure, {}).get(run, {}).items():
        value, error = map(float, np.append(numbers[metric], 0.0)[:2])  # Z comes without an error
        cells.append(compared(metric, value, paper, error, **place))
    return cells


def seed_spread(results: Path, budget: str) -> tuple[Spread, dict[str, int]]:
    """The standard deviation over seeds of each metric, and the seeds of each run it is from."""
    seeds: dict[str, list[Path]] = defaultdict(list)
    for path in files_of_runs(results, "metrics.json"):
        run = Run.from_folder(path.parent)
        if run.budget == budget:
            seeds[f"{run.dataset}/{run.model}/{run.prior}"].append(path)
    several = {run: paths for run, paths in seeds.items() if len(paths) > 1}
    freedom = sum(len(paths) - 1 for paths in several.values())
    spread = {}
    for metric in METRIC_LABELS if several else ():
        values = [[_number(path, metric) for path in paths] for paths in several.values()]
        if metric == "z":
            values = [np.log(of_run) for of_run in values]
        squares = sum(np.var(of_run) * len(of_run) for of_run in values)
        spread[metric] = math.sqrt(squares / freedom)
    return spread, {run: len(several[run]) for run in sorted(several)}


# ---- comparisons ----------------------------------------------------------------------------


def noise(a: Compared, b: Compared, spread: Spread) -> float:
    """Two standard errors of the difference between two of our cells; NaN: no seeds to tell."""
    return 2 * spread.get(a.metric, math.nan) * math.sqrt(1 / a.seeds + 1 / b.seeds)


def groups(cells: list[Compared]) -> list[list[Compared]]:
    """The cells that have an order: those of one data set and metric, two or more."""
    found: dict[tuple[str, str], list[Compared]] = defaultdict(list)
    for cell in cells:
        found[cell.dataset, cell.metric].append(cell)
    return [group for group in found.values() if len(group) > 1]


def pairs(group: list[Compared]) -> list[tuple[Compared, Compared]]:
    """All pairs to which the paper gives an order, the lower first."""
    both = itertools.permutations(group, 2)
    return [(a, b) for a, b in both if a.paper < b.paper and (a.run or b.run)]


def exchanges(group: list[Compared], spread: Spread) -> list[Exchange]:
    """Neighbours in the paper's order that are the other way round here.

    Neighbours have no third cell between them; where the paper has equal numbers, a cell has
    several. None are exchanged only where all pairs have the paper's order.
    """
    return [
        Exchange(a, b, noise(a, b, spread))
        for a, b in pairs(group)
        if a.ours > b.ours and not any(a.paper < cell.paper < b.paper for cell in group)
    ]


def gains(cells: list[Compared], config: Config, spread: Spread) -> list[Gain]:
    """Each LARS prior of the table beside its proposal as the prior of the same model."""
    places = {(cell.run, cell.metric): cell for cell in cells}
    found = []
    for cell in cells:
        if cell.metric in GAINS and cell.run:
            model, _, prior = cell.run.rpartition("/")
            proposal = config["priors"].get(prior, {}).get("proposal")
            over = places.get((f"{model}/{proposal}", cell.metric))
            if over is not None:
                found.append(Gain(cell, over, noise(cell, over, spread)))
    return found


def apart(cells: list[Compared], spread: Spread) -> list[Compared]:
    """The cells that differ from the paper's by more than two standard errors."""
    return [cell for cell in cells if abs(cell.difference) > 2 * cell.standard_error(spread)]
