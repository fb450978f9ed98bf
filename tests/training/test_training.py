"""Training: schedule, batches, every kind of run on real data, checkpoints, early stopping."""

import dataclasses
import hashlib
import itertools
import math
import types
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from resampled_priors.data.dataset import Dataset, load_dataset
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.evaluation import estimate_model_z, importance_weighted_terms
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.files import sha256, write_json
from resampled_priors.machine import linear as onednn
from resampled_priors.runs import checkpoints
from resampled_priors.runs.checkpoints import Checkpoint
from resampled_priors.runs.steps import build_run_model
from resampled_priors.training import loop as training
from resampled_priors.training.loop import (
    batch_indices,
    kl_weight,
    learning_rate,
    train,
    training_step,
)

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])
COLUMNS = ["iteration", "loss", "recons", "kl", "kl_weight", "z", "learning_rate", "seconds"]


def settings_for(dataset="digits", model="vae", prior="standard", seed=0, **schedule):
    """A run's settings as the config gives them, but for the schedule."""
    settings = resolve_run(CONFIG, Run("short", dataset, model, prior, seed))
    settings["training"] |= schedule
    return settings


@pytest.fixture(scope="module")
def small(digits) -> Dataset:
    data = load_dataset(digits)
    return dataclasses.replace(data, validation=data.validation[:50])


def run(data, settings, folder, base=None, checkpoint_seconds=30):
    """Train as the command does, quietly; the model and where training ended."""
    model = build_run_model(settings, base)
    checkpoint = Checkpoint(folder, "train", settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CHECKPOINT_SECONDS", checkpoint_seconds)
        progress = train(model, data, settings, folder, checkpoint, show_progress=False)
    checkpoint.clear()
    return model, progress


def rows_of(folder):
    return pd.read_csv(folder / "training.csv")


# --- schedule and batches ------------------------------------------------------------------


def test_kl_weight_rises_in_a_straight_line():
    assert [kl_weight(i, 4) for i in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert kl_weight(0, 0) == 1


def test_learning_rate_falls_once():
    schedule = {"learning_rate": 3e-4, "decayed_learning_rate": 1e-4, "decay_after": 10}
    rates = [learning_rate(i, schedule) for i in (0, 9, 10, 1_000)]
    assert rates == [3e-4, 3e-4, 1e-4, 1e-4]
    assert learning_rate(10**7, schedule | {"decay_after": None}) == 3e-4


def test_the_papers_schedule_and_static_mnists_half_of_it():
    for dataset, factor in (("dynamic_mnist", 1), ("static_mnist", 0.5), ("omniglot", 1)):
        schedule = resolve_run(CONFIG, Run("paper", dataset, "vae", "lars", 0))["training"]
        assert schedule["iterations"] == 10**7
        assert schedule["batch_size"] == 128
        assert schedule["warm_up"] == factor * 10**5
        assert schedule["decay_after"] == factor * 10**6
        assert (schedule["learning_rate"], schedule["decayed_learning_rate"]) == (3e-4, 1e-4)


@pytest.mark.parametrize(("size", "batch_size"), [(20, 5), (23, 5), (7, 7)])
def test_each_epoch_shows_every_image_at_most_once(size, batch_size):
    per_epoch = size // batch_size
    epochs = [
        torch.cat(
            [batch_indices(e * per_epoch + i, size, batch_size, 0) for i in range(per_epoch)]
        )
        for e in range(3)
    ]
    for rows in epochs:
        assert len(rows) == per_epoch * batch_size  # all but a remainder that fills no batch
        assert len(set(rows.tolist())) == len(rows)
        assert set(rows.tolist()) <= set(range(size))
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(epochs, 2))


def test_batches_are_a_function_of_iteration_and_seed_alone():
    wanted = [batch_indices(i, 1_000, 128, 3) for i in range(20)]
    torch.manual_seed(99)
    for i in (19, 0, 7, 12, 3):  # in any order, with any state of torch's generator
        assert torch.equal(batch_indices(i, 1_000, 128, 3), wanted[i])
    assert not torch.equal(batch_indices(0, 1_000, 128, 4), wanted[0])


def test_a_data_set_smaller_than_a_batch_is_one_batch():
    assert sorted(batch_indices(5, 9, 128, 0).tolist()) == list(range(9))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_a_step_is_one_of_adam_on_the_weighted_loss(beta, small):
    settings = settings_for(prior="lars")
    x = small.evaluation_images("validation", 0)
    one, other = build_run_model(settings, None), build_run_model(settings, None)
    torch.manual_seed(1)
    ours = training_step(one, torch.optim.Adam(one.parameters(), lr=1e-3), x, beta)

    torch.manual_seed(1)
    (log_likelihood, log_prior, log_posterior), ((part, average),) = other.training_terms(x)
    loss = (-log_likelihood + beta * (log_posterior - log_prior)).mean()
    loss.backward()
    gradients = [parameter.grad for parameter in other.parameters()]
    expected = [loss, -log_likelihood.mean(), (log_posterior - log_prior).mean()]
    torch.testing.assert_close(ours, torch.stack(expected).detach())
    with torch.no_grad():  # the first step of Adam is lr · g / (|g| + ε)
        for parameter, g in zip(other.parameters(), gradients, strict=True):
            parameter -= 1e-3 * g / (g.abs() + 1e-8)
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=2e-6)
    assert float(one.prior.z_average) == pytest.approx(float(average), rel=1e-6)
    assert float(part.z_average) != float(average)


# --- every kind of run on real data --------------------------------------------------------


@pytest.fixture(scope="module")
def load(prepared):
    """Function from a data set's name to its data, loaded once."""
    loaded = {}

    def get(name):
        if name not in loaded:
            data = load_dataset(prepared(name))
            loaded[name] = dataclasses.replace(data, validation=data.validation[:300])
        return loaded[name]

    return get


def validation_loss(model, data):
    """Negative ELBO of each validation image; the same random numbers for the same model."""
    torch.manual_seed(7)
    estimate_model_z(model, 4_000, None)
    images = data.evaluation_images("validation", seed=0)
    terms = importance_weighted_terms(model, images, 1)
    return terms["recons"] + terms["kl"]


def lower_for_most(after, before):
    """Of 300 images 190 or more: by a coin's toss for each, in 2e-6 of seeds.

    No means: an untrained flow can give a few images thousands of nats.
    """
    return int((after < before).sum()) >= 190


KINDS = [
    ("dynamic_mnist", "vae", "standard", 150),
    ("dynamic_mnist", "vae", "lars", 150),
    ("dynamic_mnist", "vae", "lars_Tinf", 150),
    ("dynamic_mnist", "vae", "realnvp", 150),
    ("dynamic_mnist", "vae", "maf", 150),
    ("dynamic_mnist", "vae", "lars_realnvp", 100),
    ("dynamic_mnist", "vae_2d", "lars", 150),
    ("dynamic_mnist", "hvae", "lars", 100),
    ("dynamic_mnist", "conv_hvae", "lars", 30),
    ("dynamic_mnist", "vae_resampled_output", "standard", 60),
    ("static_mnist", "vae", "lars", 150),
    ("omniglot", "vae", "lars", 100),
    ("fashion_mnist", "vae", "lars", 100),
]


@pytest.mark.parametrize(("dataset", "model", "prior", "iterations"), KINDS)
def test_training_lowers_the_validation_loss(
    dataset, model, prior, iterations, load, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "VALIDATION_Z_SAMPLES", 20_000)
    data = load(dataset)
    schedule = {"iterations": iterations, "warm_up": iterations // 2}
    if dataset == "static_mnist":
        schedule["validation_interval"] = 50
    settings = settings_for(dataset, model, prior, **schedule)
    before = validation_loss(build_run_model(settings, None), data)
    initial = build_run_model(settings, None).state_dict()
    trained, progress = run(data, settings, tmp_path)
    after = validation_loss(trained, data)
    assert lower_for_most(after, before)
    assert float((before - after).median()) > 50  # of about 550: log 2 a pixel and a small KL
    for name, parameter in trained.named_parameters():  # the gradient reaches every one
        assert not torch.equal(parameter, initial[name]), name
    rows = rows_of(tmp_path)
    assert progress.iteration == iterations
    assert rows["loss"].notna().all()
    assert rows["loss"].iloc[-10:].mean() < 0.95 * rows["loss"].iloc[0]
    validated = [50, 100, 150] if dataset == "static_mnist" else []
    assert rows.loc[rows["validation_nll"].notna(), "iteration"].tolist() == validated


# --- post hoc ------------------------------------------------------------------------------


def write_base(folder, data, settings):
    """A trained base run as the train command leaves it."""
    _, progress = run(data, settings, folder)
    about = {"iterations": progress.iteration, "train_seconds": progress.seconds, "device": "cpu"}
    about["model_sha256"] = sha256(folder / "model.safetensors")
    write_json(folder / "run.json", {"settings": settings, **about})
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def base(load, tmp_path_factory):
    settings = settings_for("dynamic_mnist", iterations=300, warm_up=100, learning_rate=1e-3)
    return write_base(tmp_path_factory.mktemp("base"), load("dynamic_mnist"), settings)


def test_post_hoc_fits_the_acceptance_function_alone(base, load, tmp_path):
    data, before_file = load("dynamic_mnist"), base.read_bytes()
    settings = settings_for(
        "dynamic_mnist", prior="lars_posthoc", iterations=150, warm_up=0, learning_rate=1e-3
    )
    initial = build_run_model(settings, base)
    before = validation_loss(initial, data)
    trained, _ = run(data, settings, tmp_path, base)
    after = validation_loss(trained, data)
    assert lower_for_most(after, before)

    weights, fixed = load_file(tmp_path / "model.safetensors"), load_file(base)
    networks = [name for name in fixed if not name.startswith("prior.")]
    assert len(networks) == 12  # 2 × 3 layers of weights and biases
    for name in networks:
        assert weights[name].numpy().tobytes() == fixed[name].numpy().tobytes()
    for name, parameter in initial.named_parameters():
        assert name.startswith("prior.log_a.") != torch.equal(weights[name], parameter), name
    assert sum(name.startswith("prior.log_a.") for name in weights) == 6
    assert base.read_bytes() == before_file


def test_post_hoc_keeps_the_reconstruction_term(base, load, tmp_path):
    data = load("dynamic_mnist")
    settings = settings_for("dynamic_mnist", prior="lars_posthoc", iterations=5, warm_up=0)
    trained, _ = run(data, settings, tmp_path, base)
    estimate_model_z(trained, 4_000, None)
    images = data.evaluation_images("validation", seed=0)
    joint = build_run_model(settings_for("dynamic_mnist"), None)
    joint.load_state_dict(load_file(base))
    terms = []
    for model in (trained, joint):
        torch.manual_seed(3)
        terms.append(importance_weighted_terms(model, images, 2))
    assert torch.equal(terms[0]["recons"], terms[1]["recons"])
    assert not torch.equal(terms[0]["kl"], terms[1]["kl"])


# --- files ---------------------------------------------------------------------------------


def test_training_csv(small, tmp_path):
    settings = settings_for(
        prior="lars", iterations=8, warm_up=4, decay_after=6, decayed_learning_rate=5e-5
    )
    model, _ = run(small, settings, tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows.columns) == [*COLUMNS, "validation_nll"]
    assert rows["iteration"].tolist() == list(range(1, 9))
    assert rows["kl_weight"].tolist() == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert rows["learning_rate"].tolist() == 6 * [3e-4] + 2 * [5e-5]
    expected = rows["recons"] + rows["kl_weight"] * rows["kl"]
    assert rows["loss"].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert rows["z"].between(0, 1, inclusive="neither").all()
    assert rows["z"].iloc[-1] == pytest.approx(float(model.prior.z_average), rel=1e-5)
    assert rows["seconds"].is_monotonic_increasing
    assert rows["validation_nll"].isna().all()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.safetensors",
        "training.csv",
    ]
    weights = load_file(tmp_path / "model.safetensors")
    assert weights.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0, equal_nan=True)


def fake_steps(monkeypatch):
    """Steps that cost nothing: the loss of iteration i is i."""
    losses = itertools.count()

    def step(model, optimizer, x, beta):
        i = float(next(losses))
        return torch.tensor([i, 2 * i, 3 * i])

    monkeypatch.setattr(training, "training_step", step)
    monkeypatch.setattr(training.Trainer, "batch", lambda self, iteration: None)


@pytest.mark.parametrize("iterations", [499, 500, 501, 999, 2_500, 10_007])
def test_training_csv_has_at_most_500_rows(iterations, small, tmp_path, monkeypatch):
    fake_steps(monkeypatch)
    run(small, settings_for(iterations=iterations, warm_up=0), tmp_path)
    rows = rows_of(tmp_path)
    assert len(rows) <= 500
    assert len(rows) >= 250
    assert rows["iteration"].iloc[-1] == iterations
    ends = rows["iteration"].tolist()
    means = [sum(range(a, b)) / (b - a) for a, b in itertools.pairwise([0, *ends])]
    assert rows["loss"].tolist() == pytest.approx(means, rel=1e-5)
    assert rows["kl"].tolist() == pytest.approx([3 * mean for mean in means], rel=1e-5)


# --- resuming ------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def interrupt_at(monkeypatch, iteration):
    """Stop in the middle of this iteration, its random numbers drawn."""
    step = training.Trainer.step

    def interrupted(self):
        if self.progress.iteration == iteration:
            self.steps(*self.schedule(1))
            raise Interrupted
        step(self)

    monkeypatch.setattr(training.Trainer, "step", interrupted)


def slow_clock(monkeypatch):
    """A clock that runs one second between looks, so that checkpoints come at known times."""
    ticks = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: float(next(ticks)))
    monkeypatch.setattr(checkpoints, "time", clock)


def assert_same_results(folder, other):
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in other.iterdir())
    assert (folder / "model.safetensors").read_bytes() == (
        other / "model.safetensors"
    ).read_bytes()
    mine, theirs = (rows_of(f).drop(columns="seconds") for f in (folder, other))
    pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def early(**schedule):
    """Settings of static_mnist with short intervals, named for the embedded data."""
    settings = settings_for("static_mnist", prior="lars", warm_up=4, **schedule)
    settings["training"]["validation_importance_samples"] = 2
    return settings | {"dataset": "digits"}


@pytest.fixture(scope="module")
def digits_base(small, tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("digits_base"), small, settings_for(iterations=5))


def resampled_output(**schedule):
    settings = settings_for(model="vae_resampled_output", **schedule)
    settings["model"]["output"]["num_proposals"] = 64
    return settings


RESUMED = {
    "standard": settings_for(iterations=14, warm_up=7),
    "lars": settings_for(prior="lars", iterations=14, warm_up=7, decay_after=10),
    "resampled output": resampled_output(iterations=8, warm_up=4),
    "posthoc": settings_for(prior="lars_posthoc", iterations=14, warm_up=0),
    "early stopping": early(iterations=14, validation_interval=3, patience=2),
}


@pytest.mark.parametrize("seconds_between_checkpoints", [0, 5])
@pytest.mark.parametrize("kind", RESUMED)
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    kind, seconds_between_checkpoints, small, digits_base, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "VALIDATION_Z_SAMPLES", 2_000)
    monkeypatch.setattr(training, "LOG_ROWS", 5)  # so that checkpoints come between rows, too
    settings, base = RESUMED[kind], digits_base if kind == "posthoc" else None
    run(small, settings, tmp_path / "whole", base)
    for iteration in (7, 7, 12) if settings["training"]["iterations"] == 14 else (7,):
        with monkeypatch.context() as patch:
            slow_clock(patch)
            interrupt_at(patch, iteration)
            with pytest.raises(Interrupted):
                run(
                    small,
                    settings,
                    tmp_path / "resumed",
                    base,
                    checkpoint_seconds=seconds_between_checkpoints,
                )
        assert not (tmp_path / "resumed" / "model.safetensors").exists()
        assert list((tmp_path / "resumed" / "checkpoint").iterdir())
    steps = []
    step = training.Trainer.step

    def counted(self):
        steps.append(self.progress.iteration)
        step(self)

    monkeypatch.setattr(training.Trainer, "step", counted)
    model = build_run_model(settings, base)
    torch.nn.init.normal_(model.decoder[-1].bias)  # all is restored
    torch.manual_seed(123)
    checkpoint = Checkpoint(tmp_path / "resumed", "train", settings)
    train(model, small, settings, tmp_path / "resumed", checkpoint, show_progress=False)
    checkpoint.clear()
    assert steps[0] > 0  # it did not begin anew
    assert_same_results(tmp_path / "whole", tmp_path / "resumed")
    assert (rows_of(tmp_path / "whole")["validation_nll"].notna().any()) == (
        kind == "early stopping"
    )


def test_seconds_of_an_interrupted_run_add_up(small, tmp_path, monkeypatch):
    settings = settings_for(iterations=10, warm_up=0)
    for iteration in (6, None):
        with monkeypatch.context() as patch:
            slow_clock(patch)
            if iteration:
                interrupt_at(patch, iteration)
                with pytest.raises(Interrupted):
                    run(small, settings, tmp_path, checkpoint_seconds=0)
            else:
                _, progress = run(small, settings, tmp_path, checkpoint_seconds=0)
    seconds = rows_of(tmp_path)["seconds"]
    assert seconds.is_monotonic_increasing
    assert progress.seconds >= seconds.iloc[-1] > seconds.iloc[5] > 6


@pytest.fixture
def interrupted_run(small, tmp_path, monkeypatch):
    settings = settings_for(prior="lars", iterations=10, warm_up=5)
    run(small, settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 6)
        with pytest.raises(Interrupted):
            run(small, settings, tmp_path / "resumed", checkpoint_seconds=0)
    return settings, tmp_path, Checkpoint(tmp_path / "resumed", "train", settings)


def flipped(content):
    return content[:5_000] + bytes([content[5_000] ^ 1]) + content[5_001:]


DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "one bit": flipped,
    "empty": lambda content: b"",
    "not a checkpoint": lambda content: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage, interrupted_run, small, capsys):
    settings, folder, checkpoint = interrupted_run
    assert checkpoint.load()["progress"]["iteration"] == 6
    checkpoint.newest.write_bytes(DAMAGES[damage](checkpoint.newest.read_bytes()))
    assert checkpoint.load()["progress"]["iteration"] == 5
    assert f"{checkpoint.newest} is damaged" in capsys.readouterr().out
    run(small, settings, folder / "resumed")
    assert "continuing from iteration 5" in capsys.readouterr().out
    assert_same_results(folder / "whole", folder / "resumed")


def test_two_damaged_checkpoints_mean_a_new_beginning(interrupted_run, small):
    settings, folder, checkpoint = interrupted_run
    for path in (checkpoint.newest, checkpoint.older):
        path.write_bytes(b"")
    assert checkpoint.load() is None
    run(small, settings, folder / "resumed")
    assert_same_results(folder / "whole", folder / "resumed")


def test_a_checkpoint_of_other_settings_is_not_continued(interrupted_run, small, tmp_path):
    settings, folder, _ = interrupted_run
    other = settings | {"training": settings["training"] | {"learning_rate": 1e-3}}
    run(small, other, folder / "resumed")
    run(small, other, folder / "other")
    assert_same_results(folder / "other", folder / "resumed")  # nor is it left behind


def test_a_crash_between_the_two_renames_loses_little(interrupted_run, small):
    settings, folder, checkpoint = interrupted_run
    checkpoint.newest.rename(checkpoint.older)
    assert checkpoint.load()["progress"]["iteration"] == 6
    run(small, settings, folder / "resumed")
    assert_same_results(folder / "whole", folder / "resumed")


def test_checkpoints_carry_their_checksum(interrupted_run):
    _, _, checkpoint = interrupted_run
    content = checkpoint.newest.read_bytes()
    assert hashlib.sha256(content[32:]).digest() == content[:32]


def test_another_seed_gives_another_run(small, tmp_path):
    for seed in (0, 1):
        run(small, settings_for(seed=seed, iterations=3), tmp_path / str(seed))
    run(small, settings_for(seed=0, iterations=3), tmp_path / "again")
    assert_same_results(tmp_path / "0", tmp_path / "again")
    assert rows_of(tmp_path / "0")["loss"].iloc[-1] != rows_of(tmp_path / "1")["loss"].iloc[-1]


# --- a loss that is not finite -------------------------------------------------------------


def test_nan_in_the_loss_names_the_iteration_and_leaves_nothing(small, tmp_path, monkeypatch):
    step = training.Trainer.step

    def poisoned(self):
        if self.progress.iteration == 4:  # the fifth
            with torch.no_grad():
                next(self.model.decoder.parameters()).fill_(math.nan)
        step(self)

    monkeypatch.setattr(training.Trainer, "step", poisoned)
    message = r"^the loss is nan at iteration 5 \(.*\): lower training.learning_rate"
    with pytest.raises(ResampledPriorsError, match=message) as error:
        run(small, settings_for(iterations=10), tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["weights", "optimizer", "moving average"])
def test_what_is_not_finite_reaches_no_checkpoint_and_no_file(
    what, small, tmp_path, monkeypatch, capsys
):
    """Poisoned after iteration 4, whose own loss was finite; rows come each 5 iterations."""
    monkeypatch.setattr(training, "LOG_ROWS", 2)
    step = training.Trainer.step

    def poisoned(self):
        step(self)
        if self.progress.iteration == 4:
            weight = next(self.model.decoder.parameters())
            places = {
                "weights": weight,
                "optimizer": self.optimizer.state[weight]["exp_avg_sq"],
                "moving average": self.model.prior.z_average,
            }
            places[what].data.view(-1)[0] = math.inf

    settings = settings_for(prior="lars", iterations=10)
    run(small, settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "step", poisoned)
        for _ in range(2):  # and once more, from the checkpoint
            with pytest.raises(ResampledPriorsError, match=r"^the weights are not finite at "):
                run(small, settings, tmp_path / "run", checkpoint_seconds=-1)
            assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint"]
    run(small, settings, tmp_path / "run")
    assert capsys.readouterr().out.count("continuing from iteration 3") == 2
    assert_same_results(tmp_path / "whole", tmp_path / "run")


def test_weights_that_are_not_finite_are_not_written(small, tmp_path, monkeypatch):
    step = training.Trainer.step

    def poisoned(self):
        step(self)
        if self.progress.iteration == 3:  # the last
            next(self.model.decoder.parameters()).data.fill_(math.nan)

    monkeypatch.setattr(training.Trainer, "step", poisoned)
    with pytest.raises(ResampledPriorsError, match=r"^the weights are not finite at iteration 3:"):
        run(small, settings_for(iterations=3), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_learning_rate_far_too_high_ends_in_one_line(small, tmp_path):
    settings = settings_for(prior="lars", iterations=40, warm_up=0, learning_rate=1e20)
    message = r"the loss is (nan|inf) at iteration \d+ "
    with pytest.raises(ResampledPriorsError, match=message):
        run(small, settings, tmp_path, checkpoint_seconds=10**6)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "training.csv").exists()


# --- early stopping ------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", list(CONFIG["datasets"]))
def test_only_static_mnist_stops_early(dataset):
    schedule = settings_for(dataset)["training"]
    stops = dataset == "static_mnist"
    assert schedule["early_stopping"] is stops
    assert ("patience" in schedule, "validation_interval" in schedule) == (stops, stops)


def script_validation(monkeypatch, nlls):
    """Validation that gives these NLLs in turn."""
    values = iter(nlls)

    def terms(model, images, num_samples):
        return {"log_likelihood": torch.full((3,), -float(next(values)))}

    monkeypatch.setattr(training, "importance_weighted_terms", terms)
    monkeypatch.setattr(training, "VALIDATION_Z_SAMPLES", 200)


def weights_after(small, settings, iterations, folder):
    """The weights of an ordinary run of this length: validation draws no random numbers here."""
    schedule = settings["training"] | {"iterations": iterations, "early_stopping": False}
    run(small, settings | {"training": schedule}, folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("nlls", "warm_up", "stop", "best"),
    [
        ([9, 8, 7, 8, 9, 10, 10], 0, 10, 6),  # two validations without a better one
        ([9, 8, 7, 8, 6, 9, 9, 9], 0, 14, 10),  # a better one in time
        ([9, 9, 9, 9, 9, 9, 9], 0, 6, 2),  # as good is not better
        ([9, 10, 10, 10, 10, 10, 10, 10], 8, 12, 2),  # none is judged before the warm-up's end
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 0, 20, 20),  # better to the last
        ([9, math.nan, 8, math.nan, math.nan], 0, 10, 6),  # NaN is never the best
    ],
)
def test_the_best_weights_are_written(nlls, warm_up, stop, best, small, tmp_path, monkeypatch):
    settings = settings_for("static_mnist", iterations=20, validation_interval=2, patience=2)
    settings["training"]["warm_up"] = warm_up
    settings["dataset"] = "digits"
    script_validation(monkeypatch, nlls)
    _, progress = run(small, settings, tmp_path / "early")
    assert (progress.iteration, progress.best_iteration) == (stop, best)
    rows = rows_of(tmp_path / "early")
    assert rows["iteration"].tolist() == list(range(1, stop + 1))
    found = rows["validation_nll"].tolist()[1::2]
    assert found == pytest.approx(nlls[: stop // 2], nan_ok=True)
    assert rows["validation_nll"][::2].isna().all()
    written = load_file(tmp_path / "early" / "model.safetensors")
    wanted = weights_after(small, settings, best, tmp_path / "wanted")
    later = weights_after(small, settings, best + 1, tmp_path / "later")
    for name, value in wanted.items():
        assert torch.equal(written[name], value), name
    assert not torch.equal(written["decoder.0.weight"], later["decoder.0.weight"])


def test_the_best_weights_outlive_an_interruption(small, tmp_path, monkeypatch):
    settings = early(iterations=12, validation_interval=3, patience=9)
    script_validation(monkeypatch, [5, 6, 7, 8])
    run(small, settings, tmp_path / "whole")
    script_validation(monkeypatch, [5, 6, 7, 8])
    with monkeypatch.context() as patch:
        interrupt_at(patch, 7)
        with pytest.raises(Interrupted):
            run(small, settings, tmp_path / "resumed", checkpoint_seconds=0)
    _, progress = run(small, settings, tmp_path / "resumed")
    assert (progress.iteration, progress.best_iteration, progress.best_nll) == (12, 3, 5)
    assert_same_results(tmp_path / "whole", tmp_path / "resumed")


def test_validation_is_the_importance_weighted_nll(small, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "VALIDATION_Z_SAMPLES", 2_000)
    settings = early(iterations=4, validation_interval=2, patience=2)
    calls = []

    def recorded(model, images, num_samples):
        terms = importance_weighted_terms(model, images, num_samples)
        calls.append((images, num_samples, model.training, model.prior.log_z.item(), terms))
        return terms

    monkeypatch.setattr(training, "importance_weighted_terms", recorded)
    model, progress = run(small, settings, tmp_path)
    assert len(calls) == 2
    for images, num_samples, mode, log_z, _ in calls:
        assert torch.equal(images, small.evaluation_images("validation", 0))
        assert num_samples == 2
        assert not mode
        assert log_z == pytest.approx(math.log(0.5), abs=0.5)
    assert model.training
    nlls = [-float(terms["log_likelihood"].mean()) for *_, terms in calls]
    assert rows_of(tmp_path)["validation_nll"].dropna().tolist() == pytest.approx(nlls)
    assert progress.best_nll == pytest.approx(min(nlls))


# --- several steps at once, as a GPU does them ---------------------------------------------


class Recorded:
    """In the place of a CUDA graph: the same calls, with the inputs at fixed addresses."""

    made = 0

    def __init__(self, function, inputs, state):
        type(self).made += 1
        self.function, self.inputs = function, [value.clone() for value in inputs]
        before = [tensor.clone() for tensor in state]
        generator = torch.get_rng_state()
        function(*self.inputs)
        torch.set_rng_state(generator)
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)

    def __call__(self, *inputs):
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value)
        self.function(*self.inputs)


GRAPHED = {
    "lars": settings_for(prior="lars", iterations=31, warm_up=9, decay_after=17),
    "realnvp": settings_for(prior="lars_realnvp", iterations=9, warm_up=4),
    "conv_hvae": settings_for(model="conv_hvae", iterations=6, warm_up=3),
    "resampled output": resampled_output(iterations=8, warm_up=4),
    "early stopping": early(iterations=14, validation_interval=5, patience=2),
}


@pytest.mark.parametrize("kind", GRAPHED)
def test_steps_in_a_graph_are_the_steps_one_by_one(kind, small, tmp_path, monkeypatch):
    """The recording must leave no trace, and all that a replay needs must be in its inputs."""
    monkeypatch.setattr(training, "VALIDATION_Z_SAMPLES", 2_000)
    monkeypatch.setattr(training, "LOG_ROWS", 4)
    monkeypatch.setattr(training, "Graph", Recorded)
    run(small, GRAPHED[kind], tmp_path / "one by one")
    init = training.Trainer.__init__

    def three_at_once(self, *arguments):
        init(self, *arguments)
        self.graph_steps = 3 if kind == "lars" else 2

    monkeypatch.setattr(training.Trainer, "__init__", three_at_once)
    recorded = Recorded.made
    run(small, GRAPHED[kind], tmp_path / "graph")
    assert Recorded.made == recorded + 1
    assert_same_results(tmp_path / "one by one", tmp_path / "graph")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", GRAPHED)
def test_a_graph_on_a_gpu_trains_like_single_steps(kind, small, tmp_path, monkeypatch):
    for steps in (1, 2):
        monkeypatch.setattr(training, "GRAPH_STEPS", steps)
        model = build_run_model(GRAPHED[kind], None)
        checkpoint = Checkpoint(tmp_path / str(steps), "train", GRAPHED[kind], "cuda")
        folder = tmp_path / str(steps)
        train(model, small, GRAPHED[kind], folder, checkpoint, "cuda", show_progress=False)
    rows = [rows_of(tmp_path / str(steps)) for steps in (1, 2)]
    pd.testing.assert_series_equal(rows[0]["loss"], rows[1]["loss"], rtol=1e-4)


@pytest.mark.parametrize("kind", ["lars", "realnvp", "conv_hvae", "resampled output"])
def test_the_compiled_loss_is_the_plain_one(kind, small, monkeypatch):
    """Without the code generation, which needs a compiler: what is traced gives the same terms.

    Traced in one piece, but for zuko's flows, which it cannot look into.
    """
    monkeypatch.setattr(onednn, "FASTER", False)  # it rounds otherwise, and is never traced
    model, x = build_run_model(GRAPHED[kind], None), small.evaluation_images("validation", 0)
    compiled = torch.compile(
        model.training_terms, backend="aot_eager", fullgraph=kind != "realnvp"
    )
    results = []
    for function in (model.training_terms, compiled):
        torch.manual_seed(0)
        terms, averages = function(x)
        model.zero_grad()
        sum(term.mean() for term in terms).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([*terms, *(average for _, average in averages), *gradients])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
