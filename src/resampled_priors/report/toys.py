"""Toys on disk: trained here, each a file ``toy/NAME.npz`` that figures are drawn from."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..grids import grid_axis, grid_points, log_parts, measure
from ..toy import train
from .numbers import damaged, load_numbers, save_numbers, saved_truncation

# What is stored is for display: coarser than the grid of the sums.
HALF_WIDTH = {1: 4.0, 2: 3.0}
STEP = {1: 0.01, 2: 0.04}
FIELDS = ("log_q", "log_proposal", "log_a", "hidden", "z", "kl", "kl_proposal", "truncation")


def train_toy(name: str, settings: dict[str, Any], output: Path) -> None:
    """Train one toy and write what its figures show: a whole npz file, or none.

    Args:
        name: of the toy, kept in the file.
        settings: as ``toy.train`` takes them.

    The file holds ``axis`` and, on the grid it spans, ``log_q``, ``log_proposal`` and ``log_a``
    (nats); the scalars of ``grids.measure``; ``truncation`` (0: none), ``hidden`` (of a(z), or of
    the flow where that is all) and ``loss``, per iteration.
    """
    target, prior, losses = train(settings)
    features = target.event_shape[0]
    axis = grid_axis(HALF_WIDTH[features], STEP[features])
    points = grid_points(axis, features)
    log_proposal, log_a = log_parts(prior, points)
    arrays = {"log_q": target.log_prob(points), "log_proposal": log_proposal, "log_a": log_a}
    numbers = {
        "name": name,
        "axis": axis.numpy(),
        "loss": np.array(losses, dtype=np.float32),
        "truncation": saved_truncation(prior.truncation),
        "hidden": settings["prior"]["hidden"],
        **{key: value.numpy().astype(np.float32) for key, value in arrays.items()},
        **measure(target, prior),
    }
    save_numbers(numbers, output)


def load_toy(name: str, results: Path) -> dict[str, NDArray]:
    """The ``axis`` and ``FIELDS`` of a toy of a results folder.

    Raises:
        ResampledPriorsError: missing or damaged, with the command that makes it.
    """
    remedy = f"run `resampled-priors toy {name}`, or `snakemake` for its rule."
    path = results / "toy" / f"{name}.npz"
    found = load_numbers(path, remedy)
    try:
        return {key: found[key] for key in ("axis", *FIELDS)}
    except KeyError as error:
        raise damaged(path, error, remedy) from error
