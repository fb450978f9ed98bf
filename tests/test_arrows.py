"""The arrows between the rooms of the package: who may import whom (docs/architecture.md)."""

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

import resampled_priors

PACKAGE = Path(resampled_priors.__file__).parent
SCIENCE = {"lars", "priors", "models", "training", "evaluation", "grids", "toy", "contracts"}
DISK = {"runs", "report", "files", "progress", "cli"}
NEVER = {
    **{room: DISK | {"machine"} for room in SCIENCE},
    "contracts": {*SCIENCE - {"contracts"}, *DISK, "machine", "experiment", "data", "networks"},
    "lars": DISK | {"machine", "priors", "models", "training", "evaluation", "experiment", "data"},
    "priors": DISK | {"machine", "models", "training", "evaluation", "experiment", "data"},
    "models": DISK | {"machine", "training", "evaluation", "experiment", "data"},
    "networks": SCIENCE | DISK,
    "experiment": SCIENCE | DISK - {"files"} | {"networks", "machine", "torch"},
    "data": SCIENCE | DISK - {"files"} | {"networks", "machine"},
    "files": SCIENCE | {"runs", "report", "progress", "cli"},
    "progress": SCIENCE | {"runs", "report", "cli"},
    "runs": {"report", "cli"},
    "report": {"cli"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(module: Path) -> set[str]:
    """The rooms of the package, and torch, that a module imports, wherever in it."""
    here = ["resampled_priors", *module.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else []
            base = [*base, *filter(None, [node.module])]
            found |= {".".join([*base, alias.name]) for alias in node.names}
    inside = {name.split(".")[1] for name in found if name.startswith("resampled_priors.")}
    return inside | {name.split(".")[0] for name in found if not name.startswith("resampled_")}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_arrow_points_the_wrong_way(module):
    room = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert not imported(module) & NEVER.get(room, set())


def test_the_test_sees_an_arrow():
    assert {"lars", "contracts", "torch"} <= imported(
        PACKAGE / "priors" / "resampled.py"
    ) | imported(PACKAGE / "lars" / "prior.py")
    assert "files" in imported(PACKAGE / "runs" / "steps.py")


# The picture -------------------------------------------------------------------------------------

PICTURE = Path(__file__).parents[1] / "docs" / "architecture.svg"
SVG = ElementTree.parse(PICTURE).getroot()
ROW = {box.get("data-room"): int(box.get("data-row")) for box in SVG.iterfind(".//*[@data-room]")}


@pytest.fixture(scope="module")
def imports():
    """Each room and the rooms that it imports."""
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()} - {"__init__"}
    found = {room: set() for room in rooms if not room.startswith("__") and "." not in room}
    for module in MODULES:
        room = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in found:
            found[room] |= imported(module) & found.keys() - {room}
    return found


def test_the_picture_has_every_room_and_imports_point_down(imports):
    assert ROW.keys() == imports.keys(), f"draw each room, and no other, in {PICTURE}"
    up = [(a, b) for a, others in imports.items() for b in others if ROW[a] >= ROW[b]]
    assert not up


def test_the_arrows_of_the_picture_are_imports(imports):
    drawn = [
        (arrow.get("data-from"), arrow.get("data-to")) for arrow in SVG.iterfind(".//*[@data-to]")
    ]
    assert len(drawn) > 10
    assert [pair for pair in drawn if pair[1] not in imports[pair[0]]] == []
