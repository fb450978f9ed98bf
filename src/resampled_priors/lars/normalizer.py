"""Z = E_π[a(z)]: Algorithm 1 while a(z) is trained, eq. A.17 with its standard error afterwards.

Afterwards, sums are kept in float64, candidates are drawn in batches, and symmetric proposals in
antithetic pairs (z, 2μ − z), which count as one observation each in the standard error.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import LogAcceptance, ZEstimate
from .checks import Checks
from .proposal import proposal_distribution
from .sampler import MAX_BLOCK
from .symmetry import centre_of_pairs

EARLIEST_STOP = 1_000_000


def smoothed_log_z(
    log_a_proposals: Tensor,
    z_average: Tensor,
    smoothing: float,
    log_weighted_a: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1: log Z for each data point, and the new moving average of Z.

    The value of log Z_r is that of the smoothed estimate, its gradient that of the current one.
    An average that is not yet set (NaN) starts as the mean of the current estimate.

    Args:
        log_a_proposals: log a(z_s) of S proposals z_s ~ π, shape (S,).
        z_average: ⟨Z⟩ before this step, shape ().
        smoothing: ε in (0, 1].
        log_weighted_a: log [π(z_r)/q(z_r|x_r)] + log a(z_r), shape (...), the fraction already
            under stop_grad; None leaves the data points out of the estimate.

    Returns:
        log Z_r, shape (...) or (), and the new ⟨Z⟩, shape (), without gradient.
    """
    num_proposals = log_a_proposals.numel()
    # Where all are rejected for certain, log Z_S = −∞ would have NaN for its gradient.
    log_a_proposals = log_a_proposals.clamp(min=torch.finfo(log_a_proposals.dtype).min)
    log_current = torch.logsumexp(log_a_proposals, dim=0)  # line 1: log S·Z_S
    if log_weighted_a is None:
        log_current = log_current - math.log(num_proposals)
    else:
        log_current = torch.logaddexp(log_current, log_weighted_a) - math.log(num_proposals + 1)
    value = log_current.detach()  # line 3: log Z_r,curr
    log_keep = math.log1p(-smoothing) if smoothing < 1 else -math.inf
    average = torch.where(z_average.isnan(), value.exp().mean(), z_average)
    log_average = average.clamp(min=torch.finfo(average.dtype).tiny).log()
    log_smooth = torch.logaddexp(log_keep + log_average, math.log(smoothing) + value)  # line 4
    # line 5: Z_r = Z_curr + sg(Z_smooth − Z_curr), so ∇ log Z_r = (Z_curr / Z_smooth) ∇ log Z_curr
    log_z = log_smooth + (value - log_smooth).exp() * (log_current - value)
    return log_z, log_smooth.exp().mean()  # line 7


class RunningMean(NamedTuple):
    """Welford's sums over observations; a mean that goes on from them goes on exactly."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # Σ (observation − mean)²

    def add(self, values: Tensor) -> "RunningMean":
        """The sums with these observations, shape (n,), float64, among them.

        Raises:
            ValueError: a value that is not finite.
        """
        batch_mean = values.mean()
        batch = torch.stack([batch_mean, (values - batch_mean).square().sum()]).tolist()
        if not math.isfinite(batch[0]):
            raise ValueError("the acceptance function gave a value that is not finite")
        total = self.count + values.numel()
        shift = batch[0] - self.mean
        return RunningMean(
            total,
            self.mean + shift * values.numel() / total,
            self.squares + (batch[1] + shift**2 * self.count * values.numel() / total),
        )

    @property
    def standard_error(self) -> float:
        variance = self.squares / (self.count - 1) if self.count > 1 else math.inf
        return math.sqrt(variance / self.count)


NO_OBSERVATIONS = RunningMean()


@torch.no_grad()
def running_z_estimates(
    proposal: Distribution | nn.Module,
    log_a: LogAcceptance,
    num_samples: int = 10**8,
    batch_size: int = MAX_BLOCK,
    antithetic: bool | Tensor | None = None,
    target_log_standard_error: float | None = None,
    sums: RunningMean = NO_OBSERVATIONS,
) -> Iterator[tuple[ZEstimate, RunningMean]]:
    """The estimate Z_S after each batch, as Fig. A.2 shows it (eq. A.18), and its sums.

    Args:
        sums: those that an earlier estimate ended with, to continue it; where there are any, the
            first estimate is theirs. The rest as for ``estimate_z``, which gives the last one.

    Raises:
        ValueError: as ``estimate_z``.
    """
    if num_samples < 2:
        raise ValueError(f"num_samples must be at least 2, got {num_samples}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    proposal = proposal_distribution(proposal)
    centre = centre_of_pairs(proposal, antithetic)
    checks = Checks()
    group = 1 if centre is None else 2  # proposals per independent observation
    wanted, per_batch = math.ceil(num_samples / group), max(batch_size // group, 1)

    def estimate() -> ZEstimate:
        return ZEstimate(sums.mean, sums.standard_error, group * sums.count)

    def is_good_enough() -> bool:
        return (
            target_log_standard_error is not None
            and group * sums.count >= EARLIEST_STOP
            and estimate().log_standard_error <= target_log_standard_error
        )

    if sums.count:
        yield estimate(), sums
    while sums.count < wanted and not is_good_enough():
        z = proposal.sample((min(per_batch, wanted - sums.count),))
        log_acceptance = log_a(z)
        checks(z, z.shape[1:], log_acceptance)
        a = log_acceptance.double().exp()
        if centre is not None:
            a = (a + log_a(2 * centre - z).double().exp()) / 2
        sums = sums.add(a)
        yield estimate(), sums


def estimate_z(
    proposal: Distribution | nn.Module,
    log_a: LogAcceptance,
    num_samples: int = 10**8,
    batch_size: int = MAX_BLOCK,
    antithetic: bool | Tensor | None = None,
    target_log_standard_error: float | None = None,
) -> ZEstimate:
    """Z = E_π[a(z)] by Monte Carlo (eq. A.17).

    Args:
        proposal: anything with ``sample((n,))``, or a lazy module that gives one.
        log_a: z (n, ...) -> log a(z) (n,).
        num_samples: S, how many proposals at the most; rounded up to whole pairs.
        batch_size: proposals held at a time, in whole pairs.
        antithetic: draw pairs (z, 2μ − z); None does so where the proposal's type is known to be
            symmetric, and a tensor is the μ of a proposal that you know to be.
        target_log_standard_error: stop once the standard error of log Z (nats) is this small,
            looked at only after EARLIEST_STOP samples, since few say little about rare events.

    Raises:
        ValueError: fewer than 2 samples, or a batch size below 1; antithetic pairs asked of a
            proposal not known to be symmetric, or about a μ where it is not; a proposal that is
            none; an acceptance function that gives NaN, log a above 0 or of another shape.

    Examples:
        >>> from torch.distributions import Normal
        >>> estimate_z(Normal(0.0, 1.0), lambda z: -z**2 / 2, 100_000).num_samples
        100000
    """
    estimates = running_z_estimates(
        proposal, log_a, num_samples, batch_size, antithetic, target_log_standard_error
    )
    for last in estimates:
        estimate, _ = last
    return estimate
