"""Fig. D.10 to D.13: a two-dimensional latent space: q(z), π(z), a(z) and p_T(z)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ResampledPriorsError
from ...experiment import Run
from ...grids import grid_axis, grid_points, log_parts
from ..numbers import Numbers, read_truncation, saved_truncation
from .aggregate_posterior import encode_training_data, log_mixture_density, sample_mixture
from .inputs import open_run, read_data
from .style import COLUMN, density_panel, new_figure
from .titles import STANDARD, network_name

GRID_STEPS = 75  # each side of 0: with 50,000 components half a minute


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


def _paper_text(numbers: Numbers, key: str) -> str:
    """The paper's number on a line of its own, where this figure and run have one."""
    paper = numbers.get(f"paper/{numbers['run']}/{key}")
    return "" if paper is None else f"\n(paper: {paper:.2f})"


def _kl_text(numbers: Numbers, key: str, density: str) -> str:
    value, error = numbers[key]
    text = rf"$\mathrm{{KL}}(q\,\|\,{density})$ = {value:.3f} ± {error:.3f}"
    return text + _paper_text(numbers, key)


def draw_densities(numbers: Numbers) -> Figure:
    """Aggregate posterior, proposal, a(z) and p_T; without LARS the first two.

    The three densities share one colour scale, which a few narrow peaks of q may exceed.
    """
    q = np.exp(numbers["log_q"])
    shown = [np.exp(numbers[key]).max() for key in ("log_proposal", "log_p") if key in numbers]
    maximum = max([*shown, np.quantile(q[q > 0.02 * q.max()], 0.95)])
    axis = numbers["axis"]
    resampled = "truncation" in numbers
    figure = new_figure(COLUMN if resampled else 0.55 * COLUMN, 1.95)
    panels = figure.subplots(1, 4 if resampled else 2)
    density_panel(panels[0], q, axis, "target", maximum)
    panels[0].set_title("aggregate posterior\n$q(z)$")
    density_panel(panels[1], np.exp(numbers["log_proposal"]), axis, "proposal", maximum)
    proposal = numbers.get("proposal", STANDARD)  # the only one of older files, as is LARS
    if not resampled:
        panels[1].set_title(f"prior\n$p(z)$ = {proposal}")
        panels[1].set_xlabel(_kl_text(numbers, "kl", "p"))
        return figure
    panels[1].set_title(f"proposal\n$\\pi(z)$ = {proposal}")
    panels[1].set_xlabel(_kl_text(numbers, "kl_proposal", r"\pi"))
    density_panel(panels[2], np.exp(numbers["log_a"]), axis, "acceptance", 1.0)
    panels[2].set_title(f"$a(z)$\n{numbers['network']}")
    panels[2].set_xlabel(f"$Z$ = {float(numbers['z']):.3f}" + _paper_text(numbers, "z"))
    density_panel(panels[3], np.exp(numbers["log_p"]), axis, "resampled", maximum)
    truncation = read_truncation(numbers, "truncation")
    label = numbers.get("prior", "LARS")
    shown_truncation = r"\infty" if truncation is None else truncation
    panels[3].set_title(f"{label} prior\n$p_{{T={shown_truncation}}}(z)$")
    panels[3].set_xlabel(_kl_text(numbers, "kl", "p"))
    return figure
