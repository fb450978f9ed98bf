"""How long samples of a prior take, as metrics.json says it."""

import types

import pytest
import torch
from torch.distributions import Distribution

from resampled_priors.contracts import Prior
from resampled_priors.evaluation import sampling_seconds
from resampled_priors.priors import build_prior
from resampled_priors.runs.steps import time_of_samples


class Slow(Prior):
    """Each sample takes so many seconds of a clock of its own."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds, self.drawn = clock, seconds, []

    def distribution(self):
        raise AssertionError("samples alone are asked for")

    def sample(self, sample_shape=()):
        self.drawn.append(sample_shape[0])
        self.clock.now += self.seconds * sample_shape[0]
        return torch.zeros(*sample_shape, 2)


@pytest.mark.parametrize(
    ("seconds", "drawn"), [(1e-6, [1, 10, 100, 1_000]), (0.02, [1, 10, 100]), (5, [1, 10])]
)
def test_of_a_slow_prior_few_samples_are_timed(seconds, drawn, monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr("resampled_priors.evaluation.time", clock)
    prior = Slow(clock, seconds)
    assert sampling_seconds(prior) == pytest.approx(1_000 * seconds)
    assert prior.drawn == drawn


class Density(Prior):
    def distribution(self):
        return Distribution(validate_args=False)


def test_a_density_without_a_sampler_has_no_such_time():
    assert time_of_samples(Density()) == {}
    found = time_of_samples(build_prior({"family": "standard_normal"}, 3))
    assert 0 < found["sample_seconds"] < 5
