"""Learned accept/reject sampling (LARS): the idea of the paper, in one file.

A proposal π(z) is reweighted by a learned acceptance function a(z) in [0, 1]. Drawing candidates
from π and accepting each with probability a(z) gives

    p_∞(z) = π(z) a(z) / Z,   Z = ∫ π(z) a(z) dz                                       (eq. 3)

and accepting the T-th candidate whatever a(z) says gives

    p_T(z) = (1 − α_T) π(z) a(z) / Z + α_T π(z),   α_T = (1 − Z)^(T−1)                 (eq. 4)

Read in this order: :func:`log_resampled_density` (the density), :func:`sample_resampled` (the
sampler), :func:`smoothed_log_z` (Algorithm 1, Z during training), then the two classes that put
them to use. Everything that is a probability lives in log space; densities are in nats.

Source: Bauer & Mnih, *Resampled Priors for Variational Autoencoders*, 2018.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from .networks import mlp

LogAcceptance = Callable[[Tensor], Tensor]
MAX_BLOCK = 8_192  # candidates at a time: what stays in a core's cache
MIN_LOG_Z = -690.0  # Z = 1e-300: p_T has reached its limit for Z -> 0, and exp does not underflow


class AcceptanceFunction(nn.Module):
    """a(z) = MLP[features−hidden−1], tanh, logistic output (C.2), returned as its logarithm.

    Maps z of shape (..., features) to log a(z) of shape (...), at most 0.

    Args:
        features: the size of z.
        hidden: widths of the hidden layers; the paper's default, C.2.

    Raises:
        ValueError: a width below 1.

    Examples:
        >>> log_a = AcceptanceFunction(features=50, hidden=(100, 100))
        >>> log_a(torch.zeros(3, 50)).shape
        torch.Size([3])
    """

    def __init__(self, features: int, hidden: Sequence[int] = (100, 100)) -> None:
        if features < 1 or any(width < 1 for width in hidden):
            raise ValueError(f"layer sizes must be positive, got {features} and {list(hidden)}")
        super().__init__()
        self.network = mlp([features, *hidden, 1])

    def forward(self, z: Tensor) -> Tensor:
        return F.logsigmoid(self.network(z)).squeeze(-1)


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
    """
    samples: list[Tensor] = []
    counts: list[Tensor] = []
    found, drawn, rejected = 0, 0, 0  # rejected: candidates since the last end, before this block
    per_sample = min(expected_proposals or 16.0, truncation or math.inf)
    while found < num_samples or not samples:
        wanted = math.ceil(1.1 * per_sample * (num_samples - found)) + 16
        candidates = proposal.sample((min(wanted, MAX_BLOCK),))
        num_candidates = candidates.shape[0]
        log_acceptance = log_a(candidates)
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
    return torch.cat(samples), torch.cat(counts)


class ResampledDistribution(Distribution):
    """p_T or p_∞ for a given proposal, acceptance function and Z.

    Its samples are not reparameterised (``has_rsample`` is False): acceptance is a decision.

    Args:
        proposal: a distribution with an empty batch shape, or a zuko lazy one.
        log_a: z (..., *event_shape) -> log a(z) (...), at most 0.
        truncation: T ≥ 1; None gives p_∞.
        log_z: log Z in nats, needed by ``log_prob`` and ``expected_proposals`` only.

    Raises:
        ValueError: truncation below 1; a proposal with a batch shape; log_z missing where needed.

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
    has_rsample = False

    def __init__(
        self,
        proposal: Distribution | nn.Module,
        log_a: LogAcceptance,
        truncation: int | None = 100,
        log_z: Tensor | float | None = None,
    ) -> None:
        check_truncation(truncation)
        self.proposal: Distribution = proposal() if isinstance(proposal, nn.Module) else proposal
        if self.proposal.batch_shape:
            raise ValueError(
                f"the proposal has batch shape {tuple(self.proposal.batch_shape)}; wrap it in "
                "torch.distributions.Independent so that one event is one z"
            )
        self.log_a = log_a
        self.truncation = truncation
        self._log_z = None if log_z is None else torch.as_tensor(log_z)
        super().__init__(event_shape=self.proposal.event_shape, validate_args=False)

    def expand(
        self, batch_shape: Sequence[int], _instance: Distribution | None = None
    ) -> "ResampledDistribution":
        """The same distribution for each element of a batch, their samples independent."""
        new = self._get_checked_instance(ResampledDistribution, _instance)
        for name in ("proposal", "log_a", "truncation", "_log_z"):
            setattr(new, name, getattr(self, name))
        batch_shape = torch.empty(self.batch_shape).expand(batch_shape).shape
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        return new

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
        """Expected candidates per sample: (1 − (1−Z)^T) / Z, or 1/Z untruncated; shape ()."""
        log_z = self.log_z.double().clamp(min=MIN_LOG_Z)
        if self.truncation is None:
            return (-log_z).exp()
        log_alpha = self.truncation * torch.log1p(-log_z.exp().clamp(max=1 - 1e-16))
        return -torch.expm1(log_alpha) / log_z.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """log p_T(z) in nats: (..., *event_shape) -> (...), broadcast to the batch shape."""
        density = log_resampled_density(
            self.proposal.log_prob(value), self.log_a(value), self.log_z, self.truncation
        )
        return density.expand(torch.broadcast_shapes(density.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact samples, shape (*sample_shape, *batch_shape, *event_shape)."""
        guess = None if self._log_z is None else float(self.expected_proposals)
        shape = (*sample_shape, *self.batch_shape)
        samples, _ = sample_resampled(
            self.proposal, self.log_a, math.prod(shape), self.truncation, guess
        )
        return samples.reshape(*shape, *self.event_shape)

    @torch.no_grad()
    def sample_ranked(self, num_proposals: int) -> tuple[Tensor, Tensor]:
        """Proposals sorted by a(z), highest first, and their log a(z), as in Fig. 3 and D.5–D.9.

        Returns:
            z, shape (num_proposals, *event_shape), and log a(z), shape (num_proposals,).
        """
        z = self.proposal.sample((num_proposals,))
        log_acceptance, order = self.log_a(z).sort(descending=True)
        return z[order], log_acceptance


class ResampledPrior(nn.Module):
    """LARS as the prior of a latent-variable model: trained by Algorithm 1, evaluated with log Z.

    Called, it gives its distribution, as zuko's lazy modules do: it can be the base of a
    ``zuko.lazy.Flow``.

    Buffers: ``z_average``, the moving average ⟨Z⟩ of training, and ``log_z``, which evaluation
    uses and which is unset (NaN) until an estimate is stored in it.

    Args:
        proposal: a torch distribution, or a lazy (zuko) module whose parameters are then trained.
        log_a: z (..., features) -> log a(z) (...).
        truncation: T ≥ 1, or None for p_∞.
        smoothing: ε of the moving average, in (0, 1].
        num_proposals: S, how many proposals estimate Z in a training step.

    Raises:
        ValueError: a setting out of its range; ``log_prob`` before ``log_z`` is set.

    Source: Algorithm 1; evaluation with Z by A.17.

    Examples:
        >>> from resampled_priors import estimate_z
        >>> from torch.distributions import Independent, Normal
        >>> proposal = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> prior = ResampledPrior(proposal, AcceptanceFunction(2))
        >>> q = Independent(Normal(torch.ones(5, 2), 0.5), 1)
        >>> z = q.sample()
        >>> log_p, new_average = prior.training_log_prob(z, q.log_prob(z))  # in the loss
        >>> _ = prior.z_average.copy_(new_average)  # after the step
        >>> estimate = estimate_z(proposal, prior.log_a, num_samples=10_000)  # after training
        >>> _ = prior.log_z.fill_(estimate.log_mean)
        >>> prior.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
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
        self.proposal = proposal
        self.log_a = log_a
        self.truncation = truncation
        self.smoothing = smoothing
        self.num_proposals = num_proposals
        self.register_buffer("z_average", torch.tensor(1.0))
        self.register_buffer("log_z", torch.tensor(math.nan))

    def proposal_distribution(self) -> Distribution:
        """π, with the present parameters where it is learned."""
        return self.proposal() if isinstance(self.proposal, nn.Module) else self.proposal

    def _proposal_samples(self, proposal: Distribution) -> Tensor:
        """S proposals, with their gradient where the proposal has one."""
        draw = proposal.rsample if proposal.has_rsample else proposal.sample
        return draw((self.num_proposals,))

    def training_log_prob(self, z: Tensor, log_posterior: Tensor) -> tuple[Tensor, Tensor]:
        """log p_T(z) with the training estimate of Z (Algorithm 1); changes nothing.

        Args:
            z: samples z_r ~ q(z|x_r), shape (..., features).
            log_posterior: log q(z_r|x_r), shape (...).

        Returns:
            log p_T(z_r), shape (...), and the new ⟨Z⟩, which the training step stores in
            ``z_average``.
        """
        proposal = self.proposal_distribution()
        log_a_proposals = self.log_a(self._proposal_samples(proposal))
        log_proposal, log_acceptance = proposal.log_prob(z), self.log_a(z)
        log_fraction = (log_proposal - log_posterior).detach()  # line 3: stop_grad π/q
        log_z, new_average = smoothed_log_z(
            log_a_proposals, self.z_average, self.smoothing, log_fraction + log_acceptance
        )
        density = log_resampled_density(log_proposal, log_acceptance, log_z, self.truncation)
        return density, new_average

    def forward(self, context: Tensor | None = None) -> ResampledDistribution:
        """The prior as a zuko flow asks for its base; ``context`` has no part in it.

        In training mode Z is Algorithm 1's, from S fresh proposals alone, since a flow has no
        q(z|x); its gradient reaches a(z), and ⟨Z⟩ moves with each call, as the averages of
        batch normalisation do. In evaluation mode it is the stored estimate.
        """
        if not self.training:
            return self.distribution()
        log_a_proposals = self.log_a(self._proposal_samples(self.proposal_distribution()))
        log_z, new_average = smoothed_log_z(log_a_proposals, self.z_average, self.smoothing)
        self.z_average.copy_(new_average)
        return ResampledDistribution(self.proposal, self.log_a, self.truncation, log_z)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p_T(z) with the stored log Z, in nats: (..., features) -> (...)."""
        return self.distribution().log_prob(z)

    def distribution(self) -> ResampledDistribution:
        """The prior as a distribution, with the stored log Z.

        Raises:
            ValueError: no estimate of Z has been stored.
        """
        if torch.isnan(self.log_z):
            raise ValueError(
                "Z has not been estimated: "
                "prior.log_z.fill_(estimate_z(prior.proposal, prior.log_a).log_mean)"
            )
        return ResampledDistribution(self.proposal, self.log_a, self.truncation, self.log_z)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact samples of p_T, shape (*sample_shape, features). Needs no Z."""
        p = ResampledDistribution(self.proposal, self.log_a, self.truncation)
        return p.sample(sample_shape)
