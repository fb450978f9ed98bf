"""zuko's flows, as the paper has them (C.2)."""

from types import ModuleType

from torch import nn
from torch.distributions import Distribution

from ..settings import Hidden, Positive
from .normal import diagonal_normal


def import_zuko() -> ModuleType:
    """zuko, with torch as it was: zuko's import switches off its argument checks for all."""
    checks = Distribution._validate_args, Distribution.arg_constraints
    import zuko

    Distribution._validate_args, Distribution.arg_constraints = checks
    for own in vars(zuko.distributions).values():
        if isinstance(own, type) and own.__module__ == zuko.distributions.__name__:
            own._validate_args, own.arg_constraints = False, {}  # its own are made for that
    return zuko


def realnvp(features: int, layers: Positive, hidden: Hidden) -> nn.Module:
    """RealNVP (C.2): affine couplings, the halves swapped from one layer to the next."""
    flow = import_zuko().flows.RealNVP(features, transforms=layers, hidden_features=hidden)
    return _prepared(flow, "RealNVP")


def maf(features: int, layers: Positive, hidden: Hidden) -> nn.Module:
    """Masked autoregressive flow (C.2), random permutations between the layers."""
    flow = import_zuko().flows.MAF(
        features, transforms=layers, randperm=True, hidden_features=hidden
    )
    return _prepared(flow, "MAF")


def draw_weights(flow: nn.Module) -> None:
    """Weights of linear layers by Glorot's rule, biases 0."""
    linear = (nn.Linear, import_zuko().nn.Linear)  # zuko's is no subclass of torch's
    for layer in flow.modules():
        if isinstance(layer, linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def _prepared(flow: nn.Module, label: str) -> nn.Module:
    """Weights drawn, a base without checks, a name for figures."""
    draw_weights(flow)
    flow.base.f = diagonal_normal
    flow.label = label
    return flow
