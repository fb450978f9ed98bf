"""What a training step of the VAE costs with each prior, in turns in one process.

python benchmarks/priors.py [PRIOR ...]: by default those of Table R.1. Prints a table: the median
over the rounds of a step's time over that of the standard prior's step in the same round.
"""

import argparse
import statistics
import time

import pandas as pd
import torch
from bench import ROOT, trainer
from tqdm import tqdm

from resampled_priors.experiment import load_config, table_runs
from resampled_priors.machine.memory import keep_freed_memory
from resampled_priors.training.trainer import Trainer

STANDARD = "standard"
IMAGES = 50_000  # as MNIST has for training: an exemplar prior looks at them


def seconds(one: Trainer) -> float:
    start = time.perf_counter()
    one.advance(until=10**9)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("priors", nargs="*", metavar="PRIOR")
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    config = load_config([ROOT / "config.yaml"])
    shown = dict.fromkeys(run.prior for run in table_runs(config, "tableR1"))
    post_hoc = [name for name in shown if "base" in config["priors"][name]]  # no step of the VAE
    priors = arguments.priors or [name for name in shown if name not in post_hoc]
    torch.set_num_threads(1)
    keep_freed_memory()
    names = dict.fromkeys([STANDARD, *priors])
    trainers = {name: trainer("vae", name, "cpu", IMAGES) for name in names}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in tqdm(range(arguments.rounds)):
        for name, one in trainers.items():
            times[name].append(seconds(one))
    rows = []
    for name, of_prior in times.items():
        ratios = sorted(t / u for t, u in zip(of_prior, times[STANDARD], strict=True))
        quarter = len(ratios) // 4
        rows.append(
            {
                "prior": config["priors"][name].get("label", name),
                "a step, of the standard prior's": f"{statistics.median(ratios):.2f}",
                "middle half": f"{ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}",
            }
        )
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
