"""HVAE and ConvHVAE (L = 2): q(z2|x) q(z1|x, z2), p(x|z1, z2) p(z1|z2) p(z2)."""

import math

import torch
from torch import Tensor, nn

from ..contracts import Likelihood, Prior
from ..networks import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    DiagonalNormal,
    JoinedMLP,
    linear,
    mlp,
)
from .base import LatentVariableModel, Pass, diagonal_normal_log_prob, diagonal_normal_sample


class HierarchicalVAE(LatentVariableModel):
    """The prior is on z2. ``hvae`` and ``conv_hvae`` give the networks of C.2."""

    def __init__(
        self,
        prior: Prior,
        image_shape: tuple[int, int],
        likelihood: Likelihood,
        latent_size: int,
        posterior_2: nn.Module,
        posterior_1: nn.Sequential,
        decoder: nn.Sequential,
    ) -> None:
        super().__init__(prior, image_shape, likelihood, latent_size)
        self.posterior_2 = posterior_2
        self.posterior_1_features, self.posterior_1 = posterior_1
        self.prior_1 = nn.Sequential(
            mlp([latent_size, 300, 300], end=True), DiagonalNormal(300, latent_size)
        )
        self.decoder_features, self.decoder = decoder
        self.attach_priors()

    @property
    def latent_layer(self) -> nn.Module:
        return self.decoder_features.second[0]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior_2(x)

    def decoded(self, z: Tensor) -> Tensor:
        mean, log_std = self.prior_1(z)
        z1, _ = diagonal_normal_sample(mean, log_std, mean.shape)
        return self.decoder(self.decoder_features(z1, z))

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        mean, log_std = self.encode(x)
        shape = torch.Size((num_samples, *mean.shape))
        z2, log_q2 = diagonal_normal_sample(mean, log_std, shape)
        z1, log_q1 = diagonal_normal_sample(
            *self.posterior_1(self.posterior_1_features(x, z2)), shape
        )
        log_p1 = diagonal_normal_log_prob(z1, *self.prior_1(z2))
        decoded = self.decoder(self.decoder_features(z1, z2))
        return Pass(z2, log_q2, decoded, log_p1, log_q1)


def hvae(
    prior: Prior, image_shape: tuple[int, int], likelihood: Likelihood, latent_size: int
) -> HierarchicalVAE:
    """HVAE (L = 2): the networks are nested MLPs."""
    d, pixels = latent_size, math.prod(image_shape)
    return HierarchicalVAE(
        prior,
        image_shape,
        likelihood,
        d,
        nn.Sequential(mlp([pixels, 300, 300], end=True), DiagonalNormal(300, d)),
        nn.Sequential(
            JoinedMLP(mlp([pixels, 300], end=True), d, 300, 300), DiagonalNormal(300, d)
        ),
        nn.Sequential(JoinedMLP(mlp([d, 300], end=True), d, 300, 300), linear(300, pixels)),
    )


def conv_hvae(
    prior: Prior, image_shape: tuple[int, int], likelihood: Likelihood, latent_size: int
) -> HierarchicalVAE:
    """ConvHVAE (L = 2): convolutions next to the image, MLPs next to the latents."""
    d = latent_size
    encoder = ConvolutionalEncoder(image_shape)
    features = encoder.features
    return HierarchicalVAE(
        prior,
        image_shape,
        likelihood,
        d,
        nn.Sequential(encoder, DiagonalNormal(features, d)),
        nn.Sequential(
            JoinedMLP(ConvolutionalEncoder(image_shape), d, features, 300), DiagonalNormal(300, d)
        ),
        nn.Sequential(
            JoinedMLP(mlp([d, 300], end=True), d, 300, features),
            ConvolutionalDecoder(image_shape),
        ),
    )
