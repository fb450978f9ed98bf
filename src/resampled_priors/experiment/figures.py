"""Figures: the runs and toys that each shows, and what it needs of them."""

import math
from dataclasses import replace

from ..errors import ResampledPriorsError
from .address import Run
from .configuration import Config, lookup
from .resolve import budget

TARGETS = {"toy_line": "mixture_1d", "toy_plane": "gaussian_ring", "toy_proposal": "gaussian_ring"}
RANKED = {"ranked", "ranked_values"}
SHOW_METRICS = {"nll_against_z", "nll_against_size", "nll_against_cost"}  # of all seeds; no model
SHOW_TRAINING = {"learning_curves"}  # kinds that show runs of several budgets
LABEL_RUNS = RANKED | SHOW_METRICS | SHOW_TRAINING
SHOW_ACCEPTANCE = {"running_z", *RANKED}  # kinds that need an a(z)
SHOW_LATENTS = {"latent_density", "latent_means"}  # and those that encode data into a plane


def figure_runs(config: Config, figure: str) -> list[Run]:
    """The runs a figure shows: of the budget's first seed, or of all where it shows metrics.

    Raises:
        ResampledPriorsError: an unknown figure, data set, model or prior.
    """
    runs = []
    place = f"figures.{figure}.runs"
    settings = lookup(config, "figures", figure, "figure")
    seeds = budget(config)["seeds"]
    for coordinates in settings.get("runs", []):
        dataset, model, prior = coordinates.split("/")  # the schema has seen to the form
        lookup(config, "datasets", dataset, place)
        lookup(config, "models", model, place)
        lookup(config, "priors", prior, place)
        shown = seeds if settings["kind"] in SHOW_METRICS else seeds[:1]
        runs += [Run(config["budget"], dataset, model, prior, seed) for seed in shown]
    return runs


def with_other_budgets(config: Config, figure: str) -> list[Run]:
    """``figure_runs``, after each those of the figure's ``budgets``, shown where they are there.

    Raises:
        ResampledPriorsError: as ``figure_runs``; an unknown budget.
    """
    runs = []
    for run in figure_runs(config, figure):
        runs.append(run)
        for name in config["figures"][figure].get("budgets", []):
            seeds = lookup(config, "budgets", name, f"figures.{figure}.budgets")["seeds"]
            runs.append(replace(run, budget=name, seed=seeds[0]))
    return list(dict.fromkeys(runs))


def figure_toys(config: Config, figure: str) -> list[Config]:
    """The entries of the toys a figure shows.

    Raises:
        ResampledPriorsError: an unknown figure or toy.
    """
    names = lookup(config, "figures", figure, "figure").get("toys", [])
    return [lookup(config, "toys", name, f"figures.{figure}.toys") for name in names]


def figure_files(config: Config, figure: str) -> list[str]:
    """What a figure reads of its runs' folders, the last made from the others."""
    if config["figures"][figure]["kind"] in SHOW_METRICS:
        return ["run.json", "metrics.json"]
    if config["figures"][figure]["kind"] in SHOW_TRAINING:
        return ["run.json", "training.csv", "metrics.json"]
    return ["model.safetensors", "run.json", "z.json"]


def encodes_data(config: Config, figure: str) -> bool:
    """Whether a figure needs the data sets of its runs, as well as their models."""
    return config["figures"][figure]["kind"] in SHOW_LATENTS


def resolve_figure(config: Config, figure: str, runs: list[Run] | None = None) -> Config:
    """All that a figure depends on, and nothing else: ``runs`` as folders.

    Where runs are labelled, their labels are those of their data sets by default, or of their
    priors where metrics are shown.

    Args:
        runs: those of its runs to show; all by default.

    Raises:
        ResampledPriorsError: as ``figure_runs``.
    """
    settings = dict(lookup(config, "figures", figure, "figure"))
    del settings["caption"]  # beside the figure, not in it
    settings.pop("budgets", None)  # the runs say
    if "runs" in settings:
        known = with_other_budgets(config, figure)
        labels = settings.get("labels", [_label(config, settings["kind"], run) for run in known])
        times = len(known) // len(labels)  # a label is that of a run's seeds and budgets
        shown = [i for i, run in enumerate(known) if runs is None or run in runs]
        settings["runs"] = [known[i].folder for i in shown]
        if settings["kind"] in LABEL_RUNS:
            settings["labels"] = [labels[i // times] for i in shown]
    if settings.get("num_samples", 0) is None:
        settings["num_samples"] = budget(config)["z_samples"]
    return settings


def _label(config: Config, kind: str, run: Run) -> str:
    of_prior = kind in SHOW_METRICS | SHOW_TRAINING
    section, name = ("priors", run.prior) if of_prior else ("datasets", run.dataset)
    return config[section][name]["label"]


def check_figure(config: Config, figure: str) -> None:
    """Refuse a figure of what its runs and toys have not got."""
    settings, place = config["figures"][figure], f"config: figures.{figure}"
    with_other_budgets(config, figure)
    _check_runs(config, figure, place)
    _check_toys(config, figure, place)
    shown = settings.get("toys", settings.get("runs", []))
    if len(settings.get("labels", shown)) != len(shown):
        raise ResampledPriorsError(
            f"{place}.labels: {len(settings['labels'])} labels of {len(shown)} things: "
            "give one for each"
        )
    if math.prod(settings.get("grid", [])) > settings.get("num_proposals", 1):
        raise ResampledPriorsError(
            f"{place}.grid: {settings['grid']} has room for more than the num_proposals of "
            f"{settings['num_proposals']}: make it smaller, or draw more"
        )


def _check_runs(config: Config, figure: str, place: str) -> None:
    kind = config["figures"][figure]["kind"]
    for run in figure_runs(config, figure):
        model, prior = config["models"][run.model], config["priors"][run.prior]
        accepts = "proposal" in prior or "output" in model or ":" in prior["family"]
        if kind in SHOW_ACCEPTANCE and not accepts:  # of a class of one's own, nobody knows yet
            raise ResampledPriorsError(
                f"{place}.runs: prior '{run.prior}' has no acceptance function to show: "
                "name a LARS prior, or a model with a resampled output"
            )
        if kind in SHOW_LATENTS and model["latent_size"] != 2:
            raise ResampledPriorsError(
                f"{place}.runs: model '{run.model}' has latent_size {model['latent_size']}: "
                "name one with latent_size 2"
            )


def _check_toys(config: Config, figure: str, place: str) -> None:
    settings, toys = config["figures"][figure], figure_toys(config, figure)
    for name, toy in zip(settings.get("toys", []), toys, strict=True):
        target = TARGETS[settings["kind"]]
        if toy["target"] != target:
            raise ResampledPriorsError(
                f"{place}.toys: '{name}' has another target than {target}: name one with that"
            )
    if settings["kind"] == "toy_proposal":
        alone, resampled = (toy["prior"] for toy in toys)
        if resampled.get("proposal", {}).get("family") != alone["family"]:
            raise ResampledPriorsError(
                f"{place}.toys: '{settings['toys'][1]}' does not have '{settings['toys'][0]}' as "
                "its proposal: name a LARS toy with that proposal"
            )
