"""The illustrations in one and two dimensions: Fig. 1, 2, A.1, D.3 and D.4.

The trained ones are drawn from ``results/toy/NAME.npz``, which ``train_toy`` writes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...lars import log_resampled_density
from ...toy import mixture_1d
from .inputs import damaged, load_numbers
from .style import (
    ACCEPTANCE,
    COLUMN,
    PROPOSAL,
    RESAMPLED,
    TARGET,
    Numbers,
    density_panel,
    new_figure,
)

FIELDS = ("log_q", "log_proposal", "log_a", "hidden", "z", "kl", "kl_proposal", "truncation")


def toy_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """What the named toys' files hold, under TOY/FIELD, and their common ``axis``."""
    numbers = {}
    for name in settings["toys"]:
        remedy = f"run `resampled-priors toy {name}`, or `snakemake` for its rule."
        path = results / "toy" / f"{name}.npz"
        toy = load_numbers(path, remedy)
        try:
            numbers["axis"] = toy["axis"]
            numbers |= {f"{name}/{field}": toy[field] for field in FIELDS}
        except KeyError as error:
            raise damaged(path, error, remedy) from error
    return numbers


class Toy:
    """One toy's densities on the grid: ``q``, ``proposal``, ``a`` and ``p`` (eq. 3 or 4)."""

    def __init__(self, numbers: Numbers, name: str) -> None:
        self.axis = numbers["axis"]
        field = {key: numbers[f"{name}/{key}"] for key in FIELDS}
        self.z, self.kl, self.kl_proposal = (
            float(field[key]) for key in ("z", "kl", "kl_proposal")
        )
        log_p = log_resampled_density(
            torch.from_numpy(field["log_proposal"]),
            torch.from_numpy(field["log_a"]),
            torch.tensor(self.z).log(),
            int(field["truncation"]) or None,
        )
        self.p = log_p.exp().numpy()
        self.network = f"MLP[{'−'.join(map(str, field['hidden']))}]"
        self.q, self.proposal, self.a = (
            np.exp(field[key]) for key in ("log_q", "log_proposal", "log_a")
        )


def _toy_names(numbers: Numbers) -> list[str]:
    return [key.removesuffix("/z") for key in numbers if key.endswith("/z")]


def _target_panel(axes: Axes, toy: Toy) -> None:
    density_panel(axes, toy.q, toy.axis, "target", toy.q.max())
    axes.set_title("target $q(z)$")


def _acceptance_panel(axes: Axes, toy: Toy) -> None:
    density_panel(axes, toy.a, toy.axis, "acceptance", 1.0)
    axes.set_title("$a(z)$")
    axes.set_xlabel(f"$Z$ = {toy.z:.3f}")


def _density(axes: Axes, toy: Toy, title: str) -> None:
    # One colour scale, the target's, for all that are compared with it.
    density_panel(axes, toy.p, toy.axis, "resampled", toy.q.max())
    axes.set_title(title)
    axes.set_xlabel(rf"$\mathrm{{KL}}(q\,\|\,p)$ = {toy.kl:.2f}")


def _standard_normal_circle(axes: Axes) -> None:
    """N(0, I) as its circles of one and two standard deviations."""
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2):
        axes.plot(
            radius * np.cos(angle), radius * np.sin(angle), color=PROPOSAL, lw=0.6, ls=(0, (4, 2))
        )


def draw_fig1(numbers: Numbers) -> Figure:
    """Fig. 1: q, π, a and p on the line."""
    (name,) = _toy_names(numbers)
    toy = Toy(numbers, name)
    figure = new_figure(0.6 * COLUMN, 2.2)
    densities, acceptance = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    densities.fill_between(toy.axis, toy.q, color=TARGET, alpha=0.25, lw=0)
    densities.plot(toy.axis, toy.q, color=TARGET, label="target $q(z)$")
    densities.plot(toy.axis, toy.proposal, color=PROPOSAL, ls="--", label=r"proposal $\pi(z)$")
    densities.plot(toy.axis, toy.p, color=RESAMPLED, label=r"$p(z) = \pi(z)\,a(z)\,/\,Z$")
    densities.set(ylim=(0, None), ylabel="density")
    densities.legend(loc="upper left", bbox_to_anchor=(0.98, 1.0), handlelength=1.5)
    acceptance.plot(toy.axis, toy.a, color=ACCEPTANCE)
    acceptance.axhline(toy.z, color=PROPOSAL, lw=0.8, ls=":")
    acceptance.annotate(
        f"$Z$ = {toy.z:.2f}", (3, toy.z), (3, 0), textcoords="offset points", va="center"
    )
    acceptance.set(ylim=(0, 1.05), xlim=(-3, 3), xlabel="$z$", ylabel="$a(z)$", yticks=(0, 0.5, 1))
    kls = rf"$\mathrm{{KL}}(q\,\|\,\pi)$ = {toy.kl_proposal:.2f},  "
    kls += rf"$\mathrm{{KL}}(q\,\|\,p)$ = {toy.kl:.3f}"
    densities.set_title(kls)
    return figure


def draw_fig2(numbers: Numbers) -> Figure:
    """Fig. 2: the target, and a(z) and p(z) of three approximations."""
    toys = [Toy(numbers, name) for name in _toy_names(numbers)]
    headings = [
        f"$\\mathcal{{N}}(0, I)$ + LARS\nhigh capacity: {toys[0].network}",
        f"$\\mathcal{{N}}(0, I)$ + LARS\nlow capacity: {toys[1].network}",
        f"RealNVP + LARS\n{toys[2].network}",
    ]
    figure = new_figure(COLUMN, 1.35)
    parts = figure.subfigures(1, 4, width_ratios=(1.05, 2, 2, 2))
    target = parts[0].subplots()
    _target_panel(target, toys[0])
    _standard_normal_circle(target)
    target.set_xlabel(rf"$\mathrm{{KL}}(q\,\|\,\mathcal{{N}})$ = {toys[0].kl_proposal:.2f}")
    parts[0].suptitle(" \n ", fontsize=7)
    for part, toy, heading in zip(parts[1:], toys, headings, strict=True):
        acceptance, density = part.subplots(1, 2)
        _acceptance_panel(acceptance, toy)
        _density(density, toy, "$p(z)$")
        part.suptitle(heading, fontsize=7)
    for axes in figure.axes:
        axes.xaxis.label.set_size(6)
    return figure


def draw_figD3(numbers: Numbers) -> Figure:
    """Fig. D.3: N(0, I) + LARS with an a(z) of high and of low capacity, larger."""
    high, low = (Toy(numbers, name) for name in _toy_names(numbers))
    figure = new_figure(COLUMN, 1.6)
    parts = figure.subfigures(1, 3, width_ratios=(1.0, 2, 2))
    target = parts[0].subplots()
    _target_panel(target, high)
    _standard_normal_circle(target)
    target.set_xlabel(rf"$\mathrm{{KL}}(q\,\|\,\mathcal{{N}})$ = {high.kl_proposal:.2f}")
    parts[0].suptitle(" ", fontsize=7)
    for part, toy, capacity in zip(parts[1:], (high, low), ("high", "low"), strict=True):
        acceptance, density = part.subplots(1, 2)
        _acceptance_panel(acceptance, toy)
        _density(density, toy, "$p(z)$")
        part.suptitle(f"{capacity} capacity $a(z)$: {toy.network}", fontsize=7)
    return figure


def draw_figD4(numbers: Numbers) -> Figure:
    """Fig. D.4: RealNVP alone, and RealNVP with LARS: its π, a and p."""
    flow, resampled = (Toy(numbers, name) for name in _toy_names(numbers))
    figure = new_figure(COLUMN, 1.6)
    parts = figure.subfigures(1, 3, width_ratios=(1, 1, 3))
    _target_panel(parts[0].subplots(), flow)
    parts[0].suptitle(" ", fontsize=7)
    _density(parts[1].subplots(), flow, r"$p_\mathrm{RealNVP}(z)$")
    parts[1].suptitle("RealNVP", fontsize=7)
    proposal, acceptance, density = parts[2].subplots(1, 3)
    density_panel(proposal, resampled.proposal, resampled.axis, "proposal", resampled.q.max())
    proposal.set_title(r"$\pi_\mathrm{RealNVP}(z)$")
    proposal.set_xlabel(rf"$\mathrm{{KL}}(q\,\|\,\pi)$ = {resampled.kl_proposal:.2f}")
    _acceptance_panel(acceptance, resampled)
    _density(density, resampled, "$p(z)$")
    parts[2].suptitle(f"RealNVP + LARS, trained jointly; $a$ = {resampled.network}", fontsize=7)
    return figure


def numbers_figA1(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """Rejection sampling of a known target from N(0, 1): needs no training.

    M is the smallest constant with q(z) ≤ M π(z); a(z) = q(z) / (M π(z)); Z = 1/M.
    """
    axis = np.linspace(-3, 3, 601)
    points = torch.from_numpy(axis).float().unsqueeze(-1)
    q = mixture_1d().log_prob(points).exp().double().numpy()
    proposal: NDArray = np.exp(-(axis**2) / 2) / np.sqrt(2 * np.pi)
    return {"axis": axis, "q": q, "proposal": proposal, "m": np.array((q / proposal).max())}


def draw_figA1(numbers: Numbers) -> Figure:
    """Fig. A.1: at z, a candidate is accepted with the share that q has of Mπ."""
    axis, q = numbers["axis"], numbers["q"]
    envelope = numbers["m"] * numbers["proposal"]
    figure = new_figure(0.7 * COLUMN, 1.9)
    axes = figure.subplots()
    axes.fill_between(axis, q, color=RESAMPLED, alpha=0.2, lw=0)
    axes.fill_between(axis, q, envelope, color=ACCEPTANCE, alpha=0.15, lw=0)
    axes.plot(axis, envelope, color=PROPOSAL, ls="--", label=r"$M\,\pi(z)$, envelope")
    axes.plot(axis, numbers["proposal"], color=PROPOSAL, lw=0.8, label=r"proposal $\pi(z)$")
    axes.plot(axis, q, color=TARGET, label="target $q(z)$")
    at = int(np.abs(axis - 0.1).argmin())
    for low, high, colour, word, shift, side in (
        (0.0, q[at], RESAMPLED, r"accept $\propto q$", 4, "left"),
        (q[at], envelope[at], ACCEPTANCE, "reject\n$\\propto M\\pi - q$", -4, "right"),
    ):
        axes.plot([axis[at]] * 2, [low, high], color=colour, lw=2.5, solid_capstyle="butt")
        middle = (axis[at], (low + high) / 2)
        axes.annotate(word, middle, (shift, 0), textcoords="offset points", ha=side, va="center")
    axes.set(xlim=(axis[0], axis[-1]), ylim=(0, None), xlabel="$z$", ylabel="density")
    axes.set_title(rf"$a(z) = q(z)\,/\,(M\pi(z))$,   $M$ = {float(numbers['m']):.2f}")
    axes.legend(loc="upper right", bbox_to_anchor=(1.02, 1.0))
    return figure
