"""Which proposals are symmetric, so that Z can be estimated from antithetic pairs (z, 2μ − z)."""

import sys

import torch
from torch import Tensor
from torch.distributions import (
    Cauchy,
    Distribution,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)

from ..errors import WrongInput

ABOUT_LOC = (Normal, Laplace, Cauchy, StudentT, MultivariateNormal)


def centre_of_symmetry(proposal: Distribution) -> Tensor | None:
    """The μ with π(μ + z) = π(μ − z), or None where it is not known to have one.

    Known is what a type itself computes; a subclass of it may compute something else.
    """
    kind = type(proposal)
    zuko = sys.modules.get("zuko.distributions")  # whoever has a distribution of it has loaded it
    if kind is Independent or (zuko and kind in (zuko.DiagNormal, zuko.BoxUniform)):
        return centre_of_symmetry(proposal.base_dist)
    if kind in ABOUT_LOC:
        return proposal.loc
    if kind is Uniform:
        return (proposal.low + proposal.high) / 2
    return None


def centre_of_pairs(proposal: Distribution, antithetic: bool | Tensor | None) -> Tensor | None:
    """The μ of antithetic pairs, or None where none are to be drawn.

    Args:
        antithetic: as ``estimate_z`` takes it.

    Raises:
        WrongInput: pairs asked of a proposal not known to be symmetric; a stated μ about which
            its density is not.
    """
    name = type(proposal).__name__
    if isinstance(antithetic, Tensor):
        z = proposal.sample((1_000,))
        densities = (proposal.log_prob(points) for points in (z, 2 * antithetic - z))
        if not torch.allclose(*densities, rtol=1e-3, atol=1e-3):
            raise WrongInput(f"{name} is not symmetric about antithetic={antithetic.tolist()}")
        return antithetic
    centre = None if antithetic is False else centre_of_symmetry(proposal)
    if antithetic and centre is None:
        raise WrongInput(
            f"{name} is not known to be symmetric: give its centre, antithetic=mu (a tensor), or "
            "leave antithetic out"
        )
    return centre
