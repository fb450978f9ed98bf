"""LARS as a prior: the acceptance function, and the module that a model trains."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts import Prior
from ..networks import mlp
from .density import log_resampled_density
from .diagnosis import Diagnosis, diagnosis
from .distribution import ResampledDistribution
from .resampling import Resampling


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
        self.sizes = (features, *hidden, 1)
        self.network = mlp(self.sizes)

    def forward(self, z: Tensor) -> Tensor:
        return F.logsigmoid(self.network(z)).squeeze(-1)


class ResampledPrior(Resampling, Prior):
    """LARS as the prior of a latent-variable model: trained by Algorithm 1, evaluated with log Z.

    Called, it gives its distribution, as zuko's lazy modules do: it can be the base of a
    ``zuko.lazy.Flow``. ⟨Z⟩ starts by itself and moves in training mode alone.

    Arguments, buffers and errors: as :class:`Resampling`.

    Source: Algorithm 1; the density is eq. 3 or 4.

    Examples:
        >>> from torch.distributions import Independent, Normal
        >>> proposal = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> prior = ResampledPrior(proposal, AcceptanceFunction(2))
        >>> q = Independent(Normal(torch.ones(5, 2), 0.5), 1)
        >>> z = q.sample()
        >>> log_p = prior.training_log_prob(z, q.log_prob(z))  # in the loss
        >>> estimate = prior.estimate_z(num_samples=10_000)  # after training
        >>> prior.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    label = "LARS"

    @property
    def is_bound(self) -> bool:
        """Whether log π(z) is a random lower bound: log p_T(z) then is one, too."""
        return getattr(self.proposal, "is_bound", False)

    @property
    def proposal_label(self) -> str:
        return getattr(self.proposal, "label", type(self.proposal).__name__)

    def training_log_prob(self, z: Tensor, log_posterior: Tensor | None) -> Tensor:
        """log p_T(z) with the training estimate of Z (Algorithm 1), whose average ⟨Z⟩ moves on.

        Args:
            z: samples z_r ~ q(z|x_r), shape (..., features).
            log_posterior: log q(z_r|x_r), shape (...); None leaves ⟨Z⟩ to the proposals alone.

        Returns:
            log p_T(z_r), shape (...), in nats.

        Raises:
            ValueError: log q, log π or log a of another shape; log a above 0 at the first call.
        """
        proposal = self.proposal_distribution()
        log_a_proposals = self._training_log_a(proposal)
        log_proposal, log_acceptance = proposal.log_prob(z), self.log_a(z)
        self.checks(z, proposal.event_shape, log_acceptance, log_proposal, log_posterior)
        log_weighted_a = None
        if log_posterior is not None:  # line 3: stop_grad π/q
            log_weighted_a = (log_proposal - log_posterior).detach() + log_acceptance
        log_z = self._training_log_z(log_a_proposals, log_weighted_a)
        return log_resampled_density(log_proposal, log_acceptance, log_z, self.truncation)

    def diagnose(self, num_samples: int = 10**6) -> Diagnosis:
        """How well this prior can be trained and sampled; ``print`` says it in words.

        Z with its error, what the S proposals of a training step are worth, the share of samples
        that are T-th proposals, and a warning where S is too small for Z. Stores nothing.

        Args:
            num_samples: how many proposals to look at, at least 2.

        Raises:
            ValueError: as ``estimate_z``.
        """
        arguments = (self.truncation, self.num_proposals, num_samples)
        return diagnosis(self.proposal, self.log_a, *arguments)

    def forward(self, context: Tensor | None = None) -> ResampledDistribution:
        """The prior as a zuko flow asks for its base; ``context`` has no part in it.

        In training mode Z is Algorithm 1's, from S fresh proposals alone, since a flow has no
        q(z|x); its gradient reaches a(z), and ⟨Z⟩ moves with each call. In evaluation mode it is
        the stored estimate.
        """
        if not self.training:
            return self.distribution()
        log_z = self._training_log_z(self._training_log_a(self.proposal_distribution()))
        return self._resampled(log_z)
