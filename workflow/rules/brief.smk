# A dry run and --touch say in a few lines what Snakemake says in two thousand; with -p
# (--printshellcmds) each job is listed all the same. This reaches into Snakemake's insides.

import atexit
import logging
import os
import sys
from collections import Counter

from snakemake.logging import logger
from snakemake.settings.enums import Quietness

LISTED = workflow.output_settings.printshellcmds

if workflow.output_settings.dryrun and not LISTED:
    # The number of jobs, and no list of them. Its filters are set up already: "-q" has neither.
    workflow.output_settings.quiet = {Quietness.RULES, Quietness.PROGRESS}


def brief_touch():
    """Called at the start, when it is known that this is --touch."""
    if workflow.touch and not LISTED:
        logger.setLevel(logging.ERROR)


@atexit.register
def print_touched():
    """What --touch did: the jobs that count as made now, and which of their files are not there."""
    if not workflow.touch or BUSY or workflow.scheduler is None:  # refused
        return
    made, missing = Counter(), Counter()
    for job in workflow.dag.jobs:
        absent = [file for file in job.output if not os.path.exists(file)]
        made[job.rule.name] += len(absent) < len(job.output)
        missing.update(map(os.path.basename, absent))
    counts = ", ".join(f"{number} {rule}" for rule, number in made.most_common() if number)
    absent = ", ".join(f"{number} {name}" for name, number in missing.most_common())
    print(f"counted as made, nothing was run: {counts or 'nothing'}", file=sys.stderr)
    if absent:
        print(f"not there, made when something needs it: {absent}", file=sys.stderr)
