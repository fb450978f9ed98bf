"""LARS one dimension at a time (the paper's D.4): an a_i(z_i) and a Z_i for each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from resampled_priors import AcceptanceFunction, ResampledDistribution, ZEstimate
from resampled_priors.contracts import EstimateZ, Prior
from resampled_priors.lars import log_resampled_density, smoothed_log_z

LINE = Normal(0.0, 1.0)


class DimensionwiseDistribution(Distribution):
    """The product of one p_T for each dimension, log Z of shape (features,)."""

    arg_constraints: dict = {}

    def __init__(self, log_a: Sequence[nn.Module], truncation: int, log_z: Tensor) -> None:
        self.log_a, self.truncation, self.log_z = log_a, truncation, log_z
        super().__init__(event_shape=log_z.shape, validate_args=False)

    def log_prob(self, z: Tensor) -> Tensor:
        log_a = torch.stack([a(z[..., [i]]) for i, a in enumerate(self.log_a)], dim=-1)
        return log_resampled_density(LINE.log_prob(z), log_a, self.log_z, self.truncation).sum(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        parts = [
            ResampledDistribution(LINE, lambda z, a=a: a(z[..., None]), self.truncation)
            for a in self.log_a
        ]
        return torch.stack([p.sample(sample_shape) for p in parts], dim=-1)


class DimensionwisePrior(Prior):
    label = "LARS in each dimension"

    def __init__(self, features: int, hidden: list[int], truncation: int) -> None:
        super().__init__()
        self.truncation = truncation
        self.log_a = nn.ModuleList(AcceptanceFunction(1, hidden) for _ in range(features))
        self.register_buffer("z_average", torch.full((features,), torch.nan))
        self.register_buffer("log_z", torch.full((features,), torch.nan))

    def distribution(self) -> Distribution:
        return DimensionwiseDistribution(self.log_a, self.truncation, self.log_z)

    def training_log_prob(self, z: Tensor, log_posterior: Tensor) -> Tensor:
        proposals = torch.randn(256, z.shape[-1], 1)
        log_a = [a(proposals[:, i]) for i, a in enumerate(self.log_a)]
        estimates = [
            smoothed_log_z(*pair, 0.1) for pair in zip(log_a, self.z_average, strict=True)
        ]
        log_z, averages = (torch.stack(part) for part in zip(*estimates, strict=True))
        self.z_average.copy_(averages)
        return DimensionwiseDistribution(self.log_a, self.truncation, log_z).log_prob(z)

    def normalize(self, estimate: EstimateZ) -> ZEstimate:
        z = [estimate(LINE, lambda z, a=a: a(z[..., None])) for a in self.log_a]
        self.log_z.copy_(torch.tensor([one.log_mean for one in z]))
        product = z[0]
        for one in z[1:]:
            product = product * one
        return product
