"""Fig. R2, which the paper has not got: how the NLL falls in training, at several budgets."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import ResampledPriorsError
from ...experiment import Run
from ...runs.records import read_metrics, read_run
from ..numbers import Numbers
from .inputs import require_files
from .style import ACCEPTANCE, PAGE, PROPOSAL, RESAMPLED, SMALL, TARGET, new_figure
from .titles import paper_value

VALIDATION, TRAINING = "NLL of validation", "negative ELBO of training"
COLOURS = (PROPOSAL, TARGET, ACCEPTANCE, RESAMPLED)


def learning_curves_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """The curve of each run that is there (nats against iterations), and its test NLL.

    Args:
        settings: ``runs`` (folders, of any budgets) and ``labels`` (theirs).

    Raises:
        ResampledPriorsError: none of the runs is there; a damaged one.
    """
    pairs = list(zip(settings["runs"], settings["labels"], strict=True))
    there = [pair for pair in pairs if (results / pair[0] / "training.csv").is_file()]
    if not there:
        require_files(results, settings["runs"][0], ("training.csv",))
    numbers: dict[str, Any] = {}
    for index, (folder, _) in enumerate(there):
        iteration, nats, quantity = read_curve(results / folder / "training.csv")
        numbers[f"{index}/iteration"], numbers[f"{index}/nats"] = iteration, nats
        numbers[f"{index}/quantity"] = np.array(quantity)
        numbers[f"{index}/nll"] = np.array(_test_nll(results / folder))
    numbers["runs"] = np.array([Run.from_folder(folder).name for folder, _ in there])
    return numbers | {"labels": np.array([label for _, label in there])}


def _test_nll(folder: Path) -> float:
    """NaN of a run that is not evaluated."""
    if not (folder / "metrics.json").exists():
        return math.nan
    return read_metrics(folder, read_run(folder))["nll"]


def read_curve(path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Iterations, nats and what they are: validation's NLL, where training.csv has it.

    Otherwise the negative ELBO of the training images, reconstruction plus KL, whatever the weight
    of the KL was.
    """
    try:
        rows = pd.read_csv(path)
        validated = rows[rows["validation_nll"].notna()]
        if len(validated):
            iteration, nats, quantity = (
                validated["iteration"],
                validated["validation_nll"],
                VALIDATION,
            )
        else:
            iteration, nats, quantity = rows["iteration"], rows["recons"] + rows["kl"], TRAINING
        return iteration.to_numpy(int), nats.to_numpy(float), quantity
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ResampledPriorsError(
            f"{path} is not the record of a training ({reason}): train the run again"
        ) from error


def draw_learning_curves(numbers: Numbers) -> Figure:
    """A curve for each run, a dot for its test NLL, a line for the paper's converged value."""
    runs = [str(run) for run in numbers["runs"]]
    places = list(dict.fromkeys(map(_place, runs)))
    colours = dict(zip(places, itertools.cycle(COLOURS)))
    figure = new_figure(PAGE, 3.2)
    axes = figure.subplots()
    for index, run in enumerate(runs):
        first = [_place(other) for other in runs].index(_place(run)) == index
        style = {
            "color": colours[_place(run)],
            "label": numbers["labels"][index] if first else None,
        }
        iteration, nats = numbers[f"{index}/iteration"], numbers[f"{index}/nats"]
        axes.semilogx(iteration, nats, lw=0.9, alpha=0.75, **style)
        axes.plot(iteration[-1], numbers[f"{index}/nll"], "o", ms=4, color=style["color"])
    _end_budgets(axes, numbers, runs)
    papers = {place: paper_value(numbers, place, "nll") for place in places}
    for place, paper in papers.items():
        if paper is not None:
            axes.axhline(paper, color=colours[place], lw=0.9, ls="--")
    axes.plot([], [], "o", ms=4, color="black", label="test NLL at the end")
    if any(paper is not None for paper in papers.values()):
        axes.plot([], [], "--", lw=0.9, color="black", label="the paper's")
    _limit(axes, numbers, len(runs), [paper for paper in papers.values() if paper is not None])
    quantities = dict.fromkeys(str(numbers[f"{i}/quantity"]) for i in range(len(runs)))
    axes.set(xlabel="iterations", ylabel=f"{' or '.join(quantities)} (nats)")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _place(run: str) -> str:
    """dataset/model/prior, which runs of several budgets share."""
    return "/".join(run.split("/")[1:4])


def _end_budgets(axes: Axes, numbers: Numbers, runs: list[str]) -> None:
    """A line where the runs of a budget end, its name above."""
    ends: dict[str, int] = {}
    for index, run in enumerate(runs):
        budget = run.split("/")[0]
        ends[budget] = max(ends.get(budget, 0), int(numbers[f"{index}/iteration"][-1]))
    by_end: dict[int, list[str]] = {}
    for budget, end in ends.items():
        by_end.setdefault(end, []).append(budget)
    for end, budgets in by_end.items():
        axes.axvline(end, color="0.6", lw=0.6, ls=":")
        place = {"xycoords": axes.get_xaxis_transform(), "xytext": (0, 2)}
        style = {"textcoords": "offset points", "ha": "right", "va": "bottom", "fontsize": SMALL}
        axes.annotate(", ".join(budgets), (end, 1), **place, **style)


def _limit(axes: Axes, numbers: Numbers, count: int, papers: list[float]) -> None:
    """From below all there is up to where the curves are after a fifth of their way."""
    curves = [(numbers[f"{i}/iteration"], numbers[f"{i}/nats"]) for i in range(count)]
    nlls = [float(numbers[f"{i}/nll"]) for i in range(count)]
    bottom = np.nanmin([*papers, *nlls, *(nats.min() for _, nats in curves)])
    top = max(nats[iteration >= iteration[-1] / 5].max() for iteration, nats in curves)
    first = min(iteration[nats <= top].min() for iteration, nats in curves)
    last = max(iteration[-1] for iteration, _ in curves)
    axes.set_ylim(bottom - 0.04 * (top - bottom), top)
    axes.set_xlim(first, 1.1 * last)
