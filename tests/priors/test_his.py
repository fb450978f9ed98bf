"""HIS: its dynamics against autograd and physics, its bound and samples against quadrature."""

import math

import pytest
import torch
from energy_priors import ERROR_RATE, Z_LIMIT, chi_square, grid, normal_density, rough

STEPS = 4


def his(features, std=1.0):
    prior = rough("his", features, std=std, steps=STEPS, momentum_hidden=[8])
    prior.raw_alphas.copy_(torch.tensor([1.5, 0.5, 2.0, 1.0]))
    prior.raw_step_size.copy_(torch.linspace(-2.0, -1.5, features))
    for parameter in prior.momentum_posterior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return prior


def density(prior, z, points=161, reach=14.0):
    """p(z) = ∫ π(z_0) N(ρ_0) dρ_T by the trapezoidal rule over the momentum that arrives."""
    momentum, weight = grid(z.shape[-1], points, reach)
    z, momentum = torch.broadcast_tensors(z[:, None], momentum)
    z_0, momentum_0 = prior.dynamics().inverse(z, momentum)
    return (normal_density(z_0) * normal_density(momentum_0) * weight).sum(1)


def test_the_gradient_of_the_energy_is_autograds():
    prior = his(3)
    z = torch.randn(5, 2, 3).double().requires_grad_(True)
    (expected,) = torch.autograd.grad(prior.energy(z).sum(), z)
    torch.testing.assert_close(prior.energy.gradient(z), expected)


def test_the_dynamics_keep_volumes_and_are_undone():
    dynamics = his(2).dynamics()
    torch.manual_seed(1)
    state = torch.randn(4).double()

    def moved(state):
        return torch.cat(dynamics(state[:2], state[2:]))

    jacobian = torch.autograd.functional.jacobian(moved, state)
    assert torch.linalg.det(jacobian).item() == pytest.approx(1, rel=1e-9)
    assert not torch.allclose(jacobian, torch.eye(4).double(), atol=0.1)
    z, momentum = torch.randn(2, 7, 2).double()
    back = dynamics.inverse(*dynamics(z, momentum))
    torch.testing.assert_close(torch.stack(back), torch.stack([z, momentum]))


def test_without_cooling_the_energy_is_kept_to_second_order():
    """H = U(z) + |ρ|²/2 errs by the square of the step size, over the same time."""
    errors = []
    for steps, step in ((10, 0.1), (20, 0.05), (40, 0.025)):
        prior = rough("his", 2, std=0.7, steps=steps, momentum_hidden=[4])
        prior.raw_alphas.fill_(60.0)  # α = 1
        prior.raw_step_size.fill_(math.log(math.expm1(step)))
        torch.manual_seed(1)
        z, momentum = torch.randn(2, 500, 2).double()
        after, momentum_after = prior.dynamics()(z, momentum)
        kinetic = 0.5 * (momentum_after.square() - momentum.square()).sum(-1)
        errors.append((prior.energy(after) - prior.energy(z) + kinetic).abs().mean().item())
    assert errors[0] < 0.05
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def test_the_density_written_out_is_one():
    z, weight = grid(1, 401, 12.0)
    assert (density(his(1), z, 801).sum() * weight).item() == pytest.approx(1, abs=1e-4)


def test_the_bounds_exponential_has_the_density_as_its_mean():
    """So its mean is below the truth, and the logarithm of a mean over many comes near to it."""
    prior = his(2)
    z = torch.tensor([[0.0, 0.0], [1.0, -0.5], [-1.5, 1.0], [0.5, 2.0]]).double()
    truth = density(prior, z)
    torch.manual_seed(1)
    draws = prior.log_prob(z.expand(100_000, 4, 2))
    p = draws.exp()
    error = p.std(0) / math.sqrt(len(p))
    assert (error < 0.05 * truth).all()
    assert ((p.mean(0) - truth).abs() < Z_LIMIT * error).all()
    bounds = [draws.unflatten(0, (-1, k)).logsumexp(1).mean(0) - math.log(k) for k in (1, 10, 100)]
    assert (bounds[0] < bounds[1]).all() and (bounds[1] < bounds[2]).all()
    gaps = torch.stack([truth.log() - bound for bound in bounds])
    assert (gaps[0] > 0.05).all() and (gaps[2] < gaps[0] / 4).all()


def test_samples_have_the_density():
    prior = his(1)
    torch.manual_seed(2)
    samples = prior.sample((100_000,))
    reach = 8.0
    wrong = chi_square(samples, normal_density, reach=reach)
    right = chi_square(samples, lambda z: density(prior, z, 1_201), reach=reach)
    assert right > ERROR_RATE > 1e-20 > wrong
    assert prior.sample().shape == (1,) and prior.sample((2, 0)).shape == (2, 0, 1)


def test_training_moves_every_parameter():
    torch.manual_seed(0)
    prior = his(2, std=0.3).requires_grad_(True)
    optimizer = torch.optim.Adam(prior.parameters(), 0.02)
    losses = []
    for _ in range(200):
        loss = -prior.training_log_prob(torch.randn(256, 2).double() * 0.3 + 1.0, None).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.any() for p in prior.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < losses[0] - 1
