"""What the figures of toys share: a toy's densities on its grid, and panels that show them.

The toys are drawn from ``results/toy/NAME.npz``, which ``train_toy`` writes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from ...lars import log_resampled_density
from ..numbers import Numbers, read_truncation
from ..toys import FIELDS, load_toy
from .style import density_panel
from .titles import beside_paper


def toy_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """What the files of ``toys`` hold, under TOY/FIELD, and their common ``axis``."""
    numbers = {}
    for name in settings["toys"]:
        toy = load_toy(name, results)
        numbers["axis"] = toy["axis"]
        numbers |= {f"{name}/{field}": toy[field] for field in FIELDS}
    return numbers


class Toy:
    """One toy's densities on the grid: ``q``, ``proposal``, ``a`` and ``p`` (eq. 3 or 4)."""

    def __init__(self, numbers: Numbers, name: str) -> None:
        self.name, self.numbers = name, numbers
        self.axis = numbers["axis"]
        field = {key: numbers[f"{name}/{key}"] for key in FIELDS}
        self.z, self.kl, self.kl_proposal = (
            float(field[key]) for key in ("z", "kl", "kl_proposal")
        )
        log_p = log_resampled_density(
            torch.from_numpy(field["log_proposal"]),
            torch.from_numpy(field["log_a"]),
            torch.tensor(self.z).log(),
            read_truncation(field, "truncation"),
        )
        self.p = log_p.exp().numpy()
        self.log_q = field["log_q"]
        self.network = f"MLP[{'−'.join(map(str, field['hidden']))}]"
        self.q, self.proposal, self.a = (
            np.exp(field[key]) for key in ("log_q", "log_proposal", "log_a")
        )


def shown_toys(numbers: Numbers) -> list[Toy]:
    """In the order of the file."""
    names = [key.removesuffix("/log_q") for key in numbers if key.endswith("/log_q")]
    return [Toy(numbers, name) for name in names]


def toy_labels(numbers: Numbers, toys: list[Toy]) -> list[str]:
    """The figure's label of each toy, with a(z)'s network in the place of ``{network}``."""
    labels = map(str, numbers["labels"])
    return [
        label.replace("{network}", toy.network) for label, toy in zip(labels, toys, strict=True)
    ]


def target_panel(axes: Axes, toy: Toy) -> None:
    density_panel(axes, toy.q, toy.axis, "target", toy.q.max())
    axes.set_title("target $q(z)$")


def acceptance_panel(axes: Axes, toy: Toy) -> None:
    density_panel(axes, toy.a, toy.axis, "acceptance", 1.0)
    axes.set_title("$a(z)$")
    text = beside_paper(f"$Z$ = {toy.z:.2f}", toy.numbers, toy.name, "z")
    axes.set_xlabel(text, linespacing=1.3)


def resampled_panel(axes: Axes, toy: Toy, title: str) -> None:
    # One colour scale, the target's, for all that are compared with it.
    density_panel(axes, toy.p, toy.axis, "resampled", toy.q.max())
    axes.set_title(title)
    text = rf"KL$(q\,\|\,p)$ = {toy.kl:.2f}"
    axes.set_xlabel(beside_paper(text, toy.numbers, toy.name, "kl"), linespacing=1.3)
