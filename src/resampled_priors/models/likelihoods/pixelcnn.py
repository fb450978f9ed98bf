"""A gated PixelCNN as the likelihood (van den Oord et al., 2016, arXiv:1606.05328): p(x|h) is a
product of p(x_i|x_1 … x_{i−1}, h), pixels row by row.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from ...errors import ResampledPriorsError
from ...networks import glorot
from ...settings import Positive
from .bernoulli import BinaryPixels

REACH = 2  # pixels that a layer looks up, left and right
IMAGES = 1_000  # that are computed at once


def gated(h: Tensor) -> Tensor:
    """tanh of the first half of the channels times σ of the second."""
    value, gate = h.chunk(2, dim=1)
    return value.tanh() * gate.sigmoid()


class GatedLayer(nn.Module):
    """Two stacks, so that no pixel before is out of sight: all rows above, and the row so far.

    first: it must not see the pixel itself, which later layers may: what they see of it is of
    the pixels before.
    """

    def __init__(self, inputs: int, channels: int, first: bool) -> None:
        super().__init__()
        self.residual = not first
        right = -1 if first else 0  # how far beyond the pixel, and its row, the kernels end
        self.above = (REACH, REACH, REACH - right, right)  # padding: left, right, top, bottom
        self.left = (REACH - right, right, 0, 0)
        self.vertical = glorot(nn.Conv2d(inputs, 2 * channels, (REACH + 1, 2 * REACH + 1)))
        self.horizontal = glorot(nn.Conv2d(inputs, 2 * channels, (1, REACH + 1)))
        self.down = glorot(nn.Conv2d(2 * channels, 2 * channels, 1))
        self.condition = glorot(nn.Conv2d(1, 4 * channels, 1))
        self.mix = glorot(nn.Conv2d(channels, channels, 1))

    def forward(self, vertical: Tensor, horizontal: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        of_vertical, of_horizontal = self.condition(h).chunk(2, dim=1)
        v = self.vertical(F.pad(vertical, self.above))
        row = self.horizontal(F.pad(horizontal, self.left)) + self.down(v)
        mixed = self.mix(gated(row + of_horizontal))
        return gated(v + of_vertical), horizontal + mixed if self.residual else mixed


class PixelCNN(nn.Module):
    """Binary images. h is a map as large as the image, of which each layer sees each place.

    Raises:
        ResampledPriorsError: the images are not square.
    """

    def __init__(self, pixels: int, layers: Positive, channels: Positive) -> None:
        super().__init__()
        self.side = math.isqrt(pixels)
        if self.side**2 != pixels:
            raise ResampledPriorsError(
                f"images of {pixels} pixels are not square, as the pixelcnn likelihood has them: "
                "use another likelihood"
            )
        self.layers = nn.ModuleList(
            GatedLayer(channels if layer else 1, channels, first=not layer)
            for layer in range(layers)
        )
        self.output = nn.Sequential(
            nn.ReLU(),
            glorot(nn.Conv2d(channels, channels, 1)),
            nn.ReLU(),
            glorot(nn.Conv2d(channels, 1, 1)),
        )

    def forward(self, h: Tensor) -> "AutoregressivePixels":
        return AutoregressivePixels(self, h)

    def logits(self, x: Tensor, h: Tensor) -> Tensor:
        """Of each pixel given those before it: (..., pixels), (..., pixels) -> (..., pixels)."""
        x, h = torch.broadcast_tensors(x, h)
        parts = [values.reshape(-1, values.shape[-1]).split(IMAGES) for values in (x, h)]
        return torch.cat([self._logits(*part) for part in zip(*parts, strict=True)]).view(x.shape)

    def _logits(self, x: Tensor, h: Tensor) -> Tensor:
        vertical = horizontal = x.view(-1, 1, self.side, self.side)
        h = h.view(-1, 1, self.side, self.side)
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal, h)
        return self.output(horizontal).flatten(1)


class AutoregressivePixels(Distribution):
    """Binary images of a ``PixelCNN``, given the decoder's maps h (..., pixels)."""

    arg_constraints: dict = {}

    def __init__(self, network: PixelCNN, h: Tensor) -> None:
        self.network, self.h = network, h
        super().__init__(h.shape[:-1], h.shape[-1:], validate_args=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ_i log p(x_i|x_1 … x_{i−1}, h) for x in {0, 1}, in nats."""
        return BinaryPixels(self.network.logits(x, self.h)).log_prob(x)

    @torch.no_grad()
    def drawn(self, sample_shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """Images drawn pixel by pixel, and each pixel's mean given those before it."""
        h = self.h.expand(*sample_shape, *self.h.shape)
        x, means = torch.zeros_like(h), torch.zeros_like(h)
        for pixel in range(h.shape[-1]):
            means[..., pixel] = self.network.logits(x, h)[..., pixel].sigmoid()
            x[..., pixel] = torch.bernoulli(means[..., pixel])
        return x, means

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """Binary images as floats, (*sample_shape, ..., pixels)."""
        return self.drawn(sample_shape)[0]

    @property
    def mean(self) -> Tensor:
        """The mean image, estimated without bias from one draw: means given the pixels before."""
        return self.drawn()[1]
