"""A prior of one's own for the experiments: a mixture of Gaussians, all of it learned.

A prior is an ``nn.Module``, built with the size of z and its settings in the config, whose
``forward()`` returns a torch distribution of batch shape () and event shape (features,).
"""

import torch
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal


class MixtureOfGaussians(nn.Module):
    def __init__(self, features: int, components: int) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.randn(components, features))
        self.log_stds = nn.Parameter(torch.zeros(components, features))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self) -> Distribution:
        normals = Independent(Normal(self.means, self.log_stds.exp()), 1)
        return MixtureSameFamily(Categorical(logits=self.logits), normals)
