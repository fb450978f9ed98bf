# Checks the config and gives the rules what they share. The science is in the package.

import json
import os
import shlex

from snakemake.exceptions import WorkflowError

try:
    from resampled_priors import experiment
    from resampled_priors.files import ResampledPriorsError
except ImportError as error:
    raise WorkflowError(
        f"the package resampled-priors is not installed here ({error}): run 'make demo', "
        "or pip install -c constraints.txt -e '.[test]'"
    )

try:
    experiment.validate_config(config)
except ResampledPriorsError as error:
    raise WorkflowError(str(error))

# Not a rule's parameter: another mirror must not make all runs stale.
if config["data"]["mirror"]:
    os.environ["RESAMPLED_PRIORS_MIRROR"] = config["data"]["mirror"]

BUDGET = experiment.budget(config)
OWN_DATASETS = [name for name, settings in config["datasets"].items() if "images" in settings]
POSTHOC = [name for name, prior in config["priors"].items() if "base" in prior]
RUN = "<results>/runs/{dataset}/{model}/{prior}/seed{seed}"


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=any_of(config["datasets"]),
    model=any_of(config["models"]),
    prior=any_of(config["priors"]),
    seed="[0-9]+",
    table=any_of(config["tables"]),


def run_settings(wildcards):
    """A run's resolved settings as JSON: what its training depends on, and nothing else."""
    run = experiment.Run(wildcards.dataset, wildcards.model, wildcards.prior, int(wildcards.seed))
    try:
        return json.dumps(experiment.resolve_run(config, run))
    except ResampledPriorsError as error:
        raise WorkflowError(str(error))


def run_files(names, runs):
    """These files of these runs; of those that exist only, where the config says partial."""
    folders = [f"<results>/{run.folder}" for run in runs]
    if config.get("partial", False):
        results = config.get("pathvars", {}).get("results", "results")
        folders = [
            folder
            for folder in folders
            if all(os.path.exists(f"{folder}/{n}".replace("<results>", results)) for n in names)
        ]
    return [f"{folder}/{name}" for folder in folders for name in names]
