"""Fig. 3, D.5, D.6 and D.8: grids of proposals with the highest, random and the lowest a."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..numbers import Numbers, saved_truncation
from .images import HEADINGS, as_bytes, group_heading, group_panel
from .inputs import open_run
from .style import PAGE, new_figure

REPRESENTATIVES = 14  # images from the lowest to the highest a


def group_ranks(group: str, count: int, num_proposals: int) -> Tensor:
    """Ranks of the ``count`` highest, lowest (lowest last) or random proposals."""
    if group == "random":
        return torch.randperm(num_proposals)[:count]
    first = 0 if group == "highest" else num_proposals - count
    return torch.arange(first, first + count)


@torch.no_grad()
def ranked_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """Of each run: all log a, sorted; per group of images, their pixel means and log a.

    Args:
        settings: ``runs`` (folders), ``labels`` (theirs), ``num_proposals``, ``seed``; ``groups``
            (of ``HEADINGS``) and ``grid`` (rows and columns of a group's grid).
    """
    rows, columns = settings["grid"]
    numbers = {
        "labels": np.array(settings["labels"]),
        "groups": np.array(settings["groups"]),
        "grid": np.array([rows, columns]),
    }
    num_proposals = settings["num_proposals"]
    for index, run in enumerate(settings["runs"]):
        torch.manual_seed(settings["seed"])
        model = open_run(results, run)
        log_a, decode = model.rank_proposals(num_proposals)
        ranks = {name: group_ranks(name, rows * columns, num_proposals) for name in HEADINGS}
        spread = torch.linspace(num_proposals - 1, 0, REPRESENTATIVES).round().long()
        for name in settings["groups"]:
            numbers[f"{index}/{name}/images"] = as_bytes(decode(ranks[name]), model.image_shape)
            numbers[f"{index}/{name}/log_a"] = log_a[ranks[name]].numpy()
        numbers[f"{index}/spread/images"] = as_bytes(decode(spread), model.image_shape)
        numbers[f"{index}/spread/log_a"] = log_a[spread].numpy()
        numbers[f"{index}/log_a"] = log_a.numpy()
        numbers[f"{index}/log_z"] = model.resampling.log_z.numpy()
        truncation = saved_truncation(model.resampling.truncation)
        numbers[f"{index}/truncation"] = np.array(truncation)
        numbers[f"{index}/variable"] = np.array(
            "a(z)" if model.resampling is model.prior else "a(x)"
        )
    return numbers


def draw_ranked(numbers: Numbers) -> Figure:
    """Grids of pixel means: a column for each run, a row for each group, as the paper has them.

    The groups of a single run stand side by side.
    """
    labels, groups = list(numbers["labels"]), list(numbers["groups"])
    rows, columns = numbers["grid"]
    alone = len(labels) == 1
    across, down = (len(groups), 1) if alone else (len(labels), len(groups))
    image_width = (PAGE - 0.25) / across - 0.06
    headings = 0.5 if alone else 0.15
    figure = new_figure(PAGE, down * (image_width * rows / columns + 0.25) + headings)
    panels = figure.subplots(down, across, squeeze=False)
    for index, label in enumerate(labels):
        for row, group in enumerate(groups):
            axes = panels[0, row] if alone else panels[row, index]
            group_panel(axes, numbers, index, group)
            if alone:
                axes.set_title(group_heading(numbers, group))
            elif index == 0:
                axes.set_ylabel(group_heading(numbers, group))
        if not alone:
            panels[0, index].set_title(label)
    if alone:
        figure.suptitle(labels[0])
    return figure
