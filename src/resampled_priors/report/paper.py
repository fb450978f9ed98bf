"""The paper's numbers."""

from functools import cache
from importlib.resources import files

import yaml


@cache
def paper_values() -> dict[str, dict[str, dict[str, float]]]:
    """The paper's numbers: table or figure -> dataset/model/prior -> metric -> value."""
    file = files(__package__).joinpath("paper_values.yaml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))
