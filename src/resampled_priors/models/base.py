"""A latent-variable model: posterior, prior, decoder and likelihood, and the terms they give."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import EstimateZ, Images, Likelihood, Prior, Terms, ZEstimate
from ..lars.resampling import Resampling

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Pass(NamedTuple):
    """One pass through encoder and decoder; log densities in nats, (num_samples, batch)."""

    z: Tensor  # (num_samples, batch, latent_size): the latent that the prior is on
    log_posterior: Tensor  # log q(z|x) of that latent
    decoded: Tensor  # what the likelihood is given, (num_samples, batch, pixels)
    log_lower_prior: Tensor | float = 0.0  # log p(z1|z2), where there are two latents
    log_lower_posterior: Tensor | float = 0.0  # log q(z1|x, z2)


def diagonal_normal_sample(
    mean: Tensor, log_std: Tensor, shape: torch.Size
) -> tuple[Tensor, Tensor]:
    """A reparameterised sample of N(mean, std²) of the given shape, and its log density."""
    noise = torch.randn(shape, device=mean.device)
    log_density = -(0.5 * noise.square() + log_std + HALF_LOG_2PI).sum(-1)
    return mean + log_std.exp() * noise, log_density


def diagonal_normal_log_prob(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(z; mean, std²), summed over the last dimension."""
    return -(0.5 * ((z - mean) * (-log_std).exp()).square() + log_std + HALF_LOG_2PI).sum(-1)


class LatentVariableModel(nn.Module):
    """What all models share. A model defines ``forward_pass``, ``encode``, ``decoded``, and
    ``latent_layer``, the decoder's linear layer next to the latent that the prior is on.

    Images are rows of pixels; ``image_shape`` says what they are.
    """

    def __init__(
        self, prior: Prior, image_shape: tuple[int, int], likelihood: Likelihood, latent_size: int
    ) -> None:
        super().__init__()
        self.prior = prior
        self.image_shape = image_shape
        self.likelihood = likelihood
        self.latent_size = latent_size

    def attach_priors(self) -> None:
        """To be called when the encoder is there: priors may want it."""
        for part in self.priors():
            part.attach(self.encode, math.prod(self.image_shape))

    def priors(self) -> list[Prior]:
        """The priors in the model: that on z, its proposal where that is one, …"""
        return [part for part in self.modules() if isinstance(part, Prior)]

    def forward_pass(self, x: Tensor, num_samples: int) -> Pass:
        """Sample the latents from q(·|x) and decode them."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z|x) for the latent that the prior is on."""
        raise NotImplementedError

    def decoded(self, z: Tensor) -> Tensor:
        """What the likelihood is given, (..., pixels), for z of shape (..., latent_size)."""
        raise NotImplementedError

    def image_distribution(self, z: Tensor) -> Distribution:
        """p(x|z) for z of shape (..., latent_size), lower latents drawn from their prior."""
        return self.likelihood(self.decoded(z))

    def decode(self, z: Tensor) -> Tensor:
        """Means of the pixels, (..., pixels), for z of shape (..., latent_size)."""
        return self.image_distribution(z).mean

    def terms(self, x: Tensor, num_samples: int, training: bool = False) -> Terms:
        """log p(x|z), log p(z), log q(z|x) in nats, over all latents of the model.

        Args:
            x: images, shape (batch, pixels).
            training: with the prior's density as training has it (Z by Algorithm 1) instead of
                the exact one (Z as estimated).

        Returns:
            three tensors of shape (num_samples, batch).
        """
        return self.terms_of(self.forward_pass(x, num_samples), x, training)

    def training_terms(self, x: Tensor, num_samples: int) -> tuple[Terms, Tensor | float]:
        """``terms`` in training, and the loss of the prior's own, shape (): 0 of most priors."""
        p = self.forward_pass(x, num_samples)
        return self.terms_of(p, x, training=True), self.prior.training_loss(p.z)

    def terms_of(self, p: Pass, x: Tensor, training: bool) -> Terms:
        """``terms`` of one pass of the images x."""
        log_likelihood = self.likelihood(p.decoded).log_prob(x)
        if training:
            log_prior = self.prior.training_log_prob(p.z, p.log_posterior)
        else:
            log_prior = self.prior.log_prob(p.z)
        return Terms(
            log_likelihood, log_prior + p.log_lower_prior, p.log_posterior + p.log_lower_posterior
        )

    def start(self, images: Tensor) -> None:
        """Before the first training step: each prior's own start, a proposal's before its prior's.

        Args:
            images: means of the pixels of all training images, (n, pixels).
        """
        for part in reversed(self.priors()):
            part.start(images)

    def before_step(self, rows: Tensor, images: Images) -> None:
        """Before each training step, on these rows of the training images."""
        for part in self.priors():
            part.before_step(rows, images)

    def finish(self, images: Images) -> None:
        """When training has ended, and before each validation."""
        for part in self.priors():
            part.finish(images)

    @torch.no_grad()
    def start_output(self, images: Tensor) -> None:
        """Set the decoder's output bias to what the likelihood needs for the mean image.

        From a bias of 0 the first steps darken the image by pushing the latents: a prior that
        can follow, a flow, lets them, and the decoder's first layer saturates for good.

        Args:
            images: means of the pixels of all training images, (n, pixels).
        """
        biases = [p for name, p in self.decoder.named_parameters() if name.endswith("bias")]
        mean = images.mean(0).view(len(biases[-1]), -1).mean(1)
        link = getattr(self.likelihood, "link", None)
        if biases[-1].requires_grad:  # post hoc, the decoder stays as it is
            biases[-1].copy_(link(mean) if link else mean)

    @torch.no_grad()
    def signs_of_a_bad_start(self, images: Tensor) -> tuple[float, float]:
        """Root mean square of the posterior means, and the share of saturated units behind them.

        Args:
            images: (n, pixels).

        Returns:
            the first in units of the prior's scale; the second of the units tanh of
            ``latent_layer``, those beyond ±0.99.
        """
        mean, _ = self.encode(images)
        units = self.latent_layer(mean).tanh()
        return mean.square().mean().sqrt().item(), (units.abs() > 0.99).float().mean().item()

    @property
    def resampling(self) -> Prior | Resampling:
        """What has the model's a and Z: the prior."""
        return self.prior

    def normalize(self, estimate: EstimateZ) -> ZEstimate:
        """After training: let the prior keep what ``estimate`` says of its Z."""
        return self.prior.normalize(estimate)

    @torch.no_grad()
    def sample_images(self, num_images: int) -> Tensor:
        """Means of the pixels of samples of the model, (num_images, pixels)."""
        return self.decode(self.prior.sample((num_images,)))

    @torch.no_grad()
    def rank_proposals(self, num_proposals: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Proposals sorted by a, highest first.

        Returns:
            log a, shape (num_proposals,), and a function from ranks (n,) to the means of the
            pixels, (n, pixels), of these proposals.
        """
        z, log_a = self.prior.distribution().sample_ranked(num_proposals)
        return log_a, lambda ranks: self.decode(z[ranks])


def parameter_counts(model: LatentVariableModel) -> dict[str, int]:
    """Learned parameters of encoder and decoder, of a, and of the rest of the prior."""
    counts = {"num_parameters": 0, "num_acceptance_parameters": 0, "num_prior_parameters": 0}
    for name, parameter in model.named_parameters():
        if ".log_a." in name:
            counts["num_acceptance_parameters"] += parameter.numel()
        elif name.startswith("prior."):
            counts["num_prior_parameters"] += parameter.numel()
        else:
            counts["num_parameters"] += parameter.numel()
    return counts
