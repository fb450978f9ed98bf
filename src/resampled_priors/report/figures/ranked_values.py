"""Fig. D.7 and D.9: all values of a, sorted, and images along them."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator

from ..numbers import Numbers, read_truncation
from .images import group_heading, group_panel, power_of_ten, show_image
from .style import ACCEPTANCE, OUTLINE, PAGE, SMALL, TARGET, new_figure


def draw_ranked_values(numbers: Numbers) -> Figure:
    """Of each run: its groups, if any, in a row; sorted a; representative samples below."""
    groups, runs = list(numbers["groups"]), len(numbers["labels"])
    heights = [2.15] * bool(groups) + [1.7, 2.1]
    figure = new_figure(PAGE, sum(heights) * runs)
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
    lowest = math.floor(log10[0])
    step = max(1, math.ceil(-lowest / 5))
    ticks = np.arange(0, lowest - 1, -step)
    axes.set_yticks(ticks, [f"$10^{{{tick}}}$" for tick in ticks])
    axes.yaxis.set_minor_locator(FixedLocator(range(lowest, 1)))  # every decade
    z = math.exp(float(numbers[f"{index}/log_z"]))
    remarks = [f"dotted line: $Z$ = {z:.3g}", *_forced(axes, numbers, index, lowest)]
    axes.axhline(math.log10(z), color="black", lw=1.0, ls=":")
    # The values rise from left to right: the corner at the lower right is free.
    text = axes.text(0.99, 0.03, "\n".join(remarks), transform=axes.transAxes, ha="right")
    text.set(multialignment="left", fontsize=SMALL, path_effects=OUTLINE)
    axes.set(
        xlim=(0, len(log10)),
        ylim=(lowest, 0.3),
        xlabel=f"index of the proposal, sorted by ${numbers[f'{index}/variable']}$",
        ylabel=f"${numbers[f'{index}/variable']}$",
        title=str(numbers["labels"][index]),
    )


def _forced(axes: Axes, numbers: Numbers, index: int, lowest: int) -> list[str]:
    """The share α_T of T-th proposals, always accepted, and where they outweigh the others.

    p_T = (1 − α_T) π a / Z + α_T π with α_T = (1 − Z)^(T−1): a line where the terms are equal.
    Files of an earlier time do not have T, and p_∞ has no T-th proposal.
    """
    key = f"{index}/truncation"
    truncation = read_truncation(numbers, key) if key in numbers else None
    if truncation is None or truncation == 1:
        return []
    log_z = float(numbers[f"{index}/log_z"])
    log_share = (truncation - 1) * math.log1p(-math.exp(log_z))
    share = math.exp(log_share)
    level = (log_share + log_z - math.log1p(-share)) / math.log(10)
    remarks = [rf"$T$-th proposals are $\alpha_T$ = {share:.2g} of all samples"]
    if level > lowest:
        axes.axhline(level, color=TARGET, lw=1.0, ls=(0, (6, 4)))
        remarks.append("and most of those below the dashed line")
    return remarks


def _representatives(part: SubFigure, numbers: Numbers, index: int) -> None:
    """Images from the lowest to the highest a, each with its value, in two rows."""
    images, log_a = (numbers[f"{index}/spread/{key}"] for key in ("images", "log_a"))
    panels = part.subplots(2, len(images) // 2).ravel()
    for axes, image, value in zip(panels, images, log_a, strict=True):
        show_image(axes, image)
        axes.set_xlabel(power_of_ten(float(value)))
    variable = numbers[f"{index}/variable"]
    panels[0].set_title(f"lowest ${variable}$", fontsize=SMALL)
    panels[-1].set_title(f"highest ${variable}$", fontsize=SMALL)
