"""Figures: the runs and toys that each shows, and what it needs of them."""

import math

from ..errors import ResampledPriorsError
from .address import Run
from .configuration import Config, lookup
from .resolve import budget, check_model_and_prior


def figure_runs(config: Config, figure: str) -> list[Run]:
    """The runs a figure shows, of the budget's first seed.

    Raises:
        ResampledPriorsError: an unknown figure, data set, model or prior.
    """
    runs = []
    place = f"figures.{figure}.runs"
    for coordinates in lookup(config, "figures", figure, "figure").get("runs", []):
        dataset, model, prior = coordinates.split("/")  # the schema has seen to the form
        lookup(config, "datasets", dataset, place)
        lookup(config, "models", model, place)
        lookup(config, "priors", prior, place)
        check_model_and_prior(config, model, prior, place)
        runs.append(Run(dataset, model, prior, budget(config)["seeds"][0]))
    return runs


def resolve_figure(config: Config, figure: str, runs: list[Run] | None = None) -> Config:
    """All that a figure depends on, and nothing else: ``runs`` as folders, with their labels.

    Args:
        runs: those of its runs to show; all by default.

    Raises:
        ResampledPriorsError: as ``figure_runs``; an unknown toy.
    """
    settings = dict(lookup(config, "figures", figure, "figure"))
    del settings["caption"]  # beside the figure, not in it
    for toy in settings.get("toys", []):
        lookup(config, "toys", toy, f"figures.{figure}.toys")
    if "runs" in settings:
        runs = figure_runs(config, figure) if runs is None else runs
        settings["runs"] = [run.folder for run in runs]
        settings["labels"] = [config["datasets"][run.dataset]["label"] for run in runs]
    if settings.get("num_samples", 0) is None:
        settings["num_samples"] = budget(config)["z_samples"]
    return settings


def check_figure(config: Config, figure: str) -> None:
    """Refuse a figure of what its runs and toys have not got."""
    settings, place = config["figures"][figure], f"config: figures.{figure}"
    for run in figure_runs(config, figure):
        model, prior = config["models"][run.model], config["priors"][run.prior]
        accepts = prior["family"] == "lars" or "output" in model
        if not accepts and settings.keys() & {"grid", "num_samples"}:
            raise ResampledPriorsError(
                f"{place}.runs: prior '{run.prior}' has no acceptance function to show: "
                "name a LARS prior, or a model with a resampled output"
            )
        if "encodes_data" in settings and model["latent_size"] != 2:
            raise ResampledPriorsError(
                f"{place}.runs: model '{run.model}' has latent_size {model['latent_size']}: "
                "name one with latent_size 2"
            )
    if math.prod(settings.get("grid", [])) > settings.get("num_proposals", 1):
        raise ResampledPriorsError(
            f"{place}.grid: {settings['grid']} has room for more than the num_proposals of "
            f"{settings['num_proposals']}: make it smaller, or draw more"
        )
    target = "mixture_1d" if figure == "fig1" else "gaussian_grid"
    for toy in settings.get("toys", []):
        if config["toys"][toy]["target"] != target:
            raise ResampledPriorsError(
                f"{place}.toys: '{toy}' has another target than {target}: name one with that"
            )
