"""Proposals ranked by a: Fig. 3, D.5, D.6, D.8 (grids of images), and D.7, D.9 (their values)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from .inputs import open_run
from .style import ACCEPTANCE, COLUMN, Numbers, new_figure

REPRESENTATIVES = 14
HEADINGS = {
    "highest": "highest ${a}$",
    "random": "random proposals",
    "lowest": "lowest ${a}$",
}
SIDE = 28
GAP = 1  # pixels between images
GAP_GREY = 200


def group_ranks(group: str, count: int, num_proposals: int) -> Tensor:
    """Ranks of the ``count`` highest, lowest (lowest last) or random proposals."""
    if group == "random":
        return torch.randperm(num_proposals)[:count]
    first = 0 if group == "highest" else num_proposals - count
    return torch.arange(first, first + count)


def as_bytes(means: Tensor) -> NDArray:
    """Pixel means (n, 784) in [0, 1] as uint8 (n, 28, 28)."""
    return (255 * means).round().to(torch.uint8).reshape(-1, SIDE, SIDE).numpy()


@torch.no_grad()
def ranked_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """Of each run: all log a, sorted; per group of images, their pixel means and log a.

    Args:
        settings: ``runs`` (folders), ``labels`` (theirs), ``num_proposals``, ``seed``; ``groups``
            (of ``HEADINGS``) and ``grid`` (rows and columns of a group's grid).
    """
    rows, columns = settings["grid"]
    numbers = {
        "labels": np.array(settings["labels"]),
        "groups": np.array(settings["groups"]),
        "grid": np.array([rows, columns]),
    }
    num_proposals = settings["num_proposals"]
    for index, run in enumerate(settings["runs"]):
        torch.manual_seed(settings["seed"])
        model = open_run(results, run)
        log_a, decode = model.rank_proposals(num_proposals)
        ranks = {name: group_ranks(name, rows * columns, num_proposals) for name in HEADINGS}
        spread = torch.linspace(num_proposals - 1, 0, REPRESENTATIVES).round().long()
        for name in settings["groups"]:
            numbers[f"{index}/{name}/images"] = as_bytes(decode(ranks[name]))
            numbers[f"{index}/{name}/log_a"] = log_a[ranks[name]].numpy()
        numbers[f"{index}/spread/images"] = as_bytes(decode(spread))
        numbers[f"{index}/spread/log_a"] = log_a[spread].numpy()
        numbers[f"{index}/log_a"] = log_a.numpy()
        numbers[f"{index}/log_z"] = model.resampling.log_z.numpy()
        numbers[f"{index}/variable"] = np.array(
            "a(z)" if model.resampling is model.prior else "a(x)"
        )
    return numbers


def image_grid(images: NDArray, rows: int, columns: int) -> NDArray:
    """Images (n, 28, 28) in rows, a grey line between them: one uint8 array, top row first."""
    pitch = SIDE + GAP
    grid = np.full((rows * pitch - GAP, columns * pitch - GAP), GAP_GREY, np.uint8)
    for index, image in enumerate(images[: rows * columns]):
        row, column = divmod(index, columns)
        grid[row * pitch : row * pitch + SIDE, column * pitch : column * pitch + SIDE] = image
    return grid


def scientific(log_value: float) -> str:
    """A number given by its natural logarithm, as 2.60e-23, however small."""
    log10 = log_value / math.log(10)
    exponent = math.floor(log10)
    mantissa = f"{10 ** (log10 - exponent):.2f}"
    if mantissa == "10.00":
        mantissa, exponent = "1.00", exponent + 1
    return f"{mantissa}e{exponent:+03d}"


def power_of_ten(log_value: float) -> str:
    """The same as mathtext: 2.6 × 10^−23."""
    mantissa, exponent = scientific(log_value).split("e")
    return rf"${float(mantissa):.1f} \times 10^{{{int(exponent)}}}$"


def _show(axes: Axes, image: NDArray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, origin="upper")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _group_panel(axes: Axes, numbers: Numbers, index: int, group: str) -> None:
    rows, columns = numbers["grid"]
    _show(axes, image_grid(numbers[f"{index}/{group}/images"], rows, columns))
    log_a = numbers[f"{index}/{group}/log_a"]
    variable = str(numbers[f"{index}/variable"])
    bound = {
        "highest": rf"${variable} \geq$ {math.exp(log_a.min()):.3g}",
        "lowest": rf"${variable} \leq$ {power_of_ten(float(log_a.max()))}",
        "random": f"median ${variable}$ = {power_of_ten(float(np.median(log_a)))}",
    }
    axes.set_xlabel(bound[group], fontsize=6)


def draw_ranked(numbers: Numbers) -> Figure:
    """A column for each run, a row for each group: grids of pixel means."""
    labels, groups = list(numbers["labels"]), list(numbers["groups"])
    rows, columns = numbers["grid"]
    width = min(COLUMN / len(labels), 2.75)  # a single data set does not fill the text's width
    image_width = width - 0.06 - 0.2 / len(labels)
    height = len(groups) * (image_width * rows / columns + 0.2) + 0.22
    figure = new_figure(width * len(labels), height)
    panels = figure.subplots(len(groups), len(labels), squeeze=False)
    for index, label in enumerate(labels):
        panels[0, index].set_title(label)
        for row, group in enumerate(groups):
            _group_panel(panels[row, index], numbers, index, group)
    for row, group in enumerate(groups):
        heading = HEADINGS[group].replace("{a}", str(numbers["0/variable"]))
        panels[row, 0].set_ylabel(heading)
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
    """The 14 images from the lowest to the highest a, each with its value, in two rows."""
    panels = part.subplots(2, REPRESENTATIVES // 2).ravel()
    images, log_a = (numbers[f"{index}/spread/{key}"] for key in ("images", "log_a"))
    for axes, image, value in zip(panels, images, log_a, strict=True):
        _show(axes, image)
        axes.set_xlabel(scientific(float(value)), fontsize=6)
    variable = numbers[f"{index}/variable"]
    panels[0].set_title(f"lowest ${variable}$", fontsize=6)
    panels[-1].set_title(f"highest ${variable}$", fontsize=6)


def draw_figD7(numbers: Numbers) -> Figure:
    """Fig. D.7: for each run sorted a on top, 14 representative samples below."""
    runs = len(numbers["labels"])
    figure = new_figure(COLUMN, 2.9 * runs)
    parts = figure.subfigures(2 * runs, 1, height_ratios=(1.2, 2) * runs)
    for index in range(runs):
        _value_panel(parts[2 * index].subplots(), numbers, index)
        _representatives(parts[2 * index + 1], numbers, index)
    return figure


def draw_figD9(numbers: Numbers) -> Figure:
    """Fig. D.9: groups on top, then D.7's layout."""
    figure = new_figure(COLUMN, 5.2)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(2.0, 1.2, 2))
    groups = list(numbers["groups"])
    for axes, group in zip(top.subplots(1, len(groups)), groups, strict=True):
        _group_panel(axes, numbers, 0, group)
        axes.set_title(HEADINGS[group].replace("{a}", str(numbers["0/variable"])))
    _value_panel(middle.subplots(), numbers, 0)
    _representatives(bottom, numbers, 0)
    return figure
