"""Grids of images, and values of a in words: what the ranked figures and ``sample`` share."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from ..numbers import Numbers
from .style import SMALL

GAP = 1  # pixels between images
GAP_GREY = 200
HEADINGS = {
    "highest": "highest ${a}$",
    "random": "random proposals",
    "lowest": "lowest ${a}$",
}


def as_bytes(means: Tensor, image_shape: tuple[int, int]) -> NDArray:
    """Pixel means (n, pixels) in [0, 1] as uint8 (n, height, width)."""
    return (255 * means.clamp(0, 1)).round().to(torch.uint8).reshape(-1, *image_shape).numpy()


def image_grid(images: NDArray, rows: int, columns: int) -> NDArray:
    """Images (n, height, width) in rows, a grey line between them: one uint8 array, top first."""
    height, width = images.shape[1:]
    down, right = height + GAP, width + GAP
    grid = np.full((rows * down - GAP, columns * right - GAP), GAP_GREY, np.uint8)
    for index, image in enumerate(images[: rows * columns]):
        row, column = divmod(index, columns)
        grid[row * down : row * down + height, column * right : column * right + width] = image
    return grid


def power_of_ten(log_value: float) -> str:
    """A number given by its natural logarithm, however small, as mathtext: 10^−22.6."""
    text = f"{log_value / math.log(10):.1f}".replace("-0.0", "0.0")
    return f"$10^{{{text.removesuffix('.0')}}}$"


def show_image(axes: Axes, image: NDArray) -> None:
    """One grey image, or a grid of them, without axes."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, origin="upper")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def group_panel(axes: Axes, numbers: Numbers, index: int, group: str) -> None:
    """A group's grid of images, and below it how high or low a is."""
    rows, columns = numbers["grid"]
    show_image(axes, image_grid(numbers[f"{index}/{group}/images"], rows, columns))
    log_a = numbers[f"{index}/{group}/log_a"]
    variable = str(numbers[f"{index}/variable"])
    bound = {
        "highest": rf"${variable} \geq$ {math.exp(log_a.min()):.2g}",
        "lowest": rf"${variable} \leq$ {power_of_ten(float(log_a.max()))}",
        "random": f"median ${variable}$ = {power_of_ten(float(np.median(log_a)))}",
    }
    axes.set_xlabel(bound[group], fontsize=SMALL)


def group_heading(numbers: Numbers, group: str, index: int = 0) -> str:
    """What a group shows, with a(z) or a(x) as run ``index`` has it."""
    return HEADINGS[group].replace("{a}", str(numbers[f"{index}/variable"]))
