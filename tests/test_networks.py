"""Network builders against parameter counts and convolutions worked out by hand."""

import doctest
import itertools
import math

import pytest
import torch
from refusals import refused
from torch import nn
from torch.nn import functional as F

from resampled_priors import networks
from resampled_priors.machine import linear as onednn
from resampled_priors.networks import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    DiagonalNormal,
    JoinedMLP,
    linear,
    mlp,
    upsample,
)

MNIST = (28, 28)


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def dense(inputs, outputs):
    return inputs * outputs + outputs


def randomised(module):
    """In float64, with random weights and biases, so that no term is 0."""
    torch.manual_seed(1)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.requires_grad_(False)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- dense networks ------------------------------------------------------------------------


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_mlp_is_tanh_between_layers(leading, end):
    network = randomised(mlp([5, 4, 3], end=end))
    x = random(*leading, 5)
    first, last = network[0], network[2]
    expected = torch.tanh(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    output = network(x)
    assert output.shape == (*leading, 3)
    torch.testing.assert_close(output, torch.tanh(expected) if end else expected)


class Cosine(nn.Tanh):
    """A tanh by descent alone."""

    def forward(self, x):
        return x.cos()


def one_by_one(network, x):
    """What ``print(network)`` shows, by PyTorch alone."""
    for layer in network:
        is_linear = isinstance(layer, nn.Linear)
        x = F.linear(x, layer.weight, layer.bias) if is_linear else layer(x)
    return x


TANH = nn.Tanh()  # one that stands in several places
REPLACEMENTS = [
    [nn.Tanh(), nn.Tanh()],
    [nn.ReLU(), nn.ReLU()],
    [nn.ReLU(), nn.Tanh()],
    [TANH, TANH],
    [Cosine(), nn.Identity()],
    [nn.Sequential(nn.Tanh(), nn.ReLU()), nn.ELU()],
]
SEQUENCES = [
    lambda: [linear(5, 5), TANH, TANH, linear(5, 5), TANH, TANH],
    lambda: [TANH, linear(5, 5), linear(5, 5), nn.Tanh()],
    lambda: [nn.Linear(5, 5), nn.Tanh(), nn.Tanh(), linear(5, 5).double().float()],
    lambda: [nn.Tanh()],
    lambda: [],
]


@pytest.mark.parametrize("faster", [False, True])
def test_what_an_mlp_shows_is_what_it_computes(faster, monkeypatch):
    """Whatever stands in the place of a tanh, by PyTorch as by oneDNN."""
    monkeypatch.setattr(onednn, "FASTER", faster and onednn.AVAILABLE)
    torch.manual_seed(0)
    x = torch.randn(6, 5)
    outputs = []
    for replacement in REPLACEMENTS:
        torch.manual_seed(1)
        network = mlp([5, 4, 3, 2])
        assert [type(layer).__name__ for layer in network] == ["Linear", "Tanh"] * 2 + ["Linear"]
        network[1], network[3] = replacement
        outputs.append(network(x))
        torch.testing.assert_close(outputs[-1], one_by_one(network, x))
    assert not torch.allclose(outputs[0], outputs[1], atol=0.01)
    for layers in SEQUENCES:
        network = networks.MLP(*layers())
        torch.testing.assert_close(network(x), one_by_one(network, x))


def test_parameter_counts():
    assert num_parameters(mlp([784, 300, 300, 100])) == 784 * 300 + 300 + 300 * 300 + 300 + 30_100
    assert num_parameters(mlp([50, 10, 1])) == dense(50, 10) + dense(10, 1)
    assert num_parameters(DiagonalNormal(300, 50)) == 2 * dense(300, 50)
    # [[784−300], [50−300]]−300
    joined = JoinedMLP(mlp([784, 300], end=True), 50, 300, 300)
    assert num_parameters(joined) == dense(784, 300) + dense(50, 300) + dense(600, 300)
    # [[CNN], [50−512]]−300
    encoder = ConvolutionalEncoder(MNIST)
    convolutions = (4 * 4 * 1 * 32 + 32) + 2 * (4 * 4 * 32 * 32 + 32)
    assert num_parameters(encoder) == convolutions == 33_376
    joined = JoinedMLP(encoder, 50, encoder.features, 300)
    assert num_parameters(joined) == convolutions + dense(50, 512) + dense(1024, 300)
    transposed = 2 * (32 * 4 * 4 * 32 + 32) + (32 * 4 * 4 * 1 + 1)
    assert num_parameters(ConvolutionalDecoder(MNIST)) == transposed == 33_345


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_each_head_has_glorot_weights_of_its_own(heads):
    torch.manual_seed(0)
    layer = linear(200, 60, heads)
    assert layer.weight.shape == (heads * 60, 200)
    assert not layer.bias.any()
    bound = math.sqrt(6 / (200 + 60))  # of one head; of the stacked layer it would be smaller
    blocks = layer.weight.detach().split(60)
    for block in blocks:
        # 12,000 uniform numbers: the largest is below 0.999 of the bound for 1 seed in 160,000,
        # and the standard deviation is off by 3 % for fewer.
        assert 0.999 * bound < block.abs().max() <= bound
        assert float(block.std()) == pytest.approx(bound / math.sqrt(3), rel=0.03)
    assert len({float(block.sum()) for block in blocks}) == heads


def test_the_whole_mlp_is_initialised_by_glorot():
    torch.manual_seed(0)
    for layer in mlp([784, 300, 300, 100])[::2]:
        outputs, inputs = layer.weight.shape
        bound = math.sqrt(6 / (inputs + outputs))
        assert 0.999 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


def test_diagonal_normal_gives_mean_then_log_standard_deviation():
    layer = randomised(DiagonalNormal(6, 4))
    features = random(2, 3, 6)
    mean, log_std = layer(features)
    weight, bias = layer.linear.weight, layer.linear.bias
    torch.testing.assert_close(mean, features @ weight[:4].T + bias[:4])
    torch.testing.assert_close(log_std, features @ weight[4:].T + bias[4:])
    bound = math.sqrt(6 / (300 + 50))
    torch.manual_seed(0)
    for head in DiagonalNormal(300, 50).linear.weight.split(50):
        assert 0.999 * bound < head.abs().max() <= bound


def test_joined_mlp_worked_out_by_hand():
    network = randomised(JoinedMLP(mlp([5, 4], end=True), 3, 4, 2))
    a, b = random(6, 5), random(7, 6, 3, seed=1)  # (batch, …) and (samples, batch, …)
    (first, _), (second, _), (joint, _) = network.first, network.second, network.joint
    output = network(a, b)
    assert output.shape == (7, 6, 2)
    for sample in range(7):
        for item in range(6):
            left = torch.tanh(first.weight @ a[item] + first.bias)
            right = torch.tanh(second.weight @ b[sample, item] + second.bias)
            expected = torch.tanh(joint.weight @ torch.cat([left, right]) + joint.bias)
            torch.testing.assert_close(output[sample, item], expected)
    # A first input with samples of its own.
    torch.testing.assert_close(network(a.expand(7, 6, 5), b), output)


# --- convolutions --------------------------------------------------------------------------


def same_padding(size):
    """How many zeros "same" padding puts before and after: kernel 4, stride 2."""
    total = (math.ceil(size / 2) - 1) * 2 + 4 - size
    return total // 2, total - total // 2


def loop_convolution(x, weight):
    """ "Same" convolution, kernel 4, stride 2, no bias, from its definition: one output at a time.

    x: (batch, channels, height, width), weight: (outputs, channels, 4, 4).
    """
    batch, _, *sides = x.shape
    above, left = (same_padding(side)[0] for side in sides)
    height, width = (math.ceil(side / 2) for side in sides)
    y = x.new_zeros(batch, weight.shape[0], height, width)
    for i, j, k, m in itertools.product(range(height), range(width), range(4), range(4)):
        row, column = 2 * i + k - above, 2 * j + m - left
        if 0 <= row < sides[0] and 0 <= column < sides[1]:
            y[:, :, i, j] += x[:, :, row, column] @ weight[:, :, k, m].T
    return y


def loop_transposed(y, weight, sides):
    """The transpose of ``loop_convolution`` on (height, width): each y goes where it came from.

    y: (batch, inputs, ·, ·), weight: (inputs, channels, 4, 4).
    """
    above, left = (same_padding(side)[0] for side in sides)
    x = y.new_zeros(y.shape[0], weight.shape[1], *sides)
    rows, columns = y.shape[-2:]
    for i, j, k, m in itertools.product(range(rows), range(columns), range(4), range(4)):
        row, column = 2 * i + k - above, 2 * j + m - left
        if 0 <= row < sides[0] and 0 <= column < sides[1]:
            x[:, :, row, column] += y[:, :, i, j] @ weight[:, :, k, m]
    return x


def with_bias(x, layer):
    return x + layer.bias[:, None, None]


def test_same_padding_by_hand():
    assert same_padding(28) == same_padding(14) == (1, 1)
    assert same_padding(7) == (1, 2)


# image -> after each convolution; odd sides, even ones, and images that are not square
SIZES = {
    (28, 28): [(14, 14), (7, 7), (4, 4)],
    (8, 8): [(4, 4), (2, 2), (1, 1)],
    (5, 5): [(3, 3), (2, 2), (1, 1)],
    (11, 16): [(6, 8), (3, 4), (2, 2)],
    (10, 7): [(5, 4), (3, 2), (2, 1)],
}


@pytest.mark.parametrize("image_shape", SIZES)
def test_the_encoder_is_same_convolutions_and_relus(image_shape):
    encoder, sizes = randomised(ConvolutionalEncoder(image_shape)), SIZES[image_shape]
    x = random(2, math.prod(image_shape))
    h = x.reshape(2, 1, *image_shape)
    for layer, size in zip(encoder.children(), sizes, strict=True):
        h = torch.relu(with_bias(loop_convolution(h, layer.weight), layer))
        assert h.shape == (2, 32, *size)
        assert 0.1 < (h > 0).double().mean() < 0.9
    assert encoder.features == 32 * math.prod(sizes[-1])
    torch.testing.assert_close(encoder(x), h.reshape(2, -1))


@pytest.mark.parametrize("image_shape", SIZES)
def test_the_decoder_is_transposed_same_convolutions_and_relus(image_shape):
    decoder, sizes = randomised(ConvolutionalDecoder(image_shape)), SIZES[image_shape]
    features = random(2, decoder.features)
    y = features.reshape(2, 32, *sizes[-1])
    layers = list(decoder.children())
    for layer, size in zip(layers, [sizes[1], sizes[0], image_shape], strict=True):
        y = with_bias(loop_transposed(y, layer.weight, size), layer)
        y = y if layer is layers[-1] else torch.relu(y)  # logits: no ReLU
    assert y.min() < 0
    torch.testing.assert_close(decoder(features), y.reshape(2, -1))


def test_convolutions_are_named_after_the_rows_of_what_they_give():
    names = {
        (28, 28): (["to_14", "to_7", "to_4"], ["to_7", "to_14", "to_28"]),
        (10, 7): (["to_5", "to_3", "to_2"], ["to_3", "to_5", "to_10"]),
    }
    for image_shape, (down, up) in names.items():
        for network, layers in ((ConvolutionalEncoder, down), (ConvolutionalDecoder, up)):
            keys = [f"{layer}.{what}" for layer in layers for what in ("weight", "bias")]
            assert list(network(image_shape).state_dict()) == keys


@pytest.mark.parametrize("network", [ConvolutionalEncoder, ConvolutionalDecoder])
@pytest.mark.parametrize("image_shape", [(4, 28), (28, 4), (1, 1)])
def test_images_too_small_for_convolutions_are_refused(network, image_shape):
    message = f"images of {image_shape[0]} x {image_shape[1]} pixels are too small"
    with refused(f"{message} .* use a model without them"):
        network(image_shape)


def test_convolutions_compile_whole():
    for network in (ConvolutionalEncoder((10, 7)), ConvolutionalDecoder((10, 7))):
        inputs = 70 if isinstance(network, ConvolutionalEncoder) else network.features
        x = random(3, inputs).float()
        compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), network(x))


class Constant(nn.Module):
    """Gives one tensor, whatever it is given, and keeps what it was given."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        self.given = x
        return self.value


def test_the_step_up_from_4_is_the_adjoint_of_the_step_down_to_4():
    encoder, decoder = ConvolutionalEncoder(MNIST).double(), ConvolutionalDecoder(MNIST).double()
    # All positive and without biases, the ReLU is the identity and both steps are linear.
    kernel = random(32, 32, 4, 4).abs()
    encoder.to_4.weight.data = decoder.to_7.weight.data = kernel
    x, y = random(3, 32, 7, 7, seed=1).abs(), random(3, 32, 4, 4, seed=2).abs()
    encoder.to_7 = Constant(x)
    decoder.to_14 = Constant(torch.zeros(3, 32, 14, 14, dtype=torch.float64))
    with torch.no_grad():
        down = encoder(torch.zeros(3, 784, dtype=torch.float64)).reshape(3, 32, 4, 4)
        decoder(y.reshape(3, 512))
    up = decoder.to_14.given
    assert up.shape == x.shape
    for n in range(3):
        torch.testing.assert_close(
            (down[n] * y[n]).sum(), (x[n] * up[n]).sum(), rtol=1e-12, atol=0
        )
    # Padding the other way round, 2 before and 1 after, would not be the adjoint.
    other = F.conv2d(F.pad(x, (2, 1, 2, 1)), kernel, stride=2)
    assert abs(float((other * y).sum() / (x * up).sum()) - 1) > 1e-4


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_convolutional_shapes(leading):
    encoder, decoder = (
        randomised(ConvolutionalEncoder(MNIST)),
        randomised(ConvolutionalDecoder(MNIST)),
    )
    x = random(*leading, 784)
    features = encoder(x)
    assert features.shape == (*leading, 512) == (*leading, encoder.features)
    logits = decoder(features)
    assert logits.shape == (*leading, 784)
    # Leading dimensions are only a batch.
    flat = decoder(encoder(x.reshape(-1, 784)))
    torch.testing.assert_close(logits.reshape(-1, 784), flat)


@pytest.mark.parametrize("network", [ConvolutionalEncoder, ConvolutionalDecoder])
def test_convolutions_are_initialised_by_glorot(network):
    torch.manual_seed(0)
    for layer in network(MNIST).children():
        channels = layer.in_channels + layer.out_channels
        bound = math.sqrt(6 / (channels * 4 * 4))  # fans count the 16 places of the kernel
        # 512 weights or more: the largest is below 0.97 of the bound for 1 seed in 5 million.
        assert 0.97 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


def test_docstring_examples_run():
    assert doctest.testmod(networks).failed == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_upsampling_by_phases_is_the_transposed_convolution(channels):
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose2d(5, channels, 4, stride=2, padding=1).double()
    x = torch.randn(2, 5, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(upsample(x, layer), layer(x))
