"""A run's records of any other shape, in another place, or of other settings: one line each."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from refusals import refused

from resampled_priors import cli
from resampled_priors.experiment import Run, load_config, resolve_run, resolve_table
from resampled_priors.files import read_json, write_json
from resampled_priors.report.tables import write_table
from resampled_priors.report.timing import measured_times
from resampled_priors.report.verify import verify
from resampled_priors.runs.load import load_run
from resampled_priors.runs.records import first_difference
from resampled_priors.runs.steps import estimate_run_z, evaluate_run, train_run

CONFIG_FILE = Path(__file__).parents[2] / "config.yaml"
CONFIG = load_config([CONFIG_FILE])
RUN = Run("short", "digits", "vae", "lars_T2", 0)


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A results folder with a run, and its data beside it."""
    folder = tmp_path_factory.mktemp("whole")
    data = Path(shutil.copy(digits, folder / "digits.safetensors"))
    settings = resolve_run(CONFIG, RUN)
    settings["training"] |= {"iterations": 2, "warm_up": 1}
    run = folder / "results" / RUN.folder
    train_run(run, settings, data, None, "cpu")
    estimate_run_z(run, 2_000, None, "cpu")
    evaluate_run(run, data, 1, "cpu")
    return folder


@pytest.fixture
def results(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy")) / "results"


def table(results: Path) -> None:
    spec = resolve_table(CONFIG, "tableD3")
    cell = spec["cells"][0] | {"dataset": "digits", "model": "vae", "prior": RUN.prior}
    write_table("tableD3", spec | {"cells": [cell]}, results)


# Other JSON --------------------------------------------------------------------------------------

SHAPES = {
    "a list": [1, 2],
    "a number": 3,
    "a text": "metrics",
    "null": None,
    "true": True,
    "empty": {},
    "a list of objects": [{"nll": 1.0}],
    "deep": {"a": {"b": {"c": [{}]}}},
}
VALUES = {
    "a text": "x",
    "a list": [],
    "an object": {},
    "null": None,
    "true": True,
    "huge": 10**400,
    "infinite": "1e999",
    "negative": -1,
    "half a letter": "\ud800",
}


def changed_values(record):
    """The record with each of its values in turn replaced by each of ``VALUES``, or without it."""
    for key in record:
        yield f"no {key}", {k: v for k, v in record.items() if k != key}
        for name, value in VALUES.items():
            yield f"{key}: {name}", record | {key: value}


READERS = {
    "evaluate": lambda results: evaluate_run(
        results / RUN.folder, results.parent / "digits.safetensors", 1, "cpu"
    ),
    "table": table,
    "measured times": measured_times,
    "verify": lambda results: verify(results, results.parent),
}


def answered(read, results) -> None:
    """Whatever is read: a result, or one line."""
    try:
        read(results)
    except cli.ResampledPriorsError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["run.json", "z.json", "metrics.json"])
@pytest.mark.parametrize("reader", READERS)
def test_other_json(reader, name, results):
    path = results / RUN.folder / name
    for shape in SHAPES.values():
        path.write_text(json.dumps(shape))
        answered(READERS[reader], results)


@pytest.mark.parametrize("name", ["run.json", "z.json", "metrics.json"])
@pytest.mark.parametrize("reader", ["table", "measured times", "verify"])
def test_other_values(reader, name, results):
    path = results / RUN.folder / name
    record = read_json(path)
    for _, changed in changed_values(record):
        path.write_text(json.dumps(changed).replace('"1e999"', "1e999"))
        answered(READERS[reader], results)


# Other places ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["dataset", "model", "prior", "seed"])
def test_a_run_in_the_place_of_another_is_refused(key, results):
    other = {"dataset": "omniglot", "model": "hvae", "prior": "lars", "seed": 1}[key]
    copy = results / Run(**vars(RUN) | {key: other}).folder
    shutil.copytree(results / RUN.folder, copy)
    is_of = f"is of a run whose {key} is {getattr(RUN, key)}, the folder's is {other}: move it"
    data = results.parent / "digits.safetensors"
    for read in (
        load_run,
        lambda folder: estimate_run_z(folder, 100, None, "cpu"),
        lambda folder: evaluate_run(folder, data, 1, "cpu"),
    ):
        with refused(f"{copy}/run.json {is_of}"):
            read(copy)
    _, _, problems = verify(results, results.parent)
    assert [is_of in line for line in problems] == [True]


def test_a_copy_whose_path_says_nothing_is_read(results, tmp_path):
    copy = shutil.copytree(results / RUN.folder, tmp_path / "seed7")
    assert load_run(copy).prior.truncation == 2


# Other settings ----------------------------------------------------------------------------------


def test_the_first_key_that_differs():
    made = {"prior": {"truncation": 2, "proposal": {"family": "maf"}}, "seed": 0}
    assert first_difference(made, json.loads(json.dumps(made))) is None
    wished = made | {"prior": {"truncation": 2, "proposal": {"family": "maf", "layers": 2}}}
    assert first_difference(made, wished) == ("prior.proposal.layers", "missing", 2)
    assert first_difference(wished, made) == ("prior.proposal.layers", 2, "missing")


@pytest.fixture
def command(results, monkeypatch, capsys):
    """Run a command on the results, by hand, with a config in which T is 7."""
    overlay = results.parent / "overlay.yaml"
    training = {"iterations": 2, "warm_up": 1}
    spec = {"caption": "x", "dataset": "digits", "model": "vae", "columns": [{"metric": "nll"}]}
    spec["rows"] = [{"prior": RUN.prior}]
    shown = {"kind": "running_z", "caption": "x", "runs": [f"digits/vae/{RUN.prior}"]}
    shown |= {"num_samples": 100, "seed": 0}
    config = {"tables": {"mine": spec}, "figures": {"mine": shown}}
    config["budgets"] = {"short": training}

    def call(*arguments, truncation=7):
        prior = {"priors": {RUN.prior: {"truncation": truncation}}}
        overlay.write_text(yaml.safe_dump(config | prior))
        options = ["--configfile", CONFIG_FILE, "--configfile", overlay]
        monkeypatch.setattr("sys.argv", ["x", *map(str, [*arguments, *options])])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code, capsys.readouterr().err

    return call


def test_commands_by_hand_compare_settings_with_the_config(command, results):
    run = results / RUN.folder
    for path in (run / "run.json",):
        record = read_json(path)
        with_budget = resolve_run(CONFIG, RUN)["training"] | record["settings"]["training"]
        assert with_budget == record["settings"]["training"]
    calls = [
        ("estimate-z", run, "--device", "cpu"),
        ("evaluate", run, "--data", results.parent / "digits.safetensors", "--device", "cpu"),
        ("table", "mine", "--results", results),
        ("figure", "mine", "--results", results, "--device", "cpu"),
    ]
    for arguments in calls:
        status, error = command(*arguments)
        assert status == 1, arguments
        line = error.splitlines()[-1]
        assert line == (
            f"error: {run}: prior.truncation is 2 in run.json and 7 in the config: train it again "
            "(delete the folder), or correct the config"
        )
    assert not list(results.glob("mine.*"))
    assert command(*calls[2], truncation=2)[0] == 0


def test_an_edited_run_json_is_refused_by_what_was_made_from_it(results):
    path = results / RUN.folder / "run.json"
    write_json(path, read_json(path) | {"threads": 7})
    with refused("z.json was made from another run.json than the one beside it: estimate Z"):
        load_run(path.parent)
    with refused("metrics.json was made from another run.json .*: evaluate the run again"):
        table(results)
