"""Fig. A.2: the estimate of Z against the number of proposals it is made from."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ...experiment import Run
from ...lars.normalizer import running_z_estimates
from ..numbers import Numbers
from .inputs import open_run
from .style import ACCEPTANCE, NARROW, PROPOSAL, SMALL, TARGET, new_figure
from .titles import paper_value

FIRST = 1_000  # proposals in the first estimate shown
LARGEST_BATCH = 100_000
PER_DECADE = 100


def running_z_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """Z_S (eq. A.18) and its standard error at about evenly spaced log S.

    Args:
        settings: ``runs`` (one folder), ``num_samples`` (the last S), ``seed``, ``device``.
    """
    (run,) = settings["runs"]
    part = open_run(results, run, settings["device"]).resampling
    torch.manual_seed(settings["seed"])
    num_samples = settings["num_samples"]
    batch_size = min(LARGEST_BATCH, max(FIRST, num_samples // 10_000))
    rows = []
    due = 0.0
    estimates = running_z_estimates(part.proposal, part.log_a, num_samples, batch_size)
    for estimate, _ in estimates:
        if estimate.num_samples >= min(due, num_samples):
            rows.append((estimate.num_samples, estimate.mean, estimate.standard_error))
            due = estimate.num_samples * 10 ** (1 / PER_DECADE)
    samples, z, standard_error = np.array(rows).T
    place = Run.from_folder(run)
    return {
        "run": np.array(f"{place.dataset}/{place.model}/{place.prior}"),
        "samples": samples,
        "z": z,
        "standard_error": standard_error,
    }


def draw_running_z(numbers: Numbers) -> Figure:
    """The running estimate with a band of two standard errors on a logarithmic axis of S.

    The paper's, of a model of its own, is a point at its own S.
    """
    samples, z, error = (numbers[key] for key in ("samples", "z", "standard_error"))
    figure = new_figure(NARROW, 2.3)
    axes = figure.subplots()
    axes.fill_between(
        samples, z - 2 * error, z + 2 * error, color=TARGET, alpha=0.2, lw=0, label=r"$\pm 2$ s.e."
    )
    axes.plot(samples, z, color=TARGET, lw=0.9, label="$Z_S$")
    axes.axhline(z[-1], color=PROPOSAL, lw=0.8, ls=":")
    # The first estimates would squeeze the rest into a line: the axis holds the band from 100
    # times their number of samples on.
    late = samples >= min(100 * samples[0], samples[-1] / 10)
    reach = 1.5 * (np.abs(z[late] - z[-1]) + 2 * error[late]).max()
    low, high, last = z[-1] - reach, z[-1] + reach, samples[-1]
    run = str(numbers.get("run", "dynamic_mnist/vae/lars"))  # older files are all of that
    paper = paper_value(numbers, run, "z"), paper_value(numbers, run, "samples")
    if None not in paper:
        value, count = paper
        text = f"the paper's $Z$ = {value:.5f},\n$S = 10^{{{math.log10(count):.0f}}}$"
        axes.plot(count, value, "D", ms=4, color=ACCEPTANCE, clip_on=False)
        axes.annotate(
            text,
            (count, value),
            (-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=SMALL,
        )
        margin = 0.12 * (max(high, value) - min(low, value))
        low, high = min(low, value - margin), max(high, value + margin)
        last = max(last, count)
    axes.set_ylim(max(0.0, low), high)
    axes.set_xscale("log")
    axes.set(
        xlim=(samples[0], last),
        xlabel="number $S$ of samples used to estimate $Z$",
        ylabel="estimate $Z_S$ of $Z$",
    )
    decimals = max(0, math.ceil(-math.log10(error[-1]))) if error[-1] > 0 else 6
    axes.set_title(f"$Z$ = {z[-1]:.{decimals}f} ± {error[-1]:.{decimals}f}")
    axes.legend(loc="center right" if paper[0] else "upper right")
    return figure
