"""Exemplar prior (Norouzi et al., 2020): a mixture about the encodings of all training images."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import Encode, Images, Prior
from ..settings import Positive
from .mixture import by_blocks, log_sum

ENCODED_AT_A_TIME = 1_000
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class SphericalMixture(Distribution):
    """1/N Σ_n N(m_n, s² I), all components with one standard deviation.

    Args:
        means: m, (components, features).
        log_std: log s, ().
    """

    arg_constraints: dict = {}

    def __init__(self, means: Tensor, log_std: Tensor) -> None:
        self.means, self.log_std = means, log_std
        super().__init__(event_shape=means.shape[1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """log density in nats: (..., features) -> (...), of all components, by one product.

        About their centre, where the terms of the product are smallest beside its result.
        """
        components, features = self.means.shape
        precision, centre = (-2 * self.log_std).exp(), self.means.mean(0)
        means, z = self.means - centre, value - centre
        of_means, factors = -0.5 * precision * means.square().sum(-1), precision * means.t()

        def log_density(z: Tensor) -> Tensor:
            return log_sum(torch.addmm(of_means, z, factors))

        constant = math.log(components) + features * (self.log_std + HALF_LOG_2PI)
        return (
            by_blocks(log_density, z, components) - 0.5 * precision * z.square().sum(-1) - constant
        )

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples, (*sample_shape, features)."""
        n = torch.randint(len(self.means), tuple(sample_shape), device=self.means.device)
        return self.means[n] + self.log_std.exp() * torch.randn_like(self.means[n])


class ExemplarPrior(Prior):
    """p(z) = 1/N Σ_n N(z; μ(x_n), s² I): μ is the encoder's mean, s is learned, x_n in training.

    A training step draws ``exemplars`` of the training images, leaves out the image that z is of,
    and sums the nearest ``neighbours`` alone, which gives a lower bound of log p(z). It finds
    them in a buffer of encoded means, in which a step renews those that it encodes: its batch and
    its neighbours. When training has ended all are made again, and evaluation sums all of them.

    Args:
        exemplars: M, at most N.
        neighbours: k, for each z.

    Source: Norouzi, Fleet & Norouzi (2020), "Exemplar VAE", arXiv:2004.04795, section 3.
    """

    label = "Exemplar"

    def __init__(self, features: int, exemplars: Positive, neighbours: Positive) -> None:
        super().__init__()
        self.exemplars, self.neighbours = exemplars, neighbours
        self.log_std = nn.Parameter(torch.zeros(()))
        self.register_buffer("means", torch.zeros(0, features))
        self.rows: Tensor | None = None  # of the training images, that the next step is on

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        """How many training images there are, a new prior does not know."""
        if prefix + "means" in state:
            self.means = self.means.new_empty(state[prefix + "means"].shape)
        super()._load_from_state_dict(state, prefix, *others)

    def attach(self, encode: Encode, pixels: int) -> None:
        self.encode = encode  # a bound method: its parameters stay the model's

    def start(self, images: Tensor) -> None:
        self.means = self.means.new_empty(len(images), self.means.shape[1])
        self.finish(lambda rows: images[rows])

    def before_step(self, rows: Tensor, images: Images) -> None:
        self.rows, self.images = rows, images

    @torch.no_grad()
    def finish(self, images: Images) -> None:
        every = torch.arange(len(self.means), device=self.means.device)
        for rows in every.split(ENCODED_AT_A_TIME):
            self.means[rows], _ = self.encode(images(rows))

    def distribution(self) -> SphericalMixture:
        return SphericalMixture(self.means, self.log_std)

    def training_log_prob(self, z: Tensor, log_posterior: Tensor | None) -> Tensor:
        """A lower bound of log p(z) without the image that z is of: (samples, batch, features)."""
        if self.rows is None:
            return self.log_prob(z)
        rows, self.rows = self.rows, None
        neighbours, counted = self._nearest(z.detach(), rows)
        encoded = torch.cat([rows, neighbours.flatten()])
        means, _ = self.encode(self.images(encoded))
        self.means[encoded] = means.detach()
        means = means[len(rows) :].view(*neighbours.shape, -1)
        difference = (z.unsqueeze(-2) - means) * (-self.log_std).exp()
        constant = z.shape[-1] * (self.log_std + HALF_LOG_2PI)
        log_densities = -0.5 * difference.square().sum(-1) - constant
        return log_densities.logsumexp(-1) - counted.log()

    @torch.no_grad()
    def _nearest(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Row numbers of the nearest exemplars, (samples, batch, k), and of how many: (batch,)."""
        chosen = torch.randperm(len(self.means), device=z.device)[: self.exemplars]
        means = self.means.index_select(0, chosen)
        # |z - m|² / 2 but for |z|² / 2, by one product: (-z, 1) · (m, |m|² / 2)
        lengths = 0.5 * means.square().sum(-1, keepdim=True)
        ones = torch.ones_like(z[..., :1])
        distances = torch.cat([-z, ones], -1) @ torch.cat([means, lengths], -1).t()
        place = chosen.new_full((len(self.means),), -1)
        place[chosen] = torch.arange(len(chosen), device=z.device)
        itself = place[rows]  # -1: not among the chosen
        is_chosen = itself >= 0
        away = distances.new_zeros(itself.shape).masked_fill_(is_chosen, math.inf)
        itself = itself.clamp(min=0).expand(z.shape[:-1]).unsqueeze(-1)
        distances.scatter_add_(-1, itself, away.expand(z.shape[:-1]).unsqueeze(-1))
        k = min(self.neighbours, len(chosen) - 1)
        nearest = distances.topk(k, largest=False, sorted=False).indices
        return chosen[nearest], len(chosen) - is_chosen.long()
