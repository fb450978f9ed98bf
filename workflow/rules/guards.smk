# What keeps runs from harm: no two Snakemakes at once, and no training again for data that are gone.
# This reaches into Snakemake's insides; the rules do not.

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.runs.locks import hold_workflow

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
