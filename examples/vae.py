"""A LARS prior in a VAE of forty lines, beside the standard normal: scikit-learn's 8×8 digits."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn.functional import logsigmoid

from resampled_priors import AcceptanceFunction, ResampledPrior

LATENT_SIZE = 8
images = (torch.from_numpy(load_digits().images).float().flatten(1) > 7.5).float()
train_images, test_images = images[:1_500], images[1_500:]
proposal = Independent(Normal(torch.zeros(LATENT_SIZE), torch.ones(LATENT_SIZE)), 1)


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 100), nn.Tanh(), nn.Linear(100, 2 * LATENT_SIZE)
        )
        self.decoder = nn.Sequential(nn.Linear(LATENT_SIZE, 100), nn.Tanh(), nn.Linear(100, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x|z), a sample z ~ q(z|x), and log q(z|x)."""
        mean, log_std = self.encoder(x).chunk(2, dim=-1)
        q = Independent(Normal(mean, log_std.exp()), 1)
        z = q.rsample()
        return logsigmoid((2 * x - 1) * self.decoder(z)).sum(-1), z, q.log_prob(z)


def negative_elbo(prior: ResampledPrior | None, iterations: int = 1_000) -> float:
    """Train a VAE, with the standard normal prior where None is given; its test −ELBO, in nats."""
    torch.manual_seed(0)
    vae = VAE()
    parameters = [*vae.parameters(), *(prior.parameters() if prior else [])]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    for iteration in range(iterations):
        log_likelihood, z, log_q = vae(train_images[torch.randint(len(train_images), (128,))])
        if prior is None:
            log_prior = proposal.log_prob(z)
        else:
            log_prior = prior.training_log_prob(z, log_q)  # Algorithm 1
        kl_weight = min(1.0, 2 * iteration / iterations)
        loss = -(log_likelihood + kl_weight * (log_prior - log_q)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if prior is not None:
        prior.estimate_z(1_000_000)
    with torch.no_grad():
        log_likelihood, z, log_q = vae(test_images.repeat(100, 1))
        log_prior = (prior.distribution() if prior else proposal).log_prob(z)
        return float(-(log_likelihood + log_prior - log_q).mean())


torch.manual_seed(1)
lars = ResampledPrior(proposal, AcceptanceFunction(LATENT_SIZE, hidden=(50, 50)), truncation=100)
print(f"standard normal prior: -ELBO = {negative_elbo(None):.2f} nats")
print(f"LARS prior: -ELBO = {negative_elbo(lars):.2f} nats")
print(f"Z = {lars.log_z.exp():.4f}")
