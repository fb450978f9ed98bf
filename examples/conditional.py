"""LARS on a conditional flow: π(z|c) and a(z, c), with a Z of its own for each condition c."""

import math
from collections.abc import Callable

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from resampled_priors import (
    AcceptanceFunction,
    ResampledDistribution,
    estimate_z,
    log_resampled_density,
)

TRUNCATION, NUM_PROPOSALS = 100, 64


def target(c: Tensor) -> MixtureSameFamily:
    """z = ±c, blurred, for conditions of shape (batch, 1): what one affine layer cannot be."""
    means = torch.cat([-c, c], dim=-1)
    return MixtureSameFamily(Categorical(torch.ones_like(means)), Normal(means, 0.3))


class ConditionalLARS(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proposal = zuko.flows.MAF(1, context=1, transforms=1, hidden_features=(32, 32))
        self.acceptance = AcceptanceFunction(features=2, hidden=(32, 32))

    def log_a(self, z: Tensor, c: Tensor) -> Tensor:
        """log a(z, c): (..., 1) and (..., 1), broadcast, -> (...)."""
        return self.acceptance(torch.cat([z, c.expand_as(z)], dim=-1))

    def training_log_prob(self, z: Tensor, c: Tensor) -> Tensor:
        """log p_T(z|c), shape (batch,), each with the Z of its own condition.

        That comes from proposals given c alone: conditions share no moving average.
        """
        proposal = self.proposal(c)
        proposals = proposal.rsample((NUM_PROPOSALS,))
        log_z = self.log_a(proposals, c).logsumexp(0) - math.log(NUM_PROPOSALS)
        return log_resampled_density(proposal.log_prob(z), self.log_a(z, c), log_z, TRUNCATION)

    def forward(self, c: Tensor) -> ResampledDistribution:
        """p_T(z|c) for a single condition, shape (1,): to score and to sample."""
        proposal = self.proposal(c)

        def log_a(z: Tensor) -> Tensor:
            return self.log_a(z, c)

        log_z = estimate_z(proposal, log_a, 400_000).log_mean
        return ResampledDistribution(proposal, log_a, TRUNCATION, log_z)


def train(model: nn.Module, log_prob: Callable, iterations: int = 400) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(iterations):
        c = 0.5 + torch.rand(128, 1)
        z = target(c).sample()[:, None]
        loss = -log_prob(z, c).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


torch.manual_seed(0)
flow = zuko.flows.MAF(1, context=1, transforms=1, hidden_features=(32, 32))
train(flow, lambda z, c: flow(c).log_prob(z))
lars = ConditionalLARS()
train(lars, lars.training_log_prob)

distributions = {}
for value in (0.5, 1.0, 1.5):
    c = torch.tensor([value])
    p = distributions[value] = lars(c)
    with torch.no_grad():
        z = target(c).sample((50_000, 1))
        log_q = target(c).log_prob(z).squeeze(-1)
        kl_flow, kl = ((log_q - d.log_prob(z)).mean() for d in (flow(c), p))
    print(f"c = {value}: KL(q||flow) = {kl_flow:.3f} nats")
    print(f"c = {value}: KL(q||LARS) = {kl:.3f} nats")
    print(f"c = {value}: Z = {p.log_z.exp():.3f}")
