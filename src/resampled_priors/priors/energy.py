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
