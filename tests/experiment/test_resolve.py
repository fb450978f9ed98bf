"""The settings of a run: what its training depends on, and nothing else."""

from pathlib import Path

import pytest
from changed_config import CONFIG, all_runs, with_value
from refusals import refused

from resampled_priors import experiment
from resampled_priors.experiment import Run, merge, resolve_run
from resampled_priors.files import sha256

DYNAMIC = Run("constant_rate", "dynamic_mnist", "vae", "lars", 0)


def test_settings_hold_what_training_depends_on_and_nothing_else():
    assert resolve_run(CONFIG, DYNAMIC) == {
        "dataset": "dynamic_mnist",
        "model": {"name": "vae", "family": "vae", "latent_size": 50},
        "prior": {
            "name": "lars",
            "family": "lars",
            "proposal": {"family": "standard_normal"},
            "hidden": [100, 100],
            "truncation": 100,
            "smoothing": 0.1,
            "num_proposals": 1024,
        },
        "seed": 0,
        "training": {
            "batch_size": 128,
            "learning_rate": 3e-4,
            "decayed_learning_rate": 1e-4,
            "iterations": 20_000,
            "warm_up": 10_000,
            "decay_after": None,
            "early_stopping": False,
        },
    }


def training(config: experiment.Config, dataset: str, model: str = "vae") -> experiment.Config:
    return resolve_run(config, Run(config["budget"], dataset, model, "lars", 0))["training"]


def test_paper_budget_is_the_papers():
    paper = with_value("budget", "paper")
    settings = training(paper, "dynamic_mnist")
    assert settings["iterations"] == 10**7
    assert settings["warm_up"] == 10**5
    assert settings["decay_after"] == 10**6
    assert (settings["learning_rate"], settings["decayed_learning_rate"]) == (3e-4, 1e-4)
    assert settings["batch_size"] == 128
    budget = experiment.budget(paper)
    assert (budget["importance_samples"], budget["z_samples"]) == (1_000, 10**10)
    assert "z_target" not in budget
    assert training(paper, "dynamic_mnist", "conv_hvae") == settings


def test_static_mnist_halves_warm_up_and_decay_and_stops_early():
    paper = with_value("budget", "paper")
    static, dynamic = training(paper, "static_mnist"), training(paper, "dynamic_mnist")
    assert (static["warm_up"], static["decay_after"]) == (50_000, 500_000)
    assert static["iterations"] == dynamic["iterations"]
    assert static["early_stopping"] is True
    early = {"validation_interval", "validation_importance_samples", "patience"}
    assert set(static) - set(dynamic) == early
    for dataset in ("dynamic_mnist", "omniglot", "fashion_mnist"):
        assert training(paper, dataset)["early_stopping"] is False
    short = training(CONFIG, "static_mnist")
    assert (short["warm_up"], short["decay_after"]) == (500, None)


def test_short_budget_of_conv_hvae():
    settings = training(CONFIG, "dynamic_mnist", "conv_hvae")
    assert (settings["iterations"], settings["warm_up"]) == (5_000, 1_000)
    assert training(CONFIG, "static_mnist", "conv_hvae")["warm_up"] == 500
    assert training(CONFIG, "dynamic_mnist", "hvae")["iterations"] == 20_000


@pytest.mark.parametrize("budget", ["demo", "short", "converged", "long"])
def test_tuned_budgets_share_their_schedule_and_the_papers_has_none_of_it(budget):
    tuned = {"learning_rate_decay": "linear", "output_bias": "mean_image"}
    rates = {"conv_hvae": 1e-3} | ({"hvae": 2e-3} if budget == "demo" else {})
    for model in ("vae", "hvae", "conv_hvae"):
        settings = training(CONFIG | {"budget": budget}, "dynamic_mnist", model)
        assert tuned.items() <= settings.items()
        assert settings["learning_rate"] == rates.get(model, 3e-3)
        share = 5 if (model == "conv_hvae" and budget != "long") or budget == "demo" else 20
        assert settings["warm_up"] == settings["iterations"] / share
    for other in ("paper", "constant_rate", "warm_up_1_percent"):
        settings = training(CONFIG | {"budget": other}, "dynamic_mnist")
        assert settings["learning_rate"] == 3e-4
        assert not {"learning_rate_decay", "output_bias"} & settings.keys()


@pytest.mark.parametrize(
    ("prior", "expected"),
    {
        "lars_10-10": {"hidden": [10, 10]},
        "lars_50-50": {"hidden": [50, 50]},
        "lars_50-50-50": {"hidden": [50, 50, 50]},
        "lars_100-100-100": {"hidden": [100, 100, 100]},
        "lars_T2": {"truncation": 2},
        "lars_T5": {"truncation": 5},
        "lars_T10": {"truncation": 10},
        "lars_T50": {"truncation": 50},
        "lars_Tinf": {"truncation": None},
        "lars_posthoc": {"base": "standard"},
        "lars_realnvp": {
            "proposal": {"family": "realnvp", "layers": 4, "hidden": [100, 100]},
        },
    }.items(),
)
def test_a_prior_differs_from_lars_in_one_thing(prior, expected):
    lars = experiment.resolve_prior(CONFIG, "lars")
    assert experiment.resolve_prior(CONFIG, prior) == lars | {"name": prior} | expected


def test_sizes_of_the_flows():
    assert experiment.resolve_prior(CONFIG, "maf") == {
        "name": "maf",
        "family": "maf",
        "layers": 5,
        "hidden": [100, 100],
    }
    assert experiment.resolve_prior(CONFIG, "realnvp")["layers"] == 4


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("datasets.dynamic_mnist.label", "another"),
        ("models.vae.label", "another"),
        ("priors.lars.label", "another"),
        ("priors.standard.label", "another"),
        ("tables.table1.caption", "another"),
        ("tables.table1.rows", [{"dataset": "digits"}]),
        ("tables.tableD3.columns", [{"metric": "kl"}]),
        ("budgets.constant_rate.importance_samples", 7),
        ("budgets.constant_rate.z_samples", 10**6),
        ("budgets.constant_rate.z_target", 0.3),
        ("budgets.constant_rate.seeds", [0, 1]),
        ("budgets.paper.iterations", 5),
        ("budgets.constant_rate.models.conv_hvae.iterations", 5),
        ("training.patience", 3),  # dynamic MNIST does not stop early
        ("training.validation_interval", 3),
        ("budget", "demo"),  # its own is in its address
        ("device", "cuda"),
        ("data.mirror", "/elsewhere"),
        ("data.accept_unverified", ["omniglot"]),
        ("partial", True),
        ("pathvars.results", "elsewhere"),
        ("priors.lars_T2.truncation", 3),
        ("priors.realnvp.layers", 2),
        ("models.hvae.latent_size", 3),
        ("datasets.static_mnist.schedule_factor", 2),
    ],
)
def test_what_training_does_not_depend_on_leaves_settings_alone(path, value):
    changed = with_value(path, value)
    experiment.validate_config(changed)
    assert changed != CONFIG
    assert resolve_run(changed, DYNAMIC) == resolve_run(CONFIG, DYNAMIC)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("budgets.constant_rate.iterations", 5),
        ("budgets.constant_rate.warm_up", 5),
        ("budgets.constant_rate.decay_after", 5),
        ("training.learning_rate", 1e-3),
        ("training.batch_size", 64),
        ("models.vae.latent_size", 3),
        ("priors.lars.truncation", 99),
        ("priors.lars.smoothing", 0.01),
        ("datasets.dynamic_mnist", {"label": "dynamic MNIST", "early_stopping": True}),
    ],
)
def test_what_training_depends_on_changes_settings(path, value):
    changed = with_value(path, value)
    experiment.validate_config(changed)
    assert resolve_run(changed, DYNAMIC) != resolve_run(CONFIG, DYNAMIC)


def test_training_of_a_model_a_budget_and_a_budgets_model_in_this_order():
    before = resolve_run(CONFIG, DYNAMIC)
    layers = {
        "models.vae.training": {"batch_size": 1, "learning_rate": 0.1, "patience": 5},
        "budgets.constant_rate.training": {"batch_size": 2, "learning_rate": 0.2},
        "budgets.constant_rate.models": {"vae": {"iterations": 7, "training": {"batch_size": 3}}},
        "budgets.demo.training": {"batch_size": 9},
        "models.hvae.training": {"batch_size": 9},
    }
    config = CONFIG
    for (path, layer), batch_size in zip(layers.items(), (1, 2, 3, 3, 3), strict=True):
        config = with_value(path, layer, config)
        assert resolve_run(config, DYNAMIC)["training"]["batch_size"] == batch_size
    experiment.validate_config(config)
    settings = resolve_run(config, DYNAMIC)
    changes = {"batch_size": 3, "learning_rate": 0.2, "iterations": 7}
    assert settings == before | {"training": before["training"] | changes}
    assert training(config, "static_mnist")["patience"] == 5


def test_one_objective_takes_the_place_of_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class Mine: ...")
    config = with_value("training.objective", {"family": "mine.py:Mine", "samples": 5})
    config["models"]["vae"]["training"] = {"objective": {"family": "elbo"}}
    assert resolve_run(config, DYNAMIC)["training"]["objective"] == {"family": "elbo"}
    assert training(config, "digits", "hvae")["objective"]["samples"] == 5


def test_the_budget_of_a_run_is_the_one_in_its_address():
    for name in CONFIG["budgets"]:
        run = Run(name, "dynamic_mnist", "vae", "lars", 0)
        in_force = with_value("budget", name)
        assert resolve_run(CONFIG, run) == resolve_run(in_force, run)
        iterations = CONFIG["budgets"][name]["iterations"]
        assert resolve_run(CONFIG, run)["training"]["iterations"] == iterations
        assert experiment.resolve_z(CONFIG, run) == {
            "z_samples": CONFIG["budgets"][name]["z_samples"],
            "z_target": CONFIG["budgets"][name].get("z_target"),
        }
        samples = {"importance_samples": CONFIG["budgets"][name]["importance_samples"]}
        assert experiment.resolve_evaluation(CONFIG, run) == samples
        assert {shown.budget for shown in experiment.all_runs(in_force)} == {name}


def test_the_shape_of_images_is_a_setting_where_it_is_given():
    letters = {"label": "letters", "images": "letters.npz"}
    run = Run("constant_rate", "letters", "vae", "lars", 0)
    settings = resolve_run(with_value("datasets.letters", letters), run)
    assert "image_shape" not in settings and experiment.image_shape(settings) == (28, 28)
    shaped = resolve_run(with_value("datasets.letters", letters | {"image_shape": [8, 12]}), run)
    assert experiment.image_shape(shaped) == (8, 12)
    assert shaped == settings | {"image_shape": [8, 12]}


def test_a_prior_of_ones_own_has_the_settings_of_its_proposal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class Mine: ...")
    entry = {"label": "mine", "family": "mine.py:Mine", "proposal": "realnvp"}
    settings = experiment.resolve_prior(with_value("priors.mine", entry), "mine")
    assert settings["proposal"] == {"family": "realnvp", "layers": 4, "hidden": [100, 100]}
    assert settings["code_sha256"] == sha256(Path("mine.py"))


def test_a_class_of_ones_own_has_its_files_hash_wherever_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = Path("mine.py")
    code.write_text("class Mine: ...")
    own = {"family": "mine.py:Mine", "width": 3}
    config = with_value("models.vae.likelihood", own)
    config["training"] |= {"objective": own, "optimizer": own}
    config["priors"]["standard"] = {"label": "mine", **own}
    experiment.validate_config(config)
    settings = resolve_run(config, DYNAMIC)
    parts = [
        settings["model"]["likelihood"],
        settings["training"]["objective"],
        settings["training"]["optimizer"],
        settings["prior"]["proposal"],
    ]
    assert parts == [{**own, "code_sha256": sha256(code)}] * 4
    code.write_text("class Mine:\n    changed = True")
    assert resolve_run(config, DYNAMIC) != settings


@pytest.mark.parametrize(
    "place",
    [
        "models.vae.likelihood",
        "training.objective",
        "budgets.paper.training.optimizer",
        "budgets.constant_rate.models.conv_hvae.training.objective",
        "models.hvae.training.optimizer",
        "priors.mine",
    ],
)
def test_a_class_of_ones_own_that_is_missing_is_named(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class Mine: ...")
    part = {"family": "mine.py:Mne"}
    for name in reversed(place.split(".")):
        part = {name: part}
    if place == "priors.mine":
        part["priors"]["mine"]["label"] = "mine"
    config = merge(CONFIG, part)
    with refused(f"config: {place}.family: mine.py has no class Mne: did you mean 'Mine'"):
        experiment.validate_config(config)


@pytest.mark.parametrize(
    ("path", "value", "changed_priors"),
    [
        ("priors.lars_T50.truncation", 49, {"lars_T50"}),
        ("priors.lars.truncation", 49, {"lars"}),  # those made from its anchor are their own
        ("priors.maf.layers", 2, {"maf"}),
        ("priors.realnvp.layers", 2, {"realnvp", "lars_realnvp"}),  # it is the proposal's too
        ("priors.lars_posthoc.num_proposals", 7, {"lars_posthoc"}),
    ],
)
def test_changing_a_prior_changes_its_own_runs_only(path, value, changed_priors):
    changed = with_value(path, value)
    before, after = (
        {run: resolve_run(config, run) for run in all_runs(config)} for config in (CONFIG, changed)
    )
    assert before.keys() == after.keys()
    assert {run.prior for run in before if before[run] != after[run]} == changed_priors


@pytest.mark.parametrize(
    ("run", "match"),
    [
        (
            Run("constant_rate", "dynamic_mnits", "vae", "lars", 0),
            "'dynamic_mnits': did you mean 'dynamic_mnist'",
        ),
        (Run("sort", "digits", "vae", "lars", 0), "unknown budget 'sort': did you mean 'short'"),
        (
            Run("constant_rate", "digits", "hvea", "lars", 0),
            "unknown model 'hvea': did you mean 'hvae'",
        ),
        (
            Run("constant_rate", "digits", "vae", "lars_T3x", 0),
            "unknown prior 'lars_T3x': did you mean 'lars_T",
        ),
        (
            Run("constant_rate", "digits", "vae", "?", 0),
            "unknown prior '.': use one of standard, lars, ",
        ),
    ],
)
def test_settings_of_an_unknown_run(run, match):
    with refused(match):
        resolve_run(CONFIG, run)
