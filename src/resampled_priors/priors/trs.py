"""Truncated rejection sampling as a prior (TRS): the p_T of LARS, trained by another bound.

Source: Lawson, Tucker, Dai & Ranganath, *Energy-Inspired Models: Learning with Sampler-Induced
Distributions*, 2019, where the bound is that of the section on TRS.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts import Prior
from ..lars import AcceptanceFunction, ResampledPrior
from ..settings import Hidden, Positive
from .normal import StandardNormal


def trs_bound(
    log_proposal: Tensor, logit: Tensor, logit_proposals: Tensor, logit_z: Tensor, truncation: int
) -> Tensor:
    """A random lower bound on log p_T(z), whose mean lies below it.

    The number t of candidates and the t − 1 rejected ones are latent. Given z they are taken to be
    distributed as

        q(t|z) ∝ (1 − λ)^{t−1} a(z)^{[t<T]},   t = 1, …, T,   z_1, …, z_{t−1} ~ π

    with a variational parameter λ in (0, 1), for which the bound is

        log π(z) + E_q[(t − 1) E_π[log(1 − a)] + [t < T] log a(z)] + H[q(t|z)].

    It is tightest at 1 − λ = exp E_π[log(1 − a)], and there is log p_T(z) of eq. 4 with λ ≥ Z in
    the place of Z: exact where a is constant.

    Args:
        log_proposal: log π(z), shape (...).
        logit: log a(z) / (1 − a(z)), shape (...).
        logit_proposals: the same of proposals, shape (S,), over which the inner mean is taken.
        logit_z: log λ / (1 − λ), shape ().
        truncation: T ≥ 1.

    Returns:
        shape (...), in nats.
    """
    rejected = torch.arange(truncation, device=logit.device)  # t − 1
    log_a = F.logsigmoid(logit)[..., None] * (rejected < truncation - 1)
    log_q = (rejected * F.logsigmoid(-logit_z) + log_a).log_softmax(-1)
    log_joint = rejected * F.logsigmoid(-logit_proposals).mean() + log_a
    return log_proposal + (log_q.exp() * (log_joint - log_q)).sum(-1)


class TruncatedRejectionPrior(ResampledPrior):
    """TRS on N(0, I): sampled, evaluated and normalised as LARS, of which it is the p_T.

    In training T proposals take the place of Algorithm 1's S, and λ, which is learned, that of Z.

    Args:
        hidden: widths of the hidden layers of a(z).
        truncation: T.
    """

    label = "TRS"
    forward = Prior.forward  # Algorithm 1 has no part in it

    def __init__(self, features: int, hidden: Hidden, truncation: Positive) -> None:
        log_a = AcceptanceFunction(features, hidden)
        super().__init__(StandardNormal(features), log_a, truncation, num_proposals=truncation)
        self.logit_z = nn.Parameter(torch.zeros(()))

    def start(self, images: Tensor | None = None) -> None:
        """Nothing: λ is a parameter, and ⟨Z⟩ is not used."""

    def z_in_training(self) -> float:
        return self.logit_z.sigmoid().item()

    def training_log_prob(self, z: Tensor, log_posterior: Tensor | None) -> Tensor:
        """A random lower bound on log p_T(z), see ``trs_bound``: (..., features) -> (...)."""
        proposal = self.proposal_distribution()
        logit, logit_proposals = (
            self.log_a.network(points).squeeze(-1)
            for points in (z, proposal.sample((self.num_proposals,)))
        )
        return trs_bound(
            proposal.log_prob(z), logit, logit_proposals, self.logit_z, self.truncation
        )
