"""LARS on the images (D.7): a factor that reweights the marginal likelihood π(x)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..contracts import EstimateZ, Likelihood, Prior, Terms, ZEstimate
from ..lars import AcceptanceFunction, Resampling, log_resampled_density
from ..settings import OutputSettings
from .base import LatentVariableModel, Pass
from .vae import VAE


class DecodedPrior(Distribution):
    """π(x) = ∫ p(x|z) p(z) dz of a model, to sample from: the proposal of a resampled output.

    Its density has no closed form, so there is no ``log_prob``.
    """

    arg_constraints: dict = {}

    def __init__(self, model: LatentVariableModel) -> None:
        self.model = model
        pixels = math.prod(model.image_shape)
        super().__init__(event_shape=torch.Size([pixels]), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """Images, shape (*sample_shape, pixels)."""
        z = self.model.prior.sample(sample_shape)
        return self.model.image_distribution(z).sample()


class ResampledOutput(Resampling):
    """The factor p_T(x) / π(x), which a model multiplies its likelihood with."""

    def log_factor(self, x: Tensor, training: bool = False) -> Tensor:
        """log p_T(x) − log π(x) in nats: (batch, pixels) -> (batch,).

        Args:
            training: with Algorithm 1's Z instead of the stored one. π(x)/q is unknown for a
                training image, so Z comes from decoded samples alone (D.25); no gradient passes
                through the discrete samples.
        """
        if training:
            images = self.proposal.sample((self.num_proposals,))
            log_z = self._training_log_z(self.log_a(images))
        else:
            log_z = self.distribution().log_z
        log_acceptance = self.log_a(x)
        zero = torch.zeros_like(log_acceptance)
        return log_resampled_density(zero, log_acceptance, log_z, self.truncation)


class ResampledOutputVAE(VAE):
    """VAE (L = 1) whose marginal likelihood is resampled in pixel space (eq. D.24, D.25)."""

    def __init__(
        self,
        prior: Prior,
        image_shape: tuple[int, int],
        likelihood: Likelihood,
        latent_size: int,
        output: OutputSettings,
    ) -> None:
        super().__init__(prior, image_shape, likelihood, latent_size)
        settings = dict(output)
        log_a = AcceptanceFunction(math.prod(image_shape), settings.pop("hidden"))
        self.output = ResampledOutput(DecodedPrior(self), log_a, **settings)

    def terms_of(self, p: Pass, x: Tensor, training: bool) -> Terms:
        terms = super().terms_of(p, x, training)
        factor = self.output.log_factor(x, training)
        return terms._replace(log_likelihood=terms.log_likelihood + factor)  # D.24

    def start(self, images: Tensor) -> None:
        super().start(images)
        self.output.start()

    @property
    def resampling(self) -> Resampling:
        """What has the model's a and Z: the output."""
        return self.output

    def normalize(self, estimate: EstimateZ) -> ZEstimate:
        """The product of the Zs of prior and output, each kept by its own part."""
        return super().normalize(estimate) * self.output.normalize(estimate)

    def sample_images(self, num_images: int) -> Tensor:
        """Images of the resampled model, (num_images, pixels): what a decides on, no means."""
        return self.output.sample((num_images,))

    @torch.no_grad()
    def rank_proposals(self, num_proposals: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """As in the base class; a is that of an image drawn with the means that are returned."""
        p = self.image_distribution(self.prior.sample((num_proposals,)))
        log_a, order = self.output.log_a(p.sample()).sort(descending=True)
        means = p.mean
        return log_a, lambda ranks: means[order[ranks]]
