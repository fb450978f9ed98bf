"""The types of settings: what a family's constructor may be given from the config.

Each type carries its JSON schema, as YAML. ``make schema`` reads them off the signatures in the
``FAMILIES`` tables: a parameter without a default is required, one with a default may be left out.
Imports no torch.
"""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

Flag = Annotated[bool, "type: boolean"]
Positive = Annotated[int, "{type: integer, minimum: 1}"]
PositiveNumber = Annotated[float, "{type: number, exclusiveMinimum: 0}"]
Hidden = Annotated[
    Sequence[int], "{type: array, minItems: 1, items: {type: integer, minimum: 1}}"
]  # widths of hidden layers
Truncation = Annotated[
    int | None,
    """
    type: [integer, "null"]
    minimum: 2
    description: T, at least 2 (T = 1 is the proposal itself), or null for p_infinity
    """,
]
Smoothing = Annotated[float, "{type: number, exclusiveMinimum: 0, maximum: 1}"]  # ε
# The name of another prior, and in resolved settings that prior's own settings, from which it is
# built for the constructor. The setting is called `proposal`, and looked for by that name.
PriorName = Annotated[Any, "type: string"]


class OutputSettings(TypedDict):
    """LARS on the images: ``output`` of a model whose output is resampled."""

    hidden: Hidden
    truncation: Truncation
    smoothing: Smoothing
    num_proposals: Positive
