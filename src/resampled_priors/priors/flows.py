"""zuko's flows: those of the paper (C.2), and splines."""

from types import ModuleType

from torch import nn
from torch.distributions import Distribution

from ..settings import Flag, Hidden, Positive
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


def realnvp(features: int, layers: Positive, hidden: Hidden, identity: Flag = False) -> nn.Module:
    """RealNVP (C.2): affine couplings, the halves swapped from one layer to the next.

    ``identity``: start as the identity, the last layer of each network at 0. Many layers of
    Glorot's weights start with scales that send the latents away for good.
    """
    flow = import_zuko().flows.RealNVP(features, transforms=layers, hidden_features=hidden)
    flow = _prepared(flow, "RealNVP")
    if identity:
        for transform in flow.transform.transforms:
            nn.init.zeros_(transform.hyper[-1].weight)
    return flow


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


def spline(features: int, layers: Positive, bins: Positive, hidden: Hidden) -> nn.Module:
    """Neural spline flow, RQ-NSF (C): RealNVP's couplings, by rational-quadratic splines.

    A spline has ``bins`` on [−5, 5] and is the identity outside.

    Source: Durkan et al. (2019), "Neural Spline Flows", arXiv:1906.04032, eq. 4.
    """
    zuko = import_zuko()
    flow = zuko.flows.NICE(  # zuko's own NSF takes two passes and splines of all features
        features,
        transforms=layers,
        univariate=zuko.transforms.MonotonicRQSTransform,
        shapes=((bins,), (bins,), (bins - 1,)),
        hidden_features=hidden,
    )
    return _prepared(flow, "neural spline flow")


def _prepared(flow: nn.Module, label: str) -> nn.Module:
    """Weights drawn, a base without checks, a name for figures."""
    draw_weights(flow)
    flow.base.f = diagonal_normal
    flow.label = label
    return flow
