"""VAE + IAF: an inverse autoregressive posterior (Kingma et al., 2016, arXiv:1606.04934)."""

import math
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform

from ..contracts import Likelihood, Prior
from ..errors import ResampledPriorsError
from ..priors.flows import draw_weights, import_zuko
from ..settings import Hidden, Positive
from .base import Pass, diagonal_normal_sample
from .vae import VAE


def gate(mean: Tensor, gate_input: Tensor) -> AffineTransform:
    """z -> σ z + (1 − σ) m with a gate σ that begins nearly open, so that q begins Gaussian."""
    scale = torch.sigmoid(gate_input + 2)
    return AffineTransform((1 - scale) * mean, scale)


def refuse_encode(images: Tensor) -> NoReturn:
    raise ResampledPriorsError(
        "the posterior of family vae_iaf has no mean and standard deviation that a prior could "
        "be made of: give this prior to a model of another family, such as vae"
    )


class InverseAutoregressiveVAE(VAE):
    """z_0 ~ N(μ(x), σ(x)²), z_t = σ_t ⊙ z_{t−1} + (1 − σ_t) ⊙ m_t, and z_T is what is decoded.

    m_t and σ_t are MADEs of z_{t−1} and of the encoder's last hidden layer, in the order of the
    latents, reversed from one step to the next. The Jacobians are triangular, so that
    log q(z_T|x) = log q(z_0|x) − Σ_t Σ_i log σ_{t,i} is exact.
    """

    def __init__(
        self,
        prior: Prior,
        image_shape: tuple[int, int],
        likelihood: Likelihood,
        latent_size: int,
        layers: Positive,
        hidden: Hidden,
    ) -> None:
        super().__init__(prior, image_shape, likelihood, latent_size)
        order, made = torch.arange(latent_size), import_zuko().flows.MaskedAutoregressiveTransform
        self.flow = nn.ModuleList(
            made(
                latent_size,
                context=self.encoder[1].linear.in_features,
                order=order.flip(0) if step % 2 else order,
                univariate=gate,
                hidden_features=hidden,
                activation=nn.ELU,
            )
            for step in range(layers)
        )
        draw_weights(self.flow)

    def attach_priors(self) -> None:
        for part in self.modules():
            if isinstance(part, Prior):
                part.attach(refuse_encode, math.prod(self.image_shape))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of z_0, where the flow begins."""
        return self.encoder(x)

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        features = self.encoder[0](x)
        mean, log_std = self.encoder[1](features)
        z, log_posterior = diagonal_normal_sample(mean, log_std, (num_samples, *mean.shape))
        for step in self.flow:
            z, log_determinant = step(features).call_and_ladj(z)
            log_posterior = log_posterior - log_determinant
        return Pass(z, log_posterior, self.decoder(z))
