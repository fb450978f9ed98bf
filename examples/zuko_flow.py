"""LARS as the base of a zuko flow: a target in five pieces, which a flow alone has to bridge."""

import torch
import zuko
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from resampled_priors import AcceptanceFunction, ResampledPrior

means = 1.5 * torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
target = MixtureSameFamily(Categorical(torch.ones(5)), Independent(Normal(means, 0.15), 1))
normal = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)


def real_nvp(base: torch.nn.Module | None) -> zuko.lazy.Flow:
    """Four coupling layers on zuko's base, N(0, I), or on another lazy distribution."""
    flow = zuko.flows.RealNVP(2, transforms=4, hidden_features=(32, 32))
    return flow if base is None else zuko.lazy.Flow(flow.transform, base)


def train(flow: zuko.lazy.Flow, iterations: int = 1_000) -> None:
    """Maximum likelihood; nothing here knows of LARS."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for _ in range(iterations):
        loss = -flow().log_prob(target.sample((256,))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    flow.eval()


torch.manual_seed(0)
plain = real_nvp(None)
train(plain)

prior = ResampledPrior(normal, AcceptanceFunction(2, hidden=(32, 32)), truncation=100)
resampled = real_nvp(prior)
train(resampled)  # in training mode the base estimates Z itself (Algorithm 1)
prior.estimate_z(1_000_000)

with torch.no_grad():
    x = target.sample((50_000,))
    log_q = target.log_prob(x)
    print(f"KL(q||flow) = {(log_q - plain().log_prob(x)).mean():.3f} nats")
    print(f"KL(q||flow on LARS) = {(log_q - resampled().log_prob(x)).mean():.3f} nats")
print(f"Z = {prior.log_z.exp():.4f}")
