"""Priors built from config: the standard normal, flows (zuko's), and LARS on any of them.

Every prior has one contract: ``log_prob(z)``, ``training_log_prob(z, log_posterior)``,
``sample(shape)`` and ``distribution()``. ``ResampledPrior`` (lars.py) has it by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Distribution

from .files import ResampledPriorsError
from .lars import AcceptanceFunction, ResampledPrior


class DistributionPrior(nn.Module):
    """A prior with a density of its own: wraps a zuko lazy distribution."""

    def __init__(self, lazy: nn.Module) -> None:
        super().__init__()
        self.lazy = lazy

    def distribution(self) -> Distribution:
        return self.lazy()

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., features) -> (...)."""
        return self.lazy().log_prob(z)

    def training_log_prob(self, z: Tensor, log_posterior: Tensor) -> tuple[Tensor, None]:
        """log p(z), and None: there is no moving average to store."""
        return self.log_prob(z), None

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.lazy().sample(torch.Size(sample_shape))


def standard_normal(features: int) -> nn.Module:
    """N(0, I)."""
    return zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(features), torch.ones(features), buffer=True
    )


def realnvp(features: int, layers: int, hidden: Sequence[int]) -> nn.Module:
    """RealNVP (C.2): affine couplings, the halves swapped from one layer to the next."""
    return _glorot(zuko.flows.RealNVP(features, transforms=layers, hidden_features=hidden))


def maf(features: int, layers: int, hidden: Sequence[int]) -> nn.Module:
    """Masked autoregressive flow (C.2), random permutations between the layers."""
    return _glorot(
        zuko.flows.MAF(features, transforms=layers, randperm=True, hidden_features=hidden)
    )


def _glorot(flow: nn.Module) -> nn.Module:
    for layer in flow.modules():
        if isinstance(layer, nn.Linear | zuko.nn.Linear):  # zuko's is no subclass of torch's
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return flow


PROPOSALS: dict[str, Callable[..., nn.Module]] = {
    "standard_normal": standard_normal,
    "realnvp": realnvp,
    "maf": maf,
}


def build_prior(settings: dict[str, Any], features: int) -> nn.Module:
    """The prior that resolved settings describe (``experiment.resolve_prior`` makes them).

    Args:
        settings: ``family`` and that family's settings; for LARS, ``proposal`` holds another
            prior's settings.
        features: the size of z.

    Raises:
        ResampledPriorsError: unknown family.
    """
    settings = {key: value for key, value in settings.items() if key not in ("name", "base")}
    family = settings.pop("family")
    if family == "lars":
        proposal = build_prior(settings.pop("proposal"), features)
        log_a = AcceptanceFunction(features, settings.pop("hidden"))
        return ResampledPrior(proposal.lazy, log_a, **settings)
    if family not in PROPOSALS:
        known = ", ".join(["lars", *PROPOSALS])
        raise ResampledPriorsError(f"unknown prior family '{family}': use one of {known}")
    return DistributionPrior(PROPOSALS[family](features, **settings))
