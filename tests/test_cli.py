"""The command line: help that says enough, a run by hand, and errors of one line."""

import json
import os
import shlex
import socket
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

import pytest
import typer

from resampled_priors import cli
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.files import read_json

CONFIG_FILE = Path(__file__).parents[1] / "config.yaml"
COMMANDS = typer.main.get_command(cli.app).commands
TINY = {
    "budget": "tiny",
    "device": "cpu",
    "budgets": {
        "tiny": {
            "iterations": 3,
            "warm_up": 2,
            "importance_samples": 2,
            "z_samples": 1_000,
            "seeds": [0],
        }
    },
    "tables": {"tableD4": {"dataset": "digits", "rows": [{"prior": "lars"}, {"prior": "maf"}]}},
}


@pytest.fixture
def command(monkeypatch, capsys):
    """Function that runs the command line in this process: (status, stdout, stderr)."""
    monkeypatch.delenv("RESAMPLED_PRIORS_MIRROR", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["resampled-priors", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code, *capsys.readouterr()

    return call


def assert_refused(result, *parts):
    """Status 1 and one line on stderr, with these parts."""
    status, _, error = result
    assert status == 1
    assert error.startswith("error: ") and error.count("\n") == 1, error
    for part in parts:
        assert part in error


def assert_header(out, step):
    """A log begins with time, command, versions and, but for prepare, the settings as JSON."""
    lines = dict(line.split(": ", 1) for line in out.splitlines()[: 3 + (step[0] != "prepare")])
    started, _, host = lines["started"].partition(" on ")
    assert abs(datetime.now().astimezone() - datetime.fromisoformat(started)).seconds < 600
    assert host == socket.gethostname()
    assert shlex.split(lines["command"]) == ["resampled-priors", *map(str, step)]
    assert "commit " in lines["versions"] or "no checkout" in lines["versions"]
    assert f"torch {metadata.version('torch')}" in lines["versions"]
    assert step[0] == "prepare" or json.loads(lines["settings"])


# Help --------------------------------------------------------------------------------------------


def test_the_commands():
    assert {"prepare", "train", "estimate-z", "evaluate", "table"} <= COMMANDS.keys()


def test_help_names_every_command(command):
    status, text, _ = command("--help")
    assert status == 0
    for name in COMMANDS:
        assert name in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_and_writes(command, name):
    status, text, _ = command(name, "--help")
    assert status == 0
    summary = COMMANDS[name].help
    assert summary.endswith(".") and "\n" not in summary.strip()
    assert " ".join(summary.split()[:4]) in text


@pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, p) for name, found in COMMANDS.items() for p in found.params],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_each_option_is_explained(name, parameter):
    assert parameter.help and len(parameter.help) > 10


def test_no_arguments_show_the_help(command):
    _, out, error = command()
    assert "Usage" in out + error


# A run by hand -----------------------------------------------------------------------------------


def test_from_raw_data_to_a_table_by_hand(command, tmp_path):
    overlay = tmp_path / "tiny.yaml"
    overlay.write_text(json.dumps(TINY))
    results, data = tmp_path / "my results", tmp_path / "my data" / "digits.safetensors"
    run = results / "runs" / "tiny" / "digits" / "vae" / "lars" / "seed0"
    config = ["--configfile", CONFIG_FILE, "--configfile", overlay]

    steps = [
        ("prepare", "digits", "--output", data, "--raw", tmp_path / "raw"),
        ("train", run, "--data", data, *config),
        ("estimate-z", run, *config),
        ("evaluate", run, "--data", data, *config),
        ("table", "tableD4", "--results", results, *config),
    ]
    said = []
    for step in steps:
        status, out, progress = command(*step)
        assert status == 0
        assert_header(out, step)
        assert ("100%" in progress) == (step[0] in ("train", "estimate-z", "evaluate"))
        said.append(out)
    assert said[0].endswith(f"\nprepared digits in {data}\n")
    assert f"trained {run}: 3 iterations" in said[1]
    metrics = read_json(run / "metrics.json")
    assert f"Z = {metrics['z']:.6g}" in said[2]
    assert f"NLL {metrics['nll']:.3f}" in said[3]
    table = (results / "tableD4.md").read_text()
    assert f"{metrics['nll']:.2f}" in table
    assert "Missing runs: runs/tiny/digits/vae/maf/seed0" in table
    assert {path.name for path in run.iterdir()} == {
        *("model.safetensors", "training.csv", "run.json", "z.json", "metrics.json"),
        "checkpoint",  # copies for a workflow that was killed while this was done
    }


def test_on_a_terminal_there_is_no_header(command, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    path = tmp_path / "digits.safetensors"
    assert command("prepare", "digits", "--output", path)[1] == f"prepared digits in {path}\n"


def test_the_log_of_a_failure_has_the_settings_and_ends_with_the_error(command, tmp_path):
    step = ("estimate-z", tmp_path / "none", "--settings", '{"z_samples": 100}')
    _, out, _ = result = command(*step)
    assert_header(out, step)
    assert len(out.splitlines()) == 4 and json.loads(out.splitlines()[3][10:]) == {
        "z_samples": 100
    }
    assert_refused(result, "run.json is missing")


def test_the_installed_command(tmp_path):
    """Once for real: on the path, in a process of its own, from an empty folder."""
    program = Path(sys.executable).with_name("resampled-priors")
    done = subprocess.run(
        [program, "table", "table1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: config file config.yaml cannot be read: ")
    assert done.stderr.endswith("correct it, or name another with --configfile\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# Errors ------------------------------------------------------------------------------------------

RUN = "runs/short/digits/vae/lars/seed0"
NAMES = {
    "data set": (("prepare", "digit", "--output", "x"), ["'digit'", "digits"]),
    "table": (("table", "tableD7"), ["unknown table 'tableD7'", "did you mean 'tableD"]),
    "toy": (("toy", "lars_3d", "--output", "x.npz"), ["unknown toy 'lars_3d'", "'lars_1d'"]),
    "figure": (("figure", "figD2"), ["unknown figure 'figD2'", "did you mean 'fig"]),
    "data set of a run": (("train", RUN.replace("digits", "digit"), "--data", "x"), ["'digits'"]),
    "model": (("train", RUN.replace("vae", "vea"), "--data", "x"), ["unknown model 'vea'"]),
    "prior": (("train", RUN.replace("lars", "lasr"), "--data", "x"), ["unknown prior 'lasr'"]),
}


@pytest.mark.parametrize(("arguments", "parts"), NAMES.values(), ids=NAMES)
def test_unknown_names(command, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    if arguments[0] != "prepare":
        arguments = (*arguments, "--configfile", CONFIG_FILE)
    assert_refused(command(*arguments), *parts)
    assert list(tmp_path.iterdir()) == []


OVERLAYS = {
    "budget: papr": "unknown budget 'papr': did you mean 'paper'",
    "priors: {lars: {truncaton: 3}}": "unknown key 'priors.lars.truncaton': did you mean 'trunca",
    "priors: {lars: {truncation: 0}}": "priors.lars.truncation: 0",
    "priors: {lars: {hidden: [100, -1]}}": "priors.lars.hidden.1: -1",
    "priors: {lars: {hidden: 100}}": "priors.lars.hidden: 100",
    "priors: {lars": "overlay.yaml cannot be read",
}


@pytest.mark.parametrize(("text", "part"), OVERLAYS.items(), ids=OVERLAYS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", RUN, "--data", "x"),
        ("estimate-z", RUN),
        ("evaluate", RUN, "--data", "x"),
        ("table", "table1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_checks_the_whole_config(command, tmp_path, arguments, text, part):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text)
    config = ("--configfile", CONFIG_FILE, "--configfile", overlay)
    assert_refused(command(*arguments, *config), part)


@pytest.mark.parametrize("text", ["{", "", "nonsense", "[1]", "3", "null"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", RUN, "--data", "x"),
        ("estimate-z", RUN),
        ("evaluate", RUN, "--data", "x"),
        ("table", "table1"),
        ("toy", "lars_1d", "--output", "x.npz"),
        ("figure", "fig1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_settings_that_are_no_json_object(command, arguments, text):
    assert_refused(command(*arguments, "--settings", text), "--settings")


TRAIN = resolve_run(load_config([CONFIG_FILE]), Run("short", "digits", "vae", "lars", 0))
TABLE = {"caption": "", "budget": "", "seeds": [0]}
WRONG_SETTINGS = [
    (("train", "r", "--data", "x"), {}, "the top level: 'dataset' is a required property: add"),
    (("train", "r", "--data", "x"), TRAIN | {"seed": "1"}, "seed: '1' is not of type 'integer'"),
    (
        ("train-together", "runs/short/a/b/c/seed0", "--data", "x"),
        {},
        "the top level: 'dataset' is a required property",
    ),
    (
        ("train-together", "runs/short/a/b/c/seed0", "runs/short/a/b/c/seed1", "--data", "x"),
        {},
        "2 runs and 1 --settings: give --settings once for each run",
    ),
    (("estimate-z", "r"), {}, "the top level: 'z_samples' is a required property: add it"),
    (("estimate-z", "r"), {"z_samples": "many"}, "z_samples: 'many' is not of type 'integer'"),
    (("evaluate", "r", "--data", "x"), {}, "'importance_samples' is a required property"),
    (("evaluate", "r", "--data", "x"), {"importance_samples": 0}, "0 is less than the minimum"),
    (("table", "table1"), {}, "the top level: 'caption' is a required property: add it"),
    (("table", "table1"), TABLE | {"cells": [3]}, "cells.0: 3 is not of type 'object'"),
    (("toy", "lars_1d", "--output", "x"), {}, "'target' is a required property"),
    (("figure", "fig3"), {}, "the top level: 'kind' is a required property: add it"),
    (("figure", "fig3"), {"kind": "ranked"}, "the top level: 'runs' is a required property: add"),
    (
        ("figure", "fig3"),
        {"kind": "latent_means", "runs": ["digits/vae/lars"], "seed": 0},
        "runs.0: 'digits/vae/lars' does not mat",
    ),
    (("figure", "fig4"), {"kind": "rank"}, "kind: 'rank' is not one of ['toy_line', "),
]


@pytest.mark.parametrize(("arguments", "settings", "part"), WRONG_SETTINGS)
def test_settings_of_another_form(command, tmp_path, monkeypatch, arguments, settings, part):
    monkeypatch.chdir(tmp_path)
    assert_refused(command(*arguments, "--settings", json.dumps(settings)), "--settings", part)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("estimate-z", "--settings", '{"z_samples": 100}'),
        ("evaluate", "--data", "x", "--settings", '{"importance_samples": 2}'),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_folder_that_is_no_run(command, tmp_path, arguments):
    name, *options = arguments
    result = command(name, tmp_path, *options, "--device", "cpu")
    assert_refused(result, f"{tmp_path / 'run.json'} is missing: make it first")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_form(command, tmp_path):
    result = command("train", tmp_path / "lars", "--data", "x", "--configfile", CONFIG_FILE)
    assert_refused(result, f"{tmp_path / 'lars'} is not a run folder: it should end in runs/BUDGE")


@pytest.mark.parametrize("device", ["cuda:77", "nonsense", "mps"])
def test_a_device_that_is_not_there(command, tmp_path, device):
    arguments = ("estimate-z", tmp_path, "--settings", '{"z_samples": 100}', "--device", device)
    assert_refused(command(*arguments), f"device '{device}' cannot be used", "use --device cpu")


@pytest.mark.parametrize("name", ["static_mnist", "dynamic_mnist", "omniglot", "fashion_mnist"])
def test_data_that_is_neither_there_nor_on_the_network(command, tmp_path, monkeypatch, name):
    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for variable in [v for v in os.environ if v.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    output = tmp_path / "prepared" / "x.safetensors"
    result = command("prepare", name, "--output", output, "--raw", tmp_path / "raw")
    assert_refused(result, "could not be downloaded", "RESAMPLED_PRIORS_MIRROR")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_mirror_that_is_not_there(command, tmp_path):
    arguments = ("prepare", "dynamic_mnist", "--output", tmp_path / "x.safetensors")
    result = command(*arguments, "--mirror", tmp_path / "none", "--raw", tmp_path / "raw")
    assert_refused(result, f"mirror {tmp_path / 'none'} is not a folder: correct data.mirror")


@pytest.mark.parametrize(
    "arguments",
    [("train",), ("train", RUN), ("nonsense",), ("estimate-z", RUN, "--threads", "0")],
    ids=lambda arguments: " ".join(arguments),
)
def test_wrong_use_shows_how_to_get_help(command, arguments):
    status, _, error = command(*arguments)
    assert status == 2
    assert "--help" in error and "Traceback" not in error
