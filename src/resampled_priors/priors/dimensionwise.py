"""LARS one dimension at a time (the paper, appendix D): an a_i(z_i) and a Z_i for each."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn import functional as F

from ..contracts import EstimateZ, Prior, ZEstimate
from ..lars import ResampledDistribution, log_resampled_density, smoothed_log_z
from ..networks import linear
from ..settings import Hidden, Positive, Smoothing, Truncation


def line_like(tensor: Tensor) -> Normal:
    """π of a dimension, on the device and of the type of a tensor."""
    return Normal(tensor.new_zeros(()), tensor.new_ones(()), validate_args=False)


class DimensionwiseAcceptance(nn.Module):
    """a_i(z_i) = MLP[1−hidden−1] of each dimension i, a layer of all of them one product.

    Maps z of shape (..., features) to log a_i(z_i) of the same shape, at most 0.
    """

    def __init__(self, features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise([1, *hidden, 1]):
            layers = [linear(inputs, outputs).weight.detach().t() for _ in range(features)]
            self.weights.append(torch.stack(layers))  # (features, inputs, outputs)
            self.biases.append(torch.zeros(features, 1, outputs))

    def forward(self, z: Tensor) -> Tensor:
        return self.of_dimensions(slice(None), z)

    def of_dimensions(self, chosen: slice, z: Tensor) -> Tensor:
        """log a_i(z_i) of the dimensions that ``chosen`` leaves, which are those of z."""
        h = z.reshape(-1, z.shape[-1]).t().unsqueeze(-1)  # (dimensions, n, 1)
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias[chosen], h, weight[chosen])
            h = h.tanh() if number < last else F.logsigmoid(h)
        return h.squeeze(-1).t().reshape(z.shape)

    def of_one(self, i: int) -> Callable[[Tensor], Tensor]:
        """z_i of any shape -> log a_i(z_i)."""
        return lambda z: self.of_dimensions(slice(i, i + 1), z.unsqueeze(-1)).squeeze(-1)


class DimensionwiseDistribution(Distribution):
    """The product of one p_T for each dimension.

    Args:
        log_z: log Z_i, (features,); None: to sample from alone.
    """

    arg_constraints: dict = {}

    def __init__(
        self,
        log_a: DimensionwiseAcceptance,
        features: int,
        truncation: int | None,
        log_z: Tensor | None = None,
    ) -> None:
        self.log_a, self.truncation, self.log_z = log_a, truncation, log_z
        super().__init__(event_shape=torch.Size([features]), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(z) in nats: (..., features) -> (...)."""
        log_proposal, log_a = line_like(value).log_prob(value), self.log_a(value)
        return log_resampled_density(log_proposal, log_a, self.log_z, self.truncation).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact samples, (*sample_shape, features)."""
        line = line_like(self.log_a.biases[0])
        dimensions = [
            ResampledDistribution(line, self.log_a.of_one(i), self.truncation).sample(sample_shape)
            for i in range(self.event_shape[0])
        ]
        return torch.stack(dimensions, dim=-1)


class DimensionwisePrior(Prior):
    """Π_i p_T(z_i), each a LARS prior on N(0, 1) with an a_i and a Z_i of its own.

    Z_i of a training step is Algorithm 1's from the proposals alone: of q(z|x) only the density
    of all dimensions together is known.

    Args:
        hidden, truncation, smoothing, num_proposals: as for LARS, of each dimension.

    Source: the paper, appendix D, "Dimension-wise resampling".
    """

    label = "LARS in each dimension"

    def __init__(
        self,
        features: int,
        hidden: Hidden,
        truncation: Truncation,
        smoothing: Smoothing,
        num_proposals: Positive,
    ) -> None:
        super().__init__()
        self.features, self.truncation = features, truncation
        self.smoothing, self.num_proposals = smoothing, num_proposals
        self.log_a = DimensionwiseAcceptance(features, hidden)
        self.register_buffer("z_average", torch.full((features,), torch.nan))
        self.register_buffer("log_z", torch.full((features,), torch.nan))

    def distribution(self) -> DimensionwiseDistribution:
        return DimensionwiseDistribution(self.log_a, self.features, self.truncation, self.log_z)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact samples, (*sample_shape, features). Needs no Z."""
        return self.distribution().sample(torch.Size(sample_shape))

    def training_log_prob(self, z: Tensor, log_posterior: Tensor | None) -> Tensor:
        proposals = torch.randn(self.num_proposals, self.features, device=z.device, dtype=z.dtype)
        of_all = torch.vmap(smoothed_log_z, in_dims=(1, 0, None))
        log_z, average = of_all(self.log_a(proposals), self.z_average, self.smoothing)
        if self.training:
            self.z_average.copy_(average)
        p = DimensionwiseDistribution(self.log_a, self.features, self.truncation, log_z)
        return p.log_prob(z)

    def z_in_training(self) -> float:
        return self.z_average.prod().item()

    def normalize(self, estimate: EstimateZ) -> ZEstimate:
        """Store the log of each Z_i; their product is returned."""
        line = line_like(self.log_z)
        z = [estimate(line, self.log_a.of_one(i)) for i in range(self.features)]
        self.log_z.copy_(torch.tensor([one.log_mean for one in z]))
        product = z[0]
        for one in z[1:]:
            product = product * one
        return product
