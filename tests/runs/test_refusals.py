"""What the steps of a run refuse, from Python and from the command line: in one line each."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from run_steps import (
    CONFIG,
    CONFIG_FILE,
    FILES,
    assert_one_line,
    make_run,
    settings_for,
    without_timings,
)
from safetensors.torch import load_file, save_file

from resampled_priors import cli
from resampled_priors.data import SPLITS
from resampled_priors.data.prepare import prepare_own
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import Run, resolve_run
from resampled_priors.files import read_json, sha256
from resampled_priors.models import build_model
from resampled_priors.runs import checkpoints, finished
from resampled_priors.runs.finished import write_outputs
from resampled_priors.runs.load import load_run
from resampled_priors.runs.steps import (
    estimate_run_z,
    evaluate_run,
    train_run,
)

# --- bad input -----------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def foreign_model(path):
    other = resolve_run(CONFIG, Run("short", "digits", "vae_2d", "standard", 0))
    save_file(build_model(other, (28, 28)).state_dict(), path)


def replace_json(content):
    return lambda path: path.write_text(json.dumps(content))


def change_json(**changes):
    return lambda path: path.write_text(json.dumps(read_json(path) | changes))


def drop_key(key):
    def drop(path):
        content = read_json(path)
        del content[key]
        path.write_text(json.dumps(content))

    return drop


EVALUATION_DAMAGES = {
    "no model": ("model.safetensors", Path.unlink, "train this run first"),
    "model cut short": ("model.safetensors", cut, "delete it and train this run again"),
    "empty model": ("model.safetensors", lambda p: p.write_bytes(b""), "train this run again"),
    "another model": ("model.safetensors", foreign_model, "train this run again"),
    "no run.json": ("run.json", Path.unlink, "make it first"),
    "run.json cut short": ("run.json", cut, "make it again"),
    "run.json of something else": ("run.json", replace_json([1, 2]), "train the run again"),
    "run.json without settings": ("run.json", drop_key("settings"), "train the run again"),
    "run.json with other settings": ("run.json", change_json(settings={}), "train the run again"),
    "run.json without iterations": ("run.json", drop_key("iterations"), "train the run again"),
    "run.json of another model": (
        "run.json",
        change_json(model_sha256="0" * 64),
        "is not of model.safetensors beside it: train the run again",
    ),
    "no z.json": ("z.json", Path.unlink, "make it first"),
    "z.json cut short": ("z.json", cut, "make it again"),
    "z.json of something else": ("z.json", replace_json({"nll": 3}), "estimate"),
    "z.json of another model": (
        "z.json",
        change_json(model_sha256="0" * 64),
        "was made from another model than run.json: estimate Z of the run again",
    ),
    "z.json a list": ("z.json", replace_json([]), "estimate"),
}


@pytest.mark.parametrize("damage", EVALUATION_DAMAGES)
def test_evaluate_refuses_a_damaged_run(damage, copy, digits):
    (copy / "metrics.json").unlink()
    name, spoil, remedy = EVALUATION_DAMAGES[damage]
    spoil(copy / name)
    with pytest.raises(ResampledPriorsError) as error:
        evaluate_run(copy, digits, 2, "cpu")
    assert_one_line(str(error.value), str(copy / name), remedy)
    assert not (copy / "metrics.json").exists()


@pytest.mark.parametrize("damage", [d for d in EVALUATION_DAMAGES if "z.json" not in d])
def test_estimate_z_refuses_a_damaged_run(damage, copy):
    name, spoil, remedy = EVALUATION_DAMAGES[damage]
    (copy / "z.json").unlink()
    spoil(copy / name)
    with pytest.raises(ResampledPriorsError) as error:
        estimate_run_z(copy, 100, None, "cpu")
    assert_one_line(str(error.value), str(copy / name), remedy)
    assert not (copy / "z.json").exists()


def test_results_of_before_they_named_their_model_are_taken(copy, digits):
    drop_key("model_sha256")(copy / "z.json")
    before = without_timings(read_json(copy / "metrics.json"))
    evaluate_run(copy, digits, 2, "cpu")
    assert without_timings(read_json(copy / "metrics.json")) == before


def test_retraining_by_hand_makes_z_stale(copy, digits):
    settings = settings_for(prior="lars", iterations=4)
    train_run(copy, settings, digits, None, "cpu")
    for step in (lambda: load_run(copy), lambda: evaluate_run(copy, digits, 2, "cpu")):
        with pytest.raises(ResampledPriorsError) as error:
            step()
        assert_one_line(str(error.value), str(copy / "z.json"), "estimate Z of the run again")
    estimate_run_z(copy, 500, None, "cpu")
    evaluate_run(copy, digits, 2, "cpu")
    names = {read_json(copy / f"{n}.json")["model_sha256"] for n in ("run", "z", "metrics")}
    assert names == {sha256(copy / "model.safetensors")}


HOLD = """
import sys
from pathlib import Path
from resampled_priors.runs.locks import sole_user
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("step", finished.RECORDS)
def test_a_step_waits_for_another_process_and_changes_nothing_until_then(
    step, copy, digits, capsys
):
    steps = {
        "train": lambda: train_run(copy, settings_for(prior="lars"), digits, None, "cpu"),
        "estimate_z": lambda: estimate_run_z(copy, 500, None, "cpu"),
        "evaluate": lambda: evaluate_run(copy, digits, 3, "cpu"),
    }
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    then = []

    def release():
        then.append({p.name: p.read_bytes() for p in copy.iterdir() if p.is_file()})
        holder.stdin.close()

    command = [sys.executable, "-c", HOLD, copy]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        threading.Timer(2.0, release).start()
        steps[step]()
    assert f"{copy}: another process is at work on this run" in capsys.readouterr().out
    assert then == [before | {".lock": b""}]
    record = finished.RECORDS[step]
    assert (copy / record).read_bytes() != before[record]


@pytest.mark.parametrize("killed_at", ["nothing", "training.csv", "model.safetensors", "all"])
def test_killed_in_its_last_writes_the_training_is_not_lost(
    killed_at, digits, tmp_path, monkeypatch, capsys, lars_run
):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", -1)

    def killed(*arguments):
        raise KeyboardInterrupt

    def killed_midway(folder, outputs):
        names = list(outputs)
        first = names[: names.index(killed_at) + 1 if killed_at in names else len(names)]
        write_outputs(folder, {name: outputs[name] for name in first})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if killed_at == "nothing":
            patch.setattr(checkpoints, "keep", killed)
        patch.setattr(checkpoints, "write_outputs", killed_midway)
        with pytest.raises(KeyboardInterrupt):
            train_run(tmp_path, settings_for(prior="lars"), digits, None, "cpu")
    for name in FILES[:3]:
        (tmp_path / name).unlink(missing_ok=True)  # as Snakemake does
    train_run(tmp_path, settings_for(prior="lars"), digits, None, "cpu")
    from_checkpoint = killed_at == "nothing"
    said = "continuing from iteration 3" if from_checkpoint else "train was finished before"
    assert said in capsys.readouterr().out
    assert sha256(tmp_path / "model.safetensors") == sha256(lars_run / "model.safetensors")
    assert not list(tmp_path.glob("checkpoint/*.pt"))


@pytest.mark.parametrize("changed", ["data", "base"])
def test_a_checkpoint_of_other_data_or_another_base_is_not_continued(
    changed, digits, standard_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", -1)
    data = Path(shutil.copy(digits, tmp_path / "digits.safetensors"))
    base = Path(shutil.copytree(standard_run, tmp_path / "base")) / "model.safetensors"
    arguments = (settings_for(prior="lars_posthoc"), data, base, "cpu")
    with monkeypatch.context() as patch:  # killed twice before the last writes
        patch.setattr(checkpoints.Checkpoint, "finish", lambda self, outputs: None)
        train_run(tmp_path / "run", *arguments)
        train_run(tmp_path / "run", *arguments)
    assert capsys.readouterr().out.count("continuing from iteration 3") == 1
    if changed == "base":
        train_run(base.parent, settings_for(iterations=4), data, None, "cpu")
    else:
        about = {"format_version": 1, "name": "digits", "kind": "grey", "provenance": []}
        save_file(load_file(digits), data, {"resampled_priors": json.dumps(about)})
    train_run(tmp_path / "run", *arguments)
    assert "continuing" not in capsys.readouterr().out
    assert len(list(tmp_path.glob("run/checkpoint/train.*.finished.zip"))) == 1


@pytest.fixture
def other_data(digits, tmp_path):
    """A whole prepared file of another data set."""
    about = {"format_version": 1, "name": "fashion_mnist", "kind": "grey", "provenance": []}
    path = tmp_path / "fashion_mnist.safetensors"
    save_file(load_file(digits), path, {"resampled_priors": json.dumps(about)})
    return path


def test_data_of_another_data_set(copy, other_data, tmp_path):
    for step in (
        lambda: evaluate_run(copy, other_data, 2, "cpu"),
        lambda: train_run(tmp_path / "new", settings_for(), other_data, None, "cpu"),
    ):
        with pytest.raises(ResampledPriorsError) as error:
            step()
        message = f"{other_data} holds fashion_mnist, the run wants digits: give that file"
        assert str(error.value) == message
    assert not (tmp_path / "new").exists()


def test_data_made_from_other_files_than_the_training_saw(copy, digits, tmp_path):
    about = {"format_version": 1, "name": "digits", "kind": "grey", "provenance": []}
    path = tmp_path / "digits.safetensors"
    save_file(load_file(digits), path, {"resampled_priors": json.dumps(about)})
    before = (copy / "metrics.json").read_bytes()
    with pytest.raises(ResampledPriorsError, match="was not made from the files that") as error:
        evaluate_run(copy, path, 2, "cpu")
    assert str(path) in str(error.value) and str(copy) in str(error.value)
    assert (copy / "metrics.json").read_bytes() == before


def test_damaged_data_leaves_no_run(digits, tmp_path):
    data = Path(shutil.copy(digits, tmp_path / "digits.safetensors"))
    for spoil, remedy in ((cut, "delete it"), (Path.unlink, "prepare the data set first")):
        spoil(data)
        with pytest.raises(ResampledPriorsError) as error:
            train_run(tmp_path / "run", settings_for(), data, None, "cpu")
        assert_one_line(str(error.value), str(data), remedy)
    assert not (tmp_path / "run").exists()


def test_a_base_where_it_belongs_and_nowhere_else(standard_run, digits, tmp_path):
    base = standard_run / "model.safetensors"
    with pytest.raises(ResampledPriorsError) as error:
        train_run(tmp_path, settings_for(prior="lars_posthoc"), digits, None, "cpu")
    assert_one_line(str(error.value), "'lars_posthoc'", "give --base the 'standard' run's model")
    with pytest.raises(ResampledPriorsError) as error:
        train_run(tmp_path, settings_for(prior="lars"), digits, base, "cpu")
    assert_one_line(str(error.value), "'lars'", "give it no --base")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model": "vae_2d"}, "model"),
        ({"dataset": "fashion_mnist"}, "dataset"),
        ({"seed": 1}, "seed"),
    ],
)
def test_the_base_of_another_run(changes, key, standard_run, digits, tmp_path):
    base = standard_run / "model.safetensors"
    with pytest.raises(ResampledPriorsError) as error:
        settings = settings_for(prior="lars_posthoc", **changes)
        train_run(tmp_path, settings, digits, base, "cpu")
    assert_one_line(str(error.value), str(base), f"has another {key}")


def test_a_base_with_another_prior(lars_run, digits, tmp_path):
    base = lars_run / "model.safetensors"
    with pytest.raises(ResampledPriorsError) as error:
        train_run(tmp_path, settings_for(prior="lars_posthoc"), digits, base, "cpu")
    assert_one_line(str(error.value), str(base), "has another prior", "'standard'")


@pytest.mark.parametrize("spoil", [Path.unlink, cut])
def test_a_damaged_base(spoil, standard_run, digits, tmp_path):
    folder = Path(shutil.copytree(standard_run, tmp_path / "base"))
    spoil(folder / "model.safetensors")
    with pytest.raises(ResampledPriorsError) as error:
        settings = settings_for(prior="lars_posthoc")
        train_run(tmp_path / "run", settings, digits, folder / "model.safetensors", "cpu")
    assert_one_line(str(error.value), str(folder / "model.safetensors"), "train this run")
    assert not (tmp_path / "run").exists()


def test_a_resampled_output_with_a_lars_prior_has_the_product_of_two_zs(digits, tmp_path):
    settings = settings_for("vae_resampled_output", "lars")
    metrics = make_run(tmp_path, settings, digits, z_samples=500)
    z = read_json(tmp_path / "z.json")
    factors = [factor for factor, _, _ in z["factors"]]
    assert len(factors) == 2
    assert metrics["z"] == z["z"] == pytest.approx(factors[0] * factors[1])
    model = load_run(tmp_path)
    stored = [model.prior.log_z.exp().item(), model.output.log_z.exp().item()]
    assert stored == pytest.approx(factors)


def test_real_values_under_a_bernoulli_likelihood(tmp_path):
    splits = {s: np.random.default_rng(0).random((5, 28, 28), np.float32) for s in SPLITS}
    np.savez(tmp_path / "own.npz", **splits)
    prepare_own("digits", tmp_path / "own.npz", tmp_path / "own.safetensors")
    with pytest.raises(ResampledPriorsError) as error:
        train_run(tmp_path / "run", settings_for(), tmp_path / "own.safetensors", None, "cpu")
    assert_one_line(str(error.value), "holds real values", "models.vae.likelihood")
    assert not (tmp_path / "run").exists()


# --- the command line ----------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capsys):
    """Function that runs the command line in this process: exit status, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["resampled-priors", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code, *capsys.readouterr()

    return call


def test_the_steps_from_the_command_line(command, digits, tmp_path):
    folder = tmp_path / "runs" / "tiny" / "digits" / "vae" / "lars" / "seed2"
    overlay = tmp_path / "tiny.yaml"
    budget = CONFIG["budgets"]["short"] | {
        "iterations": 3,
        "warm_up": 2,
        "importance_samples": 2,
        "z_samples": 1_000,
        "z_target": None,
        "seeds": [2],
    }
    overlay.write_text(json.dumps({"budget": "tiny", "budgets": {"tiny": budget}}))
    config = ["--configfile", CONFIG_FILE, "--configfile", overlay, "--device", "cpu"]
    for arguments in (["train", folder, "--data", digits], ["estimate-z", folder]):
        assert command(*arguments, *config)[0] == 0
    assert command("evaluate", folder, "--data", digits, *config)[0] == 0
    by_hand = make_run(
        tmp_path / "by_hand", settings_for(prior="lars", seed=2), digits, z_samples=1_000
    )
    assert without_timings(read_json(folder / "metrics.json")) == without_timings(by_hand)


def test_settings_as_json_are_the_same_as_the_configs(command, digits, tmp_path):
    settings = settings_for(seed=1, iterations=2)
    folder = tmp_path / "anywhere"
    text = json.dumps(settings)
    status, *_ = command("train", folder, "--data", digits, "--settings", text, "--device", "cpu")
    assert status == 0
    assert read_json(folder / "run.json")["settings"] == settings


def assert_refused(result, *parts):
    status, _, error = result
    assert status == 1
    assert "Traceback" not in error
    lines = error.strip().splitlines()
    assert len(lines) == 1, error
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("damage", EVALUATION_DAMAGES)
def test_commands_refuse_a_damaged_run_in_one_line(damage, command, copy, digits):
    name, spoil, remedy = EVALUATION_DAMAGES[damage]
    spoil(copy / name)
    result = command(
        *("evaluate", copy, "--data", digits, "--device", "cpu"),
        *("--settings", '{"importance_samples": 2}'),
    )
    assert_refused(result, str(copy / name), remedy)


CONFIG_MISTAKES = {
    "not a run folder": ("results/lars", [], "is not a run folder: it should end in runs/BUDGET"),
    "data set": (
        "runs/short/mnist/vae/lars/seed0",
        [],
        "unknown dataset 'mnist': use one of static_mnist",
    ),
    "model": ("runs/short/digits/vea/lars/seed0", [], "unknown model 'vea': did you mean 'vae'?"),
    "prior": (
        "runs/short/digits/vae/lasr/seed0",
        [],
        "unknown prior 'lasr': did you mean 'lars'?",
    ),
    "budget": (
        "runs/short/digits/vae/lars/seed0",
        ["budget=sort"],
        "unknown budget 'sort': did you",
    ),
    "a misspelt key": (
        "runs/short/digits/vae/lars/seed0",
        ["training={learning_rat: 1}"],
        "unknown key 'training.learning_rat': did you mean 'learning_rate'?",
    ),
    "T = 0": (
        "runs/short/digits/vae/lars/seed0",
        ["priors={lars: {truncation: 0}}"],
        "priors.lars.truncation",
    ),
    "a negative width": (
        "runs/short/digits/vae/lars/seed0",
        ["priors={lars: {hidden: [-3]}}"],
        "priors.lars.hidden",
    ),
    "budget of a run": ("runs/sort/digits/vae/lars/seed0", [], "unknown budget 'sort': did you"),
    "no value": ("runs/short/digits/vae/lars/seed0", ["budget"], "--config wants KEY=VALUE"),
}


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
def test_mistakes_in_the_config_end_in_one_line(mistake, command, tmp_path):
    folder, values, message = CONFIG_MISTAKES[mistake]
    options = [option for value in values for option in ("--config", value)]
    result = command(
        *("train", tmp_path / folder, "--data", "none.safetensors"),
        *("--configfile", CONFIG_FILE, *options),
    )
    assert_refused(result, message)
    assert list(tmp_path.iterdir()) == []


def test_other_mistakes_end_in_one_line(command, tmp_path):
    folder = tmp_path / "runs" / "short" / "digits" / "vae" / "lars" / "seed0"
    train = ("train", folder, "--data", tmp_path / "none", "--configfile", CONFIG_FILE)
    assert_refused(command(*train, "--device", "cpu"), f"{tmp_path / 'none'} is missing: prepare")
    assert_refused(command(*train, "--device", "cuda:99"), "device 'cuda:99'", "use --device cpu")
    assert_refused(command(*train, "--settings", "{"), "--settings is not JSON")
    missing = (*train[:-1], tmp_path / "no.yaml")
    assert_refused(command(*missing), f"config file {tmp_path / 'no.yaml'} cannot be read")


def test_the_installed_command_exits_with_status_1(copy, digits):
    """Once for real, in a process of its own."""
    (copy / "z.json").unlink()
    code = "from resampled_priors.cli import main; main()"
    arguments = ["evaluate", copy, "--data", digits, "--settings", '{"importance_samples": 2}']
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    expected = f"error: {copy / 'z.json'} is missing: make it first.\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_nan_in_training_leaves_no_run(command, digits, tmp_path):
    settings = settings_for(prior="lars", iterations=40)
    settings["training"]["learning_rate"] = 1e20
    status, _, error = command(
        *("train", tmp_path / "run", "--data", digits, "--device", "cpu"),
        *("--settings", json.dumps(settings)),
    )
    assert status == 1
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1].startswith("error: the loss is ")
    for name in ("model.safetensors", "run.json", "training.csv"):
        assert not (tmp_path / "run" / name).exists()
