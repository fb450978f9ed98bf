"""The density of learned accept/reject sampling (LARS), written once: eq. 3 and 4.

Everything that is a probability lives in log space; densities are in nats.
"""

import torch
from torch import Tensor

MIN_LOG_Z = -690.0  # Z = 1e-300: p_T has reached its limit for Z -> 0, and exp does not underflow


def check_truncation(truncation: int | None) -> None:
    """Raises ValueError unless truncation is an integer of at least 1, or None for p_∞."""
    if truncation is None:
        return
    if isinstance(truncation, bool) or not isinstance(truncation, int) or truncation < 1:
        raise ValueError(
            f"truncation must be an integer of at least 1, or None for p_infinity, "
            f"got {truncation!r}"
        )


def log_resampled_density(
    log_proposal: Tensor, log_acceptance: Tensor, log_z: Tensor, truncation: int | None
) -> Tensor:
    """log p_T(z), or log p_∞(z) where truncation is None, in nats.

    Args:
        log_proposal: log π(z), shape (...).
        log_acceptance: log a(z), shape (...), at most 0.
        log_z: log Z, shape () or (...).
        truncation: T ≥ 1, or None; an unchecked integer.

    Returns:
        the log density in nats, shape (...). Source: eq. 3 and 4, A.7 and A.14.

    Examples:
        >>> log_pi, log_a, log_z = torch.tensor(-0.9), torch.tensor(-0.1), torch.tensor(-2.3)
        >>> f"{log_resampled_density(log_pi, log_a, log_z, truncation=10):.3f}"
        '0.879'
        >>> f"{log_resampled_density(log_pi, log_a, log_z, truncation=None):.3f}"
        '1.300'
    """
    if truncation is None:
        return log_proposal + log_acceptance - log_z  # eq. 3, A.7
    if truncation == 1:
        return log_proposal.expand_as(log_acceptance)  # A.15
    # In float64: Z may be 1e-30 or 1 to rounding, and T 1e9; these are a number or two a batch.
    log_z64 = log_z.double().clamp(min=MIN_LOG_Z)
    log_reject = torch.log1p(-log_z64.clamp(max=-torch.finfo(torch.float64).eps).exp())
    log_alpha = (truncation - 1) * log_reject
    log_gain = torch.log(-torch.expm1(log_alpha)) - log_z64  # log (1 − α_T) / Z
    dtype = log_acceptance.dtype
    return log_proposal + torch.logaddexp(  # eq. 4, A.14
        log_acceptance + log_gain.to(dtype), log_alpha.to(dtype)
    )


def expected_proposals(log_z: Tensor, truncation: int | None) -> Tensor:
    """Expected candidates per sample: (1 − (1−Z)^T) / Z, or 1/Z untruncated; float64.

    Args:
        log_z: log Z, any shape, which is that of what is returned.
    """
    log_z = log_z.double().clamp(min=MIN_LOG_Z)
    if truncation is None:
        return (-log_z).exp()
    log_alpha = truncation * torch.log1p(-log_z.exp().clamp(max=1 - 1e-16))
    return -torch.expm1(log_alpha) / log_z.exp()
