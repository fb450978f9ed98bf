"""Fig. D.10 to D.13: a two-dimensional latent space: q(z), π(z), a(z) and p_T(z)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ResampledPriorsError
from ...experiment import Run
from ...grids import grid_axis, grid_points, log_parts
from ..numbers import Numbers, read_truncation, saved_truncation
from .aggregate_posterior import encode_training_data, log_mixture_density, sample_mixture
from .inputs import open_run, read_data
from .style import NARROW, PAGE, TARGET, density_panel, new_figure
from .titles import STANDARD, beside_paper, network_name

GRID_STEPS = 75  # each side of 0: with 50,000 components half a minute
DECADES = 4  # of a(z) that its colours tell apart


def mean_and_error(values: Tensor) -> NDArray:
    """Mean and standard error of independent values: an array of two."""
    return np.array([values.mean().item(), values.std().item() / math.sqrt(len(values))])


@torch.no_grad()
def density_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """q(z), π, a and p_T on a grid, and the KLs by Monte Carlo (nats).

    Args:
        settings: ``runs`` (one folder), ``kl_samples``, ``seed``.

    Raises:
        ResampledPriorsError: the latent space of the run is not two-dimensional.
    """
    (run,) = settings["runs"]
    place = Run.from_folder(run)
    model = open_run(results, run)
    if model.latent_size != 2:
        raise ResampledPriorsError(f"{run} has {model.latent_size} latents: show a run with two")
    mean, log_std = encode_training_data(model, read_data(data_folder, run), settings["seed"])
    torch.manual_seed(settings["seed"])
    z = sample_mixture(mean, log_std, settings["kl_samples"])
    log_q = log_mixture_density(z, mean, log_std)
    log_proposal, _ = log_parts(model.prior, z)
    half_width = max(3.0, math.ceil(2 * z.abs().max(dim=-1).values.quantile(0.999).item()) / 2)
    axis = grid_axis(half_width, half_width / GRID_STEPS)
    points = grid_points(axis, 2)
    numbers = {
        "run": np.array(f"{place.dataset}/{place.model}/{place.prior}"),
        "prior": np.array(model.prior.label),
        "proposal": np.array(model.prior.proposal_label),
        "axis": axis.numpy(),
        "log_q": log_mixture_density(points.flatten(0, 1), mean, log_std).view(points.shape[:-1]),
        "kl": mean_and_error(log_q - model.prior.log_prob(z).double()),
        "kl_proposal": mean_and_error(log_q - log_proposal),
    }
    numbers["log_proposal"], log_a = log_parts(model.prior, points)
    if model.prior.truncation != 1:  # p_1 is π
        numbers |= {
            "log_a": log_a,
            "log_p": model.prior.log_prob(points),
            "truncation": np.array(saved_truncation(model.prior.truncation)),
            "network": np.array(network_name(model.prior)),
            "z": model.prior.log_z.exp(),
        }
    return {
        key: np.asarray(value, dtype=np.float32 if key.startswith("log_") else None)
        for key, value in numbers.items()
    }


def _text(numbers: Numbers, key: str, symbol: str) -> str:
    """A KL with its error, over the paper's, each on a line of its own."""
    value, error = numbers[key]
    return beside_paper(f"{symbol}\n{value:.3f} ± {error:.3f}", numbers, str(numbers["run"]), key)


def _kl(density: str) -> str:
    return rf"KL$(q\,\|\,{density})$"


def draw_densities(numbers: Numbers) -> Figure:
    """Aggregate posterior, proposal, a(z) and p_T, on the same axes; without LARS the first two.

    The three densities share one colour scale, which a few narrow peaks of q may exceed; a(z) has
    a logarithmic one. The lines on a(z) and p_T hold half and nine tenths of q.
    """
    q = np.exp(numbers["log_q"])
    shown = [np.exp(numbers[key]).max() for key in ("log_proposal", "log_p") if key in numbers]
    maximum = max([*shown, np.quantile(q[q > 0.02 * q.max()], 0.95)])
    axis = numbers["axis"]
    resampled = "truncation" in numbers
    figure = new_figure(PAGE if resampled else NARROW, 2.8)
    panels = figure.subplots(1, 4 if resampled else 2)
    density_panel(panels[0], q, axis, "target", maximum)
    panels[0].set_title("aggregate\nposterior $q(z)$")
    density_panel(panels[1], np.exp(numbers["log_proposal"]), axis, "proposal", maximum)
    proposal = numbers.get("proposal", STANDARD)  # the only one of older files, as is LARS
    if not resampled:
        panels[1].set_title(f"prior\n$p(z)$ = {proposal}")
        panels[1].set_xlabel(_text(numbers, "kl", _kl("p")), linespacing=1.3)
        return figure
    panels[1].set_title(f"proposal\n$\\pi(z)$ = {proposal}")
    panels[1].set_xlabel(_text(numbers, "kl_proposal", _kl(r"\pi")), linespacing=1.3)
    _acceptance_panel(panels[2], numbers)
    density_panel(panels[3], np.exp(numbers["log_p"]), axis, "resampled", maximum)
    truncation = read_truncation(numbers, "truncation")
    label = numbers.get("prior", "LARS")
    shown_truncation = r"\infty" if truncation is None else truncation
    panels[3].set_title(f"{label} prior\n$p_{{T={shown_truncation}}}(z)$")
    panels[3].set_xlabel(_text(numbers, "kl", _kl("p")), linespacing=1.3)
    from scipy.ndimage import gaussian_filter  # its import adds a filter of warnings

    for axes in panels[2:]:
        levels = mass_levels(smooth := gaussian_filter(q, 2.0), (0.9, 0.5))
        axes.contour(axis, axis, smooth, levels, colors=TARGET, linewidths=(0.7, 1.2))
    return figure


def _acceptance_panel(axes: Axes, numbers: Numbers) -> None:
    """a(z) on a logarithmic scale, its colour bar, and Z below that."""
    log10 = numbers["log_a"] / math.log(10)
    image = density_panel(axes, log10, numbers["axis"], "acceptance", 0.0, -DECADES)
    axes.set_title(f"$a(z)$\n{numbers['network']}")
    bar = axes.inset_axes((0.0, -0.08, 1.0, 0.05))
    axes.figure.colorbar(image, bar, orientation="horizontal")
    ends = bar.set_xticks((-DECADES, 0), (rf"$\leq 10^{{-{DECADES}}}$", "1"))
    for end, side in zip(ends, ("left", "right"), strict=True):
        end.label1.set_horizontalalignment(side)
    text = f"$Z$ = {float(numbers['z']):.3f}"
    bar.set_xlabel(beside_paper(text, numbers, str(numbers["run"]), "z"), linespacing=1.3)


def mass_levels(density: NDArray, masses: Sequence[float]) -> list[float]:
    """The levels above which a density on a grid has these shares of its mass, largest first."""
    values = np.sort(density.ravel())[::-1]
    share = np.cumsum(values) / values.sum()
    return [float(values[np.searchsorted(share, mass)]) for mass in masses]
