"""What a prior costs: NLL against the time of its samples, and against its parameters.

Table R.1 as a picture, from the metrics of its runs alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...experiment import Run
from ...runs.records import read_metrics, read_run
from ..costs import value_of
from ..numbers import Numbers
from .inputs import require_files
from .style import OUTLINE, PAGE, PROPOSAL, SMALL, TARGET, new_figure

METRICS = ("nll", "sample_ms", "prior_parameters", "num_acceptance_parameters")
FEW = 1_000  # parameters: below, the axis is linear, since a prior may have none
APART = 0.045  # of the axes' height: what two labels in a column need


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
    """Two panels with one axis of NLL; priors with an a(z) in a colour of their own."""
    figure = new_figure(PAGE, 3.6)
    left, right = figure.subplots(1, 2, sharey=True)
    _points(left, numbers, numbers["sample_ms"])
    left.set(xscale="log", xlabel="ms per 1,000 samples of the prior", ylabel="test NLL (nats)")
    _points(right, numbers, numbers["prior_parameters"])
    right.set_xscale("symlog", linthresh=FEW)
    right.set(xlabel="parameters of the prior", xlim=(-0.3 * FEW, None))
    for marker, colour, label in (
        ("o", TARGET, "with an $a(z)$"),
        ("o", PROPOSAL, "without"),
        ("v", "none", "upper bound"),
    ):
        if label != "upper bound" or numbers["is_bound"].any():
            left.plot([], [], marker, ms=4, mfc=colour, mec=PROPOSAL, label=label)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _points(axes: Axes, numbers: Numbers, cost: NDArray) -> None:
    """A point for each prior whose cost is known, its name beside it, names apart."""
    nll = numbers["nll"]
    known = np.flatnonzero(np.isfinite(cost))
    for i in known:
        colour = TARGET if numbers["num_acceptance_parameters"][i] > 0 else PROPOSAL
        axes.plot(cost[i], nll[i], "v" if numbers["is_bound"][i] else "o", ms=4, color=colour)
    least = APART * max(np.ptp(nll), 1e-9) * 1.2
    height = -np.inf
    for i in known[np.argsort(nll[known])]:
        height = max(nll[i], height + least)
        axes.annotate(
            str(numbers["labels"][i]),
            (cost[i], nll[i]),
            (cost[i], height),
            textcoords="data",
            ha="center",
            va="bottom",
            fontsize=SMALL,
            path_effects=OUTLINE,
        )
    axes.margins(x=0.2, y=0.12)
