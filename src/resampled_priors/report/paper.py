"""The paper's numbers, and those of other papers."""

from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml


@cache
def paper_values() -> dict[str, dict[str, dict[str, float]]]:
    """The paper's numbers: table or figure -> dataset/model/prior -> metric -> value."""
    return _read("paper_values.yaml")


class Published(NamedTuple):
    """What another paper says of a system of ours, with networks and a budget of its own."""

    nll: float  # nats
    source: str


@cache
def published_values() -> dict[str, dict[str, Published]]:
    """Published test NLLs of rivals: table -> dataset/model/prior -> value and source."""
    return {
        table: {run: Published(nll, p["source"]) for p in papers for run, nll in p["nll"].items()}
        for table, papers in _read("published_values.yaml").items()
    }


def _read(name: str) -> Any:
    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
