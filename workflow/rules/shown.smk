# What tables and figures show: their runs, or those of them that are there, and their settings.

import json
import os

from resampled_priors import experiment


def available(runs, name):
    """All of these runs; those that have the file `name`, where the config says partial."""
    return there(runs, name) if config.get("partial", False) else runs


def there(runs, name):
    """Those of these runs that have the file `name`."""
    metrics = rules.evaluate.output[0]  # as a workflow that uses this one as a module places it
    return [
        run
        for run in runs
        if os.path.exists(os.path.join(os.path.dirname(metrics.format(**vars(run))), name))
    ]


def table_runs(wildcards):
    """The runs of a table; of those that are evaluated only, where the config says partial."""
    return available(experiment.table_runs(config, wildcards.table), "metrics.json")


def runs_of_other_budgets(table):
    """Those that a table shows where they are there: no inputs, so that no table has them trained."""
    others = there(experiment.table_runs_of_other_budgets(config, table), "metrics.json")
    return [run.folder for run in others]


def figure_runs(wildcards):
    """The runs of a figure; those that are far enough only, where the config says partial."""
    return runs_of_figure(wildcards.figure)


def runs_of_figure(figure):
    last = experiment.figure_files(config, figure)[-1]
    return available(experiment.figure_runs(config, figure), last)


def figure_settings(wildcards):
    """A figure's resolved settings as JSON.

    Runs of other budgets than that in force are shown where they are there: they are no inputs, so
    that no figure has them trained.
    """
    last = experiment.figure_files(config, wildcards.figure)[-1]
    others = there(experiment.with_other_budgets(config, wildcards.figure), last)
    runs = figure_runs(wildcards) + others
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
        if not settings.get("runs") or runs_of_figure(figure)
    ]


def of_rivals(names):
    """Those that show what came before and after the paper: Tables R.1 to R.3 and Fig. R.1."""
    return [name for name in names if name.startswith("tableR") or name == "figR1"]


def of_the_paper(names):
    """The others, among them what the user has added."""
    rivals = of_rivals(names)
    return [name for name in names if name not in rivals]


def report_labels(kind, name):
    """How `snakemake --report` lists a table or a figure."""
    return {kind: experiment.paper_number(name), "shows": config[f"{kind}s"][name]["caption"]}
