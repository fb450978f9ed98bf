"""From config to runs: the paper's numbers, the runs each table needs, and every wrong config."""

import copy
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from resampled_priors import experiment
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import Run, load_config, merge, resolve_run, table_cells
from resampled_priors.files import sha256
from resampled_priors.report.paper import paper_values

ROOT = Path(__file__).parents[2]
CONFIG = load_config([ROOT / "config.yaml"])
REMOVED = object()


def with_value(path: str, value: Any, config: experiment.Config = CONFIG) -> experiment.Config:
    """A copy of the config with one value changed (or removed); path 'priors.lars.hidden'."""
    config = copy.deepcopy(config)
    *folders, last = (int(part) if part.isdigit() else part for part in path.split("."))
    place = config
    for folder in folders:
        place = place[folder]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return config


def refused(match: str):
    """Expect a one-line ResampledPriorsError that matches."""
    return pytest.raises(ResampledPriorsError, match=f"^(?=.*{match})[^\n]*$")


# The paper's numbers -----------------------------------------------------------------------------

# Table 1: per data set, VAE, HVAE and ConvHVAE, each with the standard prior and with LARS.
TABLE_1 = """
static_mnist    89.11  86.53   85.91  84.42   82.63  81.70
dynamic_mnist   84.97  83.03   82.66  81.62   81.21  80.30
omniglot       104.47 102.63  101.38 100.40   97.76  97.08
fashion_mnist  228.68 227.45  227.40 226.68  226.39 225.92
"""
# Table 2: dynamic MNIST and Omniglot, '-' where the paper gives none.
TABLE_2 = """
VAE (L=2) + VGP          81.32       -
IWAE (L=2)                   -  103.38
LVAE (L=5)               81.74  102.11
HVAE (L=2) + VampPrior   81.24  101.18
HVAE (L=2) + LARS        81.62  100.40
VAE + IAF                79.10       -
ConvHVAE + VampPrior     79.75   97.56
ConvHVAE + LARS          80.30   97.08
"""
# Table D.1: -ELBO, KL, reconstruction, Z.
TABLE_D1 = """
dynamic_mnist standard      89.0 25.8 63.2 1
dynamic_mnist lars_posthoc  87.3 24.1 63.2 0.023
dynamic_mnist lars          86.6 24.7 61.9 0.015
omniglot      standard     110.8 37.2 73.6 1
omniglot      lars_posthoc 108.8 35.2 73.6 0.015
omniglot      lars         108.4 35.9 72.5 0.011
"""
# Table D.2: hidden layers of a(z), NLL, Z.
TABLE_D2 = """
none        84.97 1
10-10       84.08 0.02
50-50       83.29 0.016
100-100     83.05 0.015
50-50-50    83.09 0.015
100-100-100 82.94 0.014
"""
# Table D.3: T, NLL, Z, KL, reconstruction.
TABLE_D3 = """
none 84.97 1      25.8 63.3
2    84.60 0.19   25.4 63.2
5    84.11 0.12   25.1 63.0
10   83.71 0.08   25.0 62.6
50   83.24 0.03   24.8 62.1
100  83.05 0.014  24.7 61.9
inf  82.67 2e-6   24.8 61.5
"""
# Tables D.4 (dynamic MNIST), D.5 (Omniglot) and D.6 (dynamic MNIST): NLL, Z.
TABLES_D4_TO_D6 = """
tableD4 dynamic_mnist/vae/standard                   84.97 1
tableD4 dynamic_mnist/vae/realnvp                    81.86 1
tableD4 dynamic_mnist/vae/maf                        81.58 1
tableD4 dynamic_mnist/vae/lars                       83.04 0.015
tableD4 dynamic_mnist/vae/lars_realnvp               81.15 0.027
tableD5 omniglot/vae/standard                       104.53 1
tableD5 omniglot/vae/realnvp                        101.50 1
tableD5 omniglot/vae/lars                           102.68 0.012
tableD5 omniglot/vae/lars_realnvp                   100.56 0.018
tableD6 dynamic_mnist/vae/standard                   84.97 1
tableD6 dynamic_mnist/vae/lars                       83.04 0.015
tableD6 dynamic_mnist/vae_resampled_output/standard  83.63 0.014
"""


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


def table_2() -> list[tuple[str, str, float]]:
    """(system, data set, NLL)."""
    found = []
    for line in TABLE_2.strip().splitlines():
        system, *numbers = re.split(r"\s{2,}", line)
        for dataset, number in zip(("dynamic_mnist", "omniglot"), numbers, strict=True):
            if number != "-":
                found.append((system, dataset, float(number)))
    return found


def listing() -> dict[tuple[str, str, str], float]:
    """(table, run, metric) -> the paper's number, from the listings above."""
    expected = {}
    columns = list(itertools.product(("vae", "hvae", "conv_hvae"), ("standard", "lars")))
    for dataset, *numbers in lines(TABLE_1):
        for (model, prior), number in zip(columns, numbers, strict=True):
            expected["table1", f"{dataset}/{model}/{prior}", "nll"] = number
    own = {"HVAE (L=2) + LARS": "hvae", "ConvHVAE + LARS": "conv_hvae"}
    for system, dataset, number in table_2():
        if system in own:
            expected["table2", f"{dataset}/{own[system]}/lars", "nll"] = number
    for dataset, prior, *numbers in lines(TABLE_D1):
        for metric, number in zip(("elbo", "kl", "recons", "z"), numbers, strict=True):
            expected["tableD1", f"{dataset}/vae/{prior}", metric] = number
    for table, text, metrics in (
        ("tableD2", TABLE_D2, ("nll", "z")),
        ("tableD3", TABLE_D3, ("nll", "z", "kl", "recons")),
    ):
        names = {"none": "standard", "100-100": "lars", "100": "lars"}
        sign = "T" if table == "tableD3" else ""
        for name, *numbers in lines(text):
            prior = names.get(name, f"lars_{sign}{name}")
            for metric, number in zip(metrics, numbers, strict=True):
                expected[table, f"dynamic_mnist/vae/{prior}", metric] = number
    for table, run, nll, z in lines(TABLES_D4_TO_D6):
        expected[table, run, "nll"], expected[table, run, "z"] = nll, z
    return {place: float(number) for place, number in expected.items()}


def test_paper_values_are_the_listing():
    shipped = {
        (table, run, metric): value
        for table, runs in paper_values().items()
        if table.startswith("table")
        for run, values in runs.items()
        for metric, value in values.items()
    }
    assert shipped == listing()
    assert len(shipped) == 24 + 4 + 24 + 12 + 28 + 10 + 8 + 6


def test_each_measured_cell_has_a_number_of_the_paper_and_each_number_a_cell():
    cells = {
        (table, cell.coordinates, cell.metric)
        for table in CONFIG["tables"]
        for cell in table_cells(CONFIG, table)
        if cell.measured
    }
    assert cells == set(listing())


def test_quoted_rows_are_table_2():
    ours = {"HVAE (L=2) + LARS", "ConvHVAE + LARS"}
    cells = table_cells(CONFIG, "table2")
    quoted = [(c.row, c.dataset, c.quoted) for c in cells if c.quoted is not None]
    assert quoted == [row for row in table_2() if row[0] not in ours]
    assert {c.row for c in cells if c.measured} == ours
    order = list(dict.fromkeys(cell.row for cell in cells))
    assert order == list(dict.fromkeys(system for system, _, _ in table_2()))


# The runs of the tables --------------------------------------------------------------------------


def all_runs(config: experiment.Config) -> list[Run]:
    tables = [experiment.table_runs(config, table) for table in config["tables"]]
    return list(dict.fromkeys(itertools.chain(*tables)))


def expected_runs(table: str) -> set[str]:
    """The runs whose numbers the paper's table holds."""
    return {run for name, run, _ in listing() if name == table}


@pytest.mark.parametrize("table", CONFIG["tables"])
def test_runs_of_a_table(table):
    runs = experiment.table_runs(CONFIG, table)
    assert len(runs) == len(set(runs))
    assert {f"{r.dataset}/{r.model}/{r.prior}" for r in runs} == expected_runs(table)


def test_all_tables_of_the_paper_are_there():
    assert list(CONFIG["tables"]) == ["table1", "table2", *(f"tableD{i}" for i in range(1, 7))]


def test_number_of_runs():
    assert CONFIG["budgets"]["short"]["seeds"] == [0]
    assert len(all_runs(CONFIG)) == 41
    three = with_value("budgets.short.seeds", [0, 1, 2])
    runs = all_runs(three)
    assert len(runs) == 123
    assert {run.seed for run in runs} == {0, 1, 2}
    assert len(all_runs(with_value("budget", "paper"))) == 123


# The settings of a run ---------------------------------------------------------------------------

DYNAMIC = Run("short", "dynamic_mnist", "vae", "lars", 0)


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
    assert (short["warm_up"], short["decay_after"]) == (5_000, None)


def test_short_budget_of_conv_hvae():
    settings = training(CONFIG, "dynamic_mnist", "conv_hvae")
    assert (settings["iterations"], settings["warm_up"]) == (5_000, 2_500)
    assert training(CONFIG, "static_mnist", "conv_hvae")["warm_up"] == 1_250
    assert training(CONFIG, "dynamic_mnist", "hvae")["iterations"] == 20_000


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
        ("budgets.short.importance_samples", 7),
        ("budgets.short.z_samples", 10**6),
        ("budgets.short.z_target", 0.3),
        ("budgets.short.seeds", [0, 1]),
        ("budgets.paper.iterations", 5),
        ("budgets.short.models.conv_hvae.iterations", 5),
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
        ("budgets.short.iterations", 5),
        ("budgets.short.warm_up", 5),
        ("budgets.short.decay_after", 5),
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
        "budgets.short.models.conv_hvae.training.objective",
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


def test_a_tables_settings_hold_labels_budget_and_seeds():
    spec = experiment.resolve_table(CONFIG, "tableD6")
    assert spec["caption"] == CONFIG["tables"]["tableD6"]["caption"]
    assert (spec["budget"], spec["seeds"]) == ("short", [0])
    assert [cell["row"] for cell in spec["cells"]] == [
        *["VAE (L=1); standard"] * 2,
        *["VAE (L=1); LARS"] * 2,
        *["VAE with resampled output; standard"] * 2,
    ]
    assert [cell["column"] for cell in spec["cells"][:2]] == ["NLL", "Z"]
    relabelled = with_value("priors.lars.label", "another")
    for table in CONFIG["tables"]:
        shows_it = "LARS" in {cell.row for cell in table_cells(CONFIG, table)} or any(
            name.endswith("; LARS")
            for cell in table_cells(CONFIG, table)
            for name in (cell.row, cell.column)
        )
        changed = experiment.resolve_table(relabelled, table) != experiment.resolve_table(
            CONFIG, table
        )
        assert changed == shows_it, table


# Reading config files ----------------------------------------------------------------------------

keys = st.sampled_from("abc")
values = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(keys, values, max_size=3)


@given(base=mappings, overlay=mappings)
def test_merge_is_snakemakes(base, overlay):
    expected = copy.deepcopy(base)
    update_config(expected, copy.deepcopy(overlay))
    before = copy.deepcopy((base, overlay))
    assert merge(base, overlay) == expected
    assert (base, overlay) == before


def test_overlays_and_values_in_their_order(tmp_path):
    for name, text in {
        "one": "priors: {lars: {truncation: 7, smoothing: 0.5}}\nbudget: demo",
        "two": "priors: {lars: {truncation: 8}}",
        "empty": "# nothing",
    }.items():
        (tmp_path / name).write_text(text)
    files = [ROOT / "config.yaml", *(tmp_path / name for name in ("one", "two", "empty"))]
    config = load_config(files, ["device=cpu", "budget=paper"])
    lars = config["priors"]["lars"]
    assert (lars["truncation"], lars["smoothing"], lars["hidden"]) == (8, 0.5, [100, 100])
    assert (config["device"], config["budget"]) == ("cpu", "paper")


@pytest.mark.parametrize("overlay", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_shipped_overlays_are_valid(overlay):
    load_config([ROOT / "config.yaml", ROOT / "config" / overlay])


def test_the_demo_needs_no_data_but_the_embedded():
    demo = load_config([ROOT / "config.yaml", ROOT / "config" / "demo.yaml"])
    runs = all_runs(demo)
    assert {run.dataset for run in runs} == {"digits"}
    assert len(runs) == 20
    for table in demo["tables"]:  # the demo shows the same models and priors as the paper
        shown = {(r.model, r.prior) for r in experiment.table_runs(demo, table)}
        wanted = {(r.model, r.prior) for r in experiment.table_runs(CONFIG, table)}
        assert shown == wanted, table


@pytest.mark.parametrize("name", ["config.schema.yaml", "families.schema.yaml"])
def test_the_workflows_schema_is_the_packages(name):
    schema = ROOT / "workflow" / "schemas" / name
    assert schema.read_bytes() == Path(experiment.__file__).with_name(schema.name).read_bytes()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "missing.yaml cannot be read"),
        ("a: [1", "missing.yaml cannot be read"),
        ("- a\n- b", "missing.yaml cannot be read"),
        ("just text", "missing.yaml cannot be read"),
        (b"\xff\xfe\x00", "missing.yaml cannot be read"),
    ],
)
def test_unreadable_config_file(tmp_path, content, match):
    path = tmp_path / "missing.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(match):
        load_config([ROOT / "config.yaml", path])


@pytest.mark.parametrize(
    ("pair", "match"),
    [
        ("budget", "KEY=VALUE"),
        ("budget=[a", r"budget=\[a is not YAML"),
        ("bugdet=demo", "unknown key 'bugdet': did you mean 'budget'"),
        ("budget=dmeo", "unknown budget 'dmeo': did you mean 'demo'"),
    ],
)
def test_wrong_value_on_the_command_line(pair, match):
    with refused(match):
        load_config([ROOT / "config.yaml"], [pair])


def test_reading_the_config_does_not_load_torch():
    code = "import sys, resampled_priors.experiment as e; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Run folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", [".", "results", "/a/b c/results", "runs/runs"])
def test_a_run_from_its_folder(root):
    for run in all_runs(CONFIG)[::7]:
        assert Run.from_folder(Path(root) / run.folder) == run
        assert Run.from_folder(f"{root}/{run.folder}/") == run
    assert Run("short", "digits", "vae", "lars_10-10", 12).folder == (
        "runs/short/digits/vae/lars_10-10/seed12"
    )


@pytest.mark.parametrize(
    "folder",
    [
        "/",
        "results",
        "runs/short/digits/vae/lars",
        "runs/short/digits/vae/lars/0",
        "runs/short/digits/vae/lars/seed",
        "runs/short/digits/vae/lars/seed-1",
        "runs/short/digits/vae/lars/seed1x",
        "runs/short/digits/vae/lars/seed²",
        "runs/short/digits/vae/lars/seed0/metrics.json",
        "run/short/digits/vae/lars/seed0",
        "short/digits/vae/lars/seed0",
        "runs/digits/vae/lars/seed0",
    ],
)
def test_not_a_run_folder(folder):
    with refused(
        f"{folder} is not a run folder: it should end in runs/BUDGET/DATASET/MODEL/PRIOR/seedN"
    ):
        Run.from_folder(folder)


@pytest.mark.parametrize(
    ("run", "match"),
    [
        (
            Run("short", "dynamic_mnits", "vae", "lars", 0),
            "'dynamic_mnits': did you mean 'dynamic_mnist'",
        ),
        (Run("sort", "digits", "vae", "lars", 0), "unknown budget 'sort': did you mean 'short'"),
        (Run("short", "digits", "hvea", "lars", 0), "unknown model 'hvea': did you mean 'hvae'"),
        (
            Run("short", "digits", "vae", "lars_T3x", 0),
            "unknown prior 'lars_T3x': did you mean 'lars_T",
        ),
        (Run("short", "digits", "vae", "?", 0), "unknown prior '.': use one of standard, lars, "),
    ],
)
def test_settings_of_an_unknown_run(run, match):
    with refused(match):
        resolve_run(CONFIG, run)


def test_unknown_table():
    with refused("unknown table 'tableD7': did you mean 'tableD"):
        table_cells(CONFIG, "tableD7")


# Wrong configs -----------------------------------------------------------------------------------

LARS_LIKE = CONFIG["priors"]["lars"]
OUTPUT = CONFIG["models"]["vae_resampled_output"]["output"]
ROW = {"label": "other", "model": "vae", "prior": "lars"}
TOY: dict[str, Any] = dict(CONFIG["toys"]["lars_10"]["prior"])
TOY["proposal"] = TOY

# path, value, what the message says of place and remedy
WRONG = {
    # unknown keys, at every level
    "top": ("bugdet", "demo", "unknown key 'bugdet': did you mean 'budget'"),
    "top, no likeness": ("zzz", 1, "unknown key 'zzz': use one of pathvars, budget, device"),
    "pathvars": ("pathvars.reslts", "x", "'pathvars.reslts': did you mean 'results'"),
    "data": ("data.miror", "x", "unknown key 'data.miror': did you mean 'mirror'"),
    "budget": ("budgets.short.iteration", 5, "'budgets.short.iteration': .*'iterations'"),
    "budget's model": (
        "budgets.short.models.conv_hvae.warmup",
        5,
        "'budgets.short.models.conv_hvae.warmup': did you mean 'warm_up'",
    ),
    "training": ("training.lerning_rate", 1, "'training.lerning_rate': .*'learning_rate'"),
    "budget's training": ("budgets.short.training", {"patence": 1}, "did you mean 'patience'"),
    "budget's model's training": (
        "budgets.short.models.conv_hvae.training",
        {"batchsize": 1},
        "'budgets.short.models.conv_hvae.training.batchsize': did you mean 'batch_size'",
    ),
    "model's training": (
        "models.vae.training",
        {"warm_up": 1},
        "'models.vae.training.warm_up': use",
    ),
    "model's training, range": (
        "models.vae.training",
        {"patience": 0},
        "patience: 0 is less than",
    ),
    "data sets": (
        "datasets.mnist",
        {"label": "x"},
        "datasets.mnist: 'images' is .*: add it; .* none of static_mnist, ",
    ),
    "data set": ("datasets.digits.early_stoping", True, "did you mean 'early_stopping'"),
    "model": ("models.vae.latent_sise", 3, "'models.vae.latent_sise': .*'latent_size'"),
    "output": ("models.vae_resampled_output.output.T", 3, "output.T': use one of hidden, trunc"),
    "LARS": ("priors.lars.truncaton", 3, "'priors.lars.truncaton': did you mean 'truncation'"),
    "flow": ("priors.maf.layer", 3, "'priors.maf.layer': did you mean 'layers'"),
    "normal": (
        "priors.standard.hidden",
        [3],
        "'priors.standard.hidden': use one of label, ",
    ),
    "table": ("tables.table1.captoin", "x", "'tables.table1.captoin': did you mean 'caption'"),
    "row": ("tables.table1.rows.0.datset", "x", "'tables.table1.rows.0.datset': .*'dataset'"),
    "column": ("tables.table1.columns.2.piror", "x", "table1.columns.2.piror': .*'prior'"),
    # missing keys
    "no budget": ("budget", REMOVED, "the top level: 'budget' is a required property: add it"),
    "no mirror": ("data.mirror", REMOVED, "data: 'mirror' is a required property: add it"),
    "no iterations": ("budgets.demo.iterations", REMOVED, "budgets.demo: 'iterations' is a requ"),
    "no patience": ("training.patience", REMOVED, "training: 'patience' is a required property"),
    "no truncation": ("priors.lars_T5.truncation", REMOVED, "priors.lars_T5: 'truncation' is a"),
    "no layers": ("priors.maf.layers", REMOVED, "priors.maf: 'layers' is a required property"),
    "no label": ("datasets.omniglot.label", REMOVED, "datasets.omniglot: 'label' is a required"),
    "no output": ("models.vae_resampled_output.output", REMOVED, "'output' is a required propert"),
    "no rows": ("tables.tableD2.rows", REMOVED, "tables.tableD2: 'rows' is a required property"),
    # types
    "hidden 10": ("priors.lars.hidden", 10, "priors.lars.hidden: 10 is not of type 'array'"),
    "hidden text": ("priors.lars.hidden", ["a"], "priors.lars.hidden.0: 'a' is not of type 'int"),
    "hidden 10.0": ("priors.lars.hidden", [10.0], "lars.hidden.0: 10.0 is not of type 'integer'"),
    "T text": ("priors.lars.truncation", "inf", "truncation: 'inf' .* or null for p_infinity"),
    "T infinite": ("priors.lars.truncation", float("inf"), "truncation: inf .* or null for p_inf"),
    "iterations 1e4": ("budgets.short.iterations", "1e4", "short.iterations: '1e4' is not of ty"),
    "iterations yes": ("budgets.short.iterations", True, "short.iterations: True is not of type"),
    "partial text": ("partial", "yes", "partial: 'yes' is not of type 'boolean'"),
    "table list": ("tables.table1", [], r"tables.table1: \[\] is not of type 'object'"),
    "no priors": ("priors", None, "priors: None is not of type 'object'"),
    "quoted text": ("tables.table2.rows.0.quoted.omniglot", "9", "quoted.omniglot: '9' is not of"),
    "seeds number": ("budgets.short.seeds", 3, "budgets.short.seeds: 3 is not of type 'array'"),
    # ranges
    "T 0": ("priors.lars_T2.truncation", 0, "priors.lars_T2.truncation: 0 .*T, at least 2"),
    "T 1": ("priors.lars_T2.truncation", 1, "truncation: 1 .*T = 1 is the proposal itself"),
    "T -5": ("priors.lars_T2.truncation", -5, "truncation: -5 .*at least 2"),
    "T of output": (
        "models.vae_resampled_output.output.truncation",
        1,
        "truncation: 1 .*T = 1 ",
    ),
    "width -10": ("priors.lars_10-10.hidden", [10, -10], "lars_10-10.hidden.1: -10 is less than"),
    "width 0": ("priors.realnvp.hidden", [0], "priors.realnvp.hidden.0: 0 is less than the minim"),
    "no layer": ("priors.lars.hidden", [], r"priors.lars.hidden: \[\] should be non-empty"),
    "no flow layer": (
        "priors.maf.layers",
        0,
        "priors.maf.layers: 0 is less than the minimum",
    ),
    "smoothing 0": ("priors.lars.smoothing", 0, "priors.lars.smoothing: 0 is less than or equal"),
    "smoothing 2": ("priors.lars.smoothing", 2, "smoothing: 2 is greater than the maximum of 1"),
    "smoothing nan": (
        "priors.lars.smoothing",
        float("nan"),
        "smoothing: nan is not of type 'nu",
    ),
    "proposals 0": ("priors.lars.num_proposals", 0, "num_proposals: 0 is less than the minimum"),
    "latent -50": ("models.vae.latent_size", -50, "vae.latent_size: -50 is less than the minim"),
    "iterations 0": ("budgets.short.iterations", 0, "short.iterations: 0 is less than the minim"),
    "warm-up -1": ("budgets.short.warm_up", -1, "short.warm_up: -1 is less than the minimum of 0"),
    "K 0": ("budgets.short.importance_samples", 0, "importance_samples: 0 is less than the min"),
    "S 2": ("budgets.short.z_samples", 2, "z_samples: 2 is less than the minimum of 4"),
    "target 0": ("budgets.short.z_target", 0, "z_target: 0 is less than or equal to the minimum"),
    "no seed": ("budgets.short.seeds", [], r"budgets.short.seeds: \[\] should be non-empty"),
    "seed twice": ("budgets.short.seeds", [0, 0], r"seeds: \[0, 0\] has non-unique elements"),
    "seed -1": ("budgets.short.seeds", [-1], "seeds.0: -1 is less than the minimum of 0"),
    "rate 0": ("training.learning_rate", 0.0, "learning_rate: 0.0 is less than or equal to the"),
    "rate inf": ("training.learning_rate", float("inf"), "learning_rate: inf is not of type 'num"),
    "factor inf": ("datasets.digits.schedule_factor", float("inf"), "schedule_factor: inf is not"),
    "batch 0": ("training.batch_size", 0, "training.batch_size: 0 is less than the minimum of 1"),
    "device": ("device", "gpu", "device: 'gpu' .*it is auto, cpu, cuda or cuda:N"),
    "empty folder": ("pathvars.results", "", "pathvars.results: '' should be non-empty"),
    "no row": ("tables.table1.rows", [], r"tables.table1.rows: \[\] should be non-empty"),
    # names
    "budget name": ("budget", "papr", "budget: unknown budget 'papr': did you mean 'paper'"),
    "budget's model name": (
        "budgets.short.models",
        {"convhvae": {"iterations": 5}},
        "budgets.short.models: unknown model 'convhvae': did you mean 'conv_hvae'",
    ),
    "unverified name": (
        "data.accept_unverified",
        ["omniglo"],
        "unknown dataset 'omniglo': did you m",
    ),
    "model family": ("models.vae.family", "vea", "vae.family: 'vea' is not one of .*'vae'"),
    "prior family": (
        "priors.lars.family",
        "las",
        "priors.lars.family: 'las' is not one of .*lars",
    ),
    "output of a VAE": (
        "models.vae.output",
        OUTPUT,
        "unknown key 'models.vae.output': use one of",
    ),
    "proposal": ("priors.lars.proposal", "standrd", "lars.proposal: .*'standrd': .*'standard'"),
    "base": (
        "priors.lars_posthoc.base",
        "standrd",
        "lars_posthoc.base: .*'standrd': .*'standard",
    ),
    "LARS on LARS": (
        "priors.lars_T2.proposal",
        "lars",
        "priors.lars_T2.proposal: 'lars' is itself a LARS prior: name a prior of another family",
    ),
    "LARS on itself": ("priors.lars.proposal", "lars", "'lars' is itself a LARS prior: name a"),
    "post hoc on LARS": (
        "priors.lars_posthoc.base",
        "lars_T2",
        "priors.lars_posthoc.base: 'lars_T2' is itself a LARS prior: name a prior of another",
    ),
    "base of a flow": ("priors.maf.base", "standrd", "priors.maf.base: .*'standrd': .*'standard'"),
    "prior's name": ("priors.a b", LARS_LIKE, "priors: 'a b' does not match"),
    "prior's name, a folder": ("priors...", LARS_LIKE, "priors"),
    "table's name": ("tables.a/b", CONFIG["tables"]["table1"], "tables: 'a/b' does not match"),
    "metric": ("tables.tableD2.columns.0.metric", "NLL", "metric: 'NLL' is not one of .*'nll'"),
    "row's data set": ("tables.table1.rows.0.dataset", "minst", "tables.table1: .*'minst'"),
    "row's prior": ("tables.tableD3.rows.1.prior", "lars_T3", "tables.tableD3: .*did you mean"),
    "column's model": ("tables.table1.columns.0.model", "vea", "tables.table1: .*'vea': .*'vae'"),
    "table's data set": ("tables.tableD2.dataset", REMOVED, "tables.tableD2: unknown dataset ''"),
    "table's model": ("tables.tableD2.model", REMOVED, "tableD2: row 'standard' names no model"),
    "quoted nothing": ("tables.table2.rows.0.quoted", {}, r"table2.rows.0.quoted: \{\} "),
    "neither quoted nor measured": (
        "tables.table2.rows.0",
        {"label": "HVAE + X"},
        "tables.table2: row 'HVAE . X' names no model or prior and quotes nothing: give it",
    ),
    "quoted name": (
        "tables.table2.rows.0.quoted",
        {"dynamic_mnst": 1.0},
        "tables.table2.rows.quoted: unknown dataset 'dynamic_mnst': did you mean 'dynamic_mnist'",
    ),
    "all empty": (
        "tables.table2",
        {
            "caption": "x",
            "dataset": "digits",
            "rows": [{"label": "x", "quoted": {"omniglot": 1}}],
            "columns": [{"metric": "nll"}],
        },
        "tables.table2: no cell has a number in it: give a row a model",
    ),
    "equal rows": (
        "tables.tableD4.rows",
        [{"prior": "lars"}, {"prior": "maf", "label": "LARS"}],
        "tables.tableD4: two cells are in row 'LARS', column 'NLL': .*labels that differ",
    ),
    # toys and figures
    "toy": ("toys.lars_10.learning_rte", 1, "'toys.lars_10.learning_rte': .*'learning_rate'"),
    "toy's T": ("toys.lars_10.prior.truncation", 1, "prior.truncation: 1 .*T, at least 2"),
    "toy's prior": (
        "toys.lars_10.prior",
        {"family": "lars"},
        "lars_10.prior: 'proposal' is a required",
    ),
    "toy's target": ("toys.lars_10.target", "x", "toys.lars_10.target: 'x' is not one of"),
    "figure": ("figures.fig3.grd", [4, 8], "'figures.fig3.grd': did you mean 'grid'"),
    "figure's toy": ("figures.fig1.toys", ["lars_1"], "fig1.toys: unknown toy 'lars_1': did"),
    "figure's run": ("figures.fig3.runs", ["digits/vae"], "fig3.runs.0: .*DATASET/MODEL/PRIOR"),
    "figure's data set": (
        "figures.fig3.runs",
        ["omniglo/vae/lars"],
        "figures.fig3.runs: unknown dataset 'omniglo': did you mean 'omniglot'",
    ),
    # contradictions
    "LARS prior of a resampled output": (
        "tables.tableD6.rows.2.prior",
        "lars",
        "tables.tableD6: model 'vae_resampled_output' has a resampled output and takes no LARS",
    ),
    "LARS prior of a resampled output, in a figure": (
        "figures.figD9.runs",
        ["dynamic_mnist/vae_resampled_output/lars"],
        "figures.figD9.runs: model 'vae_resampled_output' has a resampled output",
    ),
    "a of a standard prior": (
        "figures.fig3.runs",
        ["digits/vae/standard"],
        "figures.fig3.runs: prior 'standard' has no acceptance function to show: name a LARS",
    ),
    "Z of a flow": (
        "figures.figA2.runs",
        ["digits/vae/maf"],
        "figA2.runs: prior 'maf' has no acc",
    ),
    "latents that do not fit": (
        "figures.figD11.runs",
        ["digits/vae/lars"],
        "figures.figD11.runs: model 'vae' has latent_size 50: name one with latent_size 2",
    ),
    "latents that do not fit, by the model": (
        "models.vae_2d.latent_size",
        3,
        "figD10.runs: model 'vae_2d' has latent_size 3: name one with latent_size 2",
    ),
    "grid too large": (
        "figures.fig3.grid",
        [400, 800],
        r"figures.fig3.grid: \[400, 800\] has room for more than the num_proposals of 10000",
    ),
    "two runs where one fits": (
        "figures.figA2.runs",
        ["digits/vae/lars", "omniglot/vae/lars"],
        "figures.figA2.runs: .* is too long",
    ),
    "toy of two dimensions": ("figures.fig1.toys", ["lars_10"], "'lars_10' has another target th"),
    "toy of one dimension": (
        "figures.figD4.toys",
        ["realnvp", "lars_1d"],
        "figures.figD4.toys: 'lars_1d' has another target than gaussian_grid: name one with that",
    ),
    "toy twice": ("figures.figD3.toys", ["lars_10"] * 2, "figD3.toys: .* has non-unique elements"),
    "one toy of two": ("figures.figD4.toys", ["realnvp"], "figures.figD4.toys: .*short"),
    "toy without a label": (
        "figures.fig2.toys",
        ["lars_10", "realnvp"],
        "figures.fig2.labels: 3 labels of 2 things: give one for each",
    ),
    "run without a label": (
        "figures.fig3.labels",
        ["MNIST"],
        "figures.fig3.labels: 1 labels of 2 things: give one for each",
    ),
    "toy with another proposal": (
        "figures.figD4.toys",
        ["realnvp", "lars_10"],
        "figures.figD4.toys: 'lars_10' does not have 'realnvp' as its proposal: name a LARS toy",
    ),
    "toy without a network": (
        "toys.lars_1d.prior",
        {"family": "standard_normal"},
        "toys.lars_1d.prior.family: 'standard_normal' is not one of .*'lars'",
    ),
    "toy with itself as proposal": (
        "toys.lars_10.prior.proposal",
        TOY,
        "an entry contains itself",
    ),
    "figure without a grid": ("figures.fig3.grid", REMOVED, "figures.fig3: 'grid' is a required"),
    "figure without runs": (
        "figures.figD10.runs",
        REMOVED,
        "figures.figD10: 'runs' is a required",
    ),
    "figure without toys": ("figures.figD4.toys", REMOVED, "figures.figD4: 'toys' is a required"),
    "figure of no group": (
        "figures.figD5.groups",
        [],
        r"figures.figD5.groups: \[\] should be non",
    ),
    "figure of no kind": ("figures.fig4", {"caption": "x"}, "figures.fig4: 'kind' is a required"),
    "figure of an unknown kind": (
        "figures.figD14.kind",
        "latents",
        "figures.figD14.kind: 'latents' is not one of .*'latent_means'",
    ),
    "key of another kind": (
        "figures.figD14.grid",
        [2, 2],
        "'figures.figD14.grid': use one of caption, kind, runs, seed",
    ),
    "figure's name": (
        "figures.my figure",
        {"caption": "x", "kind": "rejection"},
        "'my figure' do",
    ),
    "post hoc on nothing": (
        "priors.lars_posthoc.base",
        None,
        "base: None is not of type 'string'",
    ),
    "flow post hoc on itself": (
        "priors.maf.base",
        "maf",
        "maf.base: 'maf' is itself fitted post hoc: name a prior without a base",
    ),
    "post hoc on itself": (
        "priors.lars_posthoc.base",
        "lars_posthoc",
        "is itself a LARS prior: n",
    ),
    "latents of half": (
        "models.vae.latent_size",
        2.5,
        "latent_size: 2.5 is not of type 'integer'",
    ),
    "seed too large": (
        "budgets.short.seeds",
        [10**9],
        "seeds.0: 1000000000 is greater than the m",
    ),
    "device number": ("device", "cuda:-1", "device: 'cuda:-1' .*it is auto, cpu, cuda or cuda:N"),
    "device null": ("device", None, "device: None is not of type 'string'"),
    "equal columns": (
        "tables.tableD4.columns",
        [{"metric": "nll"}, {"metric": "nll"}],
        "tables.tableD4: two cells are in row 'standard', column 'NLL'",
    ),
}


def set_by(path: str, value: Any) -> experiment.Config:
    if path == "priors...":  # a name that with_value would take apart
        return CONFIG | {"priors": CONFIG["priors"] | {"..": value}}
    return with_value(path, value)


@pytest.mark.parametrize(("path", "value", "match"), WRONG.values(), ids=WRONG)
def test_wrong_config(path, value, match):
    with refused(f"config: .*{match}"):
        experiment.validate_config(set_by(path, value))


def test_there_are_many_wrong_configs():
    assert len(WRONG) >= 100
    assert len({path for path, _, _ in WRONG.values()}) >= 80


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("priors.lars.truncation", 2),
        ("priors.lars.truncation", 10**9),
        ("priors.lars.truncation", None),
        ("priors.lars.smoothing", 1),
        ("budgets.short.warm_up", 0),
        ("budgets.short.decay_after", None),
        ("budgets.short.z_target", None),
        ("data.mirror", "~/data"),
        ("data.accept_unverified", ["omniglot"]),
        ("device", "cuda:1"),
        ("priors.lars_T3", LARS_LIKE | {"truncation": 3}),
        ("priors.lars_maf", LARS_LIKE | {"proposal": "maf"}),
        ("priors.flow_posthoc", LARS_LIKE | {"base": "realnvp"}),
        ("priors.maf.base", "standard"),
        ("budgets.short.training", {"batch_size": 64}),
        ("budgets.short.models.conv_hvae.training", {"learning_rate": 1e-4, "patience": 3}),
        ("models.vae.training", {}),
        ("models.vae_10d", {"label": "x", "family": "vae", "latent_size": 10}),
        ("tables.mine", CONFIG["tables"]["tableD2"]),
        ("tables.table2.rows.0", {**ROW, "quoted": {"omniglot": 1.5}}),
    ],
)
def test_right_config(path, value):
    experiment.validate_config(with_value(path, value))


def test_a_quoted_row_becomes_measured_by_a_model_and_a_prior():
    config = with_value("tables.table2.rows.0", {**ROW, "quoted": {"omniglot": 1.5}})
    cells = [cell for cell in table_cells(config, "table2") if cell.row == "other"]
    assert [(c.dataset, c.measured, c.quoted) for c in cells] == [
        ("dynamic_mnist", True, None),
        ("omniglot", True, 1.5),
    ]
    assert Run("short", "omniglot", "vae", "lars", 0) in experiment.table_runs(config, "table2")


def test_the_readme_of_the_config_adds_a_prior_that_is_valid():
    text = (ROOT / "config" / "README.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        experiment.validate_config(merge(CONFIG, yaml.safe_load(block)))


def test_a_caption_is_no_setting_of_its_figure():
    other = merge(CONFIG, {"figures": {"figD7": {"caption": "another"}}})
    assert experiment.resolve_figure(other, "figD7") == experiment.resolve_figure(CONFIG, "figD7")
    assert "caption" not in experiment.resolve_figure(CONFIG, "figD7")


@pytest.mark.parametrize(
    ("name", "number"),
    {
        **{"table1": "1", "tableD3": "D.3", "figA1": "A.1", "figD14": "D.14"},
        **{"mine": "mine", "figure_1b": "figure_1b", "figs": "figs"},
    }.items(),
)
def test_the_papers_number_of_a_table_or_figure(name, number):
    assert experiment.paper_number(name) == number


def test_all_runs_are_those_of_tables_and_figures_and_the_bases():
    config = merge(
        CONFIG,
        {
            "tables": {"table1": CONFIG["tables"]["tableD6"]},
            "figures": {"fig3": {"runs": ["digits/vae/lars_posthoc", "digits/vae/lars"]}},
            "budgets": {"short": {"seeds": [3, 4]}},
        },
    )
    config["tables"] = {"table1": config["tables"]["table1"]}
    config["figures"] = {"fig3": config["figures"]["fig3"]}
    in_table = [
        Run("short", "dynamic_mnist", model, prior, seed)
        for model, prior in (
            ("vae", "standard"),
            ("vae", "lars"),
            ("vae_resampled_output", "standard"),
        )
        for seed in (3, 4)
    ]
    in_figure = [
        Run("short", "digits", "vae", prior, 3) for prior in ("standard", "lars_posthoc", "lars")
    ]
    assert experiment.all_runs(config) == in_table + in_figure
