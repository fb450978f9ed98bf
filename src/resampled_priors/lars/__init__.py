"""Learned accept/reject sampling (LARS): the idea of the paper.

A proposal π(z) is reweighted by a learned acceptance function a(z) in [0, 1]. Drawing candidates
from π and accepting each with probability a(z) gives

    p_∞(z) = π(z) a(z) / Z,   Z = ∫ π(z) a(z) dz                                       (eq. 3)

and accepting the T-th candidate whatever a(z) says gives

    p_T(z) = (1 − α_T) π(z) a(z) / Z + α_T π(z),   α_T = (1 − Z)^(T−1)                 (eq. 4)

Read in this order: density.py, sampler.py, normalizer.py (Z: Algorithm 1 in training, A.17 after
it), then distribution.py and prior.py, which put them to use.

Source: Bauer & Mnih, *Resampled Priors for Variational Autoencoders*, 2018.
"""

from .density import check_truncation, log_resampled_density
from .distribution import ResampledDistribution
from .normalizer import RunningMean, ZEstimate, estimate_z, running_z_estimates, smoothed_log_z
from .prior import AcceptanceFunction, ResampledPrior
from .resampling import Resampling
from .sampler import MAX_BLOCK, sample_resampled

__all__ = [
    "MAX_BLOCK",
    "AcceptanceFunction",
    "ResampledDistribution",
    "ResampledPrior",
    "Resampling",
    "RunningMean",
    "ZEstimate",
    "check_truncation",
    "estimate_z",
    "log_resampled_density",
    "running_z_estimates",
    "sample_resampled",
    "smoothed_log_z",
]
