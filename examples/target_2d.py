"""LARS on a two-dimensional target: eight Gaussians in a ring, from N(0, I).

The target's density is known, so a(z) can be fitted by E_q[log p_T(z)] alone (eq. 5 of the paper).
"""

import math

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from resampled_priors import AcceptanceFunction, ResampledPrior

torch.manual_seed(0)
angles = 2 * math.pi * torch.arange(8) / 8
means = 1.8 * torch.stack([angles.cos(), angles.sin()], dim=-1)
target = MixtureSameFamily(Categorical(torch.ones(8)), Independent(Normal(means, 0.2), 1))
proposal = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
prior = ResampledPrior(proposal, AcceptanceFunction(features=2, hidden=(30, 30)), truncation=100)

optimizer = torch.optim.Adam(prior.parameters(), lr=0.01)
for _ in range(1_500):
    z = target.sample((512,))
    log_prob = prior.training_log_prob(z, target.log_prob(z))  # Algorithm 1
    optimizer.zero_grad()
    (-log_prob.mean()).backward()
    optimizer.step()

prior.estimate_z(1_000_000)
p = prior.distribution()
with torch.no_grad():
    z = target.sample((100_000,))
    kl_proposal = (target.log_prob(z) - proposal.log_prob(z)).mean()
    kl = (target.log_prob(z) - p.log_prob(z)).mean()
print(f"KL(q||N(0, I)) = {kl_proposal:.3f} nats")
print(f"KL(q||p_T) = {kl:.3f} nats")
print(f"Z = {p.log_z.exp():.4f}")
print(f"proposals per sample = {p.expected_proposals:.2f}")
