"""Priors built from config: the standard normal, flows (zuko's), and LARS on any of them.

Every prior has one contract: ``log_prob(z)``, ``training_log_prob(z, log_posterior)``,
``sample(shape)`` and ``distribution()``. ``ResampledPrior`` (lars.py) has it by itself, and
``DistributionPrior`` gives it to any module whose ``forward()`` returns a distribution: a flow,
or a class of the user's own, named in config as FILE.py:CLASS.
"""

import runpy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Distribution

from ..errors import ResampledPriorsError
from ..files import sha256
from ..lars import AcceptanceFunction, ResampledPrior
from ..settings import Hidden, Positive, PriorName, Smoothing, Truncation


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


def realnvp(features: int, layers: Positive, hidden: Hidden) -> nn.Module:
    """RealNVP (C.2): affine couplings, the halves swapped from one layer to the next."""
    return _glorot(zuko.flows.RealNVP(features, transforms=layers, hidden_features=hidden))


def maf(features: int, layers: Positive, hidden: Hidden) -> nn.Module:
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


def lars(
    features: int,
    proposal: PriorName,
    hidden: Hidden,
    truncation: Truncation,
    smoothing: Smoothing,
    num_proposals: Positive,
) -> ResampledPrior:
    """LARS on a proposal, given by its settings; a(z) = MLP[features−hidden−1]."""
    lazy = build_prior(proposal, features).lazy
    log_a = AcceptanceFunction(features, hidden)
    return ResampledPrior(lazy, log_a, truncation, smoothing, num_proposals)


FAMILIES: dict[str, Callable[..., nn.Module]] = {"lars": lars, **PROPOSALS}


def own_class(family: str, code_sha256: str) -> Callable[..., nn.Module]:
    """The class (or function) FILE.py:CLASS.

    Args:
        code_sha256: of the file, as the resolved settings have it.

    Raises:
        ResampledPriorsError: the file is missing, another than it was, or fails.
    """
    file, _, name = family.rpartition(":")
    try:
        if sha256(file) != code_sha256:
            raise ResampledPriorsError(
                f"{file} has changed since this run's settings were made: "
                "bring that file back, or train the run again"
            )
        found = runpy.run_path(file)  # reads the source, never a compiled file that may be older
    except ResampledPriorsError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise ResampledPriorsError(
            f"{file} cannot be used ({_in_one_line(error)}): correct it"
        ) from error
    return found[name]


def has_own_class(settings: dict[str, Any]) -> bool:
    """Whether a prior's resolved settings name a class of the user's own, or its proposal's do."""
    return any("code_sha256" in part for part in (settings, settings.get("proposal", {})))


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def own_prior(family: str, features: int, code_sha256: str, **settings: Any) -> nn.Module:
    """The user's module, built with ``features`` and its settings, its contract checked.

    Raises:
        ResampledPriorsError: as ``own_class``; it cannot be built, or breaks the contract.
    """
    make = own_class(family, code_sha256)
    try:
        lazy = make(features, **settings)
        p = lazy()
        z = p.sample((2,))
        shapes = (p.batch_shape, p.event_shape, z.shape, p.log_prob(z).shape)
    except Exception as error:  # whatever the user's code raises
        raise ResampledPriorsError(
            f"{family} with features {features} and settings {settings} cannot be used "
            f"({_in_one_line(error)}): correct the class or its settings in the config"
        ) from error
    if not isinstance(lazy, nn.Module) or shapes != ((), (features,), (2, features), (2,)):
        raise ResampledPriorsError(
            f"{family} is not what a prior should be, an nn.Module whose forward() returns a "
            f"distribution of batch shape () and event shape ({features},): it is a "
            f"{type(lazy).__name__} that gives a {type(p).__name__} of batch shape "
            f"{tuple(shapes[0])} and event shape {tuple(shapes[1])}"
        )
    return lazy


def build_prior(settings: dict[str, Any], features: int) -> nn.Module:
    """The prior that resolved settings describe (``experiment.resolve_prior`` makes them).

    Args:
        settings: ``family`` and that family's settings; for LARS, ``proposal`` holds another
            prior's settings.
        features: the size of z.

    Raises:
        ResampledPriorsError: unknown family; as ``own_prior``.
    """
    settings = {key: value for key, value in settings.items() if key not in ("name", "base")}
    family = settings.pop("family")
    if family == "lars":
        return lars(features, **settings)
    if ":" in family:
        return DistributionPrior(own_prior(family, features, **settings))
    if family not in PROPOSALS:
        raise ResampledPriorsError(
            f"unknown prior family '{family}': use one of {', '.join(FAMILIES)}"
        )
    return DistributionPrior(PROPOSALS[family](features, **settings))
