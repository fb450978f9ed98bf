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
    from .partition import ZEstimate, estimate_z

__version__ = "0.1.0"

__all__ = [
    "AcceptanceFunction",
    "ResampledDistribution",
    "ResampledPrior",
    "ZEstimate",
    "estimate_z",
    "log_resampled_density",
]


def __getattr__(name: str) -> Any:
    """A public name at its first use: Snakemake, at each start, reads the config without torch."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module = ".partition" if name in ("ZEstimate", "estimate_z") else ".lars"
    return getattr(import_module(module, __name__), name)
