"""A prior whose density is known: any module that returns a distribution."""

from torch import nn
from torch.distributions import Distribution

from ..contracts import Prior
from ..lars.proposal import proposal_distribution


class DistributionPrior(Prior):
    """Makes a prior of a module whose ``forward()`` returns a distribution, a flow for instance.

    Args:
        lazy: its ``label``, if it has one, is what figures call the prior.

    Raises:
        WrongInput: once it is used, where ``lazy()`` is no distribution.
    """

    def __init__(self, lazy: nn.Module) -> None:
        super().__init__()
        self.lazy = lazy
        self.label = getattr(lazy, "label", type(lazy).__name__)

    def distribution(self) -> Distribution:
        return proposal_distribution(self.lazy)
