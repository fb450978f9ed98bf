"""The settings of a run: all that its training depends on, and nothing else."""

from ..data import IMAGE_SHAPE
from ..errors import ResampledPriorsError
from .address import Run
from .configuration import Config, lookup, merge, with_code


def _prior_settings(config: Config, name: str, place: str) -> Config:
    """A prior's entry without its label."""
    settings = {k: v for k, v in lookup(config, "priors", name, place).items() if k != "label"}
    return with_code(settings, f"priors.{name}")


def resolve_prior(config: Config, name: str) -> Config:
    """A prior's settings, with the settings of its proposal in the place of its name.

    Raises:
        ResampledPriorsError: an unknown prior, proposal or base, or one that cannot serve; a
            class of the user's own that is not there.
    """
    settings = _prior_settings(config, name, "prior")
    if settings["family"] == "lars":
        place = f"priors.{name}.proposal"
        proposal = _prior_settings(config, settings["proposal"], place)
        if proposal["family"] == "lars":
            raise ResampledPriorsError(
                f"config: {place}: '{settings['proposal']}' is itself a LARS prior: "
                "name a prior of another family"
            )
        settings["proposal"] = proposal
    if "base" in settings:
        place = f"priors.{name}.base"
        base = lookup(config, "priors", settings["base"], place)
        if base["family"] == "lars":
            raise ResampledPriorsError(
                f"config: {place}: '{settings['base']}' is itself a LARS prior: "
                "name a prior of another family"
            )
        if "base" in base:
            raise ResampledPriorsError(
                f"config: {place}: '{settings['base']}' is itself fitted post hoc: "
                "name a prior without a base"
            )
    return {"name": name, **settings}


def resolve_run(config: Config, run: Run) -> Config:
    """All that training a run depends on, and nothing else: a change here retrains it.

    Raises:
        ResampledPriorsError: a coordinate of the run is not in the config.
    """
    dataset = lookup(config, "datasets", run.dataset, "data set")
    model = lookup(config, "models", run.model, "model")
    budget = lookup(config, "budgets", run.budget, "budget")
    budget = merge(budget, budget.get("models", {}).get(run.model, {}))
    factor = dataset.get("schedule_factor", 1)
    training = with_code(config["training"], "training")
    training["iterations"] = budget["iterations"]
    training["warm_up"] = round(factor * budget["warm_up"])
    decay_after = budget.get("decay_after")
    training["decay_after"] = None if decay_after is None else round(factor * decay_after)
    training["early_stopping"] = dataset.get("early_stopping", False)
    if not training["early_stopping"]:
        for key in ("validation_interval", "validation_importance_samples", "patience"):
            del training[key]
    model = {k: v for k, v in model.items() if k != "label"}
    return {
        "dataset": run.dataset,
        "model": {"name": run.model, **with_code(model, f"models.{run.model}")},
        "prior": resolve_prior(config, run.prior),
        "seed": run.seed,
        "training": training,
    }


def budget(config: Config) -> Config:
    """The budget in force."""
    return lookup(config, "budgets", config["budget"], "budget")


def resolve_z(config: Config, run: Run) -> Config:
    """How Z of a run is estimated: with how many samples at most, and to which error of log Z."""
    budget = lookup(config, "budgets", run.budget, "budget")
    return {"z_samples": budget["z_samples"], "z_target": budget.get("z_target")}


def resolve_evaluation(config: Config, run: Run) -> Config:
    """How a run is evaluated: with how many importance samples."""
    budget = lookup(config, "budgets", run.budget, "budget")
    return {"importance_samples": budget["importance_samples"]}


def resolve_toy(config: Config, toy: str) -> Config:
    """A toy's settings."""
    return lookup(config, "toys", toy, "toy")


def check_model_and_prior(config: Config, model: str, prior: str, place: str) -> None:
    if "output" in config["models"][model] and config["priors"][prior]["family"] == "lars":
        raise ResampledPriorsError(
            f"config: {place}: model '{model}' has a resampled output and takes no LARS prior "
            f"('{prior}'), since there is one Z to estimate: name a prior of another family"
        )


def image_shape(settings: Config) -> tuple[int, int]:
    """Height and width of a run's images, from its resolved settings."""
    height, width = settings.get("image_shape", IMAGE_SHAPE)
    return height, width
