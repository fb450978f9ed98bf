# A run counts as made where its files are newer than their inputs. Where Snakemake's memory is gone
# (results copied, .snakemake removed, --touch), that says nothing of its settings: run.json does.
# This reaches into Snakemake's insides, since "Nothing to be done" calls no hook.

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from resampled_priors import experiment
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.runs.records import check_settings_of


def check_settings_of_runs():
    """Refuse runs that are not to be trained (again), though their settings are not the config's."""
    again = set() if workflow.touch else set(workflow.dag.needrun_jobs(exclude_finished=False))
    for job in workflow.dag.jobs:
        if job in again or "training" not in job.output.keys():
            continue
        records = [path for path in job.output if os.path.basename(path) == "run.json"]
        for folder in map(os.path.dirname, records):
            run = experiment.Run.from_folder(folder)
            check_settings_of(Path(folder), experiment.resolve_run(config, run))


if workflow.is_main_process:
    build_dag = workflow._build_dag

    def build_and_check():
        build_dag()
        try:
            check_settings_of_runs()
        except ResampledPriorsError as error:
            raise WorkflowError(str(error))

    workflow._build_dag = build_and_check
