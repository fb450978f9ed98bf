"""What a log and TensorBoard say of a training run."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import train_model

from resampled_priors.data.dataset import load_dataset
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.progress import progress_bar, tensorboard
from resampled_priors.runs.training import build_run_model

NAMES = {"loss", "recons", "kl", "kl_weight", "z", "learning_rate"}


@pytest.fixture
def run(digits, tmp_path, monkeypatch):
    """Function that trains LARS for six iterations in a folder."""
    settings = resolve_run(
        load_config([Path(__file__).parents[1] / "config.yaml"]),
        Run("short", "digits", "vae", "lars", 0),
    )
    settings["training"] |= {"iterations": 6, "warm_up": 3}

    def start(name: str, on: bool) -> None:
        folder = tmp_path / name
        monkeypatch.setenv("RESAMPLED_PRIORS_TENSORBOARD", "1" if on else "")
        train_model(build_run_model(settings, None), load_dataset(digits), settings, folder)

    return start


def scalars(folder) -> dict[str, dict[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def test_a_line_of_a_log_says_all(run, tmp_path, capsys):
    run("plain", on=False)
    rows = pd.read_csv(tmp_path / "plain" / "training.csv")
    loss, z = rows["loss"].iloc[-1], rows["z"].iloc[-1]
    line = capsys.readouterr().err.strip().splitlines()[-1]
    progress = r"lars: 100%\|#+\| 6/6 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+it/s, loss (\S+) Z (\S+)\]"
    found = re.fullmatch(progress, line)
    assert found, line
    assert found[1] == f"{loss:.2f}" and found[2] == f"{z:.2g}"


def test_bars_side_by_side_are_plain_lines_of_a_log(capsys):
    bars = [progress_bar(total=2, desc=name) for name in ("one", "other")]
    for bar in bars:
        bar.update(2)
        bar.close()
    text = capsys.readouterr().err
    assert all(line.isprintable() for line in text.splitlines())
    assert [line.partition(":")[0] for line in text.splitlines()].count("other") >= 2


def test_tensorboard_shows_the_rows_of_the_csv_and_changes_no_run(run, tmp_path):
    run("watched", on=True)
    run("plain", on=False)
    assert not (tmp_path / "plain" / "tensorboard").exists()
    rows = pd.read_csv(tmp_path / "watched" / "training.csv").set_index("iteration")
    shown = scalars(tmp_path / "watched")
    assert set(shown) == NAMES
    for name in NAMES:
        assert shown[name] == pytest.approx(rows[name].to_dict(), rel=1e-6)
    watched, plain = (tmp_path / name / "model.safetensors" for name in ("watched", "plain"))
    assert watched.read_bytes() == plain.read_bytes()


def test_what_an_interrupted_attempt_wrote_last_is_void(tmp_path, monkeypatch):
    monkeypatch.setenv("RESAMPLED_PRIORS_TENSORBOARD", "1")
    for start, steps, value in ((0, range(1, 6), 1.0), (3, range(4, 8), 2.0)):
        with tensorboard(tmp_path, start) as write:
            for step in steps:
                write({"iteration": step, **dict.fromkeys(NAMES, value)})
    assert scalars(tmp_path)["loss"] == dict.fromkeys(range(1, 4), 1.0) | dict.fromkeys(
        range(4, 8), 2.0
    )


def test_without_the_package_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("RESAMPLED_PRIORS_TENSORBOARD", "1")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ResampledPriorsError, match=r"pip install 'resampled-priors\[tensorboard"):
        with tensorboard(tmp_path, 0):
            pass
