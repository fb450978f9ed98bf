"""Self-normalised importance sampling as a prior (SNIS).

K proposals are drawn and one of them is chosen, with probabilities proportional to exp(−U): what
this sampler gives is the prior itself, and a lower bound on its density is trained.

Source: Lawson, Tucker, Dai & Ranganath, *Energy-Inspired Models: Learning with Sampler-Induced
Distributions*, 2019, where the bound is that of the section on SNIS.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..contracts import LogAcceptance, Prior
from ..settings import Hidden, Positive
from .energy import Energy
from .normal import StandardNormal

BLOCK = 2**17  # proposals held at a time when sampling


class SelfNormalizedDistribution(Distribution):
    """One of K proposals z_1, …, z_K ~ π, chosen by softmax(−U(z_k)).

    By exchangeability the chosen one has the density of K times the first where it is chosen,

        p(z) = E[π(z) e^{−U(z)} / Ẑ],   Ẑ = (e^{−U(z)} + Σ_{k=2}^{K} e^{−U(z_k)}) / K

    over the K − 1 other proposals. ``log_prob`` is log [π(z) e^{−U(z)} / Ẑ] of one draw of them;
    by Jensen its mean is at most log p(z). At K = 1 it is log π(z).

    Args:
        energy: z (..., features) -> U(z) (...), in nats.
        num_proposals: K.
    """

    arg_constraints: dict = {}

    def __init__(self, proposal: Distribution, energy: LogAcceptance, num_proposals: int) -> None:
        self.proposal, self.energy, self.num_proposals = proposal, energy, num_proposals
        super().__init__(event_shape=proposal.event_shape, validate_args=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """A random lower bound on log p(z), (..., features) -> (...), in nats.

        The K − 1 other proposals are drawn anew at each call, and shared by the z in it.
        """
        own = -self.energy(z)
        others = -self.energy(self.proposal.sample((self.num_proposals - 1,)))
        log_z = torch.logaddexp(own, others.logsumexp(0)) - math.log(self.num_proposals)
        return self.proposal.log_prob(z) + own - log_z

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact samples, (*sample_shape, features)."""
        count, block = math.prod(sample_shape), max(1, BLOCK // self.num_proposals)
        chosen = [self._choose(min(block, count - i)) for i in range(0, count or 1, block)]
        return torch.cat(chosen).reshape(*sample_shape, *self.event_shape)

    def _choose(self, count: int) -> Tensor:
        z = self.proposal.sample((count, self.num_proposals))
        energy = self.energy(z)
        # The argmax of −U − log E, E ~ Exp(1), has the probabilities softmax(−U) (Gumbel).
        index = (energy + torch.empty_like(energy).exponential_().log()).argmin(-1)
        return z[torch.arange(count, device=z.device), index]


class SelfNormalizedPrior(Prior):
    """SNIS on N(0, I), with a learned energy. ``log_prob`` is a random lower bound.

    Args:
        hidden: widths of the energy's hidden layers.
        num_proposals: K, in training, in evaluation and in sampling: it is a part of the model.
    """

    label = "SNIS"
    is_bound = True

    def __init__(self, features: int, hidden: Hidden, num_proposals: Positive) -> None:
        super().__init__()
        self.proposal = StandardNormal(features)
        self.energy = Energy(features, hidden)
        self.num_proposals = num_proposals

    def distribution(self) -> SelfNormalizedDistribution:
        return SelfNormalizedDistribution(self.proposal(), self.energy, self.num_proposals)
