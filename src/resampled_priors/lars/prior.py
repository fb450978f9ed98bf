"""LARS as a prior: the acceptance function, and the module that a model trains."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from ..networks import mlp
from .density import LogAcceptance, check_truncation, log_resampled_density
from .distribution import ResampledDistribution
from .normalizer import smoothed_log_z


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
