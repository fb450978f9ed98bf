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
    for key in ("proposal", "base"):
        if key in settings:
            _check_stands_alone(config, settings[key], f"priors.{name}.{key}")
    if "proposal" in settings:
        settings["proposal"] = _prior_settings(config, settings["proposal"], "prior")
    return {"name": name, **settings}


def _check_stands_alone(config: Config, name: str, place: str) -> None:
    """Refuse as a proposal or a base a prior that has one itself."""
    prior = lookup(config, "priors", name, place)
    if "proposal" in prior:
        raise ResampledPriorsError(
            f"config: {place}: '{name}' is itself a LARS prior: name a prior of another family"
        )
    if "base" in prior:
        raise ResampledPriorsError(
            f"config: {place}: '{name}' is itself fitted post hoc: name a prior without a base"
        )


def with_dataset_priors(config: Config, dataset: str) -> Config:
    """The config with the settings that a data set has for priors laid over theirs."""
    own = lookup(config, "datasets", dataset, "data set").get("priors", {})
    return config | {"priors": merge(config["priors"], own)}


def resolve_run(config: Config, run: Run) -> Config:
    """All that training a run depends on, and nothing else: a change here retrains it.

    Raises:
        ResampledPriorsError: a coordinate of the run is not in the config.
    """
    dataset = lookup(config, "datasets", run.dataset, "data set")
    model = lookup(config, "models", run.model, "model")
    model = {key: value for key, value in model.items() if key not in ("label", "training")}
    shape = {key: dataset[key] for key in ("image_shape",) if key in dataset}
    return {
        "dataset": run.dataset,
        **shape,
        "model": {"name": run.model, **with_code(model, f"models.{run.model}")},
        "prior": resolve_prior(with_dataset_priors(config, run.dataset), run.prior),
        "seed": run.seed,
        "training": _resolve_training(config, run),
    }


def _resolve_training(config: Config, run: Run) -> Config:
    """What is said of training, the more special over the more general, and the schedule."""
    dataset, budget = config["datasets"][run.dataset], run_budget(config, run)
    of_model = budget.get("models", {}).get(run.model, {})
    layers = {
        "training": config["training"],
        f"models.{run.model}.training": config["models"][run.model].get("training", {}),
        f"budgets.{run.budget}.training": budget.get("training", {}),
        f"budgets.{run.budget}.models.{run.model}.training": of_model.get("training", {}),
    }
    training: Config = {}
    for place, layer in layers.items():
        training |= with_code(layer, place)  # an objective replaces another, whole
    schedule = budget | of_model
    factor = dataset.get("schedule_factor", 1)
    training["iterations"] = schedule["iterations"]
    training["warm_up"] = round(factor * schedule["warm_up"])
    decay_after = schedule.get("decay_after")
    training["decay_after"] = None if decay_after is None else round(factor * decay_after)
    training["early_stopping"] = dataset.get("early_stopping", False)
    if not training["early_stopping"]:
        for key in ("validation_interval", "validation_importance_samples", "patience"):
            del training[key]
    return training


def budget(config: Config) -> Config:
    """The budget in force."""
    return lookup(config, "budgets", config["budget"], "budget")


def run_budget(config: Config, run: Run) -> Config:
    """The budget of a run, which its address names."""
    return lookup(config, "budgets", run.budget, "budget")


def resolve_z(config: Config, run: Run) -> Config:
    """How Z of a run is estimated: with how many samples at most, and to which error of log Z."""
    budget = run_budget(config, run)
    return {"z_samples": budget["z_samples"], "z_target": budget.get("z_target")}


def resolve_evaluation(config: Config, run: Run) -> Config:
    """How a run is evaluated: with how many importance samples."""
    budget = run_budget(config, run)
    return {"importance_samples": budget["importance_samples"]}


def resolve_toy(config: Config, toy: str) -> Config:
    """A toy's settings."""
    return lookup(config, "toys", toy, "toy")


def image_shape(settings: Config) -> tuple[int, int]:
    """Height and width of a run's images, from its resolved settings."""
    height, width = settings.get("image_shape", IMAGE_SHAPE)
    return height, width
