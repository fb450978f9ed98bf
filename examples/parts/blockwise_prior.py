"""LARS on blocks of the latent vector: an a(z_b) and a Z_b for each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from resampled_priors import AcceptanceFunction, ResampledPrior, ZEstimate
from resampled_priors.contracts import EstimateZ, Prior


class Product(Distribution):
    """Independent blocks, one after the other in z."""

    arg_constraints: dict = {}

    def __init__(self, blocks: Sequence[Distribution]) -> None:
        self.blocks, self.sizes = blocks, [block.event_shape[0] for block in blocks]
        super().__init__(event_shape=torch.Size([sum(self.sizes)]), validate_args=False)

    def log_prob(self, z: Tensor) -> Tensor:
        parts = zip(self.blocks, z.split(self.sizes, dim=-1), strict=True)
        return torch.stack([block.log_prob(part) for block, part in parts]).sum(0)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return torch.cat([block.sample(sample_shape) for block in self.blocks], dim=-1)


class BlockwisePrior(Prior):
    label = "LARS in blocks"

    def __init__(self, features: int, size: int, hidden: list[int], truncation: int) -> None:
        super().__init__()
        normal = Independent(Normal(torch.zeros(size), torch.ones(size)), 1)
        self.blocks = nn.ModuleList(
            ResampledPrior(normal, AcceptanceFunction(size, hidden), truncation)
            for _ in range(features // size)
        )

    def distribution(self) -> Distribution:
        return Product([block() for block in self.blocks])  # in training mode, ⟨Z⟩ moves

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return torch.cat([block.sample(sample_shape) for block in self.blocks], dim=-1)

    def normalize(self, estimate: EstimateZ) -> ZEstimate:
        first, *rest = (block.normalize(estimate) for block in self.blocks)
        for z in rest:
            first = first * z
        return first
