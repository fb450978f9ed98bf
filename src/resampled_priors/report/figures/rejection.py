"""Fig. A.1: classical rejection sampling."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...toy import mixture_1d
from ..numbers import Numbers
from .style import ACCEPTANCE, NARROW, PROPOSAL, RESAMPLED, TARGET, new_figure


def rejection_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """Rejection sampling of a known target from N(0, 1): needs no training.

    M is the smallest constant with q(z) ≤ M π(z); a(z) = q(z) / (M π(z)); Z = 1/M.
    """
    axis = np.linspace(-3, 3, 601)
    points = torch.from_numpy(axis).float().unsqueeze(-1)
    q = mixture_1d().log_prob(points).exp().double().numpy()
    proposal: NDArray = np.exp(-(axis**2) / 2) / np.sqrt(2 * np.pi)
    return {"axis": axis, "q": q, "proposal": proposal, "m": np.array((q / proposal).max())}


def draw_rejection(numbers: Numbers) -> Figure:
    """At z, a candidate is accepted with the share that q has of Mπ."""
    axis, q = numbers["axis"], numbers["q"]
    envelope = numbers["m"] * numbers["proposal"]
    figure = new_figure(NARROW, 2.4)
    axes = figure.subplots()
    axes.fill_between(axis, q, color=RESAMPLED, alpha=0.2, lw=0)
    axes.fill_between(axis, q, envelope, color=ACCEPTANCE, alpha=0.15, lw=0)
    axes.plot(axis, envelope, color=PROPOSAL, ls="--", label=r"$M\,\pi(z)$, envelope")
    axes.plot(axis, numbers["proposal"], color=PROPOSAL, lw=0.8, label=r"proposal $\pi(z)$")
    axes.plot(axis, q, color=TARGET, label="target $q(z)$")
    at = int(np.abs(axis - 0.1).argmin())
    for low, high, colour, word, shift, side in (
        (0.0, q[at], RESAMPLED, r"accept $\propto q$", 4, "left"),
        (q[at], envelope[at], ACCEPTANCE, "reject\n$\\propto M\\pi - q$", -4, "right"),
    ):
        axes.plot([axis[at]] * 2, [low, high], color=colour, lw=2.5, solid_capstyle="butt")
        middle = (axis[at], (low + high) / 2)
        axes.annotate(word, middle, (shift, 0), textcoords="offset points", ha=side, va="center")
    axes.set(xlim=(axis[0], axis[-1]), ylim=(0, None), xlabel="$z$", ylabel="density")
    axes.set_title(rf"$a(z) = q(z)\,/\,(M\pi(z))$,   $M$ = {float(numbers['m']):.2f}")
    axes.legend(loc="upper right", bbox_to_anchor=(1.02, 1.0))
    return figure
