"""VampPrior (Tomczak & Welling, 2018): a mixture of the posteriors of learned pseudo-inputs."""

import torch
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from resampled_priors.contracts import Encode, Prior


class VampPrior(Prior):
    label = "VampPrior"

    def __init__(self, features: int, components: int, pixels: int) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.full((components, pixels), 0.5))

    def attach(self, encode: Encode) -> None:
        self.encode = encode  # a bound method: its parameters stay the model's

    @torch.no_grad()
    def start(self, images: torch.Tensor) -> None:
        chosen = torch.randint(len(images), (len(self.pseudo_inputs),))
        self.pseudo_inputs.copy_(images[chosen] + 0.01 * torch.randn_like(self.pseudo_inputs))

    def distribution(self) -> Distribution:
        mean, log_std = self.encode(self.pseudo_inputs.clamp(0, 1))
        components = Independent(Normal(mean, log_std.exp()), 1)
        return MixtureSameFamily(Categorical(logits=torch.zeros_like(mean[:, 0])), components)
