"""Network builders in the paper's notation (C.2): MLP[a−b−c], nested MLPs, strided CNNs.

Weights are initialised by Glorot & Bengio (2010), biases are 0. The nonlinearity is tanh between
MLP layers and ReLU after convolutions.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import ResampledPriorsError
from .machine.linear import linear as linear_product

CHANNELS = 32  # between two convolutions


class Linear(nn.Linear):
    """A linear layer: (..., inputs) -> (..., outputs); asked to, it computes tanh as well."""

    def forward(self, h: Tensor, tanh: bool = False) -> Tensor:
        return linear_product(h, self.weight, self.bias, tanh)


def linear(inputs: int, outputs: int, heads: int = 1) -> Linear:
    """A linear layer with Glorot weights and zero biases.

    heads: how many layers of ``inputs -> outputs`` are stacked into this one; each is initialised
    as a layer of its own.
    """
    layer = Linear(inputs, heads * outputs)
    for block in layer.weight.data.chunk(heads):
        nn.init.xavier_uniform_(block)
    nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Sequential):
    """Its layers in turn. A ``Linear`` and the ``nn.Tanh`` behind it are computed in one call."""

    def forward(self, h: Tensor) -> Tensor:
        fused = False  # whether the layer before has computed this one as well
        for layer, next_layer in pairwise([*self, None]):
            if fused:
                fused = False
                continue
            fused = type(layer) is Linear and type(next_layer) is nn.Tanh
            h = layer(h, tanh=True) if fused else layer(h)
        return h


def mlp(sizes: Sequence[int], end: bool = False) -> MLP:
    """MLP[sizes[0]−…−sizes[-1]] with tanh between the layers: (..., sizes[0]) -> (..., sizes[-1]).

    end: tanh after the last layer too, as a nested MLP has it.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [linear(inputs, outputs), nn.Tanh()]
    return MLP(*(layers if end else layers[:-1]))


class DiagonalNormal(nn.Module):
    """The last layer of q(z|·) and p(z1|z2): features -> mean and log standard deviation.

    (..., inputs) -> ((..., outputs), (..., outputs)).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs, heads=2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.linear(features).chunk(2, dim=-1)
        return mean, log_std


class JoinedMLP(nn.Module):
    """MLP[[first, MLP[second−width]]−300]: two inputs, each through a network, then one layer.

    first: a network whose output has ``width`` features. The output has the nonlinearity.
    """

    def __init__(self, first: nn.Module, second: int, width: int, outputs: int) -> None:
        super().__init__()
        self.first = first
        self.second = mlp([second, width], end=True)
        self.joint = mlp([2 * width, outputs], end=True)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """a: (batch, ...) or (samples, batch, ...); b: (samples, batch, second)."""
        features_a, features_b = self.first(a), self.second(b)
        features_a = features_a.expand(*features_b.shape[:-1], features_a.shape[-1])
        return self.joint(torch.cat([features_a, features_b], dim=-1))


# ---- convolutions: kernel 4, stride 2, TensorFlow's "same" padding ----------------------------


def _sizes(image_shape: tuple[int, int]) -> list[tuple[int, int]]:
    """The image's height and width, and those after each of three convolutions."""
    if min(image_shape) < 5:
        raise ResampledPriorsError(
            f"images of {image_shape[0]} x {image_shape[1]} pixels are too small for three "
            "convolutions, which need 5 x 5: use a model without them"
        )
    return [tuple(math.ceil(side / 2**i) for side in image_shape) for i in range(4)]


def glorot(convolution: nn.Module) -> nn.Module:
    """The convolution with Glorot weights and zero biases."""
    nn.init.xavier_uniform_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    return convolution


class ConvolutionalEncoder(nn.Module):
    """Three convolutions, each with ReLU: (..., pixels) -> (..., features).

    For 28×28 images CNN[28×28×1−14×14×32−7×7×32−4×4×32]. ``to_7`` is the layer whose output has
    7 rows.

    Raises:
        ResampledPriorsError: the images are too small.
    """

    def __init__(self, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape
        _, *sizes = _sizes(image_shape)
        for channels, (rows, _) in zip((1, CHANNELS, CHANNELS), sizes, strict=True):
            layer = nn.Conv2d(channels, CHANNELS, 4, stride=2, padding=1)
            self.add_module(f"to_{rows}", glorot(layer))
        self.features = CHANNELS * math.prod(sizes[-1])
        self.to(memory_format=torch.channels_last)  # about 1.4 times as fast a step on a CPU

    def forward(self, x: Tensor) -> Tensor:
        # One channel fits both memory formats; its strides have to say that it is the last.
        h = x.reshape(-1, *self.image_shape, 1).permute(0, 3, 1, 2)
        for layer in self.children():
            rows, columns = h.shape[-2:]
            if rows % 2 or columns % 2:  # an odd side needs one pixel before and two after
                h = F.pad(h, (0, columns % 2, 0, rows % 2))
            h = F.relu_(layer(h))
        return h.reshape(*x.shape[:-1], self.features)


def upsample(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """The transposed convolution ``layer`` (kernel 4, stride 2, padding 1): the same numbers.

    Written as what it is: each pixel's product with the kernel, added up where they overlap. With
    one output channel that is five times as fast on a CPU, and twice with the gradient.
    """
    _, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(-1, height * width, channels)
    squares = linear_product(pixels, layer.weight.flatten(1).t(), None).transpose(1, 2)
    y = F.fold(squares, (2 * height, 2 * width), kernel_size=4, stride=2, padding=1)
    return y + layer.bias.view(-1, 1, 1)


def _cropped(y: Tensor, size: tuple[int, int]) -> Tensor:
    """The mirror of the encoder's padding: of an odd side, one pixel more goes at its end."""
    if y.shape[-2:] == size:
        return y  # a slice of all of it would cost a copy in the gradient
    return y[..., : size[0], : size[1]]


class ConvolutionalDecoder(nn.Module):
    """The encoder's mirror, transposed convolutions: (..., features) -> logits (..., pixels).

    For 28×28 images CNN[4×4×32−7×7×32−14×14×32−28×28×1]; ReLU after all but the last.

    Raises:
        ResampledPriorsError: the images are too small.
    """

    def __init__(self, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.first, *self.sizes = reversed(_sizes(image_shape))
        for (rows, _), channels in zip(self.sizes, (CHANNELS, CHANNELS, 1), strict=True):
            layer = nn.ConvTranspose2d(CHANNELS, channels, 4, stride=2, padding=1)
            self.add_module(f"to_{rows}", glorot(layer))
        self.features = CHANNELS * math.prod(self.first)
        self.to(memory_format=torch.channels_last)

    def forward(self, h: Tensor) -> Tensor:
        y = h.reshape(-1, CHANNELS, *self.first)
        *layers, last = self.children()
        *sizes, image_shape = self.sizes
        for layer, size in zip(layers, sizes, strict=True):
            y = F.relu_(_cropped(layer(y), size))
        y = _cropped(upsample(y, last), image_shape)
        return y.reshape(*h.shape[:-1], math.prod(image_shape))
