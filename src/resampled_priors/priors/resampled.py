"""LARS on a proposal of any family (the paper's prior)."""

from torch import nn

from ..lars import AcceptanceFunction, ResampledPrior
from ..settings import Hidden, Positive, PriorName, Smoothing, Truncation


def lars(
    features: int,
    proposal: PriorName,
    hidden: Hidden,
    truncation: Truncation,
    smoothing: Smoothing,
    num_proposals: Positive,
) -> nn.Module:
    """p_T or p_∞ with a(z) = MLP[features−hidden−1]; ``proposal`` is another prior's module."""
    log_a = AcceptanceFunction(features, hidden)
    return ResampledPrior(proposal, log_a, truncation, smoothing, num_proposals)
