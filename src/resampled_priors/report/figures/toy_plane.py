"""Fig. 2 and D.3: toys in the plane, all of one target: a(z) and p(z) of each."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...grids import grid_points, kl_on_grid
from ..numbers import Numbers
from .style import COLUMN, PROPOSAL, new_figure
from .toy_panels import (
    Toy,
    acceptance_panel,
    resampled_panel,
    shown_toys,
    target_panel,
    toy_labels,
)


def draw_toy_plane(numbers: Numbers) -> Figure:
    """The target, with its KL from N(0, I); then under each toy's label its a(z) and p(z)."""
    toys = shown_toys(numbers)
    labels = toy_labels(numbers, toys)
    narrow = len(toys) > 2
    figure = new_figure(COLUMN, 1.35 if narrow else 1.6)
    first, *parts = figure.subfigures(
        1, 1 + len(toys), width_ratios=(1.05 if narrow else 1.0, *[2] * len(toys))
    )
    target = first.subplots()
    target_panel(target, toys[0])
    _standard_normal_circles(target)
    target.set_xlabel(
        rf"$\mathrm{{KL}}(q\,\|\,\mathcal{{N}})$ = {kl_from_standard_normal(toys[0]):.2f}"
    )
    first.suptitle("\n".join(" " for _ in labels[0].splitlines()), fontsize=7)
    for part, toy, label in zip(parts, toys, labels, strict=True):
        acceptance, density = part.subplots(1, 2)
        acceptance_panel(acceptance, toy)
        resampled_panel(density, toy, "$p(z)$")
        part.suptitle(label, fontsize=7)
    if narrow:
        for axes in figure.axes:
            axes.xaxis.label.set_size(6)
    return figure


def kl_from_standard_normal(toy: Toy) -> float:
    """KL(q‖N(0, I)) in nats, on the toy's grid, whatever its proposal."""
    axis, log_q = torch.from_numpy(toy.axis), torch.from_numpy(toy.log_q).double()
    log_normal = -0.5 * grid_points(axis, 2).square().sum(-1) - math.log(2 * math.pi)
    return kl_on_grid(log_q, log_normal, float(axis[1] - axis[0]) ** 2)


def _standard_normal_circles(axes: Axes) -> None:
    """N(0, I) as its circles of one and two standard deviations."""
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2):
        axes.plot(
            radius * np.cos(angle), radius * np.sin(angle), color=PROPOSAL, lw=0.6, ls=(0, (4, 2))
        )
