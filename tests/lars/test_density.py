"""eq. 3 and 4 against quadrature, limits and exact arithmetic."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lars_cases import (
    TRUNCATIONS,
    exact,
    exact_density,
    exact_slopes,
    floats,
    normal,
    quadrature_z,
    trapezoid_points,
)

from resampled_priors import (
    ResampledDistribution,
    log_resampled_density,
)


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
