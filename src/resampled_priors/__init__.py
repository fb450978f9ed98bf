"""Learned accept/reject sampling (LARS) for priors, and the paper that introduced it, rerun."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lars import (
        AcceptanceFunction,
        ResampledDistribution,
        ResampledPrior,
        log_resampled_density,
    )
    from .lars.normalizer import ZEstimate, estimate_z
    from .report.cells import results
    from .runs.fit import fit
    from .runs.load import load_run
    from .runs.pretrained import load_pretrained

__version__ = "0.1.0"

_MODULES = {
    "AcceptanceFunction": "lars",
    "ResampledDistribution": "lars",
    "ResampledPrior": "lars",
    "ZEstimate": "lars",
    "estimate_z": "lars",
    "fit": "runs.fit",
    "load_pretrained": "runs.pretrained",
    "load_run": "runs.load",
    "log_resampled_density": "lars",
    "results": "report.cells",
}

__all__ = [
    "AcceptanceFunction",
    "ResampledDistribution",
    "ResampledPrior",
    "ZEstimate",
    "estimate_z",
    "fit",
    "load_pretrained",
    "load_run",
    "log_resampled_density",
    "results",
]


def __getattr__(name: str) -> Any:
    """A public name at its first use: Snakemake, at each start, reads the config without torch."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
