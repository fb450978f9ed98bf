"""The generated part of the config's schema: that it is up to date, and follows the signatures."""

import copy
import json
import re
import shutil
from pathlib import Path

import pytest

from resampled_priors import models, priors, schema
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import configuration, load_config, validate_config
from resampled_priors.settings import Flag, Hidden, OutputSettings, Positive, Smoothing

ROOT = Path(__file__).parents[1]
CONFIG = load_config([ROOT / "config.yaml"])
LARS = CONFIG["priors"]["lars"]
OUTPUT = CONFIG["models"]["vae_resampled_output"]["output"]


def test_the_committed_file_is_what_make_schema_writes():
    assert schema.FILE.read_text(encoding="utf-8") == schema.text(), "run make schema"


def wrong_at(place, value):
    """What is wrong in a config with this value at this place; None: nothing."""
    config = copy.deepcopy(CONFIG)
    *folders, last = place.split(".")
    entry = config
    for folder in folders:
        entry = entry.setdefault(folder, {})
    entry[last] = value
    try:
        validate_config(config)
    except ResampledPriorsError as error:
        return str(error).removeprefix("config: ")
    return None


def mixture(features: int, components: Positive, widths: Hidden, tied: Flag = False):
    """A family that a test adds."""


class Mine:
    def __init__(self, prior, latent_size: int, output: OutputSettings | None, ratio: Smoothing):
        """A model family that a test adds, with a type that nobody knows."""


@pytest.fixture
def regenerate(tmp_path, monkeypatch):
    """A call that reads the schema as the present tables give it."""

    def call():
        shutil.copy(schema.FILE.with_name("config.schema.yaml"), tmp_path)
        (tmp_path / schema.FILE.name).write_text(schema.text(), encoding="utf-8")
        monkeypatch.setattr(configuration, "files", lambda package: tmp_path)
        configuration._validator.cache_clear()

    yield call
    monkeypatch.undo()
    configuration._validator.cache_clear()


def test_a_new_family_is_known_once_the_file_is_made_again(monkeypatch, regenerate):
    entry = {"label": "x", "family": "mixture", "components": 3, "widths": [10]}
    unknown = "priors.mine.family: 'mixture' is not one of ['"
    assert wrong_at("priors.mine", entry).startswith(unknown)
    monkeypatch.setitem(priors.FAMILIES, "mixture", mixture)
    assert wrong_at("priors.mine", entry).startswith(unknown)  # the file is read, not the tables
    regenerate()
    assert wrong_at("priors.mine", entry) is None
    assert wrong_at("priors.mine", entry | {"tied": True, "base": "standard"}) is None
    for key, value, message in [
        ("components", 0, "priors.mine.components: 0 is less than the minimum of 1"),
        ("widths", [], "priors.mine.widths: [] should be non-empty"),
        ("tied", "yes", "priors.mine.tied: 'yes' is not of type 'boolean'"),
        ("component", 3, "unknown key 'priors.mine.component': did you mean 'components'?"),
        (
            "features",
            3,
            "unknown key 'priors.mine.features': use one of label, family, base, "
            "components, widths, tied",
        ),
    ]:
        assert wrong_at("priors.mine", entry | {key: value}) == message
    del entry["components"]
    message = "priors.mine: 'components' is a required property: add it"
    assert wrong_at("priors.mine", entry) == message


def test_a_parameter_of_unknown_type_is_an_error_of_the_generator(monkeypatch):
    monkeypatch.setitem(models.FAMILIES, "mine", Mine)
    with pytest.raises(TypeError, match=r"Mine.*: output has no type of settings\.py"):
        schema.text()


VALUES = {
    "prior_name": "standard",
    "output_settings": OUTPUT,
    "hidden": [3],
    "flag": True,
    "smoothing": 0.5,
    "truncation": None,
}
PLACES = {  # of a part: where the config has it, and what stands there beside its settings
    "prior": ("priors.mine", {"label": "x"}),
    "model": ("models.mine", {"label": "x", "latent_size": 2, "training": {}}),
    "likelihood": ("models.vae.likelihood", {}),
    "objective": ("training.objective", {}),
    "optimizer": ("budgets.short.models.conv_hvae.training.optimizer", {}),
}
FAMILIES = [(name, family) for name, part in schema.parts().items() for family in part.families]


@pytest.mark.parametrize(("name", "family"), FAMILIES)
def test_an_entry_of_each_family(name, family):
    part, (place, common) = schema.parts()[name], PLACES[name]
    types, required = schema.settings_of(part.families[family], part.given)
    settings = {key: VALUES.get(kind, 3) for key, kind in types.items()}
    least = {"family": family, **common, **{key: settings[key] for key in required}}
    assert wrong_at(place, least) is None
    assert wrong_at(place, least | settings) is None
    for key in ["family", *required]:
        without = {k: v for k, v in least.items() if k != key}
        assert wrong_at(place, without) == f"{place}: '{key}' is a required property: add it"
    for key in {"name", "code_sha256", "unheard_of", *part.given} - {*part.common}:
        message = f"unknown key '{place}.{key}': use one of {', '.join(part.common)}"
        assert wrong_at(place, {**least, key: 3}).startswith(message)
    message = f"{place}.family: 'x' is not one of {list(part.families)}"
    assert wrong_at(place, least | {"family": "x"}).startswith(message)


@pytest.mark.parametrize("name", [name for name, part in schema.parts().items() if part.own])
def test_a_class_of_ones_own_may_have_any_settings_but_those_given(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class Mine: ...")
    part, (place, common) = schema.parts()[name], PLACES[name]
    entry = {"family": "mine.py:Mine", **common, "anything": {"goes": [1, "x"]}}
    assert wrong_at(place, entry) is None
    for key in ("name", "code_sha256", *part.given):
        message = f"{place}.{key}: this key does not belong here: remove it"
        assert wrong_at(place, {**entry, key: 3}) == message
    message = f"{place}.family: 'mine.py' does not match .*; it is FILE.py:CLASS"
    assert re.match(message, wrong_at(place, entry | {"family": "mine.py"}))
    of_your_own = f"one of these, or FILE.py:CLASS for {part.own} of your own"
    assert of_your_own in wrong_at(place, entry | {"family": "mine"})


@pytest.mark.parametrize(
    ("proposal", "message"),
    [
        ({"family": "standard_normal"}, None),
        ({"family": "realnvp", "layers": 1}, "'hidden' is a required property: add it"),
        (
            {"family": "standard_normal", "base": "x"},
            "'toys.lars_10.prior.proposal.base': use one",
        ),
        ({"family": "mine.py:A"}, "proposal.family: 'mine.py:A' is not one of ["),
    ],
)
def test_toys_know_the_families_and_none_of_the_users_own(proposal, message):
    found = wrong_at(
        "toys.lars_10.prior", CONFIG["toys"]["lars_10"]["prior"] | {"proposal": proposal}
    )
    assert found is None if message is None else message in found


@pytest.mark.parametrize("record", sorted((ROOT / "results").rglob("run.json")), ids=str)
def test_settings_of_committed_runs_are_right(record):
    run = json.loads(record.read_text(encoding="utf-8"))
    assert configuration.what_is_wrong(run["settings"], "train_settings") is None
    assert configuration.what_is_wrong(run, "run_record") is None


def test_resolved_settings_of_each_family_are_checked():
    settings = {
        "dataset": "digits",
        "model": {"name": "m", "family": "vae_resampled_output", "latent_size": 2},
        "prior": {"name": "p", **LARS, "proposal": {"family": "maf", "hidden": [1]}},
        "seed": 0,
    }
    for message, change in {
        "model: 'output' is a required property: add it": lambda: settings["model"].update(
            output=OUTPUT
        ),
        "prior.proposal: 'layers' is a required property: add it": lambda: settings["prior"][
            "proposal"
        ].update(layers=0),
        "prior.proposal.layers: 0 is less than the minimum of 1": lambda: settings["prior"][
            "proposal"
        ].update(layers=1, code_sha256="0", of_another_version=1),
    }.items():
        assert configuration.what_is_wrong(settings, "model_settings") == message
        change()
    assert configuration.what_is_wrong(settings, "model_settings") is None
