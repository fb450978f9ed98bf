"""A noise-contrastive prior (NCE): a proposal reweighted by the odds of a classifier.

The classifier tells samples z of the aggregate posterior q(z) from proposals; its odds are the
ratio q/π that a prior should have. Meant to be fitted post hoc (``base`` in the config).

Source: Aneja, Schwing, Kautz & Vahdat, *A Contrastive Learning Approach for Training Variational
Autoencoder Priors*, 2021.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ..contracts import Prior
from ..lars import ResampledPrior
from ..networks import mlp
from ..settings import Hidden, Positive
from .normal import StandardNormal
from .snis import SelfNormalizedDistribution


class DensityRatio(nn.Module):
    """r(z) = D(z) / (1 − D(z)), log r = MLP[features−hidden−1] with tanh, as an a(z) = r(z) / M.

    tanh lies within ±1, so that M = exp(b + Σ|w|) of the last layer is above all r. Maps z of
    shape (..., features) to log a(z) of shape (...), at most 0.
    """

    def __init__(self, features: int, hidden: Hidden) -> None:
        super().__init__()
        self.network = mlp([features, *hidden, 1])

    def log_bound(self) -> Tensor:
        """log M, shape ()."""
        last = self.network[-1]
        return last.bias[0] + last.weight.abs().sum()

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z).squeeze(-1) - self.log_bound()


class NoiseContrastivePrior(ResampledPrior):
    """p(z) = π(z) r(z) / E_π[r] on N(0, I): the p_∞ of LARS, r trained as a classifier's odds.

    Z, estimated after training, is E_π[a] = E_π[r] / M. Rejection would take 1/Z proposals for a
    sample, too many; ``sample`` is the source's, importance resampling: approximate, it gives
    SNIS with U = −log r, which nears p as K grows.

    Args:
        hidden: widths of the classifier's hidden layers.
        num_proposals: K, of which a sample is one.
    """

    label = "NCE"
    forward = Prior.forward  # Algorithm 1 has no part in it

    def __init__(self, features: int, hidden: Hidden, num_proposals: Positive) -> None:
        ratio = DensityRatio(features, hidden)
        super().__init__(StandardNormal(features), ratio, None, num_proposals=num_proposals)

    def start(self, images: Tensor | None = None) -> None:
        """Nothing: ⟨Z⟩ is not used."""

    def z_in_training(self) -> float:
        """Z as it is where E_π[r] = 1, as it is of a perfect classifier: 1/M."""
        return self.log_a.log_bound().neg().exp().item()

    def training_log_prob(self, z: Tensor, log_posterior: Tensor | None) -> Tensor:
        """log π(z) + log r(z), as if E_π[r] were 1; the parameters have no gradient here."""
        frozen = {name: value.detach() for name, value in self.log_a.named_parameters()}
        log_a = functional_call(self.log_a, frozen, z)
        log_ratio = log_a + self.log_a.log_bound().detach()
        return self.proposal_distribution().log_prob(z) + log_ratio

    def training_loss(self, z: Tensor) -> Tensor:
        """−E_q log D(z) − E_π log(1 − D(z)), with as many proposals as z."""
        proposals = self.proposal_distribution().sample(z.shape[:-1])
        of_z, of_proposals = self.log_a.network(z.detach()), self.log_a.network(proposals)
        return F.softplus(-of_z).mean() + F.softplus(of_proposals).mean()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """One of K proposals for each, chosen in proportion to r: (*sample_shape, features)."""
        resampled = SelfNormalizedDistribution(
            self.proposal_distribution(), lambda z: -self.log_a(z), self.num_proposals
        )
        return resampled.sample(torch.Size(sample_shape))
