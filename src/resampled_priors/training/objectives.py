"""What training minimises. An objective is a class built with its settings: ``Objective``.

To add one is a class with its line in ``FAMILIES``.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..contracts import Objective, Terms
from ..own_code import build_part


class ELBO:
    """−log p(x|z) + β (log q(z|x) − log p(z)), one sample an image (C.3): the negative ELBO."""

    num_samples = 1

    def __call__(self, terms: Terms, beta: Tensor | float) -> Tensor:
        recons = -terms.log_likelihood.mean()
        return recons + beta * (terms.log_posterior - terms.log_prior).mean()


FAMILIES: dict[str, Callable[..., Objective]] = {"elbo": ELBO}
DEFAULT = {"family": "elbo"}


def build_objective(settings: dict[str, Any] | None) -> Objective:
    """The objective of resolved settings, the ELBO where they name none.

    Raises:
        ResampledPriorsError: as ``build_part``.
    """
    return build_part("objective", FAMILIES, settings or DEFAULT)
