"""What tables and figures call things."""

import re
from typing import Any

from .configuration import Config

METRIC_LABELS = {
    "nll": "NLL",
    "elbo": "negative ELBO",
    "kl": "KL",
    "recons": "reconstruction",
    "z": "Z",
}
COST_LABELS = {
    "nll_se": "s.e. of NLL",
    "prior_parameters": "parameters of the prior",
    "step_ms": "ms a training step",
    "sample_ms": "ms per 1,000 samples",
}


def paper_number(name: str) -> str:
    """What the paper calls a table or a figure: 1 of table1, D.7 of figD7."""
    found = re.fullmatch("(?:table|fig)([A-Z]?)([0-9]+)", name)
    return ".".join(filter(None, found.groups())) if found else name


def label_of(config: Config, coordinates: dict[str, Any]) -> str:
    """The labels of a row's or column's coordinates, joined."""
    sections = {"dataset": "datasets", "model": "models", "prior": "priors"}
    labels = [
        config[section].get(coordinates[key], {}).get("label", coordinates[key])
        for key, section in sections.items()
        if key in coordinates
    ]
    if "metric" in coordinates:
        labels.append((METRIC_LABELS | COST_LABELS)[coordinates["metric"]])
    return "; ".join(labels)
