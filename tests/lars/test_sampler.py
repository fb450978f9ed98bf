"""The sampler against its density and against drawing one sample after another."""

import math

import numpy as np
import pytest
import torch
import zuko
from hypothesis import given
from hypothesis import strategies as st
from lars_cases import bumps, exact, large_network, normal, quadrature_z
from scipy import stats

from resampled_priors import (
    AcceptanceFunction,
    ResampledDistribution,
)
from resampled_priors.lars import (
    sample_resampled,
    sampler,
)

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
