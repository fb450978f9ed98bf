"""Fig. D.7 and D.9: all values of a, sorted, and images along them."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ..numbers import Numbers
from .images import group_heading, group_panel, scientific, show_image
from .style import ACCEPTANCE, COLUMN, new_figure


def draw_ranked_values(numbers: Numbers) -> Figure:
    """Of each run: its groups, if any, in a row; sorted a; representative samples below."""
    groups, runs = list(numbers["groups"]), len(numbers["labels"])
    heights = [2.0] * bool(groups) + [1.2, 2]
    figure = new_figure(COLUMN, (5.2 if groups else 2.9) * runs)
    parts = iter(figure.subfigures(len(heights) * runs, 1, height_ratios=heights * runs))
    for index in range(runs):
        if groups:
            panels = next(parts).subplots(1, len(groups), squeeze=False)[0]
            for axes, group in zip(panels, groups, strict=True):
                group_panel(axes, numbers, index, group)
                axes.set_title(group_heading(numbers, group, index))
        _value_panel(next(parts).subplots(), numbers, index)
        _representatives(next(parts), numbers, index)
    return figure


def _value_panel(axes: Axes, numbers: Numbers, index: int) -> None:
    """Sorted a on a logarithmic axis; log10 is drawn on a linear one, so nothing underflows."""
    log10 = np.sort(numbers[f"{index}/log_a"].astype(float)) / math.log(10)
    axes.plot(np.arange(len(log10)), log10, color=ACCEPTANCE)
    step = max(1, math.ceil(-log10[0] / 5))
    ticks = np.arange(0, math.floor(log10[0]) - 1, -step)
    axes.set_yticks(ticks, [f"$10^{{{tick}}}$" for tick in ticks])
    log_z = float(numbers[f"{index}/log_z"])
    axes.axhline(log_z / math.log(10), color="black", lw=0.6, ls=":")
    axes.annotate(
        f"$Z$ = {math.exp(log_z):.3g}",
        (0, log_z / math.log(10)),
        (3, -2),
        textcoords="offset points",
        va="top",
    )
    axes.set(
        xlim=(0, len(log10)),
        xlabel="index of sample, sorted",
        ylabel=f"${numbers[f'{index}/variable']}$",
        title=str(numbers["labels"][index]),
    )


def _representatives(part: SubFigure, numbers: Numbers, index: int) -> None:
    """Images from the lowest to the highest a, each with its value, in two rows."""
    images, log_a = (numbers[f"{index}/spread/{key}"] for key in ("images", "log_a"))
    panels = part.subplots(2, len(images) // 2).ravel()
    for axes, image, value in zip(panels, images, log_a, strict=True):
        show_image(axes, image)
        axes.set_xlabel(scientific(float(value)), fontsize=6)
    variable = numbers[f"{index}/variable"]
    panels[0].set_title(f"lowest ${variable}$", fontsize=6)
    panels[-1].set_title(f"highest ${variable}$", fontsize=6)
