"""The standard normal and zuko's flows, as the paper has them (C.2)."""

import torch
import zuko
from torch import nn

from ..settings import Hidden, Positive


def standard_normal(features: int) -> nn.Module:
    """N(0, I)."""
    normal = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(features), torch.ones(features), buffer=True
    )
    normal.label = r"$\mathcal{N}(0, I)$"
    return normal


def realnvp(features: int, layers: Positive, hidden: Hidden) -> nn.Module:
    """RealNVP (C.2): affine couplings, the halves swapped from one layer to the next."""
    flow = zuko.flows.RealNVP(features, transforms=layers, hidden_features=hidden)
    return _prepared(flow, "RealNVP")


def maf(features: int, layers: Positive, hidden: Hidden) -> nn.Module:
    """Masked autoregressive flow (C.2), random permutations between the layers."""
    flow = zuko.flows.MAF(features, transforms=layers, randperm=True, hidden_features=hidden)
    return _prepared(flow, "MAF")


def _prepared(flow: nn.Module, label: str) -> nn.Module:
    """Weights drawn by Glorot's rule, biases 0, and a name for figures."""
    for layer in flow.modules():
        if isinstance(layer, nn.Linear | zuko.nn.Linear):  # zuko's is no subclass of torch's
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    flow.label = label
    return flow
