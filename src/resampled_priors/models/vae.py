"""VAE (L = 1)."""

import math

from torch import Tensor, nn

from ..contracts import Likelihood, Prior
from ..networks import DiagonalNormal, mlp
from .base import LatentVariableModel, Pass, diagonal_normal_sample


class VAE(LatentVariableModel):
    """q(z|x) pixels−300−300−(d, d), p(x|z) d−300−300−pixels (C.2)."""

    def __init__(
        self, prior: Prior, image_shape: tuple[int, int], likelihood: Likelihood, latent_size: int
    ) -> None:
        super().__init__(prior, image_shape, likelihood, latent_size)
        pixels = math.prod(image_shape)
        self.encoder = nn.Sequential(
            mlp([pixels, 300, 300], end=True), DiagonalNormal(300, latent_size)
        )
        self.decoder = mlp([latent_size, 300, 300, pixels])
        self.attach_priors()

    @property
    def latent_layer(self) -> nn.Module:
        return self.decoder[0]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(x)

    def decoded(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        mean, log_std = self.encode(x)
        z, log_posterior = diagonal_normal_sample(mean, log_std, (num_samples, *mean.shape))
        return Pass(z, log_posterior, self.decoder(z))
