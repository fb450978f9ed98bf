"""The aggregate posterior q(z) = 1/N Σ_n q(z|x_n) of the training images."""

import math

import torch
from torch import Tensor

from ...data.dataset import Dataset
from ...models.base import HALF_LOG_2PI, LatentVariableModel

BLOCK = 2**22  # entries of the (points × components) matrix held at a time: 32 MB


@torch.no_grad()
def encode_training_data(
    model: LatentVariableModel, data: Dataset, seed: int
) -> tuple[Tensor, Tensor]:
    """Means and log standard deviations of q(z|x_n), all training images, each (N, features).

    Grey images are binarised once, with this seed.
    """
    images = data.evaluation_images("train", seed)
    parts = [model.encode(x) for x in images.split(2_000)]
    mean, log_std = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean, log_std


def log_mixture_density(points: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log q(z) = log 1/N Σ_n N(z; mean_n, std_n²), the aggregate posterior, in nats.

    Args:
        points: z, shape (M, d).
        mean, log_std: of the N components, shape (N, d).

    Returns:
        shape (M,), float64. Memory does not grow with M N: blocks of ``BLOCK`` entries.
    """
    points, mean, log_std = points.double(), mean.double(), log_std.double()
    precision = (-2 * log_std).exp()
    constant = -(0.5 * mean.square() * precision + log_std + HALF_LOG_2PI).sum(-1)
    # The exponent is linear in (z², z, 1), so a block of the matrix is one matrix product. Its
    # terms cancel where a component is narrow, which float64 has digits enough for.
    weights = torch.cat([-0.5 * precision, mean * precision, constant.unsqueeze(-1)], dim=-1)
    features = torch.cat([points.square(), points, torch.ones_like(points[:, :1])], dim=-1)
    # Made before the loop: small tensors kept from each turn, between large ones that come and go,
    # would fragment the heap to gigabytes.
    log_density = torch.empty(len(features), dtype=torch.float64)
    rows = max(1, BLOCK // len(mean))
    for block, log_sum in zip(features.split(rows), log_density.split(rows), strict=True):
        torch.logsumexp(block @ weights.T, dim=-1, out=log_sum)
    return log_density - math.log(len(mean))


def sample_mixture(mean: Tensor, log_std: Tensor, num_samples: int) -> Tensor:
    """Samples of the aggregate posterior, (num_samples, d)."""
    component = torch.randint(len(mean), (num_samples,))
    noise = torch.randn(num_samples, mean.shape[-1])
    return mean[component] + log_std[component].exp() * noise
