"""How long runs take: what was measured, kept in a file, and estimates made from nothing else.

A rate is that of a model and prior on one kind of device; what was never measured is unknown.
Nothing here imports torch: Snakemake reads this module in a dry run.
"""

from collections import Counter, defaultdict
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import pandas as pd

from ..experiment import Config, Run, files_of_runs, resolve_evaluation, resolve_run, resolve_z
from ..files import atomic_write
from ..machine.gpus import nvidia_smi
from ..runs.records import read_record

MEASURED = files(__package__).joinpath("measured_times.csv")
COLUMNS = [
    *("dataset", "model", "prior", "device", "iterations", "train_seconds"),
    *("num_z_samples", "z_seconds", "num_test_images", "num_importance_samples"),
    "evaluate_seconds",
]
STEPS = {"train": "training", "evaluate": "evaluation", "estimate_z": "Z at most"}


def measured_times(results: Path) -> pd.DataFrame:
    """One row for each trained run of a results folder: what was done, and in how many seconds."""
    rows = []
    for path in files_of_runs(Path(results), "run.json"):
        row = vars(Run.from_folder(path.parent)) | read_record(path)
        for other in (path.with_name("z.json"), path.with_name("metrics.json")):
            if other.exists():
                found = read_record(other)
                row |= {"z_seconds": found["seconds"], **found} if "seconds" in found else found
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def write_measured_times(results: Path, output: Path) -> None:
    """Write the times of a results folder as CSV."""
    with atomic_write(output) as temporary:
        measured_times(results).to_csv(temporary, index=False)


def known_times(results: Path) -> pd.DataFrame:
    """The times that come with the package, and those of this results folder."""
    with MEASURED.open(encoding="utf-8") as file:
        return pd.concat([pd.read_csv(file), measured_times(results)]).drop_duplicates()


def kind_of_device(device: str) -> str:
    """'cpu', or the name of the first GPU, found without torch."""
    names = [] if device == "cpu" else nvidia_smi("name")
    return names[0] if names else device.replace("auto", "cpu")


def step_seconds(config: Config, step: str, run: Run, times: pd.DataFrame) -> float | None:
    """How long a step of a run takes at the median measured rate; None where there is none.

    Args:
        step: one of ``STEPS``. Estimating Z, and training with early stopping, can end sooner.
        times: as ``known_times``, of one kind of device.
    """
    same = times[(times["model"] == run.model) & (times["prior"] == run.prior)]
    if step == "train":
        work = resolve_run(config, run)["training"]["iterations"]
        rates = same["iterations"] / same["train_seconds"]
    elif step == "estimate_z":
        if (same["num_z_samples"] == 0).any():
            return 0.0  # a prior without Z
        work = resolve_z(config, run)["z_samples"]
        rates = same["num_z_samples"] / same["z_seconds"]
    else:
        images = times.loc[times["dataset"] == run.dataset, "num_test_images"]
        work = images.max() * resolve_evaluation(config, run)["importance_samples"]
        rates = same["num_test_images"] * same["num_importance_samples"] / same["evaluate_seconds"]
    seconds = work / rates.median()
    return None if pd.isna(seconds) else float(seconds)


def estimate(config: Config, jobs: list[tuple[str, Run]], results: Path) -> str:
    """In words, how long steps of runs take on the config's device, one after another.

    Args:
        jobs: (step, run), as for ``step_seconds``.
    """
    device = kind_of_device(config["device"])
    times = known_times(results)
    times = times[times["device"] == device]
    totals: dict[str, float] = defaultdict(float)
    unknown = []
    for step, run in jobs:
        seconds = step_seconds(config, step, run, times)
        if seconds is None:
            unknown.append((step, f"{run.dataset}/{run.model}/{run.prior}"))
        else:
            totals[step] += seconds
    lines = [f"Time at the rates measured on {device}, one job after another:"]
    if totals:
        parts = [
            f"{name} {_hours(totals[step])}" for step, name in STEPS.items() if step in totals
        ]
        lines.append(f"  {', '.join(parts)}; in all {_hours(sum(totals.values()))}")
    if unknown:
        counts = Counter(step for step, _ in unknown)
        parts = [f"{step} {counts[step]} times" for step in STEPS if step in counts]
        names = ", ".join(sorted({name for _, name in unknown}))
        lines.append(f"  unknown, never measured on {device}: {', '.join(parts)}: {names}")
    return "\n".join([*lines, "  not counted: data, toys, figures, tables"])


def _hours(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
