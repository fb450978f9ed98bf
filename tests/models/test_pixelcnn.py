"""PixelCNN: no pixel sees itself or a later one; all images together have probability 1."""

import itertools
import math

import pytest
import torch
from scipy.stats import chisquare

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.models.likelihoods import build_likelihood
from resampled_priors.models.likelihoods.pixelcnn import PixelCNN


def build(side, layers=3, channels=8):
    torch.manual_seed(0)
    network = PixelCNN(side**2, layers, channels).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return network


def gradients(network, side):
    """d logits_i / d x_j, and d logits_i / d h_j, each (pixels, pixels)."""
    x, h = torch.rand(2, side**2, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda *pair: network.logits(*pair), (x, h))


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_no_logit_sees_its_pixel_or_a_later_one(layers):
    of_x, of_h = gradients(build(6, layers), 6)
    assert not of_x.triu().any()
    assert of_h.diagonal().abs().min() > 0  # but all see their own place of the map


def test_every_pixel_before_is_seen():
    """Two stacks leave no blind spot: with enough layers, all of x_1 … x_{i−1}."""
    of_x, _ = gradients(build(6, 6), 6)
    assert (of_x != 0).equal(torch.ones(36, 36).tril(-1).bool())


def test_logits_stay_when_later_pixels_change():
    network, h = build(5), torch.randn(25).double()
    x = torch.randint(2, (25,)).double()
    logits = network.logits(x, h)
    for i in range(25):
        other = x.clone()
        other[i:] = 1 - other[i:]
        torch.testing.assert_close(network.logits(other, h)[: i + 1], logits[: i + 1])


def all_images(pixels):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=pixels)), dtype=torch.float64)


@pytest.mark.parametrize("side", [2, 3])
def test_the_probabilities_of_all_images_sum_to_1(side):
    network, h = build(side), torch.randn(side**2).double()
    log_p = network(h).log_prob(all_images(side**2))
    assert log_p.shape == (2**side**2,)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert float(log_p.exp().max()) > 3 / 2**side**2  # and are not all the same


def test_samples_follow_the_probabilities():
    """Chi-square over the 16 images of 2 x 2 pixels; false alarms in 1e-3 of seeds."""
    network, h = build(2), torch.randn(4).double()
    torch.manual_seed(1)
    samples = network(h).sample((4_000,))
    counts = torch.bincount((samples @ torch.tensor([8.0, 4, 2, 1]).double()).long(), minlength=16)
    expected = 4_000 * network(h).log_prob(all_images(4)).exp().detach()
    seldom = expected < 5
    groups = [(values[~seldom].tolist(), values[seldom].sum()) for values in (counts, expected)]
    (counted, rest), (wanted, small) = groups
    if small > 0:
        counted, wanted = [*counted, float(rest)], [*wanted, float(small)]
    assert chisquare(counted, wanted).pvalue > 1e-3


def test_the_mean_is_unbiased():
    """Of 2 x 2 pixels, against the sum over all images; 3.5 standard errors, four times."""
    network, h = build(2), torch.randn(4).double()
    torch.manual_seed(2)
    means = network(h.expand(4_000, 4)).mean
    images = all_images(4)
    exact = network(h).log_prob(images).exp().detach() @ images
    error = means.std(0) / math.sqrt(4_000)
    assert ((means.mean(0) - exact).abs() < 3.5 * error + 1e-12).all()


def test_shapes_blocks_and_settings(monkeypatch):
    network = build_likelihood({"family": "pixelcnn", "layers": 2, "channels": 3}, 16)
    h, x = torch.randn(5, 7, 16), torch.randint(2, (7, 16)).float()
    log_p = network(h).log_prob(x)
    assert log_p.shape == (5, 7)
    monkeypatch.setattr("resampled_priors.models.likelihoods.pixelcnn.IMAGES", 3)
    torch.testing.assert_close(network(h).log_prob(x), log_p)
    one = torch.stack([network(h[k, i]).log_prob(x[i]) for k in range(5) for i in range(7)])
    torch.testing.assert_close(one.view(5, 7), log_p)
    assert network(h).sample((2,)).shape == (2, 5, 7, 16)
    assert set(network(h).sample().unique().tolist()) == {0.0, 1.0}


def test_images_have_to_be_square():
    with pytest.raises(ResampledPriorsError, match="12 pixels are not square"):
        build_likelihood({"family": "pixelcnn", "layers": 1, "channels": 1}, 12)
