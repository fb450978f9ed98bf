"""What training minimises, one idea a file. An objective is a class built with its settings.

To add one is a file with such a class (``contracts.Objective``) and its line in ``FAMILIES``.
"""

from collections.abc import Callable
from typing import Any

from ...contracts import Objective
from ...own_code import build_part
from .elbo import ELBO
from .iwae import IWAE

FAMILIES: dict[str, Callable[..., Objective]] = {"elbo": ELBO, "iwae": IWAE}
DEFAULT = {"family": "elbo"}


def build_objective(settings: dict[str, Any] | None) -> Objective:
    """The objective of resolved settings, the ELBO where they name none.

    Raises:
        ResampledPriorsError: as ``build_part``.
    """
    return build_part("objective", FAMILIES, settings or DEFAULT)
