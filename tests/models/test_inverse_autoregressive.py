"""VAE + IAF: its log determinant against autograd's Jacobian, and what follows from it."""

import pytest
import torch
from torch.distributions import Independent, Normal

from resampled_priors.contracts import Prior
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.models.inverse_autoregressive import InverseAutoregressiveVAE
from resampled_priors.models.likelihoods import build_likelihood
from resampled_priors.models.vae import VAE
from resampled_priors.priors import build_prior

SIZE, SHAPE = 4, (3, 3)


def standard(size):
    return build_prior({"family": "standard_normal"}, size)


def build(prior=None, size=SIZE, layers=3):
    torch.manual_seed(0)
    prior, likelihood = prior or standard(size), build_likelihood(None, 9)
    model = InverseAutoregressiveVAE(prior, SHAPE, likelihood, size, layers, [8, 8])
    with torch.no_grad():
        for parameter in model.flow.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.double()


@pytest.fixture
def x():
    return (torch.rand(5, 9, generator=torch.Generator().manual_seed(1)) < 0.5).double()


def steps(model, features, z):
    for step in model.flow:
        z = step(features)(z)
    return z


def test_the_density_is_the_bases_over_autograds_jacobian(x):
    model = build()
    torch.manual_seed(2)
    p = model.forward_pass(x, 3)
    torch.manual_seed(2)
    noise = torch.randn(3, 5, SIZE)
    mean, log_std = model.encoder(x)
    z_0 = mean + log_std.exp() * noise
    base = Independent(Normal(mean, log_std.exp()), 1).log_prob(z_0)
    features = model.encoder[0](x)
    for k in range(3):
        for i in range(5):
            jacobian = torch.autograd.functional.jacobian(
                lambda z, i=i: steps(model, features[i], z), z_0[k, i]
            )
            log_determinant = torch.linalg.slogdet(jacobian).logabsdet
            torch.testing.assert_close(p.log_posterior[k, i], base[k, i] - log_determinant)
    torch.testing.assert_close(p.z, steps(model, features, z_0))
    assert (p.z - z_0).abs().max() > 0.1


def test_each_step_is_triangular_and_the_order_is_reversed(x):
    model = build()
    features = model.encoder[0](x)[0]
    for number, step in enumerate(model.flow):
        jacobian = torch.autograd.functional.jacobian(
            lambda z, step=step: step(features)(z), torch.randn(SIZE).double()
        )
        above, below = jacobian.triu(1), jacobian.tril(-1)
        zero, rest = (below, above) if number % 2 else (above, below)
        assert not zero.any() and rest.abs().max() > 1e-3


def test_a_step_is_the_gate_of_the_paper():
    """z_t = σ z + (1 − σ) m, the outputs of the MADE being m and what the gate is of."""
    model = build()
    z, features = torch.randn(SIZE).double(), torch.randn(300).double()
    step = model.flow[0]
    mean, gate = step.hyper(torch.cat([z, features])).unflatten(-1, (SIZE, 2)).unbind(-1)
    sigma = 1 / (1 + (-(gate + 2)).exp())
    torch.testing.assert_close(step(features)(z), sigma * z + (1 - sigma) * mean)


def test_the_posterior_integrates_to_1(x):
    """In two dimensions, by importance of z_0's plane: z covers the plane once."""
    model = build(size=2).requires_grad_(False)
    features = model.encoder[0](x[:1])
    mean, log_std = model.encoder(x[:1])
    axis = torch.linspace(-20, 20, 201).double()
    z = torch.cartesian_prod(axis, axis)
    inverse, log_density = z, torch.zeros(len(z)).double()
    for step in reversed(model.flow):
        transform = step(features)
        before = transform.inv(inverse)
        log_density -= transform.log_abs_det_jacobian(before, inverse)
        inverse = before
    log_density += Independent(Normal(mean, log_std.exp()), 1).log_prob(inverse)
    assert float(log_density.exp().sum()) * 0.2**2 == pytest.approx(1, abs=2e-3)


def test_open_gates_give_the_vae(x):
    """With gates at 1 the model is the VAE of the same weights."""
    model = build()
    with torch.no_grad():
        for step in model.flow:
            step.hyper[-1].weight.zero_()
            step.hyper[-1].bias.view(SIZE, 2)[:, 1] = 40.0
    plain = VAE(standard(SIZE), SHAPE, build_likelihood(None, 9), SIZE).double()
    plain.load_state_dict(model.state_dict(), strict=False)
    terms = []
    for m in (model, plain):
        torch.manual_seed(3)
        terms.append(m.terms(x, 4))
    for ours, theirs in zip(*terms, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_prior_made_of_the_posteriors_moments_is_refused(x):
    class OfTheEncoder(Prior):
        def attach(self, encode, pixels):
            self.encode = encode

        def distribution(self):
            mean, log_std = self.encode(torch.zeros(1, 9))
            return Independent(Normal(mean[0], log_std[0].exp()), 1)

    model = build(OfTheEncoder())
    with pytest.raises(ResampledPriorsError, match=r"family vae_iaf has no mean .*: give this"):
        model.terms(x, 1)
