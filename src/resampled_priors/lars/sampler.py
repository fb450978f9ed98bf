"""Exact samples of p_T and p_∞, the candidates drawn in parallel blocks (section 2)."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..contracts import LogAcceptance
from ..errors import WrongInput
from .checks import Checks, refuse_nan

MAX_BLOCK = 8_192  # candidates at a time: what stays in a core's cache
MAX_REJECTED = 10**8  # candidates in a row without an end to a sample: then the sampler gives up
REMEDY = "a(z) is too small where the proposal is; give a truncation T, or train it further"


def sample_resampled(
    proposal: Distribution,
    log_a: LogAcceptance,
    num_samples: int,
    truncation: int | None,
    expected_proposals: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Exact samples of p_T (or p_∞), the candidates drawn in parallel blocks.

    The candidates form one long independent stream. Each sample ends where a candidate is
    accepted or where T candidates have gone by since the last end: just what drawing the samples
    one after another would do, so nothing is approximate.

    Args:
        expected_proposals: a guess of the candidates per sample, for the size of the first block.

    Returns:
        samples, shape (num_samples, ...), and how many candidates each took, shape (num_samples,).

    Raises:
        WrongInput: no sample after MAX_REJECTED candidates in a row, or as many are expected; an
            a(z) that is NaN; log a of another shape or above 0.
    """
    if expected_proposals is not None and not expected_proposals <= MAX_REJECTED:
        raise WrongInput(
            f"a sample would take {expected_proposals:.2g} proposals, the limit is "
            f"{MAX_REJECTED:,}: {REMEDY}"
        )
    checks = Checks()
    samples: list[Tensor] = []
    counts: list[Tensor] = []
    found, drawn, rejected = 0, 0, 0  # rejected: candidates since the last end, before this block
    per_sample = min(expected_proposals or 16.0, truncation or math.inf)
    while found < num_samples or not samples:
        wanted = math.ceil(1.1 * per_sample * (num_samples - found)) + 16
        candidates = proposal.sample((min(wanted, MAX_BLOCK),))
        num_candidates = candidates.shape[0]
        log_acceptance = log_a(candidates)
        checks(candidates, candidates.shape[1:], log_acceptance)
        refuse_nan(log_acceptance)
        # Uniforms in float64: float32 has none between 0 and 6e-8, and a(z) is often below.
        uniform = torch.rand(num_candidates, dtype=torch.float64, device=log_acceptance.device)
        accepted = (uniform.log() < log_acceptance).nonzero().squeeze(-1)
        starts = torch.cat([accepted.new_tensor([-1 - rejected]), accepted])
        ends = accepted
        if truncation is not None:
            last = torch.cat([accepted - 1, accepted.new_tensor([num_candidates - 1])])
            forced_per_gap = (last - starts) // truncation  # T-th candidates before the acceptance
            gap_starts = starts.repeat_interleave(forced_per_gap)
            first = (forced_per_gap.cumsum(0) - forced_per_gap).repeat_interleave(forced_per_gap)
            nth = torch.arange(len(gap_starts), device=accepted.device) - first + 1
            ends = torch.cat([accepted, gap_starts + truncation * nth]).sort().values
        taken = ends[: num_samples - found]
        samples.append(candidates[taken])
        counts.append(torch.diff(taken, prepend=starts[:1]))
        found += len(taken)
        drawn += num_candidates
        rejected = num_candidates - 1 - int(ends[-1]) if len(ends) else rejected + num_candidates
        per_sample = drawn / max(found, 0.5)
        if rejected >= MAX_REJECTED:
            raise WrongInput(
                f"gave up after {rejected:,} proposals in a row, none of which was accepted: "
                f"{REMEDY}"
            )
    return torch.cat(samples), torch.cat(counts)
