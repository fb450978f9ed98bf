"""How well a resampled prior can be trained and sampled: Z, what S proposals are worth, α_T."""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.distributions import Distribution

from ..contracts import LogAcceptance, ZEstimate
from .density import expected_proposals
from .normalizer import estimate_z

FEWEST_EFFECTIVE = 10  # proposals: the Z of one training step then has a relative error of 0.3
MAX_LOG_Z_ERROR = 0.05  # nats


class Diagnosis(NamedTuple):
    """What ``ResampledPrior.diagnose`` found; printed, it says it in words.

    Attributes:
        z: Z with its standard error.
        effective_share: E_π[a]² / E_π[a²], in (0, 1]: the share of proposals that count where a(z)
            weights them (Kish, 1965); 0 where none was accepted.
        truncation: T, or None for p_∞.
        num_proposals: S of a training step.

    Examples:
        >>> z = ZEstimate(0.01, 1e-4, 1_000_000)
        >>> print(Diagnosis(z, effective_share=0.02, truncation=100, num_proposals=256))
        Z = 0.01 ± 0.0001
        63.4 proposals a sample; 0.37 of samples are T-th proposals (T = 100)
        the 256 proposals of a training step count as 5.12
        warning: that is few for this Z: num_proposals=500 or more
    """

    z: ZEstimate
    effective_share: float
    truncation: int | None
    num_proposals: int

    @property
    def effective_proposals(self) -> float:
        """What the S proposals of a training step are worth: (Σ a)² / Σ a², on average.

        The relative standard error of that step's Z, before its moving average, is
        (1 / effective_proposals − 1 / S)^½.
        """
        return self.num_proposals * self.effective_share

    @property
    def forced_share(self) -> float:
        """α_T = (1 − Z)^(T−1), the share of samples that are T-th proposals, accepted unasked."""
        return 0.0 if self.truncation is None else (1 - self.z.mean) ** (self.truncation - 1)

    @property
    def expected_proposals(self) -> float:
        """Candidates per sample: (1 − (1−Z)^T) / Z, or 1/Z without truncation."""
        log_z = torch.tensor(self.z.log_mean, dtype=torch.float64)
        return expected_proposals(log_z, self.truncation).item()

    @property
    def warnings(self) -> list[str]:
        """What is wrong, and the remedy: too small an S for this Z, too uncertain a Z."""
        found = []
        if self.z.mean == 0:
            found.append(f"none of {self.z.num_samples:,} proposals would be accepted")
        elif self.effective_proposals < FEWEST_EFFECTIVE:
            enough = math.ceil(FEWEST_EFFECTIVE / self.effective_share)
            found.append(f"that is few for this Z: num_proposals={enough} or more")
        if self.z.log_standard_error > MAX_LOG_Z_ERROR:
            found.append("this Z itself is uncertain: diagnose(num_samples=...) with more")
        return found

    def __str__(self) -> str:
        truncation = "∞" if self.truncation is None else self.truncation
        lines = [
            f"Z = {self.z.mean:.3g} ± {self.z.standard_error:.1g}",
            f"{_three_digits(self.expected_proposals)} proposals a sample; "
            f"{self.forced_share:.2g} of samples are T-th proposals (T = {truncation})",
            f"the {self.num_proposals:,} proposals of a training step count as "
            f"{_three_digits(self.effective_proposals)}",
        ]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])


def _three_digits(value: float) -> str:
    """1,020 rather than 1.02e+03."""
    return f"{float(f'{value:.3g}'):,g}"


def diagnosis(
    proposal: Distribution | nn.Module,
    log_a: LogAcceptance,
    truncation: int | None,
    num_proposals: int,
    num_samples: int,
) -> Diagnosis:
    """Diagnose π and a from num_samples proposals for E[a], and as many for E[a²].

    Raises:
        ValueError: as ``estimate_z``.
    """
    z = estimate_z(proposal, log_a, num_samples)
    square = estimate_z(proposal, lambda events: 2 * log_a(events), num_samples).mean
    share = min(z.mean**2 / square, 1.0) if square > 0 else 0.0  # above 1 by chance alone
    return Diagnosis(z, share, truncation, num_proposals)
