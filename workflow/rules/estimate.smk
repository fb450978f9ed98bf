# What a dry run adds below its list: how long the jobs would take, by rates that were measured.

import atexit
import os
import sys

from resampled_priors import experiment


@atexit.register  # the hooks of Snakemake leave dry runs out
def print_estimate():
    """How long the jobs of a dry run would take, below their list."""
    if not workflow.dryrun or workflow.dag is None:
        return
    for warning in filter(None, (lost_data(), made_again())):
        print(warning, file=sys.stderr)
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
            continue
        for step in set(steps.values()):
            if f"{step}_together_" in str(job.rule):  # whose name a module puts a word before
                folders = dict.fromkeys(map(os.path.dirname, job.output))
                jobs += [(step, experiment.Run.from_folder(folder)) for folder in folders]
    if jobs:
        print(timing.estimate(config, jobs, RESULTS), file=sys.stderr)
    if len(workflow.dag) and not LISTED:
        print("each job with its command: snakemake -n -p", file=sys.stderr)
