"""The estimate of Z against closed forms, quadrature and plain statistics of what was drawn."""

import doctest
import math

import numpy as np
import pytest
import torch
import zuko
from torch import nn
from torch.distributions import (
    Bernoulli,
    Cauchy,
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)

from resampled_priors import AcceptanceFunction, ZEstimate, estimate_z
from resampled_priors.lars import normalizer as partition
from resampled_priors.lars.normalizer import running_z_estimates
from resampled_priors.lars.symmetry import centre_of_symmetry


def flow():
    torch.manual_seed(0)
    return zuko.flows.RealNVP(2, transforms=2, hidden_features=(8, 8))


def normal(features, dtype=torch.float64):
    return Independent(Normal(torch.zeros(features, dtype=dtype), torch.ones(())), 1)


STANDARD = Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
UNIT = Uniform(torch.tensor(-1.0, dtype=torch.float64), 1.0)


def lopsided(z):
    """Neither even nor odd; E under N(0, 1) by ``gauss_hermite``."""
    return -((z - 0.7) ** 2) - 0.3


def gauss_hermite(log_a):
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    a = np.exp(log_a(torch.tensor(nodes)).numpy())
    return float(weights @ a / math.sqrt(2 * math.pi))


class Recorded:
    """log a(z), with every batch of z and of a(z) that passed through it."""

    def __init__(self, log_a):
        self.log_a, self.z, self.a = log_a, [], []

    def __call__(self, z):
        log_a = self.log_a(z)
        self.z.append(z.double().numpy())
        self.a.append(log_a.double().exp().numpy())
        return log_a


def test_quadrature_agrees_with_the_closed_form():
    # E exp(−(z − m)²) = exp(−m²/3)/√3 for z ~ N(0, 1)
    assert gauss_hermite(lopsided) == pytest.approx(
        math.exp(-0.3 - 0.49 / 3) / math.sqrt(3), rel=1e-12
    )


@pytest.mark.parametrize("antithetic", [None, True, False])
def test_estimate_against_closed_form(antithetic):
    torch.manual_seed(0)
    estimate = estimate_z(STANDARD, lopsided, 1_000_000, antithetic=antithetic)
    # 5 standard errors: fails for 1 seed in 1.7 million.
    assert abs(estimate.mean - gauss_hermite(lopsided)) < 5 * estimate.standard_error
    assert 0 < estimate.standard_error < 3e-4
    assert estimate.num_samples == 1_000_000


def test_estimate_for_a_network_in_two_dimensions():
    torch.manual_seed(8)
    log_a = AcceptanceFunction(2, hidden=(6,)).double()
    for parameter in log_a.parameters():
        nn.init.normal_(parameter)
    nodes, weights = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(100))
    grid = torch.stack(torch.meshgrid(nodes, nodes, indexing="ij"), dim=-1)
    with torch.no_grad():
        expected = float(weights @ log_a(grid).exp() @ weights) / (2 * math.pi)
    estimate = estimate_z(normal(2), log_a, 1_000_000)
    # 5 standard errors: fails for 1 seed in 1.7 million.
    assert abs(estimate.mean - expected) < 5 * estimate.standard_error
    assert 0 < estimate.standard_error < 1e-3
    assert estimate.log_mean == math.log(estimate.mean)
    assert estimate.log_standard_error == estimate.standard_error / estimate.mean


@pytest.mark.parametrize("antithetic", [True, False])
def test_the_95_percent_interval_covers_95_percent(antithetic):
    torch.manual_seed(3)
    truth, covered = gauss_hermite(lopsided), 0
    for _ in range(1000):
        estimate = estimate_z(STANDARD, lopsided, 2000, batch_size=700, antithetic=antithetic)
        covered += abs(estimate.mean - truth) < 1.96 * estimate.standard_error
    # Binomial(1000, 0.95): outside this for 1 seed in 250.
    assert 930 <= covered <= 970


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_size", [7, 10, 64, 1000, 5000])
@pytest.mark.parametrize("antithetic", [True, False])
def test_mean_and_error_are_those_of_all_observations(antithetic, batch_size, dtype):
    recorded = Recorded(lambda z: lopsided(z[..., 0]))
    torch.manual_seed(1)
    proposal = normal(1, dtype)
    estimate = estimate_z(proposal, recorded, 1000, batch_size, antithetic)
    if antithetic:
        pairs = list(zip(recorded.z[::2], recorded.z[1::2], strict=True))
        assert all(np.array_equal(z, -mirrored) for z, mirrored in pairs)
        halves = zip(recorded.a[::2], recorded.a[1::2], strict=True)
        observations = np.concatenate([(a + b) / 2 for a, b in halves])
    else:
        observations = np.concatenate(recorded.a)
    assert estimate.num_samples == 1000 == len(np.concatenate(recorded.a))
    assert estimate.mean == pytest.approx(observations.mean(), rel=1e-13)
    expected_error = observations.std(ddof=1) / math.sqrt(len(observations))
    assert estimate.standard_error == pytest.approx(expected_error, rel=1e-11)


def test_an_even_acceptance_makes_each_pair_one_observation():
    even = Recorded(lambda z: -(z**2))
    torch.manual_seed(1)
    estimate = estimate_z(STANDARD, even, 10_000)
    first_halves = np.concatenate(even.a[::2])
    assert np.array_equal(first_halves, np.concatenate(even.a[1::2]))
    assert len(first_halves) == 5_000
    expected = first_halves.std(ddof=1) / math.sqrt(5_000)
    assert estimate.standard_error == pytest.approx(expected, rel=1e-11)
    # As 10,000 independent observations it would be smaller by √2.
    plain = estimate_z(STANDARD, lambda z: -(z**2), 10_000, antithetic=False)
    assert estimate.standard_error / plain.standard_error == pytest.approx(math.sqrt(2), rel=0.1)


def test_an_antisymmetric_acceptance_makes_the_error_vanish():
    torch.manual_seed(1)

    def linear(z):
        return torch.log((1 + z) / 2)

    estimate = estimate_z(UNIT, linear, 10_000)
    assert estimate.mean == pytest.approx(0.5, rel=1e-14)
    assert estimate.standard_error < 1e-15
    assert estimate_z(UNIT, linear, 10_000, antithetic=False).standard_error > 2e-3


def test_running_estimates_end_in_the_estimate():
    torch.manual_seed(1)
    running = [z for z, _ in running_z_estimates(STANDARD, lopsided, 1000, batch_size=300)]
    assert [estimate.num_samples for estimate in running] == [300, 600, 900, 1000]
    torch.manual_seed(1)
    assert running[-1] == estimate_z(STANDARD, lopsided, 1000, batch_size=300)
    assert len({estimate.mean for estimate in running}) == 4


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_an_estimate_goes_on_from_its_sums_exactly(stop):
    torch.manual_seed(1)
    running = running_z_estimates(STANDARD, lopsided, 1000, batch_size=300)
    for _ in range(stop):
        estimate, sums = next(running)
    state = torch.get_rng_state()
    rest = [z for z, _ in running]
    torch.set_rng_state(state)
    continued = running_z_estimates(STANDARD, lopsided, 1000, batch_size=300, sums=sums)
    assert [z for z, _ in continued] == [estimate, *rest]


def test_a_product_of_estimates_has_the_products_error():
    """Against the spread of products of normal draws; to first order."""
    one, two = ZEstimate(0.2, 0.004, 100), ZEstimate(0.05, 0.002, 50)
    product = one * two
    assert (product.mean, product.num_samples) == (pytest.approx(0.01), 150)
    rng = np.random.default_rng(0)
    draws = rng.normal(0.2, 0.004, 200_000) * rng.normal(0.05, 0.002, 200_000)
    assert product.standard_error == pytest.approx(draws.std(), rel=0.01)
    certain = ZEstimate(1.0, 0.0, 0)
    assert certain * one == one * certain == one


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize("batch_size", [2, 3, 10, 11, 1000])
@pytest.mark.parametrize("num_samples", [2, 99, 100])
def test_batches_are_no_larger_than_asked_for(num_samples, batch_size, antithetic):
    recorded = Recorded(lopsided)
    estimate = estimate_z(STANDARD, recorded, num_samples, batch_size, antithetic)
    sizes = [len(a) for a in recorded.a]
    if antithetic:
        assert sizes[::2] == sizes[1::2]
        sizes = [2 * size for size in sizes[::2]]
    assert max(sizes) <= batch_size
    rounded_up = num_samples + num_samples % 2 if antithetic else num_samples
    assert sum(sizes) == estimate.num_samples == rounded_up


def test_the_largest_default_batch():
    recorded = Recorded(lopsided)
    estimate_z(STANDARD, recorded, 20_000, antithetic=False)
    assert [len(a) for a in recorded.a] == [8_192, 8_192, 3_616]


def test_one_pair_alone_has_no_error():
    estimate = estimate_z(STANDARD, lopsided, 2)
    assert estimate.num_samples == 2
    assert estimate.standard_error == math.inf


@pytest.mark.parametrize(
    ("target", "antithetic"), [(1e9, None), (0.012, None), (0.012, False), (1e-9, None)]
)
def test_early_stop_at_the_target(target, antithetic, monkeypatch):
    monkeypatch.setattr(partition, "EARLIEST_STOP", 1_000)
    torch.manual_seed(6)
    whole = [z for z, _ in running_z_estimates(STANDARD, lopsided, 10_000, 100, antithetic)]
    reached = [n for n, e in enumerate(whole, 1) if e.log_standard_error <= target and n >= 10]
    stop = reached[0] if reached else len(whole)
    assert {1e9: stop == 10, 0.012: 10 < stop < 100, 1e-9: stop == 100}[target]
    torch.manual_seed(6)
    estimate = estimate_z(
        STANDARD, lopsided, 10_000, 100, antithetic, target_log_standard_error=target
    )
    assert estimate == whole[stop - 1]
    assert estimate.num_samples == 100 * stop


def test_sums_are_kept_in_float64():
    constant = torch.tensor(math.log(0.1))
    proposal = normal(1, torch.float32)
    estimate = estimate_z(proposal, lambda z: constant.expand(len(z)), 1_000_000, 10_000)
    assert estimate.mean == pytest.approx(math.exp(float(constant)), rel=1e-13)
    assert estimate.standard_error < 1e-15

    # Squares of numbers near 1e-30 are 0 in float32.
    recorded = Recorded(lambda z: math.log(1e-30) + lopsided(z[..., 0]))
    torch.manual_seed(0)
    estimate = estimate_z(proposal, recorded, 100_000, 10_000, antithetic=False)
    a = np.concatenate(recorded.a)
    assert estimate.mean == pytest.approx(a.mean(), rel=1e-12)
    assert estimate.standard_error == pytest.approx(a.std(ddof=1) / math.sqrt(len(a)), rel=1e-10)
    assert abs(estimate.mean * 1e30 - gauss_hermite(lopsided)) < 5e30 * estimate.standard_error
    assert estimate.log_mean == pytest.approx(math.log(estimate.mean))


def test_nothing_accepted():
    estimate = estimate_z(STANDARD, lambda z: torch.full_like(z, -math.inf), 100)
    assert (estimate.mean, estimate.standard_error) == (0, 0)
    assert estimate.log_mean == -math.inf
    assert estimate.log_standard_error == math.inf
    # A target is never reached by having seen nothing.
    estimate = estimate_z(
        STANDARD, lambda z: torch.full_like(z, -math.inf), 100, 2, target_log_standard_error=0.5
    )
    assert estimate.num_samples == 100


LOC = torch.tensor([1.5, -2.0])
SYMMETRIC = {
    "Normal": (Normal(LOC, 2.0), LOC),
    "Independent(Normal)": (Independent(Normal(LOC, 2.0), 1), LOC),
    "Independent(Laplace)": (Independent(Laplace(LOC, 2.0), 1), LOC),
    "Independent(Cauchy)": (Independent(Cauchy(LOC, 2.0), 1), LOC),
    "Independent(StudentT)": (Independent(StudentT(3.0, LOC, 2.0), 1), LOC),
    "MultivariateNormal": (
        MultivariateNormal(LOC, torch.tensor([[2.0, 0.9], [0.9, 1.0]])),
        LOC,
    ),
    "Independent(Uniform)": (Independent(Uniform(LOC - 1, LOC + 3), 1), LOC + 1),
    "zuko BoxUniform": (zuko.distributions.BoxUniform(LOC - 1, LOC + 3), LOC + 1),
    "zuko DiagNormal": (zuko.distributions.DiagNormal(LOC, torch.tensor([1.0, 3.0])), LOC),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_centre_of_a_symmetric_proposal(name):
    proposal, expected = SYMMETRIC[name]
    centre = centre_of_symmetry(proposal)
    torch.testing.assert_close(centre, expected)
    # Below the half width of the uniform ones.
    steps = 1.9 * torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        proposal.log_prob(centre + steps), proposal.log_prob(centre - steps)
    )
    if not proposal.batch_shape:
        recorded = Recorded(lambda z: -(z[..., 0] ** 2) / 9)
        estimate_z(proposal, recorded, 10)
        np.testing.assert_allclose(
            np.array(recorded.z[0]) + recorded.z[1], 2 * np.tile(expected, (5, 1)), atol=1e-4
        )


@pytest.mark.parametrize(
    "proposal",
    [
        flow()(),
        LogNormal(0.0, 1.0),
        Gamma(2.0, 1.0),
        Independent(Bernoulli(torch.full((3,), 0.5)), 1),
    ],
    ids=lambda proposal: type(proposal).__name__,
)
def test_proposals_not_known_to_be_symmetric(proposal):
    assert centre_of_symmetry(proposal) is None
    recorded = Recorded(lambda z: -(z**2).reshape(len(z), -1).sum(-1))
    with torch.no_grad():
        estimate_z(proposal, recorded, 100)
    assert [len(a) for a in recorded.a] == [100]
    with pytest.raises(ValueError, match=f"{type(proposal).__name__} is not known to be symm"):
        estimate_z(proposal, recorded, 100, antithetic=True)


def test_lazy_proposals():
    log_a = AcceptanceFunction(2, hidden=(4,))
    lazy = flow()
    torch.manual_seed(1)
    from_lazy = estimate_z(lazy, log_a, 1000, 100)
    torch.manual_seed(1)
    assert from_lazy == estimate_z(lazy(), log_a, 1000, 100)
    learned = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, LOC, torch.ones(2), buffer=False
    )
    recorded = Recorded(log_a)
    estimate_z(learned, recorded, 10)
    np.testing.assert_allclose(recorded.z[0] + recorded.z[1], 2 * np.tile(LOC, (5, 1)), atol=1e-5)


def test_no_gradient_is_kept_and_none_is_switched_off():
    enabled = []

    def log_a(z):
        enabled.append(torch.is_grad_enabled())
        return lopsided(z)

    for _ in running_z_estimates(STANDARD, log_a, 100, 50):
        assert torch.is_grad_enabled()  # for whoever reads the running estimates
    assert not any(enabled)
    assert len(enabled) == 4


@pytest.mark.parametrize("num_samples", [1, 0, -10])
def test_too_few_samples(num_samples):
    with pytest.raises(ValueError, match=f"num_samples must be at least 2, got {num_samples}"):
        estimate_z(STANDARD, lopsided, num_samples)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_empty_batches(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        estimate_z(STANDARD, lopsided, 100, batch_size)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("antithetic", [True, False])
def test_an_acceptance_that_is_not_finite(bad, antithetic):
    def log_a(z):
        return torch.where(torch.arange(len(z)) == 3, bad, lopsided(z))

    with pytest.raises(ValueError, match="acceptance function gave a value that is not finite"):
        estimate_z(STANDARD, log_a, 100, antithetic=antithetic)


def test_derived_values():
    estimate = ZEstimate(mean=0.25, standard_error=0.01, num_samples=100)
    assert estimate.log_mean == pytest.approx(-2 * math.log(2))
    assert estimate.log_standard_error == pytest.approx(0.04)


def test_docstring_examples_run():
    results = doctest.testmod(partition)
    assert results.attempted >= 2
    assert results.failed == 0
