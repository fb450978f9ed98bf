# Checks the config and gives the rules what they share. The science is in the package.

import json
import os
import shlex
from dataclasses import replace

from snakemake.exceptions import WorkflowError

try:
    from resampled_priors import experiment
    from resampled_priors.errors import ResampledPriorsError
except ImportError as error:
    raise WorkflowError(
        f"the package resampled-priors is not installed here ({error}): run 'make demo', "
        "or pip install -c constraints.txt -e '.[test]'"
    )

try:
    experiment.validate_config(config)
except ResampledPriorsError as error:
    raise WorkflowError(str(error))

# Not parameters of rules: another mirror, or TensorBoard, must not make all runs stale.
if config["data"]["mirror"]:
    os.environ.update(RESAMPLED_PRIORS_MIRROR=config["data"]["mirror"])
if config.get("tensorboard", False):
    os.environ.update(RESAMPLED_PRIORS_TENSORBOARD="1")

OWN_DATASETS = [name for name, settings in config["datasets"].items() if "images" in settings]
POSTHOC = [name for name, prior in config["priors"].items() if "base" in prior]
# Not a rule's parameter either. A job whose device may be a GPU asks for one: --resources gpu=4.
DEVICE = {"device": config["device"], "gpu": int(config["device"] != "cpu")}
RUN, LOG_NAME = f"<results>/{experiment.FOLDER}", experiment.LOG_NAME


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    budget=any_of(config["budgets"]),
    dataset=any_of(config["datasets"]),
    model=any_of(config["models"]),
    prior=any_of(config["priors"]),
    seed="[0-9]+",
    table=any_of(config["tables"]),


def run_of(wildcards):
    """The run that a job works on."""
    coordinates = (wildcards.budget, wildcards.dataset, wildcards.model, wildcards.prior)
    return experiment.Run(*coordinates, int(wildcards.seed))


def run_settings(wildcards):
    """A run's resolved settings as JSON: what its training depends on, and nothing else."""
    try:
        return json.dumps(experiment.resolve_run(config, run_of(wildcards)))
    except ResampledPriorsError as error:
        raise WorkflowError(str(error))


def settings_of_group(group):
    """The command's options for runs trained together: the resolved settings of each as JSON."""
    settings = [json.dumps(experiment.resolve_run(config, run)) for run in group]
    return [part for text in settings for part in ("--settings", text)]


def prepared(dataset):
    """A prepared data set; a published one is always the same, however new its file."""
    path = f"<data>/prepared/{dataset}.safetensors"
    return path if dataset in OWN_DATASETS else ancient(path)


def run_files(names, runs):
    """These files of these runs."""
    return [f"<results>/{run.folder}/{name}" for run in runs for name in names]


def base_model(wildcards):
    """The model that a post-hoc run starts from."""
    base = config["priors"][wildcards.prior]["base"]
    [model] = run_files(["model.safetensors"], [replace(run_of(wildcards), prior=base)])
    return model


def per_attempt(amount):
    """A resource that doubles when a job is tried again."""
    return lambda wildcards, attempt: amount * 2 ** (attempt - 1)


def training_minutes(wildcards, attempt):
    """Time for a run's training: 120 ms an iteration, a day at most, since it can be resumed."""
    iterations = json.loads(run_settings(wildcards))["training"]["iterations"]
    return per_attempt(min(30 + iterations // 500, 24 * 60))(wildcards, attempt)
