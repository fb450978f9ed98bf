"""Trained models by their names, without their budgets: what a clone comes with, and your own."""

import math
from pathlib import Path
from typing import Any

from ..errors import ResampledPriorsError
from ..experiment import Run, files_of_runs
from ..files import read_json
from ..models import LatentVariableModel
from .load import load_run


def load_pretrained(
    name: str, results: str | Path = "results", device: str = "cpu"
) -> LatentVariableModel:
    """The best trained model of a data set, a model and a prior that a results folder has.

    Of each budget its first seed counts; of the budgets, the one with the lowest test NLL in its
    metrics.json, then the one that trained for more iterations. ``load_run`` loads any other.

    Args:
        name: DATASET/MODEL/PRIOR, in the names of config.yaml.
        results: the folder that holds runs/; by default that of a clone one is in.
        device: where the model goes.

    Returns:
        as ``load_run``.

    Raises:
        ResampledPriorsError: there are no such weights (the error names those that there are); as
            ``load_run``.

    Examples:
        >>> model = load_pretrained("dynamic_mnist/vae/lars")
        >>> model.decode(model.prior.sample((4,))).shape  # pixel means in [0, 1]
        torch.Size([4, 784])
    """
    folders = [path.parent for path in files_of_runs(Path(results), "model.safetensors")]
    named: dict[str, list[Path]] = {}
    for folder in folders:
        named.setdefault(run_name(folder), []).append(folder)
    if name not in named:
        there = f"it has {', '.join(sorted(named))}" if named else "it has none at all"
        raise ResampledPriorsError(
            f"{results} has no weights of {name}: {there}; train it, or name another results "
            "folder (results=...)"
        )
    return load_run(best_run(named[name]), device)


def run_name(folder: Path) -> str:
    """DATASET/MODEL/PRIOR of a run folder."""
    run = Run.from_folder(folder)
    return f"{run.dataset}/{run.model}/{run.prior}"


def best_run(folders: list[Path]) -> Path:
    """Of run folders that differ in budget and seed, the one that ``load_pretrained`` takes."""
    first: dict[str, Path] = {}
    for folder in sorted(folders, key=lambda f: Run.from_folder(f).seed):
        first.setdefault(Run.from_folder(folder).budget, folder)
    return min(first.values(), key=_rank)


def _rank(folder: Path) -> tuple[float, int]:
    """Lower is better: the test NLL, where it is known; and the more iterations the better."""
    run: dict[str, Any] = read_json(folder / "run.json")
    metrics = folder / "metrics.json"
    nll = read_json(metrics)["nll"] if metrics.exists() else math.inf
    return nll, -run["iterations"]
