"""p_T and p_∞ as a distribution: to score, to sample, to rank proposals."""

import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import LogAcceptance
from .checks import Checks, refuse_nan
from .density import check_truncation, expected_proposals, log_resampled_density
from .proposal import proposal_distribution
from .sampler import sample_resampled


class ResampledDistribution(Distribution):
    """p_T or p_∞ for a given proposal, acceptance function and Z.

    Its samples are not reparameterised (``has_rsample`` is False): acceptance is a decision. What
    is built on it (a flow) refuses its own ``rsample`` where gradients are on, since theirs would
    lack the part of a(z); under ``torch.no_grad()`` it samples.

    Args:
        proposal: a distribution with an empty batch shape, or a zuko lazy one.
        log_a: z (..., *event_shape) -> log a(z) (...), at most 0.
        truncation: T ≥ 1; None gives p_∞.
        log_z: log Z in nats, needed by ``log_prob`` and ``expected_proposals`` only.

    Raises:
        ValueError: truncation below 1; a proposal that is no distribution or has a batch shape;
            log_z missing where needed; log a of another shape or above 0; as the sampler.

    Source: eq. 3 and 4; the sampler is that of section 2.

    Examples:
        >>> from torch.distributions import Independent, Normal
        >>> proposal = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> p = ResampledDistribution(proposal, AcceptanceFunction(2), truncation=100, log_z=-0.7)
        >>> p.sample((5,)).shape
        torch.Size([5, 2])
        >>> p.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
        >>> z, log_acceptance = p.sample_ranked(1_000)
        >>> bool(log_acceptance[0] >= log_acceptance[-1])
        True
    """

    arg_constraints: dict = {}

    def __init__(
        self,
        proposal: Distribution | nn.Module,
        log_a: LogAcceptance,
        truncation: int | None = 100,
        log_z: Tensor | float | None = None,
    ) -> None:
        check_truncation(truncation)
        self.proposal = proposal_distribution(proposal)
        if self.proposal.batch_shape:
            raise ValueError(
                f"the proposal has batch shape {tuple(self.proposal.batch_shape)}; wrap it in "
                "torch.distributions.Independent so that one event is one z, or give it one "
                "condition at a time: each has a Z of its own"
            )
        self.log_a = log_a
        self.truncation = truncation
        self._log_z = None if log_z is None else torch.as_tensor(log_z)
        self.checks = Checks()
        super().__init__(event_shape=self.proposal.event_shape, validate_args=False)

    def expand(
        self, batch_shape: Sequence[int], _instance: Distribution | None = None
    ) -> "ResampledDistribution":
        """The same distribution for each element of a batch, their samples independent."""
        new = self._get_checked_instance(ResampledDistribution, _instance)
        for name in ("proposal", "log_a", "truncation", "_log_z", "checks"):
            setattr(new, name, getattr(self, name))
        batch_shape = torch.empty(self.batch_shape).expand(batch_shape).shape
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        return new

    @property
    def has_rsample(self) -> bool:
        """False.

        Raises:
            NotImplementedError: the ``rsample`` of another distribution asks, with gradients on.
        """
        if torch.is_grad_enabled() and not torch.compiler.is_compiling() and _rsample_asks():
            raise NotImplementedError(
                "rsample on top of a resampled distribution would have a gradient without the "
                "part of a(z): use sample(), and log_prob for gradients; where the transform "
                "alone is trained, apply it to samples of the base"
            )
        return False

    @property
    def support(self) -> torch.distributions.constraints.Constraint:
        return self.proposal.support

    @property
    def log_z(self) -> Tensor:
        """log Z, shape ()."""
        if self._log_z is None:
            raise ValueError("log_z is not known: pass log_z=estimate_z(proposal, log_a).log_mean")
        return self._log_z

    @property
    def expected_proposals(self) -> Tensor:
        """Expected candidates per sample, see ``density.expected_proposals``; shape ()."""
        return expected_proposals(self.log_z, self.truncation)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p_T(z) in nats: (..., *event_shape) -> (...), broadcast to the batch shape."""
        log_proposal, log_acceptance = self.proposal.log_prob(value), self.log_a(value)
        self.checks(value, self.event_shape, log_acceptance, log_proposal, log_z=self.log_z)
        density = log_resampled_density(log_proposal, log_acceptance, self.log_z, self.truncation)
        return density.expand(torch.broadcast_shapes(density.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact samples, shape (*sample_shape, *batch_shape, *event_shape)."""
        guess = None if self._log_z is None else float(self.expected_proposals)
        shape = (*sample_shape, *self.batch_shape)
        samples, _ = sample_resampled(
            self.proposal, self.log_a, math.prod(shape), self.truncation, guess
        )
        return samples.reshape((*shape, *self.event_shape))

    @torch.no_grad()
    def sample_ranked(self, num_proposals: int) -> tuple[Tensor, Tensor]:
        """Proposals sorted by a(z), highest first, and their log a(z), as in Fig. 3 and D.5–D.9.

        Returns:
            z, shape (num_proposals, *event_shape), and log a(z), shape (num_proposals,).
        """
        z = self.proposal.sample((num_proposals,))
        log_acceptance = self.log_a(z)
        self.checks(z, self.event_shape, log_acceptance)
        refuse_nan(log_acceptance)
        log_acceptance, order = log_acceptance.sort(descending=True)
        return z[order], log_acceptance


def _rsample_asks() -> bool:
    """Whether the property that calls this is read by an ``rsample``, as zuko's flows do."""
    frame = sys._getframe(2)
    while frame.f_code.co_name == "has_rsample":  # Independent's passes the question on
        frame = frame.f_back
    return frame.f_code.co_name.startswith("rsample")
