"""What a better prior costs: NLL against 1/Z and a sample's proposals, or against the size of a.

Tables D.2 and D.3 as pictures, from the metrics of their runs alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...experiment import Run
from ...runs.records import read_metrics, read_run
from ..numbers import Numbers, saved_truncation
from .inputs import require_files
from .point_labels import label_points
from .style import ACCEPTANCE, NARROW, PAGE, PROPOSAL, TARGET, new_figure
from .titles import paper_value

METRICS = ("nll", "z", "num_acceptance_parameters")


def trade_off_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """NLL (nats), Z and the parameters of a(z), means over seeds; T and labels.

    Args:
        settings: ``runs`` (folders), ``labels`` (theirs). All are compared with the first.
    """
    seeds: dict[str, list[list[float]]] = {}
    truncation, labels = {}, {}
    for folder, label in zip(settings["runs"], settings["labels"], strict=True):
        run, metrics = _read(results, folder)
        place = Run.from_folder(folder)
        name = f"{place.dataset}/{place.model}/{place.prior}"
        seeds.setdefault(name, []).append([float(metrics[key]) for key in METRICS])
        resampled = "truncation" in run["settings"]["prior"]
        prior_truncation = run["settings"]["prior"]["truncation"] if resampled else 1
        truncation[name], labels[name] = saved_truncation(prior_truncation), label
    nll, z, parameters = np.array([np.mean(found, axis=0) for found in seeds.values()]).T
    return {
        "runs": np.array(list(seeds)),
        "labels": np.array(list(labels.values())),
        "nll": nll,
        "z": z,
        "parameters": parameters,
        "truncation": np.array(list(truncation.values())),
    }


def _read(results: Path, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    require_files(results, folder, ("run.json", "metrics.json"))
    run = read_run(results / folder)
    return run, read_metrics(results / folder, run)


def draw_nll_against_z(numbers: Numbers) -> Figure:
    """NLL, as the difference from the first run's, against 1/Z and against a sample's cost."""
    figure = new_figure(PAGE, 2.7)
    left, right = figure.subplots(1, 2, sharey=True)
    ours, papers = numbers["z"], papers_values(numbers, "z")
    _compare(left, numbers, 1 / ours, 1 / papers)
    _compare(right, numbers, *(proposals_per_sample(z, numbers) for z in (ours, papers)))
    left.set(xlabel="$1/Z$", ylabel=_difference(numbers))
    right.set_xlabel(r"proposals per sample, $(1-(1-Z)^T)\,/\,Z$")
    right.legend(loc="upper right")
    _label(left, numbers, 1 / ours)
    _label(right, numbers, proposals_per_sample(ours, numbers))
    return figure


def draw_nll_against_size(numbers: Numbers) -> Figure:
    """NLL, as the difference from the first run's, against the number of parameters of a(z)."""
    figure = new_figure(NARROW, 3.2)
    axes = figure.subplots()
    size = np.where(numbers["parameters"] > 0, numbers["parameters"], np.nan)  # the axis has no 0
    _compare(axes, numbers, size, size)
    axes.axhline(0, color=PROPOSAL, lw=0.8, ls=":")
    axes.set(xlabel="parameters of $a(z)$", ylabel=_difference(numbers))
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.9))
    _label(axes, numbers, size)
    return figure


def proposals_per_sample(z: NDArray, numbers: Numbers) -> NDArray:
    """Expected proposals that a sample of p_T takes, the T-th accepted in any case."""
    truncation = numbers["truncation"]
    forced = np.where(truncation == 0, 0.0, (1 - z) ** truncation)  # 0 stands for T = ∞
    return (1 - forced) / z


def papers_values(numbers: Numbers, metric: str) -> NDArray:
    """The paper's number of each run; NaN where it has none."""
    found = [paper_value(numbers, str(run), metric) for run in numbers["runs"]]
    return np.array([np.nan if value is None else value for value in found])


def _compare(axes: Axes, numbers: Numbers, ours: NDArray, papers: NDArray) -> None:
    """Ours and, where the paper has any, the paper's, each relative to its own first NLL."""
    nll, paper = numbers["nll"], papers_values(numbers, "nll")
    order = np.argsort(ours)
    axes.semilogx(ours[order], (nll - nll[0])[order], "o-", ms=4, color=TARGET, label="ours")
    if np.isfinite(paper[0]):
        axes.semilogx(
            papers[order],
            (paper - paper[0])[order],
            "D--",
            ms=4,
            mfc="white",
            color=ACCEPTANCE,
            label="the paper",
        )
    axes.margins(x=0.18, y=0.15)


def _label(axes: Axes, numbers: Numbers, ours: NDArray) -> None:
    """The name of each of our points, once the figure is laid out."""
    there = np.flatnonzero(np.isfinite(ours))
    points = [(ours[i], numbers["nll"][i] - numbers["nll"][0]) for i in there]
    label_points(axes, points, [str(numbers["labels"][i]) for i in there])


def _difference(numbers: Numbers) -> str:
    return f"NLL − NLL of {numbers['labels'][0]} (nats)"
