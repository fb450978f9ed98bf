"""A proposal π: a distribution, or a module whose forward() returns one."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform
from torch.distributions.utils import lazy_property

from ..errors import WrongInput


def proposal_distribution(proposal: Distribution | nn.Module) -> Distribution:
    """π(z), with the present parameters where it is learned.

    Raises:
        WrongInput: neither a distribution nor a module that returns one.
    """
    given = proposal() if isinstance(proposal, nn.Module) else proposal
    if not isinstance(given, Distribution):
        of_module = f"the forward() of {type(proposal).__name__} returns a "
        raise WrongInput(
            "a proposal must be a torch.distributions.Distribution, or an nn.Module whose "
            f"forward() returns one: {of_module if given is not proposal else 'got a '}"
            f"{type(given).__name__}"
        )
    return given


def draw_with_gradient(proposal: Distribution, shape: tuple[int, ...]) -> Tensor:
    """Samples, (*shape, *event_shape), with a gradient where the proposal has one to give."""
    has_gradient = proposal.has_rsample and _rsamples_as_it_samples(proposal)
    return (proposal.rsample if has_gradient else proposal.sample)(shape)


def _rsamples_as_it_samples(proposal: Distribution) -> bool:
    """False where a subclass has a ``sample`` of its own, but its parent's ``rsample``."""
    for kind in type(proposal).__mro__:
        if "rsample" in kind.__dict__:
            break
        if "sample" in kind.__dict__:
            return False
    base = getattr(proposal, "base_dist", None)
    return base is None or _rsamples_as_it_samples(base)


def moved(value: Any, move: Callable[[Tensor], Tensor]) -> Any:
    """A copy in which ``move`` was applied to each tensor of a distribution and of its parts.

    Modules and functions within it stay as they are.
    """
    if isinstance(value, Tensor):
        return move(value)
    if type(value) in (list, tuple):
        return type(value)([moved(part, move) for part in value])
    if not isinstance(value, Distribution | Transform):
        return value
    new = copy.copy(value)
    for key, part in vars(new).items():
        vars(new)[key] = moved(part, move)
    for key in list(vars(new)):  # made from the rest at need, of a type of their own (VonMises)
        if key.startswith("_") and isinstance(
            inspect.getattr_static(type(new), key, None), lazy_property
        ):
            del vars(new)[key]
    return new


def refuse_parameters(proposal: Distribution) -> None:
    """Raises WrongInput where a gradient would reach something inside a distribution."""
    tensors: list[Tensor] = []
    moved(proposal, lambda tensor: tensors.append(tensor) or tensor)
    if any(tensor.requires_grad for tensor in tensors) or _has_gradient(proposal, tensors):
        raise WrongInput(
            f"the proposal, a {type(proposal).__name__}, has parameters to be learned, but inside "
            "a distribution they are neither trained nor saved: give an nn.Module whose forward() "
            "returns the distribution (a lazy flow, not what it returns), or detach them"
        )


def _has_gradient(proposal: Distribution, tensors: list[Tensor]) -> bool:
    """Whether log π depends on parameters: a flow's networks cannot be seen, its density can."""
    like = next(filter(torch.is_floating_point, tensors), torch.zeros(()))
    try:
        with torch.enable_grad():
            return proposal.log_prob(like.new_zeros(proposal.event_shape)).requires_grad
    except Exception:  # zeros are outside its support, or it has no density
        return False
