# What keeps results from harm: no two Snakemakes at once on them, and nothing that took long is made
# again unasked. This reaches into Snakemake's insides; the rules do not.

import atexit
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from resampled_priors import experiment
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.runs import finished, retraining
from resampled_priors.runs.locks import hold_workflow

# As a workflow that uses this one as a module places it.
RESULTS = Path(rules.evaluate.output[0].partition(experiment.FOLDER)[0])

# In the place of Snakemake's own lock (profiles/default), which a kill would leave behind. Taken
# before the jobs are planned; a dry run may pass without it.
WORKFLOW_LOCKS, BUSY = None, None
if workflow.is_main_process and not workflow.output_settings.dryrun:
    try:
        WORKFLOW_LOCKS = hold_workflow(RESULTS)
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


def records(job):
    """The records of runs that a job makes: run.json of those it trains, z.json or metrics.json."""
    files = map(Path, job.output)
    return [f for f in files if f.name in finished.SECONDS and f.is_relative_to(RESULTS)]


def made_again():
    """What took more than an hour and would be made again: one text, or none where that is wanted."""
    forced = workflow.dag_settings
    if config.get("retrain", False) or forced.forceall or forced.forcetargets or forced.forcerun:
        return None
    lost = []
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        reason = workflow.dag.reason(job)
        for record in records(job):
            changed = None
            if record.name == "run.json":
                settings = experiment.resolve_run(
                    config, experiment.Run.from_folder(record.parent)
                )
                changed = retraining.changed_settings(record, settings)
                whole = all(
                    map(os.path.exists, job.output)
                )  # in a fresh clone weights are missing
            else:
                whole = not reason.updated_input_run  # else it is the training that is asked about
            hours = retraining.hours_lost(record) if changed or whole else 0
            if hours:
                lost.append(
                    f"{record} ({hours:.1f} hours): {changed or ' '.join(str(reason).split())}"
                )
    return lost and (
        f"{'; '.join(lost)}: that would be made again. To let it: --config retrain=True; "
        "to keep it: take the change back"
    )


@atexit.register  # no hook is called where nothing was to be done
def confirm_complete():
    """Keep no more copies of what Snakemake has noted as complete."""
    if not WORKFLOW_LOCKS or workflow.scheduler is None:  # refused, or ended before it had a plan
        return
    dag = workflow.dag
    for job in dag.jobs:
        noted = not dag.needrun(job) and workflow.persistence.has_metadata(job)
        if dag.finished(job) or noted:
            for record in records(job):
                finished.confirm(record)


def guarded(hook):
    """Snakemake's hook for the start, after the guards'."""

    def start(log):
        refusal = BUSY or (not workflow.touch and (lost_data() or made_again()))
        if refusal:
            raise WorkflowError(refusal)
        brief_touch()
        hook(log)

    return start


# Not by "onstart:", which is left out in a module, and which an own workflow's would replace.
register_onstart = workflow.onstart
workflow._onstart = guarded(workflow._onstart)
workflow.onstart = lambda hook: register_onstart(guarded(hook))
