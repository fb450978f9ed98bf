"""Priors of the families: what they give, what they are saved as, what they refuse."""

import pytest
import torch
import zuko
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.priors import DistributionPrior, build_prior
from resampled_priors.priors.normal import StandardNormal

FLOW = {"layers": 2, "hidden": [4]}


class Two(nn.Module):
    def forward(self):
        return torch.zeros(2), torch.ones(2)


def test_a_module_that_gives_no_distribution_is_said():
    prior = DistributionPrior(Two())
    for use in (prior, prior.sample, lambda: prior.log_prob(torch.zeros(2))):
        with pytest.raises(ResampledPriorsError, match=r"forward\(\) of Two returns a tuple"):
            use()


@pytest.mark.parametrize("family", ["realnvp", "maf"])
def test_a_flow_is_zukos_saved_as_zukos(family):
    """Its base alone is ours: the same numbers, without zuko's own class."""
    torch.manual_seed(0)
    ours = build_prior({"family": family, **FLOW}, 3).lazy
    make = {"realnvp": zuko.flows.RealNVP, "maf": zuko.flows.MAF}[family]
    randperm = {"randperm": True} if family == "maf" else {}
    torch.manual_seed(0)
    theirs = make(3, transforms=2, hidden_features=[4], **randperm)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    z = torch.randn(5, 3)
    torch.testing.assert_close(ours().log_prob(z), theirs().log_prob(z), rtol=0, atol=0)
    samples = []
    for flow in (ours, theirs):
        torch.manual_seed(1)
        samples.append(flow().sample((5,)))
    torch.testing.assert_close(*samples, rtol=0, atol=0)


def test_the_standard_normal_is_saved_as_it_was():
    lazy = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(3), torch.ones(3), buffer=True
    )
    ours = StandardNormal(3)
    assert list(ours.state_dict()) == list(lazy.state_dict())
    ours.load_state_dict(lazy.state_dict())
    assert type(ours()) is Independent and type(ours().base_dist) is Normal


@pytest.mark.parametrize("family", ["standard_normal", "realnvp", "maf", "spline"])
def test_no_argument_check_makes_a_gpu_wait(family, monkeypatch):
    settings = {} if family == "standard_normal" else FLOW
    settings = settings | ({"bins": 3} if family == "spline" else {})
    prior = build_prior({"family": family, **settings}, 3)

    def refuse(*_):
        raise AssertionError("a check of arguments")

    monkeypatch.setattr(Distribution, "_validate_args", True)
    monkeypatch.setattr(Distribution, "_validate_sample", refuse)
    monkeypatch.setattr(torch.Tensor, "all", refuse)
    prior.log_prob(prior.sample((4,)))
