"""What a diagnosis says, against closed forms, samplers and training steps themselves."""

import doctest
import math

import pytest
import torch
from lars_cases import normal
from torch.distributions import Normal

from resampled_priors import ResampledPrior, ZEstimate
from resampled_priors.lars import diagnosis as module
from resampled_priors.lars import smoothed_log_z
from resampled_priors.lars.diagnosis import Diagnosis

CURVATURE = 30.0  # a(z) = exp(−k z²/2): E[a^n] = (1 + n k)^−½ under N(0, 1)
Z, SQUARE = (1 + CURVATURE) ** -0.5, (1 + 2 * CURVATURE) ** -0.5


def log_a(z):
    return -CURVATURE * z.squeeze(-1) ** 2 / 2


def prior(truncation=10, num_proposals=1024):
    return ResampledPrior(normal(1), log_a, truncation, num_proposals=num_proposals)


def test_the_docstring_is_true():
    names = {"Diagnosis": Diagnosis, "ZEstimate": ZEstimate}
    assert doctest.testmod(module, extraglobs=names).failed == 0


@pytest.mark.parametrize("truncation", [1, 10, None])
def test_closed_forms(truncation):
    torch.manual_seed(0)
    found = prior(truncation).diagnose(400_000)
    assert found.z.num_samples == 400_000
    assert abs(found.z.mean - Z) < 5 * found.z.standard_error < 0.005
    assert found.effective_share == pytest.approx(Z**2 / SQUARE, rel=0.02)
    assert found.effective_proposals == 1024 * found.effective_share
    z = found.z.mean
    forced = 0 if truncation is None else (1 - z) ** (truncation - 1)
    tries = [(1 - z) ** k for k in range(truncation or 10_000)]  # Σ P(more than k are drawn)
    assert found.forced_share == pytest.approx(forced)
    assert found.expected_proposals == pytest.approx(sum(tries))
    assert found.warnings == []


def test_attempts_counted_one_by_one():
    torch.manual_seed(1)
    found = prior(truncation=10).diagnose(400_000)
    accepted = torch.rand(100_000, 10).log() < log_a(normal(1).sample((100_000, 10)))
    forced = (~accepted[:, :-1]).all(1)  # whatever the tenth is
    drawn = torch.where(accepted.any(1), accepted.int().argmax(1) + 1, 10)
    forced_error = math.sqrt(found.forced_share / len(forced))
    assert float(forced.double().mean()) == pytest.approx(found.forced_share, abs=5 * forced_error)
    assert float(drawn.double().mean()) == pytest.approx(found.expected_proposals, rel=0.01)


def test_training_steps_vary_as_the_effective_number_says():
    torch.manual_seed(2)
    found = prior(num_proposals=200).diagnose(400_000)
    steps = log_a(normal(1).sample((20_000, 200)))
    log_z = torch.stack([smoothed_log_z(a, torch.tensor(1.0), 1.0)[0] for a in steps[:3]])
    z = steps.exp().mean(1)
    assert log_z.exp() == pytest.approx(z[:3])  # what a step takes for Z
    expected = math.sqrt(1 / found.effective_proposals - 1 / 200)
    assert float(z.std() / z.mean()) == pytest.approx(expected, rel=0.03)


def test_a_constant_is_worth_all_its_proposals():
    found = ResampledPrior(normal(2), lambda z: 0 * z[..., 0], 5).diagnose(1_000)
    assert (found.z.mean, found.effective_share, found.forced_share) == (1, 1, 0)
    assert found.expected_proposals == 1 and found.warnings == []


def test_warnings():
    torch.manual_seed(3)
    few = prior(num_proposals=20).diagnose(100_000)
    [line] = few.warnings
    enough = int(line.partition("num_proposals=")[2].split()[0])
    assert str(few).endswith(f"warning: {line}")
    assert prior(num_proposals=enough).diagnose(100_000).effective_proposals == pytest.approx(
        module.FEWEST_EFFECTIVE, rel=0.05
    )
    [line] = prior().diagnose(20).warnings
    assert "uncertain" in line
    none = ResampledPrior(Normal(0.0, 1.0), lambda z: z - z - math.inf).diagnose(10)
    assert "none of 10 proposals" in none.warnings[0]
    assert none.expected_proposals == pytest.approx(100, rel=1e-12) and none.forced_share == 1
    assert "100 proposals a sample; 1 of samples are T-th proposals" in str(none)


def test_a_diagnosis_changes_nothing():
    asked = prior()
    asked.z_average.fill_(0.3)
    asked.diagnose(100)
    assert asked.log_z.isnan() and asked.z_average == 0.3 and asked.training
