"""What one may bring to a latent-variable model: a prior, a likelihood, an objective.

Each is a part in a file of its own behind one of these contracts. Nothing here knows which there
are. Densities are in nats.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

LogAcceptance = Callable[[Tensor], Tensor]
Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
Images = Callable[[Tensor], Tensor]  # row numbers (n,) of training images -> images (n, pixels)


@dataclass(frozen=True)
class ZEstimate:
    """An estimate of Z and of log Z (nats), each with its standard error.

    The standard error of log Z is that of Z divided by Z (first order); it is infinite where no
    proposal was accepted, or where one observation alone gives no error. The product of two
    independent estimates is the estimate of the product.

    Examples:
        >>> estimate = ZEstimate(mean=0.02, standard_error=1e-4, num_samples=1_000_000)
        >>> f"log Z = {estimate.log_mean:.3f} ± {estimate.log_standard_error:.3f}"
        'log Z = -3.912 ± 0.005'
    """

    mean: float
    standard_error: float
    num_samples: int

    @property
    def log_mean(self) -> float:
        return math.log(self.mean) if self.mean > 0 else -math.inf

    @property
    def log_standard_error(self) -> float:
        return self.standard_error / self.mean if self.mean > 0 else math.inf

    def __mul__(self, other: "ZEstimate") -> "ZEstimate":
        error = math.hypot(self.mean * other.standard_error, other.mean * self.standard_error)
        return ZEstimate(self.mean * other.mean, error, self.num_samples + other.num_samples)


EstimateZ = Callable[[Distribution | nn.Module, LogAcceptance], ZEstimate]


class Prior(nn.Module, ABC):
    """The prior p(z) of a latent-variable model. A subclass defines ``distribution``.

    Every prior is a LARS prior: by default its own proposal with a(z) = 1, which is what
    ``truncation`` 1 gives (A.15). Called, it gives its distribution, as zuko's lazy modules do.

    Attributes:
        label: what a figure calls it.
        truncation: T, or None for p_∞.
        is_bound: whether ``log_prob`` is a random lower bound instead of log p(z): its exponential
            has the mean p(z). The ELBO and the importance-weighted bound stay bounds, looser ones.
    """

    label: str = "prior"
    truncation: int | None = 1
    is_bound: bool = False

    @abstractmethod
    def distribution(self) -> Distribution:
        """p(z) with the present parameters: batch shape (), event shape (features,)."""

    def forward(self) -> Distribution:
        return self.distribution()

    def attach(self, encode: Encode, pixels: int) -> None:
        """Called once by the model, when it is built, on all priors in it.

        Args:
            encode: images (n, pixels) -> mean and log standard deviation of q(z|x), each
                (n, features). A bound method: kept as an attribute it adds no parameters.
            pixels: of an image.
        """

    def start(self, images: Tensor) -> None:
        """Called before the first training step, on a prior's proposal before itself.

        Args:
            images: means of the pixels of all training images, (n, pixels), in [0, 1] where the
                images are binary.
        """

    def before_step(self, rows: Tensor, images: Images) -> None:
        """Called before each training step.

        Args:
            rows: which of the training images the step is on, (batch,).
            images: row numbers -> means of the pixels, as ``start`` is given them.
        """

    def finish(self, images: Images) -> None:
        """Called when training has ended, and before each validation.

        Args:
            images: as for ``before_step``.
        """

    def training_log_prob(self, z: Tensor, log_posterior: Tensor | None) -> Tensor:
        """log p(z) in the loss, with its gradient: (..., features), (...) -> (...), in nats.

        A prior whose normalizer follows a moving average moves it here, in training mode alone,
        as batch normalisation does.

        Args:
            log_posterior: log q(z|x) of the samples z; None where q is known by samples alone.
        """
        return self.log_prob(z)

    def training_loss(self, z: Tensor) -> Tensor | float:
        """A loss of the prior's own, added to the objective's: (..., features) -> (), in nats.

        For a prior whose parameters are not fitted by log p(z), which then has no gradient for
        them. None by default.

        Args:
            z: samples of q(z|x) of a batch, which are those of the aggregate posterior q(z).
        """
        return 0.0

    def z_in_training(self) -> float:
        """The Z that the training's log shows."""
        return 1.0

    def normalize(self, estimate: EstimateZ) -> ZEstimate:
        """After training: keep what ``estimate`` says of Z; by default Z = 1 and it is not asked.

        Args:
            estimate: (proposal, log_a) -> an estimate of E_π[a(z)]. A prior with several
                normalizers calls it once for each, always in the same order.
        """
        return ZEstimate(mean=1.0, standard_error=0.0, num_samples=0)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., features) -> (...)."""
        return self.distribution().log_prob(z)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples, shape (*sample_shape, features)."""
        return self.distribution().sample(torch.Size(sample_shape))

    @property
    def proposal_label(self) -> str:
        """What a figure calls the proposal."""
        return self.label

    def proposal_distribution(self) -> Distribution:
        """π(z) with the present parameters."""
        return self.distribution()

    def log_acceptance(self, z: Tensor) -> Tensor:
        """log a(z): (..., features) -> (...), at most 0."""
        return z.new_zeros(z.shape[:-1])


class Likelihood(Protocol):
    """p(x|h) of images given what the decoder computes; parameters, if any, are the model's."""

    def __call__(self, h: Tensor) -> Distribution:
        """(..., pixels) -> a distribution of batch shape (...) and event shape (pixels,).

        It has ``log_prob`` (nats), ``sample`` and ``mean``. A likelihood whose mean is not h
        itself also has ``link``: means (pixels,) -> h.
        """


class Terms(NamedTuple):
    """The log densities of one pass through a model, each (num_samples, batch), in nats.

    The ELBO is the mean of log p(x|z) + log p(z) − log q(z|x); the importance-weighted bound is
    the log of the mean of its exponential. Latents of several levels are summed.
    """

    log_likelihood: Tensor  # log p(x|z)
    log_prior: Tensor  # log p(z)
    log_posterior: Tensor  # log q(z|x)


class Objective(Protocol):
    """What training minimises."""

    num_samples: int  # of q(z|x), for each image

    def __call__(self, terms: Terms, beta: Tensor | float) -> Tensor:
        """The loss, shape (), in nats per image; ``beta`` is the weight of the KL term."""
