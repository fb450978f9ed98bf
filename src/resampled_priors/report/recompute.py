"""What of a run's records can be computed again, and what must hold between their numbers."""

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd

from ..data.raw import RAW_FILES
from ..experiment import image_shape
from ..own_code import has_own_class
from ..runs.records import Record

Z_COPIES = ("z", "z_se", "log_z_se", "num_z_samples")  # metrics.json repeats them of z.json
RUN_COPIES = ("iterations", "train_seconds", "device")  # and these of run.json
COUNTS = ("num_parameters", "num_acceptance_parameters", "num_prior_parameters")


def close(one: float, other: float) -> bool:
    """Equal up to the rounding of float64, and of float32 sums."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def run_problems(folder: Path, run: Record) -> Iterator[str]:
    """run.json against its own settings, training.csv and the registry of published data."""
    path, again = folder / "run.json", "train the run again"
    training = run["settings"].get("training", {})
    planned = training.get("iterations", run["iterations"])
    early = training.get("early_stopping", False)
    if run["iterations"] > planned or (run["iterations"] < planned and not early):
        yield f"{path}: iterations is {run['iterations']}, its settings say {planned}: {again}"
    best = run.get("best_iteration")
    if best is not None and not (early and best <= run["iterations"]):
        yield f"{path}: best_iteration is {best}, of {run['iterations']} iterations: {again}"
    published = {
        file.name: file.known_hash for file in RAW_FILES.get(run["settings"]["dataset"], [])
    }
    for file in run.get("data", []):
        known = published.get(file.get("name"), "")
        if known.startswith("sha256:") and file["verified"] != (known[7:] == file.get("sha256")):
            yield f"{path}: {file['name']} is not the published file, or is: {again}"
    table = folder / "training.csv"
    if table.is_file():
        try:
            last = int(pd.read_csv(table)["iteration"].iloc[-1])
        except (KeyError, ValueError, IndexError, OverflowError):
            yield f"{table} is no log of a training: {again}"
        else:
            if last != run["iterations"] and not early:
                yield f"{table} ends at {last}, run.json at {run['iterations']}: {again}"


def z_problems(path: Path, z: Record) -> Iterator[str]:
    """log Z is the log of Z; its error that of Z over Z; a product's factors make it."""
    again = "estimate Z of the run again"
    if not close(z["log_z"], math.log(z["z"])):
        yield f"{path}: log_z is not the logarithm of z: {again}"
    if not close(z["log_z_se"] * z["z"], z["z_se"]):
        yield f"{path}: log_z_se is not z_se / z: {again}"
    if z["num_z_samples"] == 0 and (z["z"], z["z_se"]) != (1, 0):
        yield f"{path}: z is {z['z']} from no samples: {again}"
    factors = z.get("factors")
    if factors:
        product = math.prod(mean for mean, _, _ in factors)
        error = product * math.hypot(*(se / mean for mean, se, _ in factors))
        samples = sum(number for _, _, number in factors)
        if not (close(product, z["z"]) and close(error, z["z_se"])):
            yield f"{path}: z is not the product of its factors: {again}"
        if samples != z["num_z_samples"]:
            yield f"{path}: num_z_samples is not the sum of its factors': {again}"


def metrics_problems(path: Path, metrics: Record, run: Record, z: Record | None) -> Iterator[str]:
    """metrics.json against the records before it, its own sums, and the settings of its run."""
    again = "evaluate the run again"
    for key in ("data_sha256", *RUN_COPIES):
        if key in metrics and key in run and metrics[key] != run[key]:
            yield f"{path}: {key} is not that of run.json: {again}"
    for key in Z_COPIES if z else ():
        if key in metrics and metrics[key] != z[key]:
            yield f"{path}: {key} is not that of z.json: {again}"
    if metrics.get("seed", run["settings"]["seed"]) != run["settings"]["seed"]:
        yield f"{path}: seed is not that of the run's settings: {again}"
    if not close(metrics["elbo"], metrics["kl"] + metrics["recons"]):
        yield f"{path}: elbo is not kl + recons: {again}"
    if metrics["nll"] > metrics["elbo"] and not close(metrics["nll"], metrics["elbo"]):
        yield f"{path}: nll is above the negative ELBO, which bounds it: {again}"
    if set(COUNTS) <= set(metrics) and not has_own_class(run["settings"]):
        made = _of_model(json.dumps(run["settings"]))
        for key, value in made.items():
            if metrics.get(key, False) != value:
                yield f"{path}: {key} is {metrics.get(key)}, its settings make {value}: {again}"


@cache
def _of_model(text: str) -> dict[str, int | bool]:
    """What the settings, given as JSON, say of the model; nobody's random numbers move."""
    import torch

    from ..models import build_model, parameter_counts

    settings = json.loads(text)
    with torch.random.fork_rng(devices=[]):
        model = build_model(settings, image_shape(settings))
        return {**parameter_counts(model), "is_bound": model.prior.is_bound}
