"""An energy U(z), which reweights a proposal by exp(−U(z)) or drives Hamiltonian dynamics."""

from torch import Tensor, nn

from ..networks import mlp
from ..settings import Hidden


class Energy(nn.Module):
    """U(z) = MLP[features−hidden−1] with tanh, without a last bias: U + c is the same model.

    Maps z of shape (..., features) to U(z) of shape (...), in nats.
    """

    def __init__(self, features: int, hidden: Hidden) -> None:
        super().__init__()
        self.network = mlp([features, *hidden, 1])
        self.network[-1].bias = None

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z).squeeze(-1)

    def gradient(self, z: Tensor) -> Tensor:
        """∇U(z), (..., features) -> (..., features), by the chain rule written out.

        So it is a function like any other: there where gradients are off, and with one of its own.
        """
        *layers, last = list(self.network)[::2]
        activations = []
        for layer in layers:
            z = layer(z, tanh=True)
            activations.append(z)
        slope = last.weight[0]
        for layer, h in zip(reversed(layers), reversed(activations), strict=True):
            slope = (slope * (1 - h.square())) @ layer.weight
        return slope
