"""LARS against independent calculations: quadrature, exact arithmetic, brute force.

Statistical tests are seeded; each states how often it would fail by chance with another seed.
"""

import doctest
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
import zuko
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from scipy import stats
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal, Uniform

from resampled_priors import (
    AcceptanceFunction,
    ResampledDistribution,
    ResampledPrior,
    contracts,
    estimate_z,
    log_resampled_density,
)
from resampled_priors.lars import (
    density,
    distribution,
    normalizer,
    sample_resampled,
    sampler,
    smoothed_log_z,
)
from resampled_priors.lars import prior as prior_module

TRUNCATIONS = [1, 2, 5, 100, None]
exact = settings(derandomize=True, deadline=None, max_examples=200)


def normal(features, dtype=torch.float64):
    return Independent(Normal(torch.zeros(features, dtype=dtype), torch.ones(())), 1)


def bumps(z):
    """Two bumps on a low floor: smooth, far from constant, Z about 0.2."""
    first = torch.exp(-((z[..., 0] - 1.0) ** 2) / 0.18)
    last = torch.exp(-((z[..., -1] + 0.5) ** 2) / 0.08)
    return (0.45 * first + 0.5 * last + 0.002).log()


def large_network(features):
    """An acceptance function with large weights: plateaus and steep slopes."""
    torch.manual_seed({1: 6, 2: 10}[features])
    log_a = AcceptanceFunction(features, hidden=(8, 8)).double()
    for parameter in log_a.parameters():
        nn.init.normal_(parameter, std=2.5)
    return log_a.requires_grad_(False)


ACCEPTANCES = {
    "bumps in 1-D": (1, bumps),
    "bumps in 2-D": (2, bumps),
    "network in 1-D": (1, large_network(1)),
    "network in 2-D": (2, large_network(2)),
}


@pytest.fixture(params=ACCEPTANCES)
def acceptance(request):
    return ACCEPTANCES[request.param]


def trapezoid_points(features):
    """Points and the common weight of the trapezoidal rule on [-9, 9]^features."""
    axis = torch.linspace(-9, 9, {1: 36_001, 2: 1_201}[features], dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(*[axis] * features, indexing="ij"), dim=-1)
    return grid.reshape(-1, features), float(axis[1] - axis[0]) ** features


def quadrature_z(log_a, features):
    """Z = E_π[a(z)] by composite Gauss-Legendre, on other points than ``trapezoid_points``."""
    nodes, weights = (torch.tensor(v) for v in np.polynomial.legendre.leggauss(10))
    panels = {1: 2_000, 2: 90}[features]
    edges = torch.linspace(-9, 9, panels + 1, dtype=torch.float64)
    axis = (edges[:-1, None] + (nodes + 1) * 9 / panels).flatten()
    weight = (weights * 9 / panels).repeat(panels)
    grid = torch.stack(torch.meshgrid(*[axis] * features, indexing="ij"), dim=-1)
    integrand = torch.exp(normal(features).log_prob(grid) + log_a(grid))
    for _ in range(features):
        integrand = integrand @ weight
    return float(integrand)


def decimals(*values):
    return [Decimal(float(value)) for value in values]


def floats(*tensors):
    return [float(tensor.detach()) for tensor in tensors]


def exact_density(log_proposal, log_a, log_z, truncation):
    """eq. 3 or eq. 4 as they stand in the paper, in 100 digits or more: log p(z)."""
    with localcontext() as context:
        context.prec = 100 + int(abs(log_z))  # so that 1 − Z is not 1
        log_pi, log_a, log_z = decimals(log_proposal, log_a, log_z)
        pi, a, z = log_pi.exp(), log_a.exp(), log_z.exp()
        if truncation is None:
            return float((pi * a / z).ln())
        alpha = (1 - z) ** (truncation - 1) if z < 1 else Decimal(truncation == 1)
        return float((pi * a * (1 - alpha) / z + alpha * pi).ln())


def exact_slopes(log_a, log_z, truncation):
    """Derivatives of log p_T(z) by log a(z) and by log Z, worked out by hand, exactly."""
    with localcontext() as context:
        context.prec = 100 + int(abs(log_z))
        log_a, log_z = decimals(log_a, log_z)
        a, z = log_a.exp(), log_z.exp()
        if truncation is None:
            return 1.0, -1.0
        alpha, below = (
            (1 - z) ** n if n > 0 and z < 1 else Decimal(n == 0)
            for n in (truncation - 1, truncation - 2)
        )
        gain = a * (1 - alpha) / z
        by_log_z = -gain + (a - z) * (truncation - 1) * below
        return float(gain / (gain + alpha)), float(by_log_z / (gain + alpha))


# --- the density ---------------------------------------------------------------------------


@pytest.mark.parametrize("truncation", TRUNCATIONS)
def test_the_density_integrates_to_one(acceptance, truncation):
    features, log_a = acceptance
    log_z = torch.tensor(quadrature_z(log_a, features), dtype=torch.float64).log()
    assert 0.02 < log_z.exp() < 0.8  # neither constant nor hopeless
    p = ResampledDistribution(normal(features), log_a, truncation, log_z)
    points, weight = trapezoid_points(features)
    tolerance = {1: 1e-9, 2: 1e-7}[features]  # of the two quadratures
    assert p.log_prob(points).exp().sum() * weight == pytest.approx(1, abs=tolerance)


def test_truncation_at_one_is_the_proposal(acceptance):
    features, log_a = acceptance
    z = 3 * torch.randn(50, features, dtype=torch.float64, generator=torch.manual_seed(0))
    p = ResampledDistribution(normal(features), log_a, 1, math.log(0.2))
    torch.testing.assert_close(p.log_prob(z), normal(features).log_prob(z), rtol=1e-15, atol=0)


def test_the_density_tends_to_the_untruncated_one(acceptance):
    features, log_a = acceptance
    z = 3 * torch.randn(50, features, dtype=torch.float64, generator=torch.manual_seed(0))
    log_z = torch.tensor(quadrature_z(log_a, features), dtype=torch.float64).log()
    limit = ResampledDistribution(normal(features), log_a, None, log_z).log_prob(z)
    distances = [
        float((ResampledDistribution(normal(features), log_a, t, log_z).log_prob(z) - limit)
              .abs().max())
        for t in [1, 2, 5, 20, 100, 1000, 10**6]
    ]  # fmt: skip
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 1
    assert distances[-1] < 1e-12


@pytest.mark.parametrize("truncation", [*TRUNCATIONS, 10**9])
@pytest.mark.parametrize("constant", [1.0, 0.5, 1e-3, 1e-30])
def test_a_constant_acceptance_gives_back_the_proposal(truncation, constant):
    log_a = torch.full((50,), math.log(constant), dtype=torch.float64)
    log_pi = torch.randn(50, dtype=torch.float64, generator=torch.manual_seed(0))
    density = log_resampled_density(log_pi, log_a, log_a[0], truncation)
    torch.testing.assert_close(density, log_pi, rtol=0, atol=1e-12)


@exact
@given(
    log_pi=st.floats(-500, 5),
    log_a=st.floats(-300, 0),
    log_z=st.floats(-80, -1e-3),
    truncation=st.one_of(st.none(), st.integers(1, 200), st.integers(1, 10**9)),
)
def test_the_density_is_that_of_exact_arithmetic(log_pi, log_a, log_z, truncation):
    tensors = [torch.tensor(value, dtype=torch.float64) for value in (log_pi, log_a, log_z)]
    density = float(log_resampled_density(*tensors, truncation))
    expected = exact_density(log_pi, log_a, log_z, truncation)
    assert density == pytest.approx(expected, rel=1e-11, abs=1e-11)


LOG_A = [0.0, -1e-6, -0.5, -10.0, -70.0, -1e3, -1e4]


@pytest.mark.parametrize("truncation", [2, 100, 10**9, None])
@pytest.mark.parametrize("log_z", [0.0, -1e-7, -0.1, -5.0, math.log(1e-30), -200.0, -800.0])
def test_extremes_in_float32(log_z, truncation):
    log_a = torch.tensor(LOG_A, requires_grad=True)
    log_zs = torch.full((len(LOG_A),), log_z, requires_grad=True)
    log_pi = torch.full((len(LOG_A),), -70.0)
    density = log_resampled_density(log_pi, log_a, log_zs, truncation)
    density.sum().backward()
    for tensor in (density, log_a.grad, log_zs.grad):
        assert tensor.isfinite().all()
    for i, log_acceptance in enumerate(log_a.tolist()):
        if log_z == 0.0 and log_acceptance < -0.5:
            continue  # no such z where Z = 1; α_T = 0 counts as the rounding of float64
        where = log_acceptance, log_z, truncation
        values = floats(log_pi[i], log_a[i], log_zs[i])
        expected = exact_density(*values, truncation)
        # What float32 allows: log p is a difference of numbers as large as these.
        scale = max(1, abs(log_acceptance), abs(log_z))
        tolerance = 1e-6 * max(70, scale)
        assert float(density[i].detach()) == pytest.approx(expected, abs=tolerance), where
        slopes = exact_slopes(*values[1:], truncation)
        if log_z == 0.0 and truncation == 2 and log_acceptance < -1e-5:
            continue
        assert float(log_a.grad[i]) == pytest.approx(slopes[0], rel=2e-4, abs=1e-6), where
        assert float(log_zs.grad[i]) == pytest.approx(slopes[1], rel=2e-4, abs=1e-6), where


@pytest.mark.parametrize("log_z", [-800.0, -1e4, -math.inf])
def test_the_truncated_density_has_its_limit_where_z_underflows(log_z):
    # p_T -> π (1 + (T − 1) a) as Z -> 0.
    log_a = torch.tensor([-2e3, -1.0], requires_grad=True)
    log_zs = torch.tensor(log_z, requires_grad=True)
    density = log_resampled_density(torch.tensor([-3.0, -3.0]), log_a, log_zs, 100)
    expected = [-3.0, -3 + math.log(1 + 99 * math.exp(-1))]
    assert density.tolist() == pytest.approx(expected, rel=1e-6)
    density.sum().backward()
    share = 99 * math.exp(-1) / (1 + 99 * math.exp(-1))
    assert log_a.grad.tolist() == pytest.approx([0, share], rel=1e-6)
    assert float(log_zs.grad) == 0


# --- the sampler ---------------------------------------------------------------------------

# In each of the chi-square and z-tests below a right sampler fails for 1 seed in 10,000.
ERROR_RATE = 1e-4
SAMPLED_Z = quadrature_z(bumps, 1)


def bin_probabilities(truncation, features, bins, points_per_bin, z):
    """P(bin) under p_T, for bins that are equally probable under π, by the midpoint rule in Φ(z).

    Worked out in linear space, from eq. 3 and eq. 4 as they stand.
    """
    axis = (torch.arange(bins * points_per_bin, dtype=torch.float64) + 0.5) / (
        bins * points_per_bin
    )
    grid = torch.stack(torch.meshgrid(*[axis] * features, indexing="ij"), dim=-1)
    a = bumps(torch.special.ndtri(grid)).exp()
    alpha = 0.0 if truncation is None else (1 - z) ** (truncation - 1)
    ratio = (1 - alpha) * a / z + alpha
    return ratio.reshape([bins, points_per_bin] * features).mean(
        dim=[2 * d + 1 for d in range(features)]
    ).flatten() / bins**features  # fmt: skip


def chi_square(samples, probabilities, features, bins):
    index = (torch.special.ndtr(samples) * bins).long().clamp(max=bins - 1)
    flat = sum(index[:, d] * bins ** (features - 1 - d) for d in range(features))
    counts = torch.bincount(flat, minlength=bins**features)
    expected = probabilities * len(samples)
    assert expected.min() > 5
    assert expected.sum() == pytest.approx(len(samples), rel=1e-6)
    return stats.chisquare(counts, expected / expected.sum() * len(samples)).pvalue


@pytest.fixture(scope="module", params=[3, 100, None])
def drawn(request):
    torch.manual_seed(1)
    samples, counts = sample_resampled(normal(1), bumps, 200_000, request.param)
    return request.param, samples, counts


def test_samples_follow_the_density(drawn):
    truncation, samples, _ = drawn
    probabilities = bin_probabilities(truncation, 1, 60, 200, SAMPLED_Z)
    assert chi_square(samples, probabilities, 1, 60) > ERROR_RATE


def test_samples_in_two_dimensions_follow_the_density():
    torch.manual_seed(1)
    z = quadrature_z(bumps, 2)
    p = ResampledDistribution(normal(2), bumps, truncation=5)
    samples = p.sample((100_000,))
    assert chi_square(samples, bin_probabilities(5, 2, 12, 60, z), 2, 12) > ERROR_RATE
    # The test can tell T = 5 from its neighbours.
    for wrong in (4, 6):
        assert chi_square(samples, bin_probabilities(wrong, 2, 12, 60, z), 2, 12) < 1e-9


def geometric(truncation, longest):
    """P(N = n) for n = 1 … longest, the last one P(N ≥ longest): from the sampler's definition."""
    longest = min(longest, truncation or longest)
    still_going = (1 - SAMPLED_Z) ** np.arange(longest)  # P(N ≥ n)
    return np.append(still_going[:-1] * SAMPLED_Z, still_going[-1])


def test_counts_follow_the_truncated_geometric_law(drawn):
    truncation, _, counts = drawn
    probabilities = geometric(truncation, 40)
    binned = np.bincount(counts.clamp(max=len(probabilities)), minlength=len(probabilities) + 1)
    assert binned[0] == 0
    assert counts.max() <= (truncation or math.inf)
    expected = probabilities * len(counts)
    assert expected.min() > 5
    assert stats.chisquare(binned[1:], expected).pvalue > ERROR_RATE


def test_mean_count_is_the_expected_number_of_proposals(drawn):
    truncation, samples, counts = drawn
    horizon = truncation or math.inf
    expected = (1 - (1 - SAMPLED_Z) ** horizon) / SAMPLED_Z
    standard_error = float(counts.double().std()) / math.sqrt(len(counts))
    z_score = (float(counts.double().mean()) - expected) / standard_error
    assert abs(z_score) < stats.norm.isf(ERROR_RATE / 2)
    p = ResampledDistribution(normal(1), bumps, truncation, math.log(SAMPLED_Z))
    assert float(p.expected_proposals) == pytest.approx(expected, rel=1e-6)
    assert samples.shape == (200_000, 1)


class RecordedProposal:
    """Hands out one long stream of candidates, in blocks as asked for."""

    def __init__(self, stream):
        self.stream, self.used = stream, 0

    def sample(self, shape):
        (size,) = shape
        assert self.used + size <= len(self.stream), "the recorded stream ran out"
        self.used += size
        return self.stream[self.used - size : self.used]


def one_after_another(stream, uniforms, log_a, num_samples, truncation):
    """The sampler as the paper puts it: one candidate at a time."""
    samples, counts, position = [], [], 0
    for _ in range(num_samples):
        attempt = 0
        while True:
            candidate, uniform = stream[position], float(uniforms[position])
            position, attempt = position + 1, attempt + 1
            if uniform < math.exp(log_a(candidate)) or attempt == truncation:
                break
        samples.append(candidate)
        counts.append(attempt)
    return torch.stack(samples), counts


@exact
@given(
    seed=st.integers(0, 2**31),
    truncation=st.one_of(st.none(), st.integers(1, 12), st.just(10**9)),
    num_samples=st.integers(1, 25),
    block=st.sampled_from([1, 2, 3, 7, 50, 100_000]),
    height=st.floats(0.02, 1),
    guess=st.sampled_from([None, 1.0, 40.0]),
)
def test_blocks_give_what_one_after_another_gives(
    seed, truncation, num_samples, block, height, guess
):
    generator = torch.Generator().manual_seed(seed)
    size = 20_000
    stream = torch.randn(size, 1, generator=generator, dtype=torch.float64)
    uniforms = torch.rand(size, generator=generator, dtype=torch.float64)

    def log_a(z):
        return math.log(height) - z[..., 0].clamp(min=0)  # a(z) < 1: rejections everywhere

    expected = one_after_another(stream, uniforms, log_a, num_samples, truncation)
    recorded_uniforms = RecordedProposal(uniforms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "MAX_BLOCK", block)
        patch.setattr(torch, "rand", lambda n, **_: recorded_uniforms.sample((n,)))
        samples, counts = sample_resampled(
            RecordedProposal(stream), log_a, num_samples, truncation, guess
        )
    torch.testing.assert_close(samples, expected[0], rtol=0, atol=0)
    assert counts.tolist() == expected[1]


def test_no_block_is_larger_than_the_largest(monkeypatch):
    sizes = []

    def log_a(z):
        sizes.append(len(z))
        return torch.full((len(z),), math.log(0.3))

    monkeypatch.setattr(sampler, "MAX_BLOCK", 64)
    torch.manual_seed(0)
    sample_resampled(normal(1), log_a, 1000, None)
    assert max(sizes) == 64


def test_sampling_where_almost_nothing_is_accepted():
    # a(z) = C exp(−(z − 2)²/2s²) under N(0, 1): p_∞ is normal, and Z has a closed form.
    width, z = 0.5, 1e-4
    variance = 1 / (1 + width**-2)
    mean = variance * 2 * width**-2
    log_constant = math.log(z / math.sqrt(variance)) + 2 / (1 + width**2)
    assert log_constant < 0
    torch.manual_seed(4)
    samples, counts = sample_resampled(
        normal(1, torch.float32),
        lambda x: log_constant - (x[..., 0] - 2) ** 2 / (2 * width**2),
        1000,
        None,
    )
    # Each of the two fails for 1 seed in 10,000.
    law = stats.norm(mean, math.sqrt(variance))
    assert stats.kstest(samples[:, 0].numpy(), law.cdf).pvalue > ERROR_RATE
    z_score = (float(counts.double().mean()) - 1 / z) * z * math.sqrt(len(counts))
    assert abs(z_score) < stats.norm.isf(ERROR_RATE / 2)


def test_uniforms_resolve_acceptances_below_those_of_float32(monkeypatch):
    # float32 uniforms are multiples of 6e-8, so a(z) = 1e-12 would be accepted at a rate of 6e-8.
    draw, dtypes = torch.rand, []

    def rand(*args, **kwargs):
        uniforms = draw(*args, **kwargs)
        dtypes.append(uniforms.dtype)
        return uniforms.mul_(0).add_(1e-9)

    monkeypatch.setattr(torch, "rand", rand)
    log_as = torch.tensor([math.log(9e-10), math.log(1.1e-9)])
    proposal = normal(1, torch.float32)
    _, counts = sample_resampled(proposal, lambda z: log_as[:1].expand(len(z)), 10, 5)
    assert counts.tolist() == [5] * 10
    _, counts = sample_resampled(proposal, lambda z: log_as[1:].expand(len(z)), 10, 5)
    assert counts.tolist() == [1] * 10
    assert set(dtypes) == {torch.float64}


@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (0,)])
def test_sample_shapes_and_no_gradient(shape):
    torch.manual_seed(0)
    flow = zuko.flows.RealNVP(2, transforms=2, hidden_features=(8, 8))
    samples = ResampledDistribution(flow, AcceptanceFunction(2)).sample(shape)
    assert samples.shape == (*shape, 2)
    assert not samples.requires_grad


def test_ranked_proposals():
    log_a = large_network(2)
    p = ResampledDistribution(normal(2), log_a)
    torch.manual_seed(5)
    z, values = p.sample_ranked(1000)
    assert z.shape == (1000, 2)
    assert values.shape == (1000,)
    assert (values.diff() <= 0).all()
    torch.testing.assert_close(values, log_a(z))
    torch.manual_seed(5)  # the same proposals, none left out, none twice
    proposals = normal(2).sample((1000,))
    assert sorted(map(tuple, z.tolist())) == sorted(map(tuple, proposals.tolist()))


@pytest.mark.parametrize("truncation", [1, 2, 5, 1000])
@pytest.mark.parametrize("z", [1.0, 0.999, 0.3, 1e-3, 1e-12, 1e-30])
def test_expected_proposals_against_the_sum(truncation, z):
    # E[N] = Σ_n P(N ≥ n) = Σ_{n=1}^{T} (1 − Z)^{n−1}
    expected = sum((1 - z) ** n for n in range(truncation))
    log_z = torch.tensor(z, dtype=torch.float64).log()
    p = ResampledDistribution(normal(1), bumps, truncation, log_z)
    assert float(p.expected_proposals) == pytest.approx(expected, rel=1e-12)
    untruncated = ResampledDistribution(normal(1), bumps, None, log_z)
    assert float(untruncated.expected_proposals) == pytest.approx(1 / z, rel=1e-12)


def test_sampling_with_a_vanishing_z():
    p = ResampledDistribution(normal(1), lambda z: -1e4 + 0 * z[..., 0], 20, log_z=-math.inf)
    assert float(p.expected_proposals) == 20
    assert p.sample((3,)).shape == (3, 1)


# --- Algorithm 1 ---------------------------------------------------------------------------


def algorithm_1(proposals_a, ratio, a, average, smoothing):
    """Algorithm 1, line by line, in linear space: Z_r for each data point, and the new ⟨Z⟩."""
    num_proposals = len(proposals_a)
    z_s = proposals_a.sum() / num_proposals  # 1
    z_r, smooth = [], []
    for ratio_r, a_r in zip(ratio, a, strict=True):  # 2
        current = (num_proposals * z_s + ratio_r.detach() * a_r) / (num_proposals + 1)  # 3
        smooth.append((1 - smoothing) * average + smoothing * current)  # 4
        z_r.append(current + (smooth[-1] - current).detach())  # 5
    return torch.stack(z_r), torch.stack(smooth).detach().mean()  # 6, 7


def assert_same_gradients(ours, theirs, inputs):
    """Equal gradients of two vectors, weighted by random numbers, so that no two terms swap."""
    weights = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(9))
    gradients = [
        torch.autograd.grad(
            (weights * output).sum(), inputs, retain_graph=True, materialize_grads=True
        )
        for output in (ours, theirs)
    ]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-13)
    return gradients[0]


@pytest.mark.parametrize("smoothing", [0.1, 0.01, 1.0])
def test_smoothed_log_z_against_algorithm_1(smoothing):
    torch.manual_seed(0)
    log_a_s = (-5 * torch.rand(64, dtype=torch.float64)).requires_grad_()
    log_a_r = (-5 * torch.rand(7, dtype=torch.float64)).requires_grad_()
    log_ratio = torch.randn(7, dtype=torch.float64)
    average = torch.tensor(0.37, dtype=torch.float64)
    log_z, new_average = smoothed_log_z(log_a_s, average, smoothing, log_ratio + log_a_r)
    z, expected_average = algorithm_1(
        log_a_s.exp(), log_ratio.exp(), log_a_r.exp(), average, smoothing
    )
    torch.testing.assert_close(log_z, z.log(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(new_average, expected_average, rtol=1e-12, atol=0)
    assert not new_average.requires_grad
    gradients = assert_same_gradients(log_z, z.log(), [log_a_s, log_a_r])
    assert all((gradient != 0).all() for gradient in gradients)


def test_smoothed_log_z_without_data_points():
    torch.manual_seed(0)
    log_a_s = (-5 * torch.rand(64, dtype=torch.float64)).requires_grad_()
    average = torch.tensor(0.37, dtype=torch.float64)
    log_z, new_average = smoothed_log_z(log_a_s, average, 0.1)
    current = log_a_s.exp().mean()
    smooth = 0.9 * average + 0.1 * current
    expected = (current + (smooth - current).detach()).log()
    torch.testing.assert_close(log_z, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(new_average, smooth.detach(), rtol=1e-13, atol=0)
    assert_same_gradients(log_z, expected, [log_a_s])


def learned_normal():
    loc, scale = torch.tensor([0.3, -0.2]), torch.tensor([0.8, 1.3])
    return zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, loc, scale, buffer=False
    ).double()


def flow():
    torch.manual_seed(3)
    return zuko.flows.RealNVP(2, transforms=2, hidden_features=(8, 8)).double()


PROPOSALS = {"fixed": lambda: normal(2), "learned normal": learned_normal, "flow": flow}


def training_case(name, truncation, smoothing=0.1):
    """A prior, the outputs of an encoder, and z with its log posterior, all in float64."""
    proposal = PROPOSALS[name]()
    torch.manual_seed(2)
    log_a = AcceptanceFunction(2, hidden=(10,)).double()
    for parameter in log_a.parameters():
        nn.init.normal_(parameter)
    prior = ResampledPrior(proposal, log_a, truncation, smoothing, num_proposals=32).double()
    prior.z_average.fill_(0.42)
    mean = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    log_std = torch.full((5, 2), -0.7, dtype=torch.float64, requires_grad=True)
    posterior = Independent(Normal(mean, log_std.exp()), 1)
    z = posterior.rsample()
    return prior, [mean, log_std], z, posterior.log_prob(z)


def literal_training_log_prob(prior, z, log_posterior):
    """Algorithm 1 and eq. 3 or 4 in linear space, from the same random numbers."""
    proposal = prior.proposal() if isinstance(prior.proposal, nn.Module) else prior.proposal
    proposals_a = prior.log_a(proposal.rsample((prior.num_proposals,))).exp()
    pi, a = proposal.log_prob(z).exp(), prior.log_a(z).exp()
    z_r, new_average = algorithm_1(
        proposals_a, pi / log_posterior.exp(), a, prior.z_average, prior.smoothing
    )
    if prior.truncation is None:
        return (pi * a / z_r).log(), new_average
    alpha = (1 - z_r) ** (prior.truncation - 1)
    return (pi * a * (1 - alpha) / z_r + alpha * pi).log(), new_average


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("name", PROPOSALS)
def test_training_log_prob_against_its_literal_transcription(name, truncation, smoothing):
    prior, encoder_outputs, z, log_posterior = training_case(name, truncation, smoothing)
    torch.manual_seed(7)
    ours = prior.training_log_prob(z, log_posterior)
    average = prior.z_average.clone()
    prior.z_average.fill_(0.42)
    torch.manual_seed(7)
    theirs, expected_average = literal_training_log_prob(prior, z, log_posterior)
    assert ours.shape == (5,)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(average, expected_average, rtol=1e-10, atol=0)
    assert not average.requires_grad
    inputs = [*prior.parameters(), *encoder_outputs]
    gradients = assert_same_gradients(ours, theirs, inputs)
    if truncation != 1:  # T = 1 is the proposal: a(z) then has no part in it
        assert all(gradient.any() for gradient in gradients)


def test_no_gradient_passes_through_the_density_ratio():
    prior, _, z, _ = training_case("learned normal", 5)
    log_posterior = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    density = prior.training_log_prob(z.detach(), log_posterior)
    (gradient,) = torch.autograd.grad(density.sum(), [log_posterior], allow_unused=True)
    assert gradient is None


def test_a_learned_proposal_is_trained_in_both_ways():
    prior, _, z, log_posterior = training_case("flow", None)
    z, log_posterior = z.detach(), log_posterior.detach()
    parameters = list(prior.proposal.parameters())

    def gradients(value):
        return torch.autograd.grad(value, parameters, retain_graph=True)

    density = prior.training_log_prob(z, log_posterior)
    log_pi = prior.proposal().log_prob(z)
    assert all(gradient.any() for gradient in gradients(log_pi.sum()))
    # What is left of the untruncated gradient comes through the reparameterised proposals in Z.
    assert all(gradient.any() for gradient in gradients(density.sum() - log_pi.sum()))
    # A constant a(z) leaves the first alone.
    constant = ResampledPrior(prior.proposal, lambda z: -1.0 + 0 * z[..., 0], None).double()
    density = constant.training_log_prob(z, log_posterior)
    for mine, other in zip(gradients(density.sum()), gradients(log_pi.sum()), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_a_proposal_without_reparameterisation():
    torch.manual_seed(0)
    proposal = Independent(Bernoulli(torch.full((4,), 0.3)), 1)
    prior = ResampledPrior(proposal, AcceptanceFunction(4, hidden=(3,)), truncation=5)
    density = prior.training_log_prob(torch.ones(6, 4), torch.zeros(6))
    density.sum().backward()
    assert all(parameter.grad.any() for parameter in prior.parameters())


def test_the_moving_average_moves_in_training_alone():
    prior, _, z, log_posterior = training_case("fixed", 5)
    before = {name: buffer.clone() for name, buffer in prior.state_dict().items()}

    def step():
        torch.manual_seed(11)
        return prior.training_log_prob(z, log_posterior).detach()

    prior.eval()
    first, again = step(), step()
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    for name, buffer in prior.state_dict().items():
        torch.testing.assert_close(buffer, before[name], rtol=0, atol=0, equal_nan=True)
    prior.train()
    torch.testing.assert_close(step(), first, rtol=0, atol=0)  # of the average before it
    average = prior.z_average.clone()
    current = (average - 0.9 * 0.42) / 0.1  # mean over r of Z_r,curr
    later = step()
    expected = float(0.9 * average + 0.1 * current)
    assert float(prior.z_average) == pytest.approx(expected, rel=1e-12)
    assert not torch.equal(first, later)
    changed = {n for n, b in prior.state_dict().items() if not torch.equal(b, before[n])}
    assert changed - {"log_z"} == {"z_average"}  # log_z is NaN still
    assert prior.log_z.isnan()


@pytest.mark.parametrize("name", PROPOSALS)
def test_the_moving_average_starts_by_itself(name):
    """As the current estimate, so that the first step's Z_smooth is it; from then on it moves."""
    prior, _, z, log_posterior = training_case(name, 5)
    prior.z_average.fill_(math.nan)
    torch.manual_seed(11)
    density = prior.training_log_prob(z, log_posterior)
    started = float(prior.z_average)
    assert 0 < started < 1
    prior.z_average.fill_(started)  # the mean over r of Z_r,curr is what it started from
    torch.manual_seed(11)
    torch.testing.assert_close(prior.training_log_prob(z, log_posterior), density)
    assert float(prior.z_average) == pytest.approx(started, rel=1e-12)


def test_start_sets_the_moving_average_to_an_estimate_of_z():
    prior, _, _, _ = training_case("fixed", 5)
    exact = estimate_z(prior.proposal, prior.log_a, 1_000_000)
    prior.start()
    a = prior.log_a(prior.proposal.sample((100_000,))).exp().detach()
    error = float(a.std()) / math.sqrt(10_000) + exact.standard_error
    assert abs(float(prior.z_average) - exact.mean) < 4.5 * error  # of 10,000 proposals


def test_estimate_z_stores_what_it_returns():
    prior = stored_prior(1)
    torch.manual_seed(3)
    estimate = prior.estimate_z(5_000)
    assert estimate.num_samples == 5_000
    assert float(prior.log_z) == pytest.approx(estimate.log_mean, rel=1e-6)
    torch.manual_seed(3)
    assert estimate_z(prior.proposal, prior.log_a, 5_000) == estimate


@pytest.mark.parametrize("truncation", [2, 100, 10**9, None])
@pytest.mark.parametrize("smoothing", [0.1, 0.01, 1.0])
@pytest.mark.parametrize("average", [1.0, 1e-30, 0.0])
@pytest.mark.parametrize("others", [0.0, math.log(1e-30), -200.0, -1e4])
def test_extremes_of_algorithm_1_in_float32(others, average, smoothing, truncation):
    log_a_s = torch.full((1024,), others, requires_grad=True)
    log_a_r = torch.tensor([0.0, -1.0, -70.0, -1e4], requires_grad=True)
    log_ratio = torch.tensor([-100.0, -30.0, 40.0, -100.0])
    log_z, new_average = smoothed_log_z(
        log_a_s, torch.tensor(average), smoothing, log_ratio + log_a_r
    )
    log_pi = torch.full((4,), -70.0)
    density = log_resampled_density(log_pi, log_a_r, log_z, truncation)
    density.sum().backward()
    for tensor in (log_z, new_average, density, log_a_s.grad, log_a_r.grad):
        assert tensor.isfinite().all()
    others32 = float(torch.tensor(others))
    with localcontext() as context:
        context.prec = 60
        # An average of 0 counts as the smallest normal float32.
        kept = Decimal(max(float(torch.tensor(average)), torch.finfo(torch.float32).tiny))
        epsilon = Decimal(smoothing)
        smooth = []
        for log_a, ratio in zip(log_a_r.tolist(), log_ratio.tolist(), strict=True):
            log_as, log_weighted = decimals(others32, log_a + ratio)
            current = (1024 * log_as.exp() + log_weighted.exp()) / 1025
            smooth.append((1 - epsilon) * kept + epsilon * current)
        expected = [float(value.ln()) for value in smooth]
        mean = float(sum(smooth) / 4)
    scale = max(70.0, abs(others))
    assert log_z.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert float(new_average) == pytest.approx(mean, rel=2e-5, abs=1e-37)
    for i in range(4):
        if -1e3 < log_z[i].item() < -1e-5:  # at Z = 1 to rounding α_T is no more than rounding
            values = floats(log_pi[i], log_a_r[i], log_z[i])
            exact_value = exact_density(*values, truncation)
            assert density[i].item() == pytest.approx(exact_value, abs=1e-6 * max(scale, 1e4))


@pytest.mark.parametrize("truncation", [2, 100, 10**9, None])
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize("bias", [-1e4, math.log(1e-30), 0.0, 30.0, 1e4])
def test_training_stays_finite_where_the_network_saturates(bias, smoothing, truncation):
    torch.manual_seed(0)
    log_a = AcceptanceFunction(3, hidden=(8,))
    nn.init.constant_(log_a.network[-1].bias, bias)
    prior = ResampledPrior(normal(3, torch.float32), log_a, truncation, smoothing)
    z = torch.randn(16, 3, requires_grad=True)
    for log_posterior in (torch.full((16,), 4.0), torch.full((16,), -15.0)):
        density = prior.training_log_prob(z, log_posterior)
        density.sum().backward()
        assert density.isfinite().all()
        assert prior.z_average.isfinite()
        assert all(tensor.grad.isfinite().all() for tensor in [z, *prior.parameters()])


# --- construction, state, errors -----------------------------------------------------------


def test_acceptance_function_is_the_log_of_a_logistic_output():
    torch.manual_seed(0)
    log_a = AcceptanceFunction(3, hidden=(5, 4)).double()
    z = torch.randn(2, 6, 3, dtype=torch.float64)
    h = z
    linears = [layer for layer in log_a.network if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linears] == [(5, 3), (4, 5), (1, 4)]
    for layer in linears[:-1]:
        h = torch.tanh(h @ layer.weight.T + layer.bias)
    logits = (h @ linears[-1].weight.T + linears[-1].bias)[..., 0]
    torch.testing.assert_close(log_a(z), -torch.log1p(torch.exp(-logits)))
    assert (log_a(z) <= 0).all()


def test_acceptance_function_has_the_papers_size():
    parameters = sum(parameter.numel() for parameter in AcceptanceFunction(50).parameters())
    assert parameters == (50 * 100 + 100) + (100 * 100 + 100) + (100 + 1)


def stored_prior(seed):
    torch.manual_seed(seed)
    flow = zuko.flows.RealNVP(2, transforms=2, hidden_features=(8, 8))
    return ResampledPrior(flow, AcceptanceFunction(2, hidden=(4,)), truncation=50)


def test_state_round_trips():
    torch.manual_seed(0)
    prior, other = stored_prior(1), stored_prior(2)
    prior.z_average.fill_(0.125)
    prior.log_z.fill_(-2.5)
    other.load_state_dict(load(save(prior.state_dict())))
    assert float(other.z_average) == 0.125
    assert float(other.log_z) == -2.5
    z = torch.randn(10, 2)
    torch.testing.assert_close(other.log_prob(z), prior.log_prob(z), rtol=0, atol=0)
    torch.manual_seed(5)
    samples = prior.sample((8,))
    torch.manual_seed(5)
    torch.testing.assert_close(other.sample((8,)), samples, rtol=0, atol=0)


def test_prior_and_distribution_agree():
    prior = stored_prior(1)
    prior.log_z.fill_(-1.5)
    z = torch.randn(3, 4, 2, generator=torch.manual_seed(0))
    p = ResampledDistribution(prior.proposal, prior.log_a, 50, log_z=-1.5)
    assert prior.log_prob(z).shape == (3, 4)
    torch.testing.assert_close(prior.log_prob(z), p.log_prob(z), rtol=0, atol=0)
    assert prior.distribution().truncation == 50
    assert float(prior.distribution().log_z) == -1.5
    assert (p.event_shape, p.batch_shape) == ((2,), ())


def test_sampling_from_the_prior_needs_no_z():
    assert stored_prior(1).sample((4,)).shape == (4, 2)


@pytest.mark.parametrize("truncation", [0, -1, True, 2.5, 2.0, "2"])
@pytest.mark.parametrize("kind", [ResampledDistribution, ResampledPrior])
def test_bad_truncation(kind, truncation):
    with pytest.raises(ValueError, match=f"truncation must be an integer .* got {truncation!r}"):
        kind(normal(2), bumps, truncation)


@pytest.mark.parametrize("arguments", [(0,), (-3,), (2, (0,)), (2, (10, -1))])
def test_bad_layer_sizes(arguments):
    with pytest.raises(ValueError, match="layer sizes must be positive, got"):
        AcceptanceFunction(*arguments)


@pytest.mark.parametrize("smoothing", [0, -0.1, 2, math.nan])
def test_bad_smoothing(smoothing):
    with pytest.raises(ValueError, match=rf"smoothing must lie in \(0, 1\], got {smoothing}"):
        ResampledPrior(normal(2), bumps, smoothing=smoothing)


@pytest.mark.parametrize("num_proposals", [0, -5])
def test_bad_number_of_proposals(num_proposals):
    with pytest.raises(ValueError, match=f"num_proposals must be at least 1, got {num_proposals}"):
        ResampledPrior(normal(2), bumps, num_proposals=num_proposals)


def test_log_prob_before_z_is_known():
    with pytest.raises(ValueError, match="Z has not been estimated"):
        ResampledPrior(normal(2), bumps).log_prob(torch.zeros(2))
    for ask in (lambda p: p.log_prob(torch.zeros(2)), lambda p: p.expected_proposals):
        with pytest.raises(ValueError, match="log_z is not known"):
            ask(ResampledDistribution(normal(2), bumps))


@pytest.mark.parametrize("proposal", [Normal(torch.zeros(2), 1.0), Uniform(torch.zeros(1), 1.0)])
def test_proposal_with_a_batch_shape(proposal):
    with pytest.raises(ValueError, match=r"batch shape .*Independent"):
        ResampledDistribution(proposal, bumps)


def test_docstring_examples_run():
    torch.manual_seed(0)
    modules = (contracts, density, distribution, normalizer, prior_module)
    names = {"torch": torch, "AcceptanceFunction": AcceptanceFunction}
    results = [doctest.testmod(module, extraglobs=names) for module in modules]
    assert sum(result.attempted for result in results) > 10
    assert all(result.failed == 0 for result in results)
