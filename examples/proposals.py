"""LARS on proposals that are no Gaussians: bits, a box, a circle, categories; from samples."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Uniform,
    VonMises,
)

from resampled_priors import AcceptanceFunction, ResampledPrior, fit


class Acceptance(nn.Module):
    """a(z) on features of z, such as the cosine and sine of an angle."""

    def __init__(self, features: Callable[[Tensor], Tensor], size: int) -> None:
        super().__init__()
        self.features, self.log_a = features, AcceptanceFunction(size, hidden=(30, 30))

    def forward(self, z: Tensor) -> Tensor:
        return self.log_a(self.features(z))


def two(parts: Distribution) -> MixtureSameFamily:
    """An equal mixture of two distributions."""
    return MixtureSameFamily(Categorical(torch.ones(2)), Independent(parts, 1))


WEIGHTS = torch.tensor([[0.5, 0.3, 0.1, 0.05, 0.05]])
# name: proposal, target, features of z, how many
CASES = {
    "bits": (
        Independent(Bernoulli(torch.full((6,), 0.5)), 1),
        two(Bernoulli(torch.tensor([[0.1], [0.9]]).expand(2, 6))),
        lambda z: z,
        6,
    ),
    "box": (
        Independent(Uniform(torch.zeros(2), torch.ones(2)), 1),
        Independent(Beta(torch.full((2,), 5.0), torch.full((2,), 5.0)), 1),
        lambda z: z,
        2,
    ),
    "circle": (
        Independent(VonMises(torch.zeros(1), torch.tensor([0.1])), 1),
        two(VonMises(torch.tensor([[1.0], [-2.1]]), torch.tensor(4.0))),
        lambda z: torch.cat([z.cos(), z.sin()], dim=-1),
        2,
    ),
    "categories": (
        Independent(Categorical(torch.ones(1, 5)), 1),
        Independent(Categorical(WEIGHTS), 1),
        lambda z: nn.functional.one_hot(z.squeeze(-1), 5).float(),
        5,
    ),
}

priors = {}
for name, (proposal, target, features, size) in CASES.items():
    torch.manual_seed(0)
    prior = priors[name] = ResampledPrior(proposal, Acceptance(features, size), truncation=100)
    samples = target.sample((20_000,))
    fit(prior, samples, iterations=500, learning_rate=0.02)  # of q they are all that it needs
    z = prior.estimate_z(200_000)
    with torch.no_grad():
        x = target.sample((50_000,))
        log_q = target.log_prob(x)
        kl_proposal, kl = (
            (log_q - p.log_prob(x)).mean() for p in (proposal, prior.distribution())
        )
    print(f"{name}: KL(q||proposal) = {kl_proposal:.3f} nats")
    print(f"{name}: KL(q||LARS) = {kl:.4f} nats")
    print(f"{name}: Z = {z.mean:.4f}")
