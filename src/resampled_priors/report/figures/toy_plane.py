"""Fig. 2 and D.3: toys in the plane, all of one target: a(z) and p(z) of each."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...grids import grid_points, kl_on_grid
from ..numbers import Numbers
from .style import PAGE, PROPOSAL, density_panel, new_figure
from .titles import STANDARD, beside_paper
from .toy_panels import (
    Toy,
    acceptance_panel,
    resampled_panel,
    shown_toys,
    target_panel,
    toy_labels,
)


def draw_toy_plane(numbers: Numbers) -> Figure:
    """The target over N(0, I), with its KL from it; then under each label a(z) over p(z)."""
    toys = shown_toys(numbers)
    columns = 1 + len(toys)
    figure = new_figure(PAGE, 2 * (PAGE - 0.1 * columns) / columns + 1.45)
    panels = figure.subplots(2, columns)
    target_panel(panels[0, 0], toys[0])
    _standard_normal_circles(panels[0, 0])
    log_normal = log_standard_normal(toys[0].axis)
    density_panel(panels[1, 0], log_normal.exp().numpy(), toys[0].axis, "proposal")
    panels[1, 0].set_title(STANDARD)
    kl = rf"KL$(q\,\|\,\mathcal{{N}})$ = {kl_from_standard_normal(toys[0]):.2f}"
    panels[1, 0].set_xlabel(beside_paper(kl, numbers, "standard_normal", "kl"), linespacing=1.3)
    for (top, bottom), toy, label in zip(
        panels.T[1:], toys, toy_labels(numbers, toys), strict=True
    ):
        acceptance_panel(top, toy)
        top.set_title(f"{label}\n$a(z)$")
        resampled_panel(bottom, toy, "$p(z)$")
    return figure


def log_standard_normal(axis: np.ndarray) -> torch.Tensor:
    """log N(z; 0, I) on the plane that an axis spans."""
    return -0.5 * grid_points(torch.from_numpy(axis), 2).square().sum(-1) - math.log(2 * math.pi)


def kl_from_standard_normal(toy: Toy) -> float:
    """KL(q‖N(0, I)) in nats, on the toy's grid, whatever its proposal."""
    log_q = torch.from_numpy(toy.log_q).double()
    cell = float(toy.axis[1] - toy.axis[0]) ** 2
    return kl_on_grid(log_q, log_standard_normal(toy.axis), cell)


def _standard_normal_circles(axes: Axes) -> None:
    """N(0, I) as its circles of one and two standard deviations."""
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2):
        axes.plot(
            radius * np.cos(angle), radius * np.sin(angle), color=PROPOSAL, lw=0.6, ls=(0, (4, 2))
        )
