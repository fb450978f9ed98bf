"""The generated part of the config's schema: that it is up to date, and follows the signatures."""

import copy
import json
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


def with_entry(section, **entry):
    config = copy.deepcopy(CONFIG)
    config[section]["mine"] = {"label": "mine", **entry}
    return config


def wrong(section, **entry):
    """What is wrong in a config that has this entry; None: nothing."""
    try:
        validate_config(with_entry(section, **entry))
    except ResampledPriorsError as error:
        return str(error)
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
    entry = {"family": "mixture", "components": 3, "widths": [10]}
    unknown = "config: priors.mine.family: 'mixture' is not one of ['lars', "
    assert wrong("priors", **entry).startswith(unknown)
    monkeypatch.setitem(priors.FAMILIES, "mixture", mixture)
    assert wrong("priors", **entry).startswith(unknown)  # the file is read, not the tables
    regenerate()
    assert wrong("priors", **entry) is None
    assert wrong("priors", **entry, tied=True, base="standard") is None
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
        assert wrong("priors", **entry | {key: value}) == f"config: {message}"
    del entry["components"]
    message = "config: priors.mine: 'components' is a required property: add it"
    assert wrong("priors", **entry) == message


def test_a_parameter_of_unknown_type_is_an_error_of_the_generator(monkeypatch):
    monkeypatch.setitem(models.FAMILIES, "mine", Mine)
    with pytest.raises(TypeError, match=r"Mine.*: output has no type of settings\.py"):
        schema.text()


VALUES = {
    "prior_name": "standard",
    "output_settings": OUTPUT,
    "hidden": [3],
    "smoothing": 0.5,
    "truncation": None,
}
FAMILIES = [
    (section, name, make, part)
    for section, part in schema.parts().items()
    for name, make in part.families.items()
]


@pytest.mark.parametrize(
    ("section", "family", "make", "part"), FAMILIES, ids=[f"{s} {n}" for s, n, *_ in FAMILIES]
)
def test_an_entry_of_each_family(section, family, make, part):
    types, required = schema.settings_of(make, part.given)
    entry = {"family": family} | ({"latent_size": 2, "training": {}} if section == "model" else {})
    section = f"{section}s"
    complete = entry | {key: VALUES.get(name, 3) for key, name in types.items()}
    assert wrong(section, **complete) is None
    least = {key: value for key, value in complete.items() if key in {*entry, *required}}
    assert wrong(section, **least) is None
    for key in required:
        message = f"config: {section}.mine: '{key}' is a required property: add it"
        assert wrong(section, **{k: v for k, v in complete.items() if k != key}) == message
    for key in ("name", "code_sha256", *part.given - {"latent_size"}):
        message = f"config: unknown key '{section}.mine.{key}': "
        assert wrong(section, **complete, **{key: 3}).startswith(message)


def test_toys_know_the_families_and_none_of_the_users_own():
    config = copy.deepcopy(CONFIG)
    toy = config["toys"]["lars_10"]
    for proposal, message in [
        ({"family": "standard_normal"}, None),
        ({"family": "realnvp", "layers": 1}, "prior.proposal: 'hidden' is a required property"),
        ({"family": "standard_normal", "base": "x"}, "'toys.lars_10.prior.proposal.base': "),
        ({"family": "mine.py:A"}, r"prior.proposal.family: 'mine.py:A' is not one of \['"),
    ]:
        toy["prior"] = {**toy["prior"], "proposal": proposal}
        if message is None:
            validate_config(config)
        else:
            with pytest.raises(ResampledPriorsError, match=message):
                validate_config(config)


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
