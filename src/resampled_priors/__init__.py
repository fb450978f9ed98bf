"""Learned accept/reject sampling (LARS) for priors, and the paper that introduced it, rerun."""

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
