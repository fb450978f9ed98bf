"""A prior by a class of the user's own: built and checked."""

from typing import Any

from torch import nn
from torch.distributions import Distribution

from ..contracts import Prior
from ..errors import ResampledPriorsError
from ..own_code import in_one_line, own_class


def own_prior(family: str, features: int, code_sha256: str, **settings: Any) -> nn.Module:
    """The user's module, built with ``features`` and its settings, its contract checked.

    A ``Prior`` may need its model first (``attach``): of it no distribution is asked here.

    Raises:
        ResampledPriorsError: as ``own_class``; it cannot be built, or breaks the contract.
    """
    make = own_class(family, code_sha256)
    try:
        module = make(features, **settings)
        if isinstance(module, Prior):
            return module
        p = module()
        gives, shapes = f"a {type(p).__name__}", None
        if isinstance(p, Distribution):
            z = p.sample((2,))
            shapes = (p.batch_shape, p.event_shape, z.shape, p.log_prob(z).shape)
            gives += f" of batch shape {tuple(shapes[0])} and event shape {tuple(shapes[1])}"
    except Exception as error:  # whatever the user's code raises
        raise ResampledPriorsError(
            f"{family} with features {features} and settings {settings} cannot be used "
            f"({in_one_line(error)}): correct the class or its settings in the config"
        ) from error
    if not isinstance(module, nn.Module) or shapes != ((), (features,), (2, features), (2,)):
        raise ResampledPriorsError(
            f"{family} is not what a prior should be, an nn.Module whose forward() returns a "
            f"distribution of batch shape () and event shape ({features},): it is a "
            f"{type(module).__name__} that gives {gives}"
        )
    return module
