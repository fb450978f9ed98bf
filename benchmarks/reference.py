"""What bench.py compares with: the same models and algorithms in plain, readable, eager PyTorch.

Written as a first version would be, from torch's own layers and distributions, without any of
the package's code. tests/test_benchmarks.py shows that it computes the same.
"""

import math

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal
from torch.nn import functional as F


def mlp(*sizes: int, end: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.Tanh()]
    return nn.Sequential(*(layers if end else layers[:-1]))


def normal(parameters: Tensor) -> Distribution:
    mean, log_std = parameters.chunk(2, dim=-1)
    return Independent(Normal(mean, log_std.exp()), 1)


class Lars(nn.Module):
    """p_T with T = 100, Algorithm 1 with S = 1,024 and ε = 0.1."""

    def __init__(self, flow: nn.Module | None) -> None:
        super().__init__()
        self.flow = flow
        self.network = mlp(50, 100, 100, 1)
        self.average = 1.0
        self.register_buffer("zero", torch.zeros(50))

    def proposal(self) -> Distribution:
        if self.flow is not None:
            return self.flow()
        return Independent(Normal(self.zero, torch.ones_like(self.zero)), 1)

    def log_a(self, z: Tensor) -> Tensor:
        return F.logsigmoid(self.network(z)).squeeze(-1)

    def density(self, z: Tensor, log_z: Tensor) -> Tensor:
        log_alpha = 99 * torch.log1p(-log_z.exp())
        gain = torch.log1p(-log_alpha.exp()) - log_z
        return self.proposal().log_prob(z) + torch.logaddexp(self.log_a(z) + gain, log_alpha)

    def training_log_prob(self, z: Tensor, log_posterior: Tensor) -> Tensor:
        proposal = self.proposal()
        draw = proposal.rsample if self.flow is not None else proposal.sample
        log_sum = self.log_a(draw((1024,))).logsumexp(0)
        weight = (proposal.log_prob(z) - log_posterior).detach()
        current = torch.logaddexp(log_sum, weight + self.log_a(z)).exp() / 1025
        smooth = 0.9 * self.average + 0.1 * current.detach()
        self.average = smooth.mean().item()
        return self.density(z, (current + (smooth - current).detach()).log())


class Prior(nn.Module):
    """A flow of zuko's, or N(0, I)."""

    def __init__(self, flow: nn.Module | None) -> None:
        super().__init__()
        self.flow = flow

    def training_log_prob(self, z: Tensor, log_posterior: Tensor) -> Tensor:
        return self.density(z, None)

    def density(self, z: Tensor, log_z: Tensor | None) -> Tensor:
        if self.flow is not None:
            return self.flow().log_prob(z)
        return Independent(Normal(torch.zeros_like(z), torch.ones_like(z)), 1).log_prob(z)


class VAE(nn.Module):
    def __init__(self, prior: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.encoder = mlp(784, 300, 300, 100)
        self.decoder = mlp(50, 300, 300, 784)

    def terms(self, x: Tensor, num_samples: int, log_z: Tensor | None) -> tuple[Tensor, ...]:
        posterior = normal(self.encoder(x))
        z = posterior.rsample((num_samples,))
        log_posterior = posterior.log_prob(z)
        return (
            bernoulli(x, self.decoder(z)),
            self.log_prior(z, log_posterior, log_z),
            log_posterior,
        )

    def log_prior(self, z: Tensor, log_posterior: Tensor, log_z: Tensor | None) -> Tensor:
        if self.training:
            return self.prior.training_log_prob(z, log_posterior)
        return self.prior.density(z, log_z)


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    return Bernoulli(logits=logits).log_prob(x).sum(-1)


class Joined(nn.Module):
    def __init__(self, first: nn.Module, second: int, width: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = first, mlp(second, width, end=True)
        self.joint = mlp(2 * width, outputs, end=True)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.first(a), self.second(b)
        return self.joint(torch.cat([a.expand(*b.shape[:-1], -1), b], -1))


class ConvolutionalEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU()),
            *(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(32, 32, 4, 2), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.reshape(-1, 1, 28, 28)).reshape(*x.shape[:-1], 512)


class ConvolutionalDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_7 = nn.ConvTranspose2d(32, 32, 4, 2, 1)
        self.to_28 = nn.Sequential(
            *(nn.ReLU(), nn.ConvTranspose2d(32, 32, 4, 2, 1)),
            *(nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1)),
        )

    def forward(self, h: Tensor) -> Tensor:
        y = self.to_7(h.reshape(-1, 32, 4, 4))[..., :7, :7]
        return self.to_28(y).reshape(*h.shape[:-1], 784)


class HVAE(VAE):
    def __init__(self, prior: nn.Module, convolutional: bool) -> None:
        nn.Module.__init__(self)
        self.prior = prior
        if convolutional:
            self.posterior_2 = nn.Sequential(ConvolutionalEncoder(), nn.Linear(512, 100))
            self.posterior_1 = Joined(ConvolutionalEncoder(), 50, 512, 300)
        else:
            self.posterior_2 = nn.Sequential(mlp(784, 300, 300, end=True), nn.Linear(300, 100))
            self.posterior_1 = Joined(mlp(784, 300, end=True), 50, 300, 300)
        self.posterior_1_head = nn.Linear(300, 100)
        self.prior_1 = nn.Sequential(mlp(50, 300, 300, end=True), nn.Linear(300, 100))
        self.features = Joined(mlp(50, 300, end=True), 50, 300, 512 if convolutional else 300)
        self.decoder = ConvolutionalDecoder() if convolutional else nn.Linear(300, 784)

    def terms(self, x: Tensor, num_samples: int, log_z: Tensor | None) -> tuple[Tensor, ...]:
        posterior_2 = normal(self.posterior_2(x))
        z2 = posterior_2.rsample((num_samples,))
        log_q2 = posterior_2.log_prob(z2)
        posterior_1 = normal(self.posterior_1_head(self.posterior_1(x, z2)))
        z1 = posterior_1.rsample()
        log_p1 = normal(self.prior_1(z2)).log_prob(z1)
        log_likelihood = bernoulli(x, self.decoder(self.features(z1, z2)))
        log_prior = self.log_prior(z2, log_q2, log_z) + log_p1
        return log_likelihood, log_prior, log_q2 + posterior_1.log_prob(z1)


def build(model: str, prior: str) -> VAE:
    flow = zuko.flows.RealNVP(50, transforms=4, hidden_features=(100, 100))
    flow = flow if "realnvp" in prior else None
    of_prior = Lars(flow) if "lars" in prior else Prior(flow)
    return VAE(of_prior) if model == "vae" else HVAE(of_prior, model == "conv_hvae")


def training_step(model: VAE, optimizer: torch.optim.Optimizer, grey: Tensor) -> Tensor:
    x = torch.bernoulli(grey.float() / 255)
    log_likelihood, log_prior, log_posterior = model.terms(x, 1, None)
    loss = -(log_likelihood + 0.5 * (log_prior - log_posterior)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def negative_log_likelihood(model: VAE, images: Tensor, num_samples: int, log_z: Tensor) -> Tensor:
    bounds = []
    for x in images.split(4):  # 4,000 samples at a time
        log_likelihood, log_prior, log_posterior = model.terms(x, num_samples, log_z)
        weights = log_likelihood + log_prior - log_posterior
        bounds.append(weights.logsumexp(0) - math.log(num_samples))
    return -torch.cat(bounds)


@torch.no_grad()
def estimate_z(prior: Lars, num_samples: int) -> float:
    proposal, total = prior.proposal(), 0.0
    for _ in range(num_samples // 100_000):
        total += prior.log_a(proposal.sample((100_000,))).exp().mean().item()
    return total / (num_samples // 100_000)
