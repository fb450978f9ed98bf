"""A mixture of Student's t distributions about the encodings of a few training images."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, StudentT

from resampled_priors.contracts import Encode, Prior


class PrototypePrior(Prior):
    label = "prototypes"

    def __init__(self, features: int, prototypes: int) -> None:
        super().__init__()
        self.prototypes = prototypes
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.log_freedom = nn.Parameter(torch.zeros(features))  # log of degrees of freedom − 1
        self.logits = nn.Parameter(torch.zeros(prototypes))

    def attach(self, encode: Encode, pixels: int) -> None:
        self.encode = encode  # a bound method: its parameters stay the model's
        self.register_buffer("images", torch.zeros(self.prototypes, pixels))

    def start(self, images: Tensor) -> None:
        self.images.copy_(images[torch.randint(len(images), (self.prototypes,))])

    def distribution(self) -> Distribution:
        mean, _ = self.encode(self.images)
        components = StudentT(1 + self.log_freedom.exp(), mean, self.log_scale.exp())
        return MixtureSameFamily(Categorical(logits=self.logits), Independent(components, 1))
