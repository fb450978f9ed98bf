"""Ladder VAE: inference goes down as p does (Sønderby et al., 2016, arXiv:1602.02282)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts import Likelihood, Prior
from ..errors import ResampledPriorsError
from ..networks import Linear, linear
from ..settings import Hidden
from .base import LatentVariableModel, Pass, diagonal_normal_log_prob, diagonal_normal_sample

LEAST_VARIANCE = 1e-6  # which no softplus reaches in practice, but for one that rounds to 0


def precision_weighted(
    mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation of the product of two normal densities, normalized.

    Its precision is the sum of theirs, its mean theirs weighed by the precisions.
    """
    weight = torch.sigmoid(2 * (other_log_std - log_std))
    log_precision = torch.logaddexp(-2 * log_std, -2 * other_log_std)
    return other_mean + weight * (mean - other_mean), -0.5 * log_precision


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over all but the last dimension; frozen, its averages stay, too."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h.reshape(-1, h.shape[-1])).view(h.shape)

    def train(self, mode: bool = True) -> "BatchNorm":
        return super().train(mode and self.weight.requires_grad)


def two_layers(inputs: int, width: int) -> nn.Sequential:
    """Two linear layers, each with batch normalisation and a leaky rectifier max(h, 0.1 h)."""
    layers: list[nn.Module] = []
    for sizes in pairwise([inputs, width, width]):
        layer = Linear(*sizes, bias=False)  # the normalisation has one
        nn.init.xavier_uniform_(layer.weight)
        layers += [layer, BatchNorm(width), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)


class SoftplusNormal(nn.Module):
    """A linear layer for mean and variance: features -> mean and log standard deviation.

    The variance is a softplus, as theirs: e^s at one level would be e^(e^s) a few levels below.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs, heads=2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, rough = self.linear(features).chunk(2, dim=-1)
        return mean, 0.5 * (F.softplus(rough) + LEAST_VARIANCE).log()


class LadderVAE(LatentVariableModel):
    """p(x|z_1) p(z_1|z_2) … p(z_L), and q(z_L|x) q(z_{L−1}|z_L, x) … q(z_1|z_2, x).

    A deterministic pass upwards gives for each level a normal density of its latent, the evidence
    of x. q(z_l|z_{l+1}, x) is its product with p(z_l|z_{l+1}); q(z_L|x) is the evidence alone. The
    prior is on z_L. Between level l−1 (below the first: the image) and level l lie two layers of
    ``hidden[l−1]`` units in either direction.

    Args:
        hidden: widths, from the image up, one for each level.
        lower_latents: sizes of z_1 … z_{L−1}; ``latent_size`` is that of z_L.
    """

    def __init__(
        self,
        prior: Prior,
        image_shape: tuple[int, int],
        likelihood: Likelihood,
        latent_size: int,
        hidden: Hidden,
        lower_latents: Hidden,
    ) -> None:
        super().__init__(prior, image_shape, likelihood, latent_size)
        latents, pixels = [*lower_latents, latent_size], math.prod(image_shape)
        if len(hidden) != len(latents):
            raise ResampledPriorsError(
                f"a ladder with {len(hidden)} widths (hidden) and {len(latents)} latents "
                "(lower_latents and latent_size): give one width for each latent"
            )
        self.upwards = nn.ModuleList(two_layers(*sizes) for sizes in pairwise([pixels, *hidden]))
        self.evidence = nn.ModuleList(map(SoftplusNormal, hidden, latents))
        self.downwards = nn.ModuleList(
            nn.Sequential(two_layers(above, width), SoftplusNormal(width, below))
            for below, above, width in zip(latents, latents[1:], hidden[1:], strict=False)
        )
        self.decoder = nn.Sequential(two_layers(latents[0], hidden[0]), linear(hidden[0], pixels))
        self.attach_priors()

    @property
    def latent_layer(self) -> nn.Module:
        return self.downwards[-1][0][0]

    def all_evidence(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and log standard deviation of each level's evidence, z_1's first."""
        found = []
        for layers, head in zip(self.upwards, self.evidence, strict=True):
            x = layers(x)
            found.append(head(x))
        return found

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.all_evidence(x)[-1]

    def decoded(self, z: Tensor) -> Tensor:
        for down in reversed(self.downwards):
            mean, log_std = down(z)
            z, _ = diagonal_normal_sample(mean, log_std, mean.shape)
        return self.decoder(z)

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        *lower, (mean, log_std) = self.all_evidence(x)
        top, log_top = diagonal_normal_sample(mean, log_std, (num_samples, *mean.shape))
        z, log_p, log_q = top, torch.zeros_like(log_top), torch.zeros_like(log_top)
        for evidence, down in zip(reversed(lower), reversed(self.downwards), strict=True):
            prior = down(z)
            mean, log_std = precision_weighted(*evidence, *prior)
            z, log_density = diagonal_normal_sample(mean, log_std, mean.shape)
            log_p, log_q = log_p + diagonal_normal_log_prob(z, *prior), log_q + log_density
        return Pass(top, log_top, self.decoder(z), log_p, log_q)

    @torch.no_grad()
    def signs_of_a_bad_start(self, images: Tensor) -> tuple[float, float]:
        """As in the base class. Leaky rectifiers do not saturate; a look moves no averages."""
        training = self.training
        mean, _ = self.eval().encode(images)
        self.train(training)
        return mean.square().mean().sqrt().item(), 0.0
