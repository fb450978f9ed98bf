"""The evaluation-time estimate of Z = E_π[a(z)]: eq. A.17, with its standard error.

Sums are kept in float64, candidates are drawn in batches, and symmetric proposals are drawn in
antithetic pairs (z, 2μ − z), which count as one observation each in the standard error.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import (
    Cauchy,
    Distribution,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)

from ..progress import progress_bar
from ..runs.checkpoints import Checkpoint
from .density import LogAcceptance
from .sampler import MAX_BLOCK

EARLIEST_STOP = 1_000_000


def smoothed_log_z(
    log_a_proposals: Tensor,
    z_average: Tensor,
    smoothing: float,
    log_weighted_a: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1: log Z for each data point, and the new moving average of Z.

    The value of log Z_r is that of the smoothed estimate, its gradient that of the current one.

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
    log_current = torch.logsumexp(log_a_proposals, dim=0)  # line 1: log S·Z_S
    if log_weighted_a is None:
        log_current = log_current - math.log(num_proposals)
    else:
        log_current = torch.logaddexp(log_current, log_weighted_a) - math.log(num_proposals + 1)
    value = log_current.detach()  # line 3: log Z_r,curr
    log_keep = math.log1p(-smoothing) if smoothing < 1 else -math.inf
    log_average = z_average.clamp(min=torch.finfo(z_average.dtype).tiny).log()
    log_smooth = torch.logaddexp(log_keep + log_average, math.log(smoothing) + value)  # line 4
    # line 5: Z_r = Z_curr + sg(Z_smooth − Z_curr), so ∇ log Z_r = (Z_curr / Z_smooth) ∇ log Z_curr
    log_z = log_smooth + (value - log_smooth).exp() * (log_current - value)
    return log_z, log_smooth.exp().mean()  # line 7


@dataclass(frozen=True)
class ZEstimate:
    """An estimate of Z and of log Z (nats), each with its standard error.

    The standard error of log Z is that of Z divided by Z (first order); it is infinite where no
    proposal was accepted, or where one observation alone gives no error.

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


def centre_of_symmetry(proposal: Distribution) -> Tensor | None:
    """The μ with π(μ + z) = π(μ − z), or None where the family is not known to have one."""
    if isinstance(proposal, Independent):
        return centre_of_symmetry(proposal.base_dist)
    if isinstance(proposal, Normal | Laplace | Cauchy | StudentT | MultivariateNormal):
        return proposal.loc
    if isinstance(proposal, Uniform):
        return (proposal.low + proposal.high) / 2
    return None


@torch.no_grad()
def running_z_estimates(
    proposal: Distribution | nn.Module,
    log_a: LogAcceptance,
    num_samples: int,
    batch_size: int = MAX_BLOCK,
    antithetic: bool | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[ZEstimate]:
    """The estimate Z_S after each batch, as Fig. A.2 shows it (eq. A.18).

    With a checkpoint, the first is the one that was saved there, if any.
    """
    if num_samples < 2:
        raise ValueError(f"num_samples must be at least 2, got {num_samples}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    proposal = proposal() if isinstance(proposal, nn.Module) else proposal
    centre = centre_of_symmetry(proposal)
    if antithetic and centre is None:
        raise ValueError(f"{type(proposal).__name__} is not known to be symmetric: no antithetic")
    paired = centre is not None if antithetic is None else antithetic
    group = 2 if paired else 1  # proposals per independent observation
    wanted, per_batch = math.ceil(num_samples / group), max(batch_size // group, 1)
    saved = None if checkpoint is None else checkpoint.load()
    # Welford's sums: squares = Σ (observation − mean)²
    count, mean, squares = saved["sums"] if saved else (0, 0.0, 0.0)

    def estimate() -> ZEstimate:
        variance = squares / (count - 1) if count > 1 else math.inf
        return ZEstimate(mean, math.sqrt(variance / count), group * count)

    if saved:
        yield estimate()
    while count < wanted:
        z = proposal.sample((min(per_batch, wanted - count),))
        a = log_a(z).double().exp()
        if paired:
            a = (a + log_a(2 * centre - z).double().exp()) / 2
        batch_mean = a.mean()
        batch = torch.stack([batch_mean, (a - batch_mean).square().sum()]).tolist()
        if not math.isfinite(batch[0]):
            raise ValueError("the acceptance function gave a value that is not finite")
        total = count + a.numel()
        shift = batch[0] - mean
        mean += shift * a.numel() / total
        squares += batch[1] + shift**2 * count * a.numel() / total
        count = total
        if checkpoint is not None and checkpoint.is_due():
            checkpoint.save({"sums": (count, mean, squares)})
        yield estimate()


def estimate_z(
    proposal: Distribution | nn.Module,
    log_a: LogAcceptance,
    num_samples: int = 10**8,
    batch_size: int = MAX_BLOCK,
    antithetic: bool | None = None,
    target_log_standard_error: float | None = None,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> ZEstimate:
    """Z = E_π[a(z)] by Monte Carlo (eq. A.17).

    Args:
        proposal: anything with ``sample((n,))``, or a lazy module that gives one.
        log_a: z (n, ...) -> log a(z) (n,).
        num_samples: S, how many proposals at the most; rounded up to whole pairs.
        batch_size: proposals held at a time, in whole pairs.
        antithetic: draw pairs (z, 2μ − z); None does so where the proposal is known to be
            symmetric.
        target_log_standard_error: stop once the standard error of log Z (nats) is this small,
            looked at only after EARLIEST_STOP samples, since few say little about rare events.
        progress: show a progress bar.
        checkpoint: saved to now and then, and continued from where there is one.

    Raises:
        ValueError: fewer than 2 samples, or a batch size below 1; antithetic pairs asked of a
            proposal not known to be symmetric; an acceptance function that gives NaN.

    Examples:
        >>> from torch.distributions import Normal
        >>> estimate_z(Normal(0.0, 1.0), lambda z: -z**2 / 2, 100_000).num_samples
        100000
    """
    with progress_bar(
        total=num_samples, unit="sample", unit_scale=True, desc="Z", disable=not progress
    ) as bar:
        for estimate in running_z_estimates(
            proposal, log_a, num_samples, batch_size, antithetic, checkpoint
        ):
            bar.update(estimate.num_samples - bar.n)
            text = f"Z {estimate.mean:.4g} ± {estimate.standard_error:.1g}"
            bar.set_postfix_str(text, refresh=False)
            if (
                target_log_standard_error is not None
                and estimate.num_samples >= EARLIEST_STOP
                and estimate.log_standard_error <= target_log_standard_error
            ):
                break
    return estimate
