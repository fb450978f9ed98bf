"""What a prior costs: NLL against the time of its samples, and against its parameters.

Table R.1 as a picture, from the metrics of its runs alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ...experiment import Run
from ...runs.records import read_metrics, read_run
from ..costs import value_of
from ..numbers import Numbers
from .inputs import require_files
from .style import PAGE, PROPOSAL, SMALL, TARGET, new_figure

METRICS = ("nll", "sample_ms", "prior_parameters", "num_acceptance_parameters")
FEW = 1_000  # parameters: below, the axis is linear, since a prior may have none


def cost_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """NLL (nats), ms per 1,000 samples and parameters, means over seeds; which are bounds; labels.

    Args:
        settings: ``runs`` (folders), ``labels`` (theirs).
    """
    seeds: dict[str, list[list[float]]] = {}
    labels, bounds = {}, {}
    for folder, label in zip(settings["runs"], settings["labels"], strict=True):
        require_files(results, folder, ("run.json", "metrics.json"))
        metrics = read_metrics(results / folder, read_run(results / folder))
        place = Run.from_folder(folder)
        name = f"{place.dataset}/{place.model}/{place.prior}"
        seeds.setdefault(name, []).append([value_of(key, metrics) for key in METRICS])
        labels[name], bounds[name] = label, metrics.get("is_bound", False)
    means = np.array([np.mean(found, axis=0) for found in seeds.values()]).T
    numbers = dict(zip(METRICS, means, strict=True))
    return numbers | {
        "runs": np.array(list(seeds)),
        "labels": np.array(list(labels.values())),
        "is_bound": np.array(list(bounds.values())),
    }


def draw_nll_against_cost(numbers: Numbers) -> Figure:
    """NLL against either cost; priors with an a(z) have a colour, upper bounds a form."""
    figure = new_figure(PAGE, 4.6)
    times, sizes = figure.subplots(1, 2, sharey=True)
    times.set(xscale="log", xlabel="ms per 1,000 samples", ylabel="test NLL (nats)")
    sizes.set_xscale("symlog", linthresh=FEW)
    sizes.set_xlabel("parameters")
    handles = [_handle("o", TARGET, "with an $a(z)$"), _handle("o", PROPOSAL, "without")]
    if numbers["is_bound"].any():
        handles.append(_handle("v", "white", "an upper bound"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    for axes, cost in ((times, numbers["sample_ms"]), (sizes, numbers["prior_parameters"])):
        axes.margins(x=0.08, y=0.05)
        _points(axes, numbers, cost)
    sizes.set_xlim(left=-0.4 * FEW)
    sizes.set_xticks([0, *(10.0**power for power in range(3, 7))])
    _names(sizes, numbers)
    return figure


def _handle(marker: str, colour: str, label: str) -> Line2D:
    return Line2D([], [], marker=marker, mfc=colour, mec=PROPOSAL, ls="", ms=4, label=label)


def _colours(numbers: Numbers) -> list[str]:
    return [TARGET if count > 0 else PROPOSAL for count in numbers["num_acceptance_parameters"]]


def _points(axes: Axes, numbers: Numbers, cost: NDArray) -> None:
    """A point for each prior whose cost is known, and a line at the NLL of each."""
    for i, colour in enumerate(_colours(numbers)):
        axes.axhline(numbers["nll"][i], lw=0.5, color=colour, alpha=0.3)
        if np.isfinite(cost[i]):
            marker = "v" if numbers["is_bound"][i] else "o"
            axes.plot(cost[i], numbers["nll"][i], marker, ms=4, color=colour)


def _names(axes: Axes, numbers: Numbers) -> None:
    """The priors' names right of the axes, in the order of their NLL, each beside its line."""
    order, colours = np.argsort(numbers["nll"]), _colours(numbers)
    for i, height in zip(order, np.linspace(0.01, 0.99, len(order)), strict=True):
        axes.annotate(
            str(numbers["labels"][i]),
            (1, numbers["nll"][i]),
            (1.12, height),
            xycoords=axes.get_yaxis_transform(),
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL,
            color=colours[i],
            arrowprops={
                "arrowstyle": "-",
                "lw": 0.5,
                "color": colours[i],
                "alpha": 0.5,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
