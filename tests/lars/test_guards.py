"""What a user's functions and distributions may do wrong is said, not computed with."""

import copy
import math

import pytest
import torch
import zuko
from torch import nn
from torch.distributions import (
    AffineTransform,
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    VonMises,
)

from resampled_priors import AcceptanceFunction, ResampledDistribution, ResampledPrior, estimate_z
from resampled_priors.errors import ResampledPriorsError, WrongInput
from resampled_priors.lars import Resampling, sampler, smoothed_log_z
from resampled_priors.lars.symmetry import centre_of_symmetry

NUMBER = (64,)


def normal(features=2):
    return Independent(Normal(torch.zeros(features), torch.ones(features)), 1)


def slope(z):
    """log a(z) of a(z) = σ(z_0)."""
    return nn.functional.logsigmoid(z[..., 0])


# Symmetry ----------------------------------------------------------------------------------------


class RightHalf(Normal):
    """The half of a normal above its mean: a subclass that has not what its parent has."""

    def sample(self, sample_shape=()):
        return self.loc + (super().sample(sample_shape) - self.loc).abs()

    def log_prob(self, value):
        return (super().log_prob(value) + math.log(2)).where(value >= self.loc, -math.inf)


class Shifted(Independent):
    """Its base, moved: not symmetric about the base's mean."""

    def sample(self, sample_shape=()):
        return super().sample(sample_shape) + 1


def test_a_subclass_is_not_taken_for_symmetric():
    half = RightHalf(torch.tensor(0.0), 1.0)
    assert centre_of_symmetry(half) is None
    assert centre_of_symmetry(Independent(half.expand((2,)), 1)) is None
    assert centre_of_symmetry(Shifted(Normal(torch.zeros(2), 1.0), 1)) is None
    torch.manual_seed(0)
    estimate = estimate_z(half, lambda z: z.clamp(max=0) - z.relu(), 100_000)
    # E exp(−|z|) of a half normal: 2 e^(1/2) Φ(−1)
    truth = 2 * math.exp(0.5) * float(Normal(0.0, 1.0).cdf(torch.tensor(-1.0)))
    assert abs(estimate.mean - truth) < 5 * estimate.standard_error


@pytest.mark.parametrize("events", [(), (1,)])
def test_a_subclass_is_trained_with_what_it_samples(events):
    """It has its parent's rsample, whose samples are others."""
    half = RightHalf(torch.zeros(events), 1.0)
    prior = ResampledPrior(
        Independent(half, len(events)), lambda z: (z.reshape(-1) > 0).float().log(), smoothing=1.0
    )
    torch.manual_seed(0)
    prior()
    assert float(prior.z_average) == pytest.approx(1)


def test_a_symmetry_that_the_user_states():
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([0.0, 4.0]), 1.0))
    seen = []

    def log_a(z):
        seen.append(z)
        return -((z - 1) ** 2)

    torch.manual_seed(0)
    stated = estimate_z(mixture, log_a, 1_000, antithetic=torch.tensor(2.0))
    assert len(seen) == 2
    torch.testing.assert_close(seen[0] + seen[1], torch.full((500,), 4.0))
    plain = estimate_z(mixture, log_a, 100_000)
    error = math.hypot(stated.standard_error, plain.standard_error)
    assert abs(stated.mean - plain.mean) < 5 * error
    prior = ResampledPrior(mixture, log_a)
    assert prior.estimate_z(1_000, antithetic=torch.tensor(2.0)).num_samples == 1_000
    with pytest.raises(ValueError, match=r"is not symmetric about antithetic=1\.0"):
        estimate_z(mixture, log_a, 1_000, antithetic=torch.tensor(1.0))


# Shapes and values -------------------------------------------------------------------------------


def column(z):
    return slope(z).unsqueeze(-1)


def probability(z):
    return slope(z).exp()


WRONG = {
    column: r"log_a has shape \(64, 1\) for z of shape \(64, 2\) .*expected \(64,\).*squeeze",
    probability: r"log_a goes up to 0\.\d+, expected at most 0: .*logsigmoid",
}
ENTRANCES = {
    "training": lambda log_a, z: ResampledPrior(normal(), log_a).training_log_prob(
        z, normal().log_prob(z)
    ),
    "flow in training": lambda log_a, z: ResampledPrior(normal(), log_a)().log_prob(z),
    "start": lambda log_a, z: ResampledPrior(normal(), log_a).start(),
    "estimate_z": lambda log_a, z: estimate_z(
        normal(), log_a, 128, antithetic=False, batch_size=64
    ),
    "log_prob": lambda log_a, z: ResampledDistribution(normal(), log_a, log_z=-1.0).log_prob(z),
    "sample": lambda log_a, z: ResampledDistribution(normal(), log_a).sample(NUMBER),
    "sample_ranked": lambda log_a, z: ResampledDistribution(normal(), log_a).sample_ranked(64),
}


@pytest.mark.parametrize("log_a", WRONG, ids=lambda f: f.__name__)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_an_acceptance_of_another_shape_or_no_logarithm(entrance, log_a):
    expected = WRONG[log_a]
    if entrance in ("start", "sample"):  # whose batches have another size
        expected = expected.replace("64", r"\d+")
    with pytest.raises(WrongInput, match=expected):
        ENTRANCES[entrance](log_a, torch.randn(64, 2))


NO_TENSOR = {
    "tuple": lambda z: (slope(z), slope(z)),
    "float": lambda z: -1.0,
    r"torch\.int64": lambda z: -z[..., 0].abs().long(),
}


@pytest.mark.parametrize("kind", NO_TENSOR)
@pytest.mark.parametrize(
    "entrance", ["start", "estimate_z", "log_prob", "sample", "sample_ranked"]
)
def test_an_acceptance_that_is_no_tensor_of_floats(entrance, kind):
    with pytest.raises(WrongInput, match=f"log_a is {kind}, expected a tensor of floating point"):
        ENTRANCES[entrance](NO_TENSOR[kind], torch.randn(64, 2))


def test_a_z_in_the_place_of_its_logarithm():
    z = torch.randn(5, 2)
    for log_z, said in ((0.3, r"0\.3"), (math.nan, "nan")):
        p = ResampledDistribution(normal(), slope, log_z=log_z)
        with pytest.raises(WrongInput, match=rf"log_z is {said}, expected at most 0.*log_mean"):
            p.log_prob(z)
    with pytest.raises(WrongInput, match=r"log_z has shape \(5, 1\), expected \(\), one"):
        ResampledDistribution(normal(), slope, log_z=torch.zeros(5, 1)).log_prob(z)


def test_such_an_error_is_for_the_user_and_a_value_error():
    assert issubclass(WrongInput, ResampledPriorsError) and issubclass(WrongInput, ValueError)


def test_a_posterior_that_is_not_summed_over_the_features():
    prior, z = ResampledPrior(normal(), slope), torch.randn(64, 2)
    q = Normal(torch.zeros(2), torch.ones(2))
    with pytest.raises(
        ValueError, match=r"log_posterior has shape \(64, 2\) .*expected \(64,\).*Independent"
    ):
        prior.training_log_prob(z, q.log_prob(z))
    assert prior.training_log_prob(z, q.log_prob(z).sum(-1)).shape == (64,)
    with pytest.raises(ValueError, match="log_posterior has shape"):  # later, too
        prior.training_log_prob(z, q.log_prob(z))


def test_a_proposal_that_is_not_summed_over_the_features():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.independent = True

        def forward(self):
            return normal() if self.independent else Normal(torch.zeros(2), 1.0)

    lazy = Lazy()
    prior, z = ResampledPrior(lazy, slope), torch.randn(64, 2)
    lazy.independent = False
    with pytest.raises(
        ValueError, match=r"with events of shape \(\), expected \(64, 2\).*Independent"
    ):
        prior.training_log_prob(z, normal().log_prob(z))
    with pytest.raises(ValueError, match=r"batch shape \(2,\).*Independent"):
        ResampledPrior(Normal(torch.zeros(2), 1.0), slope)


def test_z_of_another_size():
    p = ResampledDistribution(normal(), lambda z: -z.square().sum(-1), log_z=-1.0)
    p.proposal.base_dist._validate_args = False  # as zuko has it
    with pytest.raises(
        ValueError, match=r"z has shape \(64, 1\), expected one that ends in \(2,\)"
    ):
        p.log_prob(torch.randn(64, 1))


def test_a_log_a_of_rounding_above_zero_passes():
    def log_a(z):
        return torch.full(z.shape[:-1], 1e-6)

    p = ResampledDistribution(normal(), log_a, log_z=0.0)
    assert p.log_prob(torch.zeros(3, 2)).shape == (3,)
    assert estimate_z(normal(), log_a, 100).mean == pytest.approx(1, abs=1e-5)


def test_values_are_looked_at_once(monkeypatch):
    looked = []
    monkeypatch.setattr("resampled_priors.lars.checks.refuse_positive", looked.append)
    prior, z = ResampledPrior(normal(), slope), torch.randn(5, 2)
    for _ in range(3):
        prior.training_log_prob(z, torch.zeros(5))
    prior.log_z.fill_(-1.0)
    for _ in range(3):
        prior.log_prob(z)
    assert len(looked) == 1


def test_batches_of_functorch_pass():
    prior = ResampledPrior(normal(), slope)
    prior.log_z.fill_(-0.7)
    z = torch.randn(5, 2)
    torch.testing.assert_close(torch.func.vmap(prior.log_prob)(z), prior.log_prob(z))


# NaN, certain rejection, samplers without end ----------------------------------------------------


@pytest.mark.parametrize("truncation", [100, None])
def test_no_sample_by_an_acceptance_that_is_nan(truncation):
    def log_a(z):
        return slope(z).where(z[..., 0] < 1, math.nan)

    with pytest.raises(ValueError, match="log_a gave NaN"):
        ResampledDistribution(normal(), log_a, truncation).sample((1_000,))
    with pytest.raises(ValueError, match="log_a gave NaN"):
        ResampledDistribution(normal(), log_a, truncation).sample_ranked(1_000)


def never(z):
    return torch.full(z.shape[:-1], -math.inf)


@pytest.mark.parametrize("truncation", [None, 10**12])
def test_a_sampler_gives_up(truncation, monkeypatch):
    monkeypatch.setattr(sampler, "MAX_REJECTED", 50_000)
    p = ResampledDistribution(normal(), never, truncation)
    with pytest.raises(
        ValueError, match=r"gave up after 5\d,\d{3} proposals in a row.*truncation"
    ):
        p.sample((2,))
    # With Z known, at once.
    p = ResampledDistribution(normal(), never, truncation, log_z=-20.0)
    with pytest.raises(
        ValueError, match=r"would take 4\.9e\+08 proposals.* is 50,000.*truncation"
    ):
        p.sample()
    p = ResampledDistribution(normal(), never, truncation, log_z=math.nan)
    with pytest.raises(ValueError, match="would take nan proposals"):
        p.sample()


def test_what_a_sampler_takes_patiently(monkeypatch):
    monkeypatch.setattr(sampler, "MAX_REJECTED", 50_000)
    torch.manual_seed(0)
    assert ResampledDistribution(normal(), never, 40_000).sample((3,)).shape == (3, 2)
    rare = ResampledDistribution(
        normal(), lambda z: torch.full(z.shape[:-1], math.log(1e-3)), None
    )
    assert rare.sample((500,)).shape == (500, 2)  # more proposals in all than in a row


@pytest.mark.parametrize("average", [math.nan, 0.0, 0.3])
@pytest.mark.parametrize("log_weighted", [None, -1.0, -math.inf])
def test_z_where_all_proposals_are_rejected_for_certain(log_weighted, average):
    log_a = torch.full((32,), -math.inf, requires_grad=True)
    weighted = None if log_weighted is None else torch.tensor([log_weighted], requires_grad=True)
    log_z, new_average = smoothed_log_z(log_a, torch.tensor(average), 0.1, weighted)
    log_z.sum().backward()
    accepted = 0.0 if log_weighted is None else math.exp(log_weighted) / 33
    expected = 0.1 * accepted + 0.9 * (accepted if math.isnan(average) else average)
    assert float(new_average) == pytest.approx(expected, rel=1e-6, abs=1e-37)
    log_z = log_z.detach()
    assert log_z.isfinite().all() and float(log_z.exp()) == pytest.approx(
        expected, rel=1e-6, abs=1e-37
    )
    assert (log_a.grad == 0).all()
    if weighted is not None:
        gradient = 0.1 * accepted / expected if not math.isnan(average) and expected else None
        assert weighted.grad.isfinite().all()
        if gradient is not None and average:
            # ∇ log Z_r = (Z_curr / Z_smooth) ∇ log Z_curr
            assert float(weighted.grad) == pytest.approx(accepted / expected)


@pytest.mark.parametrize("truncation", [2, 100])
def test_training_with_proposals_rejected_for_certain(truncation):
    class Window(nn.Module):
        """a(z) = 0 outside a window far from the proposals."""

        def __init__(self):
            super().__init__()
            self.logit = nn.Parameter(torch.tensor(0.5))

        def forward(self, z):
            inside = (z[..., 0] - 50).abs() < 1
            return torch.where(inside, nn.functional.logsigmoid(self.logit), -math.inf)

    prior = ResampledPrior(normal(), Window(), truncation, num_proposals=16)
    z = torch.tensor([[50.0, 0.0], [0.0, 0.0]])
    density = prior.training_log_prob(z, torch.zeros(2))
    density.sum().backward()
    assert density.isfinite().all() and prior.log_a.logit.grad.isfinite()
    # a(z) = 0: what the T-th candidate leaves, with α_T = 1 as Z is all but 0
    assert float(density.detach()[1]) == pytest.approx(float(normal().log_prob(z[1])), abs=1e-4)


# Distributions in modules ------------------------------------------------------------------------

MOVING = {
    "Independent": normal,
    "MultivariateNormal": lambda: MultivariateNormal(torch.zeros(2), torch.eye(2)),
    "mixture": lambda: MixtureSameFamily(
        Categorical(torch.ones(3)), Independent(Normal(torch.randn(3, 2), 1.0), 1)
    ),
    "transformed": lambda: TransformedDistribution(
        normal(), [AffineTransform(torch.ones(2), torch.ones(2), event_dim=1)]
    ),
    "bits": lambda: Independent(Bernoulli(torch.full((2,), 0.3)), 1),
}


@pytest.mark.parametrize("kind", MOVING)
def test_a_distribution_moves_with_its_module(kind):
    proposal = MOVING[kind]()
    prior = ResampledPrior(proposal, AcceptanceFunction(2, hidden=(4,)))
    keys = list(prior.state_dict())
    z = proposal.sample((5,))
    before = proposal.log_prob(z)
    prior.double()
    assert prior.proposal.sample((3,)).dtype == torch.float64
    torch.testing.assert_close(prior.proposal.log_prob(z.double()).float(), before)
    prior.estimate_z(1_000)
    assert prior.log_prob(prior.sample((4,))).dtype == torch.float64
    prior.training_log_prob(z.double(), torch.zeros(5).double()).sum().backward()
    assert list(prior.state_dict()) == keys
    assert proposal.sample().dtype == torch.float32  # the user's own stays as it is
    assert copy.deepcopy(prior).float().proposal.sample().dtype == torch.float32
    whole = nn.Sequential(ResampledPrior(MOVING[kind](), AcceptanceFunction(2)))
    found = []
    whole.to("meta")
    from resampled_priors.lars.proposal import moved

    moved(whole[0].proposal, lambda tensor: found.append(tensor.device.type) or tensor)
    assert set(found) == {"meta"}


def test_what_a_distribution_computes_in_double_stays_so():
    circle = VonMises(torch.tensor(0.5), torch.tensor(2.0))
    circle.sample()  # which keeps tensors in float64
    prior = ResampledPrior(circle, lambda z: z.cos() - 1).double().float()
    assert prior.sample((50,)).dtype == torch.float32
    assert prior.proposal._loc.dtype == torch.float64


def frozen_flow():
    flow = zuko.flows.RealNVP(2, transforms=2, hidden_features=(4,))
    return flow.requires_grad_(False)


LEARNED = {
    "parameter": lambda: Independent(Normal(nn.Parameter(torch.zeros(2)), 1.0), 1),
    "computed": lambda: Independent(Normal(0.0, torch.zeros(2, requires_grad=True).exp()), 1),
    "flow": lambda: zuko.flows.RealNVP(2, transforms=2, hidden_features=(4,))(),
    "LARS": lambda: ResampledDistribution(normal(), AcceptanceFunction(2), log_z=-0.7),
}


@pytest.mark.parametrize("kind", LEARNED)
def test_a_distribution_with_parameters_is_refused(kind):
    proposal = LEARNED[kind]()
    with pytest.raises(
        ValueError, match=rf"{type(proposal).__name__}.*neither trained nor saved: give an nn.Mod"
    ):
        ResampledPrior(proposal, AcceptanceFunction(2))
    ResampledDistribution(proposal, AcceptanceFunction(2))  # no module: whoever made it trains it


def test_a_frozen_flow_is_a_distribution_like_others():
    prior = ResampledPrior(frozen_flow()(), AcceptanceFunction(2))
    assert prior.training_log_prob(torch.zeros(3, 2), torch.zeros(3)).shape == (3,)


# Modules that are no proposals -------------------------------------------------------------------


class Encoder(nn.Module):
    def forward(self):
        return torch.zeros(2), torch.ones(2)


class Density(nn.Module):
    def forward(self):
        return torch.zeros(2)


@pytest.mark.parametrize("proposal", [Encoder(), Density(), zuko.flows.RealNVP, None])
@pytest.mark.parametrize(
    "use",
    [
        lambda proposal: ResampledPrior(proposal, slope),
        lambda proposal: Resampling(proposal, slope),
        lambda proposal: ResampledDistribution(proposal, slope),
        lambda proposal: estimate_z(proposal, slope, 100),
    ],
    ids=["prior", "resampling", "distribution", "estimate_z"],
)
def test_a_proposal_that_is_none(proposal, use):
    got = {
        "Encoder": r"the forward\(\) of Encoder returns a tuple",
        "Density": r"the forward\(\) of Density returns a Tensor",
        "type": "got a type",
        "ABCMeta": "got a ABCMeta",
        "NoneType": "got a NoneType",
    }[type(proposal).__name__]
    with pytest.raises(ValueError, match=f"a proposal must be a torch.distributions.*{got}"):
        use(proposal)


# rsample on top of LARS --------------------------------------------------------------------------


def test_a_flow_on_lars_refuses_rsample():
    prior = ResampledPrior(normal(), AcceptanceFunction(2, hidden=(4,)))
    flow = zuko.flows.RealNVP(2, transforms=2, hidden_features=(8,))
    lazy = zuko.lazy.Flow(flow.transform, prior)
    fixed = ResampledDistribution(normal(), slope, log_z=-0.7)
    for built in (lazy(), zuko.distributions.NormalizingFlow(flow.transform(), fixed)):
        for ask in (built.rsample, built.rsample_and_log_prob):
            with pytest.raises(NotImplementedError, match=r"part of a\(z\): use sample"):
                ask((5,))
        assert built.sample((5,)).shape == (5, 2)
        with torch.no_grad():
            assert built.rsample((5,)).shape == (5, 2)
        assert built.expand((3,)).sample((5,)).shape == (5, 3, 2)
    joint = zuko.distributions.Joint(fixed, normal())
    with pytest.raises(NotImplementedError, match="part of"):
        joint.rsample((5,))
    on_a_line = ResampledDistribution(Normal(0.0, 1.0), lambda z: -z.abs(), log_z=-0.7)
    transform = zuko.flows.RealNVP(2, transforms=2, hidden_features=(8,)).transform()
    raised = zuko.distributions.NormalizingFlow(transform, on_a_line.expand((2,)))
    with pytest.raises(NotImplementedError, match="part of"):
        raised.rsample((5,))  # zuko puts Independent around the base


def test_asked_by_others_there_is_no_rsample():
    p = ResampledDistribution(normal(), slope)
    assert p.has_rsample is False and Independent(p.expand((3,)), 1).has_rsample is False
    nested = ResampledPrior(ResampledPrior(normal(), AcceptanceFunction(2)), AcceptanceFunction(2))
    assert nested.training_log_prob(torch.zeros(3, 2), torch.zeros(3)).shape == (3,)
