"""Mixtures of diagonal Gaussians: the density by one matrix product, and a learned mixture."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import Prior
from ..settings import Positive

LARGEST_BLOCK = {"cpu": 2**20, "cuda": 2**27}  # pairs of a z and a component at a time


class DiagonalMixture(Distribution):
    """Σ_k w_k N(m_k, diag s_k²).

    Its samples have a gradient, that of their component, only where the weights are equal: that
    of learned weights would be missing.

    Args:
        mean: m, (components, features).
        log_std: log s, (components, features).
        logits: log w but for a constant, (components,); None: equal weights.
    """

    arg_constraints: dict = {}

    def __init__(self, mean: Tensor, log_std: Tensor, logits: Tensor | None = None) -> None:
        self.means, self.log_stds = mean, log_std
        self.has_rsample = logits is None
        equal = mean.new_zeros(len(mean)) if logits is None else logits
        self.log_weights = equal.log_softmax(0)
        super().__init__(event_shape=mean.shape[1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """log Σ_k w_k N(z; m_k, s_k²) in nats: (..., features) -> (...).

        Σ (z − m)²/s² for all pairs is the product of (z², z) and (s⁻², −2m s⁻²), plus Σ m²/s²:
        in float64, since its terms are large beside their sum where s is small.
        """
        mean, log_std = self.means.double(), self.log_stds.double()
        precision = (-2 * log_std).exp()
        factors = torch.cat([-0.5 * precision, mean * precision], dim=-1).t()
        constant = -(0.5 * mean.square() * precision + log_std).sum(-1) + self.log_weights
        constant = constant - 0.5 * math.log(2 * math.pi) * mean.shape[-1]

        def log_density(z: Tensor) -> Tensor:
            powers = torch.cat([z.square(), z], dim=-1)
            return log_sum(torch.addmm(constant, powers, factors).to(value.dtype))

        return by_blocks(log_density, value.double(), len(mean))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples, (*sample_shape, features)."""
        k = draw_components(self.log_weights, sample_shape)
        return self.means[k] + self.log_stds[k].exp() * torch.randn_like(self.means[k])


def by_blocks(log_density: Callable[[Tensor], Tensor], z: Tensor, components: int) -> Tensor:
    """log densities of z, (..., features) -> (...), so many at a time that memory is bounded.

    Args:
        log_density: (n, features) -> (n,), for which it makes n × components numbers.
    """
    rows = z.reshape(-1, z.shape[-1])
    at_a_time = max(1, LARGEST_BLOCK[z.device.type] // components)
    return torch.cat([log_density(block) for block in rows.split(at_a_time)]).view(z.shape[:-1])


def log_sum(log_terms: Tensor) -> Tensor:
    """log Σ exp over the last dimension: (..., terms) -> (...).

    A term below e^−80 of the largest is taken for that: it changes no digit, and the numbers below
    float32's smallest would make a processor take ten times as long.
    """
    largest = log_terms.detach().amax(-1, keepdim=True)
    relative = (log_terms - largest).clamp(min=-80).exp()
    return relative.sum(-1).log() + largest.squeeze(-1)


def draw_components(log_weights: Tensor, sample_shape: Sequence[int]) -> Tensor:
    """Numbers of components, drawn by their weights: shape (*sample_shape,)."""
    cumulative = log_weights.detach().double().exp().cumsum(0)
    uniform = torch.rand(tuple(sample_shape), dtype=torch.float64, device=cumulative.device)
    return torch.searchsorted(cumulative[:-1], uniform)


class GaussianMixture(Prior):
    """A mixture of Gaussians, all of it learned.

    Args:
        components: how many.
    """

    label = "mixture of Gaussians"

    def __init__(self, features: int, components: Positive) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.randn(components, features))
        self.log_stds = nn.Parameter(torch.zeros(components, features))
        self.logits = nn.Parameter(torch.zeros(components))

    def distribution(self) -> DiagonalMixture:
        return DiagonalMixture(self.means, self.log_stds, self.logits)
