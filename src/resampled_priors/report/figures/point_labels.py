"""Labels beside points, each where it lies on no line, no point and no other label."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from .style import OUTLINE, SMALL

# Offsets in points, and alignment, in the order in which they are tried.
PLACES = [
    ((sign * right, up), align, vertical)
    for right, up, vertical in [(5, -3, "top"), (5, 2, "bottom"), (6, 0, "center"), (6, -9, "top")]
    for sign, align in [(-1, "right"), (1, "left")]
]


def label_points(axes: Axes, points: list[tuple[float, float]], labels: list[str]) -> None:
    """Label the points (x, y) of ``axes``, whose limits and lines are as they will stay."""
    axes.figure.draw_without_rendering()
    paths = [line.get_transform().transform_path(line.get_path()) for line in axes.lines]
    lines = np.concatenate([path.interpolated(200).vertices for path in paths])  # pixels
    taken = [legend.get_window_extent() for legend in [axes.get_legend()] if legend]
    for point, label in zip(points, labels, strict=True):
        texts = [_label(axes, point, label, place) for place in PLACES]
        boxes = [text.get_window_extent() for text in texts]
        best = min(range(len(texts)), key=lambda i: _crowded(boxes[i], lines, taken, axes))
        taken.append(boxes[best])
        for index, text in enumerate(texts):
            if index != best:
                text.remove()


def _label(axes: Axes, point: tuple[float, float], label: str, place: tuple) -> Text:
    offset, horizontal, vertical = place
    style = {"ha": horizontal, "va": vertical, "fontsize": SMALL, "path_effects": OUTLINE}
    return axes.annotate(label, point, offset, textcoords="offset points", **style)


def _crowded(box: Bbox, lines: NDArray, taken: list[Bbox], axes: Axes) -> float:
    """How much of the lines a label would lie on; worse is another label, or outside the axes."""
    inside = ((lines > box.min) & (lines < box.max)).all(axis=1).sum()
    outside = not all(axes.bbox.contains(*corner) for corner in (box.min, box.max))
    return float(inside + 10_000 * (sum(map(box.overlaps, taken)) + outside))
