"""Training: schedule, batches, every kind of run on real data, checkpoints, early stopping."""

import dataclasses
import itertools

import pytest
import torch
from safetensors.torch import load_file
from training_runs import (
    CONFIG,
    rows_of,
    run,
    settings_for,
    train_model,
)

from resampled_priors.data.dataset import load_dataset
from resampled_priors.evaluation import estimate_model_z, importance_weighted_terms
from resampled_priors.experiment import Run, resolve_run
from resampled_priors.runs.training import build_run_model
from resampled_priors.training import early_stopping
from resampled_priors.training.schedule import batch_indices, kl_weight, learning_rate
from resampled_priors.training.trainer import Trainer

COLUMNS = ["iteration", "loss", "recons", "kl", "kl_weight", "z"]
COLUMNS += ["posterior_mean", "saturation", "learning_rate", "seconds"]


# --- schedule and batches ------------------------------------------------------------------


def test_kl_weight_rises_in_a_straight_line():
    assert [kl_weight(i, 4) for i in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert kl_weight(0, 0) == 1


def test_learning_rate_falls_once():
    schedule = {"learning_rate": 3e-4, "decayed_learning_rate": 1e-4, "decay_after": 10}
    rates = [learning_rate(i, schedule) for i in (0, 9, 10, 1_000)]
    assert rates == [3e-4, 3e-4, 1e-4, 1e-4]
    assert learning_rate(10**7, schedule | {"decay_after": None}) == 3e-4


def test_a_linear_decay_ends_at_0():
    schedule = {"learning_rate": 3e-3, "learning_rate_decay": "linear", "iterations": 4}
    rates = [learning_rate(i, schedule) for i in range(5)]
    assert rates == pytest.approx([3e-3, 2.25e-3, 1.5e-3, 0.75e-3, 0])


@pytest.mark.parametrize("model", ["vae", "hvae", "conv_hvae", "vae_resampled_output"])
def test_the_output_starts_at_the_mean_image(model, small):
    """With the last layer's weights at 0 the decoder gives its bias alone."""
    settings = settings_for(model=model, output_bias="mean_image")
    built = build_run_model(settings, None)
    initial = {name: value.clone() for name, value in built.named_parameters()}
    Trainer(built, small, settings, "cpu").start()
    changed = [n for n, value in built.named_parameters() if not torch.equal(value, initial[n])]
    assert len(changed) == 1 and changed[0].startswith("decoder") and changed[0].endswith("bias")
    last = changed[0].removesuffix("bias") + "weight"
    with torch.no_grad():
        dict(built.named_parameters())[last].zero_()
        means = built.decode(torch.randn(3, 50))
    pixels = small.means("train").mean(0).clamp(1e-3, 1 - 1e-3)
    if model == "conv_hvae":  # one bias for the whole image
        pixels = small.means("train").mean().expand(784)
    torch.testing.assert_close(means, pixels.expand(3, 784), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["vae", "hvae", "conv_hvae"])
def test_a_start_that_saturates_the_decoder_is_seen(model, small, tmp_path, capsys):
    """Latents pushed by hand as a bad start pushes them: the row says so, and a warning once."""
    settings = settings_for(model=model, iterations=3)
    run(small, settings, tmp_path / "well")
    rows = rows_of(tmp_path / "well")
    assert (rows["saturation"] < 0.05).all()
    assert "warning" not in capsys.readouterr().out

    built = build_run_model(settings, None)
    with torch.no_grad():
        built.latent_layer.weight.mul_(300)
    x = small.means("train")[:128]
    units = torch.tanh(built.encode(x)[0] @ built.latent_layer.weight.T)
    train_model(built, small, settings, tmp_path / "badly")
    rows = rows_of(tmp_path / "badly")
    share = float((units.abs() > 0.99).float().mean())
    assert share > 0.3 and rows["saturation"].iloc[0] == pytest.approx(share, abs=0.1)
    mean = float(built.encode(x)[0].detach().square().mean().sqrt())
    assert rows["posterior_mean"].iloc[-1] == pytest.approx(mean, rel=1e-5)
    out = capsys.readouterr().out
    assert out.count("warning: ") == 1 and "set training.output_bias to mean_image" in out


def test_post_hoc_the_output_bias_stays_the_bases(small, tmp_path):
    base = run(small, settings_for(iterations=3), tmp_path / "base")[0]
    settings = settings_for(prior="lars_posthoc", iterations=2, output_bias="mean_image")
    fitted, _ = run(small, settings, tmp_path / "fitted", tmp_path / "base/model.safetensors")
    assert torch.equal(fitted.decoder[-1].bias, base.decoder[-1].bias)


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
    trainer = Trainer(one, small, settings, "cpu")
    one.start(small.means("train"))
    other.load_state_dict(one.state_dict())
    trainer.optimizer.param_groups[0]["lr"].fill_(1e-3)
    torch.manual_seed(1)
    trainer.step(x, beta)
    ours = trainer.sums.terms

    torch.manual_seed(1)
    log_likelihood, log_prior, log_posterior = other.terms(x, 1, training=True)
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
    assert torch.equal(one.prior.z_average, other.prior.z_average)


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
    monkeypatch.setattr(early_stopping, "Z_SAMPLES", 20_000)
    data = load(dataset)
    schedule = {"iterations": iterations, "warm_up": iterations // 2}
    if dataset == "static_mnist":
        schedule["validation_interval"] = 50
    settings = settings_for(dataset, model, prior, **schedule)
    before = validation_loss(build_run_model(settings, None), data)
    initial = build_run_model(settings, None).state_dict()
    trained, trainer = run(data, settings, tmp_path)
    after = validation_loss(trained, data)
    assert lower_for_most(after, before)
    assert float((before - after).median()) > 50  # of about 550: log 2 a pixel and a small KL
    for name, parameter in trained.named_parameters():  # the gradient reaches every one
        assert not torch.equal(parameter, initial[name]), name
    rows = rows_of(tmp_path)
    assert trainer.progress.iteration == iterations
    assert rows["loss"].notna().all()
    assert rows["loss"].iloc[-10:].mean() < 0.95 * rows["loss"].iloc[0]
    validated = [50, 100, 150] if dataset == "static_mnist" else []
    assert rows.loc[rows["validation_nll"].notna(), "iteration"].tolist() == validated


# --- post hoc ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(load, tmp_path_factory):
    settings = settings_for("dynamic_mnist", iterations=300, warm_up=100, learning_rate=1e-3)
    folder = tmp_path_factory.mktemp("base")
    run(load("dynamic_mnist"), settings, folder)
    return folder / "model.safetensors"


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
        "checkpoint",
        "model.safetensors",
        "run.json",
        "training.csv",
    ]
    weights = load_file(tmp_path / "model.safetensors")
    assert weights.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0, equal_nan=True)


def fake_steps(monkeypatch):
    """Steps that cost nothing: the loss of iteration i is i."""
    losses = itertools.count()

    def step(self, x, beta):
        i = float(next(losses))
        self.sums.terms += torch.tensor([i, 2 * i, 3 * i])

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(Trainer, "batch", lambda self, rows: None)


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
