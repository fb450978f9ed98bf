"""VampPrior (Tomczak & Welling, 2018): a mixture of the posteriors of learned pseudo-inputs."""

import torch
from torch import Tensor, nn

from ..contracts import Encode, Prior
from ..settings import Flag, Positive
from .mixture import DiagonalMixture

START_NOISE = 0.01  # standard deviation, of what is added to training images


class VampPrior(Prior):
    """p(z) = Σ_k w_k q(z|u_k), w_k = 1/K or learned; the u_k start at training images and noise.

    The pseudo-inputs u_k stay in the range of the training images. The authors' code clamps them
    at their use, after which a pixel outside has no gradient and is lost; here the parameters
    themselves are put back before each training step.

    Args:
        components: K.
        weighted: whether the weights w_k are learned.

    Source: Tomczak & Welling (2018), "VAE with a VampPrior", arXiv:1705.07120, section 3.
    """

    label = "VampPrior"

    def __init__(self, features: int, components: Positive, weighted: Flag = False) -> None:
        super().__init__()
        self.components = components
        self.logits = nn.Parameter(torch.zeros(components)) if weighted else None
        self.register_buffer("lowest", torch.tensor(0.0))
        self.register_buffer("highest", torch.tensor(1.0))

    def attach(self, encode: Encode, pixels: int) -> None:
        self.encode = encode  # a bound method: its parameters stay the model's
        self.pseudo_inputs = nn.Parameter(torch.zeros(self.components, pixels))

    @torch.no_grad()
    def start(self, images: Tensor) -> None:
        chosen = torch.randint(len(images), (self.components,), device=images.device)
        noise = START_NOISE * torch.randn_like(self.pseudo_inputs)
        self.pseudo_inputs.copy_(images[chosen] + noise)
        self.lowest.copy_(images.min())
        self.highest.copy_(images.max())

    def distribution(self) -> DiagonalMixture:
        if self.training:
            with torch.no_grad():
                self.pseudo_inputs.clamp_(self.lowest, self.highest)
        images = self.pseudo_inputs.clamp(self.lowest, self.highest)
        return DiagonalMixture(*self.encode(images), self.logits)
