"""Fig. D.14: where a two-dimensional latent space has the training images of each class."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ...errors import ResampledPriorsError
from ...experiment import Run
from ..numbers import Numbers
from .aggregate_posterior import encode_training_data
from .inputs import open_run, read_data
from .style import CLASS_COLOURS, OUTLINE, PAGE, new_figure
from .titles import prior_title


def latent_means_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """The means of q(z|x_n) of all training images, and their classes.

    Args:
        settings: ``runs`` (folders), ``seed``.

    Raises:
        ResampledPriorsError: a data set without classes.
    """
    numbers = {}
    titles = []
    for index, run in enumerate(settings["runs"]):
        data = read_data(data_folder, run)
        if "train" not in data.labels:
            raise ResampledPriorsError(f"{data.name} has no classes to colour: use another run")
        model = open_run(results, run)
        titles.append(prior_title(Run.from_folder(run).prior, model.prior))
        mean, _ = encode_training_data(model, data, settings["seed"])
        # float16: one part in 2,000, finer than a dot
        numbers[f"{index}/mean"] = mean.numpy().astype(np.float16)
        numbers[f"{index}/label"] = data.labels["train"].numpy().astype(np.uint8)
    return numbers | {"titles": np.array(titles)}


def _scatter(axes: Axes, mean: NDArray, label: NDArray) -> None:
    order = np.random.default_rng(0).permutation(len(mean))  # no class lies on top of the others
    colours = np.array(CLASS_COLOURS)[label % len(CLASS_COLOURS)]
    size = min(3.0, 5_000 / len(mean))
    axes.scatter(*mean[order].T, s=size, c=colours[order], lw=0, alpha=0.7, rasterized=True)
    for index in np.unique(label):
        # At the class's densest place rather than its mean, which can lie in another class.
        x, y = _densest(mean[label == index])
        axes.text(x, y, str(index), ha="center", va="center", weight="bold", path_effects=OUTLINE)


def _densest(points: NDArray) -> NDArray:
    """The middle of the fullest cell of a coarse grid over points (n, 2)."""
    counts, *edges = np.histogram2d(*points.T, bins=12)
    cell = np.unravel_index(counts.argmax(), counts.shape)
    return np.array([edge[i : i + 2].mean() for edge, i in zip(edges, cell, strict=True)])


def draw_latent_means(numbers: Numbers) -> Figure:
    """A scatter plot for each run, all with the same axes, and a legend of the classes."""
    titles = list(numbers["titles"])
    means = [numbers[f"{index}/mean"].astype(float) for index in range(len(titles))]
    reach = 1.05 * max(np.quantile(np.abs(mean), 0.9995) for mean in means)
    figure = new_figure(PAGE, 2.5)
    panels = figure.subplots(1, len(titles), sharex=True, sharey=True, squeeze=False)[0]
    for index, (axes, mean) in enumerate(zip(panels, means, strict=True)):
        _scatter(axes, mean, numbers[f"{index}/label"])
        axes.set(title=titles[index], xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_xlabel("$z_1$")
        for side in (axes.xaxis, axes.yaxis):
            side.set_major_locator(MaxNLocator(5, integer=True))
    panels[0].set_ylabel("$z_2$")
    for label in np.unique(numbers["0/label"]):
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        panels[0].plot([], [], "o", ms=3, color=colour, label=str(label))
    figure.legend(loc="outside lower center", ncols=10, columnspacing=1, handletextpad=0.1)
    return figure
