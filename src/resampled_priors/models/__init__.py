"""The latent-variable models (C.2) behind one interface: ``log_weight_terms``.

    log_weight_terms(x, num_samples) -> log p(x|z), log p(z), log q(z|x), each (num_samples, batch)

The ELBO is the mean of log p(x|z) + log p(z) − log q(z|x); the importance-weighted bound is the
log of the mean of its exponential. Training reads the same terms with Z from Algorithm 1.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from ..errors import ResampledPriorsError
from ..lars import AcceptanceFunction, ResampledPrior, log_resampled_density, smoothed_log_z
from ..networks import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    DiagonalNormal,
    JoinedMLP,
    linear,
    mlp,
)
from ..priors import build_prior
from ..settings import OutputSettings

PIXELS = 784
Terms = tuple[Tensor, Tensor, Tensor]
Averages = list[tuple[ResampledPrior, Tensor]]
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Pass(NamedTuple):
    """One pass through encoder and decoder; log densities in nats, (num_samples, batch)."""

    z: Tensor  # (num_samples, batch, latent_size): the latent that the prior is on
    log_posterior: Tensor  # log q(z|x) of that latent
    log_likelihood: Tensor  # log p(x|all latents)
    log_lower_prior: Tensor | float = 0.0  # log p(z1|z2), where there are two latents
    log_lower_posterior: Tensor | float = 0.0  # log q(z1|x, z2)


def diagonal_normal_sample(mean: Tensor, log_std: Tensor, shape: torch.Size) -> Terms:
    """A reparameterised sample of N(mean, std²) of the given shape, and its log density."""
    noise = torch.randn(shape, device=mean.device)
    log_density = -(0.5 * noise.square() + log_std + HALF_LOG_2PI).sum(-1)
    return mean + log_std.exp() * noise, log_density


def diagonal_normal_log_prob(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(z; mean, std²), summed over the last dimension."""
    return -(0.5 * ((z - mean) * (-log_std).exp()).square() + log_std + HALF_LOG_2PI).sum(-1)


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """log Bernoulli(x; σ(logits)) for x in {0, 1}, summed over the pixels."""
    return F.logsigmoid((2 * x - 1) * logits).sum(-1)


def sample_pixels(means: Tensor) -> Tensor:
    """Binary images as floats, each pixel 1 with the probability given (faster than bernoulli)."""
    return (torch.rand_like(means) < means).to(means.dtype)


class LatentVariableModel(nn.Module):
    """What all models share. A model defines ``forward_pass``, ``encode`` and ``decode``."""

    def __init__(self, prior: nn.Module, latent_size: int) -> None:
        super().__init__()
        self.prior = prior
        self.latent_size = latent_size

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        """Sample the latents from q(·|x) and evaluate everything but p(z)."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z|x) for the latent that the prior is on."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Pixel means in [0, 1], shape (..., 784), for z of shape (..., latent_size)."""
        raise NotImplementedError

    def log_weight_terms(self, x: Tensor, num_samples: int) -> Terms:
        """log p(x|z), log p(z), log q(z|x) in nats, with the prior's stored log Z.

        Args:
            x: binary images as floats, shape (batch, 784).

        Returns:
            three tensors of shape (num_samples, batch), over all latents of the model.
        """
        p = self.forward_pass(x, num_samples)
        log_prior = self.prior.log_prob(p.z) + p.log_lower_prior
        return p.log_likelihood, log_prior, p.log_posterior + p.log_lower_posterior

    def training_terms(self, x: Tensor) -> tuple[Terms, Averages]:
        """The same terms for one sample with Z from Algorithm 1; shapes (1, batch).

        Returns:
            the terms, and for each resampled part its new moving average of Z, which the
            training step stores.
        """
        p = self.forward_pass(x, 1)
        log_prior, new_average = self.prior.training_log_prob(p.z, p.log_posterior)
        averages = [] if new_average is None else [(self.prior, new_average)]
        terms = (
            p.log_likelihood,
            log_prior + p.log_lower_prior,
            p.log_posterior + p.log_lower_posterior,
        )
        return terms, averages

    def resampled_part(self) -> ResampledPrior | None:
        """The prior (or output) that LARS reweights, whose Z has to be estimated."""
        return next((m for m in self.modules() if isinstance(m, ResampledPrior)), None)


class VAE(LatentVariableModel):
    """VAE (L = 1): q(z|x) 784−300−300−(d, d), p(x|z) d−300−300−784."""

    def __init__(self, prior: nn.Module, latent_size: int) -> None:
        super().__init__(prior, latent_size)
        self.encoder = nn.Sequential(
            mlp([PIXELS, 300, 300], end=True), DiagonalNormal(300, latent_size)
        )
        self.decoder = mlp([latent_size, 300, 300, PIXELS])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).sigmoid()

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        mean, log_std = self.encode(x)
        z, log_posterior = diagonal_normal_sample(mean, log_std, (num_samples, *mean.shape))
        return Pass(z, log_posterior, bernoulli_log_prob(x, self.decoder(z)))


class HierarchicalVAE(LatentVariableModel):
    """HVAE and ConvHVAE (L = 2): q(z2|x) q(z1|x, z2), p(x|z1, z2) p(z1|z2) p(z2).

    The prior is on z2. ``hvae`` and ``conv_hvae`` give the networks of C.2.
    """

    def __init__(
        self,
        prior: nn.Module,
        latent_size: int,
        posterior_2: nn.Module,
        posterior_1: nn.Sequential,
        decoder: nn.Sequential,
    ) -> None:
        super().__init__(prior, latent_size)
        self.posterior_2 = posterior_2
        self.posterior_1_features, self.posterior_1 = posterior_1
        self.prior_1 = nn.Sequential(
            mlp([latent_size, 300, 300], end=True), DiagonalNormal(300, latent_size)
        )
        self.decoder_features, self.decoder = decoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior_2(x)

    def decode(self, z: Tensor) -> Tensor:
        mean, log_std = self.prior_1(z)
        z1, _ = diagonal_normal_sample(mean, log_std, mean.shape)
        return self.decoder(self.decoder_features(z1, z)).sigmoid()

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        mean, log_std = self.encode(x)
        shape = torch.Size((num_samples, *mean.shape))
        z2, log_q2 = diagonal_normal_sample(mean, log_std, shape)
        z1, log_q1 = diagonal_normal_sample(
            *self.posterior_1(self.posterior_1_features(x, z2)), shape
        )
        log_p1 = diagonal_normal_log_prob(z1, *self.prior_1(z2))
        logits = self.decoder(self.decoder_features(z1, z2))
        return Pass(z2, log_q2, bernoulli_log_prob(x, logits), log_p1, log_q1)


def hvae(prior: nn.Module, latent_size: int) -> HierarchicalVAE:
    """HVAE (L = 2): the networks are nested MLPs."""
    d = latent_size
    return HierarchicalVAE(
        prior,
        d,
        nn.Sequential(mlp([PIXELS, 300, 300], end=True), DiagonalNormal(300, d)),
        nn.Sequential(
            JoinedMLP(mlp([PIXELS, 300], end=True), d, 300, 300), DiagonalNormal(300, d)
        ),
        nn.Sequential(JoinedMLP(mlp([d, 300], end=True), d, 300, 300), linear(300, PIXELS)),
    )


def conv_hvae(prior: nn.Module, latent_size: int) -> HierarchicalVAE:
    """ConvHVAE (L = 2): convolutions next to the image, MLPs next to the latents."""
    d, features = latent_size, ConvolutionalEncoder.features
    return HierarchicalVAE(
        prior,
        d,
        nn.Sequential(ConvolutionalEncoder(), DiagonalNormal(features, d)),
        nn.Sequential(JoinedMLP(ConvolutionalEncoder(), d, features, 300), DiagonalNormal(300, d)),
        nn.Sequential(
            JoinedMLP(mlp([d, 300], end=True), d, 300, features), ConvolutionalDecoder()
        ),
    )


class DecodedPrior(Distribution):
    """π(x) = ∫ p(x|z) p(z) dz of a model, to sample from: the proposal of a resampled output.

    Its density has no closed form, so there is no ``log_prob``.
    """

    arg_constraints: dict = {}

    def __init__(self, model: LatentVariableModel) -> None:
        self.model = model
        super().__init__(event_shape=torch.Size([PIXELS]), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """Binary images as floats, shape (*sample_shape, 784)."""
        return sample_pixels(self.model.decode(self.model.prior.sample(sample_shape)))


class ResampledOutput(ResampledPrior):
    """LARS on the images (D.7): a factor that reweights the marginal likelihood π(x)."""

    def training_log_factor(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p_T(x) − log π(x), and the new ⟨Z⟩.

        π(x)/q is unknown for a training image, so Z comes from decoded samples alone (D.25); no
        gradient passes through the discrete samples.
        """
        images = self.proposal.sample((self.num_proposals,))
        log_z, new_average = smoothed_log_z(self.log_a(images), self.z_average, self.smoothing)
        return self._log_factor(x, log_z), new_average

    def log_factor(self, x: Tensor) -> Tensor:
        """log p_T(x) − log π(x) in nats with the stored log Z: (batch, 784) -> (batch,)."""
        return self._log_factor(x, self.distribution().log_z)

    def _log_factor(self, x: Tensor, log_z: Tensor) -> Tensor:
        log_acceptance = self.log_a(x)
        zero = torch.zeros_like(log_acceptance)
        return log_resampled_density(zero, log_acceptance, log_z, self.truncation)


class ResampledOutputVAE(VAE):
    """VAE (L = 1) whose marginal likelihood is resampled in pixel space (eq. D.24, D.25)."""

    def __init__(self, prior: nn.Module, latent_size: int, output: OutputSettings) -> None:
        if isinstance(prior, ResampledPrior):
            raise ResampledPriorsError(
                "a model with a resampled output takes no LARS prior: there is one Z to estimate; "
                "use a prior of another family"
            )
        super().__init__(prior, latent_size)
        settings: dict[str, Any] = dict(output)
        log_a = AcceptanceFunction(PIXELS, settings.pop("hidden"))
        self.output = ResampledOutput(DecodedPrior(self), log_a, **settings)

    def log_weight_terms(self, x: Tensor, num_samples: int) -> Terms:
        log_likelihood, log_prior, log_posterior = super().log_weight_terms(x, num_samples)
        return log_likelihood + self.output.log_factor(x), log_prior, log_posterior  # D.24

    def training_terms(self, x: Tensor) -> tuple[Terms, Averages]:
        (log_likelihood, log_prior, log_posterior), averages = super().training_terms(x)
        log_factor, new_average = self.output.training_log_factor(x)
        terms = (log_likelihood + log_factor, log_prior, log_posterior)
        return terms, [*averages, (self.output, new_average)]

    @torch.no_grad()
    def sample_proposal_images(self, num_images: int) -> tuple[Tensor, Tensor]:
        """Images of the un-resampled model, binary and as pixel means; both (num_images, 784)."""
        means = self.decode(self.prior.sample((num_images,)))
        return sample_pixels(means), means


FAMILIES = {
    "vae": VAE,
    "hvae": hvae,
    "conv_hvae": conv_hvae,
    "vae_resampled_output": ResampledOutputVAE,
}


def build_model(settings: dict[str, Any]) -> LatentVariableModel:
    """The untrained model of a run's resolved settings (see ``experiment.resolve_run``).

    Raises:
        ResampledPriorsError: unknown model family, or settings that do not fit it.
    """
    model = {key: value for key, value in settings["model"].items() if key != "name"}
    family = model.pop("family")
    if family not in FAMILIES:
        raise ResampledPriorsError(
            f"unknown model family '{family}': use one of {', '.join(FAMILIES)}"
        )
    prior = build_prior(settings["prior"], model["latent_size"])
    return FAMILIES[family](prior, **model)


def parameter_counts(model: LatentVariableModel) -> dict[str, int]:
    """Learned parameters of encoder and decoder, of a(z), and of the rest of the prior."""
    counts = {"num_parameters": 0, "num_acceptance_parameters": 0, "num_prior_parameters": 0}
    for name, parameter in model.named_parameters():
        if name.startswith(("prior.log_a.", "output.log_a.")):
            counts["num_acceptance_parameters"] += parameter.numel()
        elif name.startswith("prior."):
            counts["num_prior_parameters"] += parameter.numel()
        else:
            counts["num_parameters"] += parameter.numel()
    return counts
