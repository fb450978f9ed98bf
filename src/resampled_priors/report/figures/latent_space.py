"""The VAE with a two-dimensional latent space: Fig. D.10–D.13 (densities) and D.14 (means)."""

import math
from pathlib import Path
from typing import Any

import matplotlib.patheffects
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ...data.dataset import Dataset
from ...errors import ResampledPriorsError
from ...lars import ResampledPrior
from ...models.base import HALF_LOG_2PI, LatentVariableModel
from ...report.tables import paper_values
from ...toy import grid_axis, grid_points, log_parts
from .inputs import open_run, read_data
from .style import CLASS_COLOURS, COLUMN, Numbers, density_panel, new_figure

BLOCK = 2**22  # entries of the (points × components) matrix held at a time: 32 MB
GRID_STEPS = 75  # each side of 0: with 50,000 components half a minute


@torch.no_grad()
def encode_training_data(
    model: LatentVariableModel, data: Dataset, seed: int
) -> tuple[Tensor, Tensor]:
    """Means and log standard deviations of q(z|x_n), all training images, each (N, features).

    Grey images are binarised once, with this seed.
    """
    images = data.evaluation_images("train", seed)
    parts = [model.encode(x) for x in images.split(2_000)]
    mean, log_std = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean, log_std


def log_mixture_density(points: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log q(z) = log 1/N Σ_n N(z; mean_n, std_n²), the aggregate posterior, in nats.

    Args:
        points: z, shape (M, d).
        mean, log_std: of the N components, shape (N, d).

    Returns:
        shape (M,), float64. Memory does not grow with M N: blocks of ``BLOCK`` entries.
    """
    points, mean, log_std = points.double(), mean.double(), log_std.double()
    precision = (-2 * log_std).exp()
    constant = -(0.5 * mean.square() * precision + log_std + HALF_LOG_2PI).sum(-1)
    # The exponent is linear in (z², z, 1), so a block of the matrix is one matrix product. Its
    # terms cancel where a component is narrow, which float64 has digits enough for.
    weights = torch.cat([-0.5 * precision, mean * precision, constant.unsqueeze(-1)], dim=-1)
    features = torch.cat([points.square(), points, torch.ones_like(points[:, :1])], dim=-1)
    # Made before the loop: small tensors kept from each turn, between large ones that come and go,
    # would fragment the heap to gigabytes.
    log_density = torch.empty(len(features), dtype=torch.float64)
    rows = max(1, BLOCK // len(mean))
    for block, log_sum in zip(features.split(rows), log_density.split(rows), strict=True):
        torch.logsumexp(block @ weights.T, dim=-1, out=log_sum)
    return log_density - math.log(len(mean))


def sample_mixture(mean: Tensor, log_std: Tensor, num_samples: int) -> Tensor:
    """Samples of the aggregate posterior, (num_samples, d)."""
    component = torch.randint(len(mean), (num_samples,))
    noise = torch.randn(num_samples, mean.shape[-1])
    return mean[component] + log_std[component].exp() * noise


def prior_name(prior: torch.nn.Module) -> str:
    """What a figure calls a prior, on two lines."""
    if not isinstance(prior, ResampledPrior):
        return "standard prior\n$\\mathcal{N}(0, I)$"
    return f"LARS prior\n$a$ = {network_name(prior)}"


def network_name(prior: ResampledPrior) -> str:
    """a(z) in the paper's notation: MLP[2−100−100−1]."""
    layers = [layer for layer in prior.log_a.network if isinstance(layer, torch.nn.Linear)]
    return f"MLP[{'−'.join(str(n) for n in [2, *(layer.out_features for layer in layers)])}]"


def mean_and_error(values: Tensor) -> NDArray:
    """Mean and standard error of independent values: an array of two."""
    return np.array([values.mean().item(), values.std().item() / math.sqrt(len(values))])


@torch.no_grad()
def density_numbers(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """Fig. D.10–D.13: q(z), π, a and p_T on a grid, and the KLs by Monte Carlo (nats).

    Args:
        settings: ``runs`` (one folder), ``kl_samples``, ``seed``.

    Raises:
        ResampledPriorsError: the latent space of the run is not two-dimensional.
    """
    (run,) = settings["runs"]
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
        "run": np.array("/".join(Path(run).parts[-4:-1])),
        "axis": axis.numpy(),
        "log_q": log_mixture_density(points.flatten(0, 1), mean, log_std).view(points.shape[:-1]),
        "kl": mean_and_error(log_q - model.prior.log_prob(z).double()),
        "kl_proposal": mean_and_error(log_q - log_proposal),
    }
    numbers["log_proposal"], log_a = log_parts(model.prior, points)
    if isinstance(model.prior, ResampledPrior):
        numbers |= {
            "log_a": log_a,
            "log_p": model.prior.log_prob(points),
            "truncation": np.array(model.prior.truncation or 0),
            "network": np.array(network_name(model.prior)),
            "z": model.prior.log_z.exp(),
        }
    return {
        key: np.asarray(value, dtype=np.float32 if key.startswith("log_") else None)
        for key, value in numbers.items()
    }


def _kl_text(numbers: Numbers, key: str, density: str, paper: dict[str, float]) -> str:
    value, error = numbers[key]
    text = rf"$\mathrm{{KL}}(q\,\|\,{density})$ = {value:.3f} ± {error:.3f}"
    return text + (f"\n(paper: {paper[key]:.2f})" if key in paper else "")


def draw_densities(numbers: Numbers) -> Figure:
    """Aggregate posterior, proposal, a(z) and p_T; without LARS the first two.

    The three densities share one colour scale, which a few narrow peaks of q may exceed.
    """
    paper = paper_values().get("figD10_D13", {}).get(str(numbers["run"]), {})
    q = np.exp(numbers["log_q"])
    shown = [np.exp(numbers[key]).max() for key in ("log_proposal", "log_p") if key in numbers]
    maximum = max([*shown, np.quantile(q[q > 0.02 * q.max()], 0.95)])
    axis = numbers["axis"]
    resampled = "log_a" in numbers
    figure = new_figure(COLUMN if resampled else 0.55 * COLUMN, 1.95)
    panels = figure.subplots(1, 4 if resampled else 2)
    density_panel(panels[0], q, axis, "target", maximum)
    panels[0].set_title("aggregate posterior\n$q(z)$")
    density_panel(panels[1], np.exp(numbers["log_proposal"]), axis, "proposal", maximum)
    if not resampled:
        panels[1].set_title("prior\n$p(z)$ = $\\mathcal{N}(0, I)$")
        panels[1].set_xlabel(_kl_text(numbers, "kl", "p", paper))
        return figure
    panels[1].set_title("proposal\n$\\pi(z)$ = $\\mathcal{N}(0, I)$")
    panels[1].set_xlabel(_kl_text(numbers, "kl_proposal", r"\pi", paper))
    density_panel(panels[2], np.exp(numbers["log_a"]), axis, "acceptance", 1.0)
    panels[2].set_title(f"$a(z)$\n{numbers['network']}")
    z_text = f"$Z$ = {float(numbers['z']):.3f}"
    panels[2].set_xlabel(z_text + (f"\n(paper: {paper['z']:.2f})" if "z" in paper else ""))
    density_panel(panels[3], np.exp(numbers["log_p"]), axis, "resampled", maximum)
    truncation = int(numbers["truncation"]) or r"\infty"
    panels[3].set_title(f"LARS prior\n$p_{{T={truncation}}}(z)$")
    panels[3].set_xlabel(_kl_text(numbers, "kl", "p", paper))
    return figure


def numbers_figD14(settings: dict[str, Any], results: Path, data_folder: Path) -> Numbers:
    """Fig. D.14: the means of q(z|x_n) of all training images, and their classes.

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
        titles.append(prior_name(model.prior))
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
    outline = [matplotlib.patheffects.withStroke(linewidth=1.5, foreground="white")]
    for index in np.unique(label):
        # At the class's densest place rather than its mean, which can lie in another class.
        x, y = _densest(mean[label == index])
        axes.text(x, y, str(index), ha="center", va="center", weight="bold", path_effects=outline)


def _densest(points: NDArray) -> NDArray:
    """The middle of the fullest cell of a coarse grid over points (n, 2)."""
    counts, *edges = np.histogram2d(*points.T, bins=12)
    cell = np.unravel_index(counts.argmax(), counts.shape)
    return np.array([edge[i : i + 2].mean() for edge, i in zip(edges, cell, strict=True)])


def draw_figD14(numbers: Numbers) -> Figure:
    """A scatter plot for each run, all with the same axes, and a legend of the classes."""
    titles = list(numbers["titles"])
    means = [numbers[f"{index}/mean"].astype(float) for index in range(len(titles))]
    reach = 1.05 * max(np.quantile(np.abs(mean), 0.9995) for mean in means)
    figure = new_figure(COLUMN, 2.25)
    panels = figure.subplots(1, len(titles), sharex=True, sharey=True, squeeze=False)[0]
    for index, (axes, mean) in enumerate(zip(panels, means, strict=True)):
        _scatter(axes, mean, numbers[f"{index}/label"])
        axes.set(title=titles[index], xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_xlabel("$z_1$")
    panels[0].set_ylabel("$z_2$")
    for label in np.unique(numbers["0/label"]):
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        panels[0].plot([], [], "o", ms=3, color=colour, label=str(label))
    figure.legend(loc="outside lower center", ncols=10, columnspacing=1, handletextpad=0.1)
    return figure
