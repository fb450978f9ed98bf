"""The look that all figures share, and how they are written: PDF and PNG, whole or not at all."""

import io
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ...files import atomic_write

PAGE = 5.5  # width of the paper's text, inches
NARROW = 4.2  # of a figure with one panel or two
SMALL = 8  # points: the smallest type
OUTLINE = (withStroke(linewidth=1.5, foreground="white"),)  # of letters on top of lines
TARGET, ACCEPTANCE, RESAMPLED, PROPOSAL = "#0072B2", "#D55E00", "#009E73", "#555555"
# Densities and a(z) as the paper has them: white is zero, darker is more; hue says which.
_DARKEST = {
    "target": (TARGET, "#00253A"),
    "acceptance": (ACCEPTANCE, "#5A2700"),
    "resampled": (RESAMPLED, "#00392A"),
    "proposal": (PROPOSAL, "#111111"),
}
COLOUR_MAPS = {
    kind: LinearSegmentedColormap.from_list(kind, ("white", *colours))
    for kind, colours in _DARKEST.items()
}
# Ten classes: Petroff's sequence (2021), chosen for colour-blind readers too.
CLASS_COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6")
CLASS_COLOURS += ("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")


def paper_style() -> AbstractContextManager:
    """A context in which matplotlib draws in the style file beside this module."""
    return style.context(["default", Path(__file__).with_name("paper.mplstyle")])


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, apart from pyplot's state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, stem: Path) -> None:
    """Write ``stem``.pdf and ``stem``.png, without dates: the same numbers, the same picture."""
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        picture = io.BytesIO()  # first: on a full disk, matplotlib fails in ways of its own
        figure.savefig(picture, format=suffix, metadata=metadata)
        with atomic_write(stem.with_name(f"{stem.name}.{suffix}")) as temporary:
            temporary.write_bytes(picture.getvalue())


def density_panel(
    axes: Axes,
    values: NDArray,
    axis: NDArray,
    kind: str,
    maximum: float | None = None,
    minimum: float = 0.0,
) -> matplotlib.image.AxesImage:
    """An image of a density or of a(z) on a square grid, indexed [y, x].

    Colours run from ``minimum`` (white) to ``maximum`` (dark).
    """
    half_step = (axis[1] - axis[0]) / 2
    low, high = float(axis[0] - half_step), float(axis[-1] + half_step)
    image = axes.imshow(
        values, cmap=COLOUR_MAPS[kind], vmin=minimum, vmax=maximum, extent=(low, high, low, high)
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
    return image


def in_mathtext(label: str) -> str:
    r"""A label inside a formula, upright: \mathrm{RealNVP}."""
    text = label.replace("$", "").replace(" ", r"\ ")
    return rf"\mathrm{{{text}}}"
