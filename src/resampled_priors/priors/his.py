"""Hamiltonian importance sampling as a prior (HIS).

A proposal moves along Hamiltonian dynamics with a learned energy, its momentum cooled on the way:
what arrives is the prior, and a lower bound on its density is trained.

Source: Lawson, Tucker, Dai & Ranganath, *Energy-Inspired Models: Learning with Sampler-Induced
Distributions*, 2019, where the bound is that of the section on HIS; the dynamics are Neal's,
*Hamiltonian importance sampling*, 2005.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from ..contracts import Prior
from ..networks import DiagonalNormal, mlp
from ..settings import Hidden, Positive
from .energy import Energy
from .normal import StandardNormal, diagonal_normal

START_STEP, START_ALPHA = 0.1, 0.9995  # as in the authors' code


class Dynamics:
    """T leapfrog steps of (z, ρ), each followed by a factor α_t of the momentum.

    Before the first the momentum is multiplied by 1 / Π α_t. The leapfrog keeps volumes and so do
    all factors together: the determinant of the Jacobian is 1.

    Args:
        gradient: z (..., features) -> ∇U(z) (..., features).
        step_size: of each dimension, (features,).
        log_alphas: log α_t, (T,).
    """

    def __init__(
        self, gradient: Callable[[Tensor], Tensor], step_size: Tensor, log_alphas: Tensor
    ) -> None:
        self.gradient, self.step_size = gradient, step_size
        self.log_scales = torch.cat([-log_alphas.sum()[None], log_alphas])

    def __call__(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """(z_0, ρ_0) -> (z_T, ρ_T), each (..., features)."""
        return self._leapfrog(z, momentum, self.log_scales.exp())

    def inverse(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """(z_T, ρ_T) -> (z_0, ρ_0): the same with the momentum reversed, all factors undone."""
        z, momentum = self._leapfrog(z, -momentum, self.log_scales.flip(0).neg().exp())
        return z, -momentum

    def _leapfrog(self, z: Tensor, momentum: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        first, *others = scales.unbind()
        momentum = first * momentum
        half_kick = self.step_size / 2 * self.gradient(z)
        for scale in others:
            momentum = momentum - half_kick
            z = z + self.step_size * momentum
            half_kick = self.step_size / 2 * self.gradient(z)
            momentum = scale * (momentum - half_kick)
        return z, momentum


class HamiltonianDistribution(Distribution):
    """z_T, where z_0 ~ π and ρ_0 ~ N(0, I) have moved along the dynamics.

    Volumes are kept, so that p(z_T) = ∫ π(z_0) N(ρ_0; 0, I) dρ_T, and by Jensen, with any
    q(ρ_T|z_T),

        log p(z_T) ≥ E_q[log π(z_0) + log N(ρ_0; 0, I) − log q(ρ_T|z_T)].

    ``log_prob`` is one draw of what is in the mean; its exponential has the mean p(z_T).

    Args:
        proposal: π.
        momentum: N(0, I), of ρ_0.
        momentum_posterior: z (..., features) -> mean and log standard deviation of q(ρ_T|z).
    """

    arg_constraints: dict = {}

    def __init__(
        self,
        proposal: Distribution,
        momentum: Distribution,
        momentum_posterior: Callable[[Tensor], tuple[Tensor, Tensor]],
        dynamics: Dynamics,
    ) -> None:
        self.proposal, self.momentum = proposal, momentum
        self.momentum_posterior, self.dynamics = momentum_posterior, dynamics
        super().__init__(event_shape=proposal.event_shape, validate_args=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """A random lower bound on log p(z), (..., features) -> (...), in nats."""
        mean, log_std = self.momentum_posterior(z)
        q = diagonal_normal(mean, log_std.exp())
        momentum = q.rsample()
        z_0, momentum_0 = self.dynamics.inverse(z, momentum)
        log_joint = self.proposal.log_prob(z_0) + self.momentum.log_prob(momentum_0)
        return log_joint - q.log_prob(momentum)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact samples, (*sample_shape, features)."""
        shape = torch.Size(sample_shape)
        z, _ = self.dynamics(self.proposal.sample(shape), self.momentum.sample(shape))
        return z


class HamiltonianPrior(Prior):
    """HIS on N(0, I), step sizes and α_t learned. ``log_prob`` is a random lower bound.

    Args:
        hidden: widths of the energy's hidden layers.
        steps: T leapfrog steps.
        momentum_hidden: widths of the hidden layers of q(ρ|z).
    """

    label = "HIS"
    is_bound = True

    def __init__(
        self, features: int, hidden: Hidden, steps: Positive, momentum_hidden: Hidden
    ) -> None:
        super().__init__()
        self.proposal = StandardNormal(features)
        self.energy = Energy(features, hidden)
        self.momentum_posterior = nn.Sequential(
            mlp([features, *momentum_hidden], end=True),
            DiagonalNormal(momentum_hidden[-1], features),
        )
        self.raw_step_size = nn.Parameter(
            torch.full((features,), math.log(math.expm1(START_STEP)))
        )
        self.raw_alphas = nn.Parameter(
            torch.full((steps,), math.log(START_ALPHA / (1 - START_ALPHA)))
        )

    def dynamics(self) -> Dynamics:
        """With the present parameters: step sizes above 0, α_t between 0 and 1."""
        step_size, log_alphas = F.softplus(self.raw_step_size), F.logsigmoid(self.raw_alphas)
        return Dynamics(self.energy.gradient, step_size, log_alphas)

    def distribution(self) -> HamiltonianDistribution:
        normal = self.proposal()
        return HamiltonianDistribution(normal, normal, self.momentum_posterior, self.dynamics())
