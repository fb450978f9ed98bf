# Checks the config and gives the rules what they share. The science is in the package.

import atexit
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

try:
    from resampled_priors import experiment
    from resampled_priors.errors import ResampledPriorsError
    from resampled_priors.runs.locks import hold_workflow
except ImportError as error:
    raise WorkflowError(
        f"the package resampled-priors is not installed here ({error}): run 'make demo', "
        "or pip install -c constraints.txt -e '.[test]'"
    )

try:
    experiment.validate_config(config)
except ResampledPriorsError as error:
    raise WorkflowError(str(error))

# In the place of Snakemake's own lock (profiles/default), which a kill would leave behind. Taken
# before the jobs are planned; a dry run may pass without it.
WORKFLOW_LOCK, BUSY = None, None
if workflow.is_main_process:
    try:
        WORKFLOW_LOCK = hold_workflow(Path(config["pathvars"]["results"]))
    except ResampledPriorsError as error:
        BUSY = str(error)


def lost_data():
    """One line where data are missing and, but for that, runs made from them would stay."""
    lost = {
        file
        for job in workflow.dag.needrun_jobs(exclude_finished=False)
        for file in workflow.dag.reason(job).updated_input_run
        if file.is_ancient and all(map(os.path.exists, job.output))
    }
    return lost and (
        f"{', '.join(sorted(lost))}: missing, and what was made from them would be made again. "
        "To keep that, first run: snakemake --cores 1 datasets (in a fresh clone: see README.md)"
    )


onstart:
    if BUSY or (not workflow.touch and lost_data()):
        raise WorkflowError(BUSY or lost_data())


# Not parameters of rules: another mirror, or TensorBoard, must not make all runs stale.
if config["data"]["mirror"]:
    os.environ.update(RESAMPLED_PRIORS_MIRROR=config["data"]["mirror"])
if config.get("tensorboard", False):
    os.environ.update(RESAMPLED_PRIORS_TENSORBOARD="1")

BUDGET = experiment.budget(config)
OWN_DATASETS = [name for name, settings in config["datasets"].items() if "images" in settings]
POSTHOC = [name for name, prior in config["priors"].items() if "base" in prior]
# Not a rule's parameter either. A job whose device may be a GPU asks for one: --resources gpu=4.
DEVICE = {"device": config["device"], "gpu": int(config["device"] != "cpu")}
RUN = "<results>/runs/{dataset}/{model}/{prior}/seed{seed}"


def any_of(names):
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=any_of(config["datasets"]),
    model=any_of(config["models"]),
    prior=any_of(config["priors"]),
    seed="[0-9]+",
    table=any_of(config["tables"]),


def run_of(wildcards):
    """The run that a job works on."""
    return experiment.Run(wildcards.dataset, wildcards.model, wildcards.prior, int(wildcards.seed))


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


def available(runs, name):
    """All of these runs; those that have the file `name`, where the config says partial."""
    if not config.get("partial", False):
        return runs
    metrics = rules.evaluate.output[0]  # as a workflow that uses this one as a module places it
    return [
        run
        for run in runs
        if os.path.exists(os.path.join(os.path.dirname(metrics.format(**vars(run))), name))
    ]


def run_files(names, runs):
    """These files of these runs."""
    return [f"<results>/{run.folder}/{name}" for run in runs for name in names]


def base_model(wildcards):
    """The model that a post-hoc run starts from."""
    base = config["priors"][wildcards.prior]["base"]
    return f"<results>/runs/{wildcards.dataset}/{wildcards.model}/{base}/seed{wildcards.seed}/model.safetensors"


def table_runs(wildcards):
    """The runs of a table; of those that are evaluated only, where the config says partial."""
    return available(experiment.table_runs(config, wildcards.table), "metrics.json")


def figure_runs(wildcards):
    """The runs of a figure; of those whose Z is known only, where the config says partial."""
    return available(experiment.figure_runs(config, wildcards.figure), "z.json")


def figure_settings(wildcards):
    """A figure's resolved settings as JSON."""
    runs = figure_runs(wildcards)
    return json.dumps(experiment.resolve_figure(config, wildcards.figure, runs))


def figure_data(wildcards):
    """The data sets that a figure encodes; most show models only."""
    if not experiment.encodes_data(config, wildcards.figure):
        return []
    datasets = dict.fromkeys(run.dataset for run in figure_runs(wildcards))
    return [prepared(dataset) for dataset in datasets]


def figure_names():
    """All figures; where the config says partial, those that need no run or have one of theirs."""
    return [
        figure
        for figure, settings in config["figures"].items()
        if not settings.get("runs") or available(experiment.figure_runs(config, figure), "z.json")
    ]


def report_labels(kind, name):
    """How `snakemake --report` lists a table or a figure."""
    return {kind: experiment.paper_number(name), "shows": config[f"{kind}s"][name]["caption"]}


def per_attempt(amount):
    """A resource that doubles when a job is tried again."""
    return lambda wildcards, attempt: amount * 2 ** (attempt - 1)


def training_minutes(wildcards, attempt):
    """Time for a run's training: 120 ms an iteration, a day at most, since it can be resumed."""
    iterations = json.loads(run_settings(wildcards))["training"]["iterations"]
    return per_attempt(min(30 + iterations // 500, 24 * 60))(wildcards, attempt)


@atexit.register  # the hooks of Snakemake leave dry runs out
def print_estimate():
    """How long the jobs of a dry run would take, below their list."""
    if not workflow.dryrun or workflow.dag is None:
        return
    if lost_data():
        print(lost_data(), file=sys.stderr)
    from resampled_priors.report import timing

    steps = {
        rules.train.rule: "train",
        rules.fit_posthoc.rule: "train",
        rules.estimate_z.rule: "estimate_z",
        rules.evaluate.rule: "evaluate",
    }
    jobs = []
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        step = steps.get(job.rule)
        if step is not None:
            jobs.append((step, run_of(job.wildcards)))
        elif str(job.rule).startswith("train_together_"):
            folders = [os.path.dirname(model) for model in job.output.model]
            jobs += [("train", experiment.Run.from_folder(folder)) for folder in folders]
    if jobs:
        results = rules.evaluate.output[0].partition("/runs/")[0]
        print(timing.estimate(config, jobs, Path(results)), file=sys.stderr)
