"""Priors, one idea a file, built from config: the standard normal, flows, LARS on any of them.

A family is a function (features, *settings) -> nn.Module. What it gives is a ``Prior``, or a
module whose ``forward()`` returns a distribution, which ``DistributionPrior`` makes one of. To add
one is a file with such a function and its line in ``FAMILIES``.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from ..contracts import Prior
from ..errors import ResampledPriorsError
from .dimensionwise import DimensionwisePrior
from .distribution import DistributionPrior
from .exemplar import ExemplarPrior
from .flows import maf, realnvp, spline
from .his import HamiltonianPrior
from .mixture import GaussianMixture
from .nce import NoiseContrastivePrior
from .normal import StandardNormal
from .own import own_prior
from .resampled import lars
from .snis import SelfNormalizedPrior
from .trs import TruncatedRejectionPrior
from .vamp import VampPrior

FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "standard_normal": StandardNormal,
    "realnvp": realnvp,
    "maf": maf,
    "spline": spline,
    "gaussian_mixture": GaussianMixture,
    "vamp": VampPrior,
    "exemplar": ExemplarPrior,
    "lars": lars,
    "dimensionwise": DimensionwisePrior,
    "snis": SelfNormalizedPrior,
    "trs": TruncatedRejectionPrior,
    "his": HamiltonianPrior,
    "nce": NoiseContrastivePrior,
}

__all__ = ["FAMILIES", "DistributionPrior", "build_prior"]


def build_prior(settings: dict[str, Any], features: int) -> Prior:
    """The prior that resolved settings describe (``experiment.resolve_prior`` makes them).

    Args:
        settings: ``family`` and that family's settings; ``proposal`` holds another prior's.
        features: the size of z.

    Raises:
        ResampledPriorsError: unknown family; as ``own_prior``.
    """
    module = build_module(settings, features)
    return module if isinstance(module, Prior) else DistributionPrior(module)


def build_module(settings: dict[str, Any], features: int) -> nn.Module:
    """What a family's function gives, not yet made a ``Prior``: a proposal, for instance."""
    settings = {key: value for key, value in settings.items() if key not in ("name", "base")}
    family = settings.pop("family")
    if "proposal" in settings:
        settings["proposal"] = build_module(settings["proposal"], features)
    if ":" in family:
        return own_prior(family, features, **settings)
    if family not in FAMILIES:
        raise ResampledPriorsError(
            f"unknown prior family '{family}': use one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[family](features, **settings)
