"""What a resampled prior and a resampled output share: π, a, T, and the two states of Z."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import EstimateZ, LogAcceptance, Prior, ZEstimate
from .checks import Checks
from .density import check_truncation
from .distribution import ResampledDistribution
from .normalizer import MAX_BLOCK, estimate_z, smoothed_log_z
from .proposal import draw_with_gradient, moved, proposal_distribution, refuse_parameters

START_PROPOSALS = 10_000  # of the first value of ⟨Z⟩


class Resampling(nn.Module):
    """A proposal π reweighted by a learned acceptance function a, truncated after T attempts.

    Buffers, both NaN until they are set: ``z_average``, the moving average ⟨Z⟩ of training, and
    ``log_z``, which evaluation uses.

    Args:
        proposal: a torch distribution without parameters to be learned, which moves with the
            module; or a lazy (zuko) module whose parameters are then trained.
        log_a: events of π (..., features) -> log a (...), at most 0.
        truncation: T ≥ 1, or None for p_∞.
        smoothing: ε of the moving average, in (0, 1].
        num_proposals: S of a training step.

    Raises:
        ValueError: a truncation, smoothing or number of proposals out of range; a proposal that
            is no distribution, has a batch shape, or has parameters that nobody would train.
    """

    def __init__(
        self,
        proposal: Distribution | nn.Module,
        log_a: LogAcceptance,
        truncation: int | None = 100,
        smoothing: float = 0.1,
        num_proposals: int = 1024,
    ) -> None:
        check_truncation(truncation)
        if not 0 < smoothing <= 1:
            raise ValueError(f"smoothing must lie in (0, 1], got {smoothing}")
        if num_proposals < 1:
            raise ValueError(f"num_proposals must be at least 1, got {num_proposals}")
        super().__init__()
        if not isinstance(proposal, Prior):  # which may want to be attached to its model first
            ResampledDistribution(proposal, log_a, truncation)  # refuses what is no proposal
        if isinstance(proposal, Distribution):
            refuse_parameters(proposal)
        self.proposal = proposal
        self.log_a = log_a
        self.truncation = truncation
        self.smoothing = smoothing
        self.num_proposals = num_proposals
        self.register_buffer("z_average", torch.tensor(math.nan))
        self.register_buffer("log_z", torch.tensor(math.nan))
        self.checks = Checks()

    def _apply(self, move: Callable[[Tensor], Tensor], recurse: bool = True) -> "Resampling":
        """What ``.to(...)`` and ``.double()`` do, here to a distribution's tensors as well."""
        super()._apply(move, recurse)
        if isinstance(self.proposal, Distribution):
            self.proposal = moved(self.proposal, move)
        return self

    def proposal_distribution(self) -> Distribution:
        """π, with the present parameters where it is learned."""
        return proposal_distribution(self.proposal)

    def log_acceptance(self, z: Tensor) -> Tensor:
        """log a(z): (..., features) -> (...)."""
        return self.log_a(z)

    def start(self, images: Tensor | None = None) -> None:
        """Set ⟨Z⟩ to an estimate; else the first training step does so, from fewer proposals."""
        self.z_average.fill_(estimate_z(self.proposal, self.log_a, START_PROPOSALS).mean)

    def z_in_training(self) -> float:
        return self.z_average.item()

    def _training_log_a(self, proposal: Distribution) -> Tensor:
        """log a of S proposals, with their gradient where the proposal has one: shape (S,)."""
        return self.log_a(draw_with_gradient(proposal, (self.num_proposals,)))

    def _training_log_z(
        self, log_a_proposals: Tensor, log_weighted_a: Tensor | None = None
    ) -> Tensor:
        """log Z of Algorithm 1, see ``smoothed_log_z``; ⟨Z⟩ moves in training mode alone."""
        log_z, new_average = smoothed_log_z(
            log_a_proposals, self.z_average, self.smoothing, log_weighted_a
        )
        if self.training:
            self.z_average.copy_(new_average)
        return log_z

    def normalize(self, estimate: EstimateZ) -> ZEstimate:
        """Store log of what ``estimate`` (proposal, log_a) says of Z."""
        z = estimate(self.proposal, self.log_a)
        self.log_z.fill_(z.log_mean)
        return z

    def estimate_z(
        self,
        num_samples: int = 10**8,
        batch_size: int = MAX_BLOCK,
        antithetic: bool | Tensor | None = None,
        target_log_standard_error: float | None = None,
    ) -> ZEstimate:
        """Estimate Z and store its logarithm; arguments and errors as ``lars.estimate_z``."""
        return self.normalize(
            lambda proposal, log_a: estimate_z(
                proposal, log_a, num_samples, batch_size, antithetic, target_log_standard_error
            )
        )

    def distribution(self) -> ResampledDistribution:
        """p_T with the stored log Z.

        Raises:
            ValueError: no estimate of Z has been stored.
        """
        if torch.isnan(self.log_z):
            raise ValueError("Z has not been estimated: call estimate_z(10**7) after training")
        return self._resampled(self.log_z)

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """Exact samples of p_T, shape (*sample_shape, features). Needs no Z."""
        return self._resampled().sample(sample_shape)

    def _resampled(self, log_z: Tensor | None = None) -> ResampledDistribution:
        p = ResampledDistribution(self.proposal, self.log_a, self.truncation, log_z)
        p.checks = self.checks  # what the module has looked at is not looked at again
        return p
