"""The paper's figures. Each is two functions: one computes its numbers, one draws them.

The numbers are saved beside the picture, so it can be drawn again without any model.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.figure

from ...errors import ResampledPriorsError
from . import latent_space, partition, ranked, toy
from .inputs import damaged, load_numbers, save_numbers
from .style import Numbers, paper_style, save_figure


class PaperFigure(NamedTuple):
    """numbers: (settings, results folder, data folder) -> arrays; draw: arrays -> figure."""

    numbers: Callable[[dict[str, Any], Path, Path], Numbers]
    draw: Callable[[Numbers], matplotlib.figure.Figure]


FIGURES: dict[str, PaperFigure] = {
    "fig1": PaperFigure(toy.toy_numbers, toy.draw_fig1),
    "fig2": PaperFigure(toy.toy_numbers, toy.draw_fig2),
    "fig3": PaperFigure(ranked.ranked_numbers, ranked.draw_ranked),
    "figA1": PaperFigure(toy.numbers_figA1, toy.draw_figA1),
    "figA2": PaperFigure(partition.numbers_figA2, partition.draw_figA2),
    "figD3": PaperFigure(toy.toy_numbers, toy.draw_figD3),
    "figD4": PaperFigure(toy.toy_numbers, toy.draw_figD4),
    "figD5": PaperFigure(ranked.ranked_numbers, ranked.draw_ranked),
    "figD6": PaperFigure(ranked.ranked_numbers, ranked.draw_ranked),
    "figD7": PaperFigure(ranked.ranked_numbers, ranked.draw_figD7),
    "figD8": PaperFigure(ranked.ranked_numbers, ranked.draw_ranked),
    "figD9": PaperFigure(ranked.ranked_numbers, ranked.draw_figD9),
    "figD10": PaperFigure(latent_space.density_numbers, latent_space.draw_densities),
    "figD11": PaperFigure(latent_space.density_numbers, latent_space.draw_densities),
    "figD12": PaperFigure(latent_space.density_numbers, latent_space.draw_densities),
    "figD13": PaperFigure(latent_space.density_numbers, latent_space.draw_densities),
    "figD14": PaperFigure(latent_space.numbers_figD14, latent_space.draw_figD14),
}


def _figure(name: str) -> PaperFigure:
    if name not in FIGURES:
        raise ResampledPriorsError(f"unknown figure '{name}': use one of {', '.join(FIGURES)}")
    return FIGURES[name]


def make_figure(
    name: str,
    settings: dict[str, Any],
    results: Path,
    data_folder: Path,
    device: str = "cpu",
) -> None:
    """Compute a figure's numbers, write ``results/NAME.npz``, and draw it.

    Args:
        name: one of ``FIGURES``.
        settings: the figure's entry in config.yaml's ``figures``, resolved.
        results: the folder of runs, toys and final outputs.
        data_folder: the folder of prepared data sets.
        device: for Fig. A.2's many proposals; the others are a matter of seconds.

    Raises:
        ResampledPriorsError: unknown name; a run, a toy or a data set that has not been made.
    """
    settings = {**settings, "device": device}
    numbers = _figure(name).numbers(settings, Path(results), Path(data_folder))
    stem = Path(results) / name
    save_numbers(numbers, stem.with_suffix(".npz"))
    _draw(name, numbers, stem)


def redraw_figure(name: str, results: Path) -> None:
    """Draw ``results/NAME.pdf`` and ``.png`` from the numbers in ``results/NAME.npz`` alone."""
    stem = Path(results) / name
    remedy = f"run `resampled-priors figure {name}`."
    path = stem.with_suffix(".npz")
    numbers = load_numbers(path, remedy)
    try:
        _draw(name, numbers, stem)
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise damaged(path, error, remedy) from error  # another figure's numbers, say


def _draw(name: str, numbers: Numbers, stem: Path) -> None:
    with paper_style():
        save_figure(_figure(name).draw(numbers), stem)
