"""Figures. Each kind is two functions: one computes a figure's numbers, one draws them.

The numbers are saved beside the picture, so it can be drawn again without any model.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.figure
import numpy as np

from ...errors import ResampledPriorsError
from ...files import sha256
from ..numbers import Numbers, damaged, load_numbers, save_numbers
from ..paper import paper_values
from ..shown import read_shown, there, write_record
from .costs import cost_numbers, draw_nll_against_cost
from .latent_density import density_numbers, draw_densities
from .latent_means import draw_latent_means, latent_means_numbers
from .learning_curves import draw_learning_curves, learning_curves_numbers
from .ranked import draw_ranked, ranked_numbers
from .ranked_values import draw_ranked_values
from .rejection import draw_rejection, rejection_numbers
from .running_z import draw_running_z, running_z_numbers
from .style import paper_style, save_figure
from .toy_line import draw_toy_line
from .toy_panels import toy_numbers
from .toy_plane import draw_toy_plane
from .toy_proposal import draw_toy_proposal
from .trade_off import draw_nll_against_size, draw_nll_against_z, trade_off_numbers

SUFFIXES = ("npz", "pdf", "png")


class Kind(NamedTuple):
    """numbers: (settings, results folder, data folder) -> arrays; draw: arrays -> figure."""

    numbers: Callable[[dict[str, Any], Path, Path], Numbers]
    draw: Callable[[Numbers], matplotlib.figure.Figure]


KINDS: dict[str, Kind] = {
    "toy_line": Kind(toy_numbers, draw_toy_line),
    "toy_plane": Kind(toy_numbers, draw_toy_plane),
    "toy_proposal": Kind(toy_numbers, draw_toy_proposal),
    "rejection": Kind(rejection_numbers, draw_rejection),
    "running_z": Kind(running_z_numbers, draw_running_z),
    "ranked": Kind(ranked_numbers, draw_ranked),
    "ranked_values": Kind(ranked_numbers, draw_ranked_values),
    "latent_density": Kind(density_numbers, draw_densities),
    "latent_means": Kind(latent_means_numbers, draw_latent_means),
    "nll_against_z": Kind(trade_off_numbers, draw_nll_against_z),
    "nll_against_size": Kind(trade_off_numbers, draw_nll_against_size),
    "nll_against_cost": Kind(cost_numbers, draw_nll_against_cost),
    "learning_curves": Kind(learning_curves_numbers, draw_learning_curves),
}


def make_figure(
    name: str,
    settings: dict[str, Any],
    results: Path,
    data_folder: Path,
    device: str = "cpu",
) -> None:
    """Compute a figure's numbers, write ``results/NAME.npz``, draw it, write its record.

    Args:
        name: what its files are called; the paper's numbers stand beside those of its figures.
        settings: the figure's entry in config.yaml's ``figures``, resolved; its ``kind`` is one
            of ``KINDS``.
        results: the folder of runs, toys and final outputs.
        data_folder: the folder of prepared data sets.
        device: for many proposals (running_z); the others are a matter of seconds.

    Raises:
        ResampledPriorsError: a run, a toy or a data set that has not been made.
    """
    kind = KINDS[settings["kind"]]
    made_from = there(settings, Path(results), Path(data_folder))
    found = kind.numbers({**settings, "device": device}, Path(results), Path(data_folder))
    numbers = {**_description(settings), **found, "settings": np.array(json.dumps(settings))}
    save_numbers(numbers, Path(results) / f"{name}.npz")
    _draw(name, numbers, Path(results))
    write_record(name, settings, made_from, SUFFIXES, Path(results))


def redraw_figure(name: str, results: Path, settings: Callable[[], dict[str, Any]]) -> None:
    """Draw ``results/NAME.pdf`` and ``.png`` from the numbers in ``results/NAME.npz`` alone.

    Args:
        settings: asked for the figure's entry where the file is of a time before kinds.
    """
    remedy = f"run `resampled-priors figure {name}`."
    path, record = (Path(results) / f"{name}.{suffix}" for suffix in ("npz", "json"))
    numbers = load_numbers(path, remedy)
    made = read_shown(record, "figure") if record.exists() else None
    if made is not None and made["files"]["npz"] != sha256(path):
        raise ResampledPriorsError(f"{path} is not the file that {record.name} names: {remedy}")
    if "kind" not in numbers:
        numbers = {**_description(settings()), **numbers}
    try:
        _draw(name, numbers, Path(results))
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise damaged(path, error, remedy) from error  # another figure's numbers, say
    if made is not None:
        write_record(name, made["settings"], made["made_from"], SUFFIXES, Path(results))


def _description(settings: dict[str, Any]) -> Numbers:
    """What drawing needs of the settings, to be kept with the numbers."""
    return {key: np.array(settings[key]) for key in ("kind", "labels") if key in settings}


def _draw(name: str, numbers: Numbers, results: Path) -> None:
    paper = {
        f"paper/{run}/{metric}": np.array(value)
        for run, values in paper_values().get(name, {}).items()
        for metric, value in values.items()
    }
    with paper_style():
        figure = KINDS[str(numbers["kind"])].draw({**numbers, **paper})
        save_figure(figure, results / name)
