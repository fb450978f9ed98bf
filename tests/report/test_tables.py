"""Tables from made-up runs: means, errors, marks, and four formats that others can read."""

import itertools
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from resampled_priors import experiment
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import load_config, merge, resolve_table, table_runs
from resampled_priors.report import tables
from resampled_priors.report.paper import paper_values

ROOT = Path(__file__).parents[2]
CONFIG = load_config([ROOT / "config.yaml"])
METRICS = {
    "nll": 90.0,
    "elbo": 95.0,
    "kl": 25.0,
    "recons": 70.0,
    "z": 0.0123456,
    "z_se": 1e-5,
    "log_z_se": 0.001,
    "num_z_samples": 200_000_000,
    "num_importance_samples": 1_000,
    "iterations": 20_000,
    "device": "cpu",
    "seed": 0,
}
VAE = {"family": "vae", "latent_size": 50}
LARS = "dynamic_mnist/vae/lars"
STANDARD = "dynamic_mnist/vae/standard"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "my results"
    folder.mkdir()
    return folder


def write_run(
    results: Path,
    run: str,
    seed: int = 0,
    verified: bool = True,
    training=None,
    budget: str = "short",
    **metrics,
) -> Path:
    """A run folder with what a table reads of it."""
    folder = results / "runs" / budget / run / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(METRICS | {"seed": seed} | metrics))
    data = [{"name": "a", "verified": True}, {"name": "b", "verified": verified}]
    dataset, model, prior = run.split("/")
    settings = {"dataset": dataset, "model": {"name": model, **VAE}, "seed": seed}
    settings |= {"prior": {"name": prior, "family": "standard_normal"}}
    record = {"data": data, "settings": settings | {"training": training or {}}}
    record |= {"iterations": 20_000, "train_seconds": 1.0, "device": "cpu", "model_sha256": "1"}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def spec(table: str, seeds: list[int] | None = None, **changes) -> experiment.Config:
    """A table's settings, as the workflow hands them over: through JSON."""
    config = experiment.merge(CONFIG, {"budgets": {"short": {"seeds": seeds or [0]}}, **changes})
    return json.loads(json.dumps(resolve_table(config, table)))


def cell(results: Path, table: str, run: str, metric: str = "nll", **settings) -> pd.Series:
    """One row of the CSV that is written."""
    tables.write_table(table, spec(table, **settings), results)
    rows = pd.read_csv(results / f"{table}.csv")
    found = rows[
        (rows["dataset"] + "/" + rows["model"] + "/" + rows["prior"] == run)
        & (rows["metric"] == metric)
    ]
    assert len(found) == 1
    return found.iloc[0]


def markdown(results: Path, table: str) -> str:
    return (results / f"{table}.md").read_text(encoding="utf-8")


def markdown_row(results: Path, table: str, label: str) -> list[str]:
    """The cells of a row."""
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in markdown(results, table).splitlines()]
    [row] = [row for row in rows if row and row[0] == label]
    return row[1:]


def refused(match: str):
    """Expect a one-line ResampledPriorsError that matches."""
    return pytest.raises(ResampledPriorsError, match=f"^(?=.*{match})[^\n]*$")


# Numbers -----------------------------------------------------------------------------------------


def test_mean_standard_error_and_difference(results):
    for seed, nll in enumerate([90.1, 90.4, 91.0]):
        write_run(results, LARS, seed, nll=nll)
    row = cell(results, "tableD2", LARS, seeds=[0, 1, 2])
    assert row["ours"] == pytest.approx(90.5, rel=1e-12)
    # sum of squares 0.16 + 0.01 + 0.25; divided by 2 and by 3
    assert row["standard_error"] == pytest.approx(math.sqrt(0.42 / 6), rel=1e-12)
    assert row["paper"] == 83.05
    assert row["difference"] == pytest.approx(7.45, rel=1e-12)
    assert row["seeds"] == "0 1 2"
    assert pd.isna(row["missing"])
    text = markdown_row(results, "tableD2", "LARS; a = MLP[100−100]")
    assert text == ["90.50 ± 0.3 (83.05; +7.45)", "0.0123 ± 0 (0.015; −0.00265)"]
    assert "seeds 0, 1, 2" in markdown(results, "tableD2")


@pytest.mark.parametrize(
    ("values", "text"),
    [([80.0, 104.0], "± 10"), ([90.0, 90.2], "± 0.1"), ([90.0, 90.0], "± 0"), ([1, 301], "± 200")],
)
def test_a_standard_error_has_one_digit(results, values, text):
    for seed, value in enumerate(values):
        write_run(results, LARS, seed, nll=value)
    cell(results, "tableD2", LARS, seeds=[0, 1])
    shown = markdown_row(results, "tableD2", "LARS; a = MLP[100−100]")[0]
    assert shown.startswith(f"{sum(values) / 2:.2f} {text} (")


def test_one_seed_has_no_standard_error(results):
    write_run(results, LARS, nll=82.0)
    row = cell(results, "tableD2", LARS)
    assert math.isnan(row["standard_error"])
    assert markdown_row(results, "tableD2", "LARS; a = MLP[100−100]")[0] == "82.00 (83.05; −1.05)"
    assert "±" not in markdown(results, "tableD2")


def test_two_of_three_seeds(results):
    for seed, nll in ((0, 90.0), (2, 91.0)):
        write_run(results, LARS, seed, nll=nll)
    row = cell(results, "tableD2", LARS, seeds=[0, 1, 2])
    assert (row["ours"], row["standard_error"]) == (90.5, pytest.approx(0.5))
    assert row["seeds"] == "0 2"
    missing = f"runs/short/{LARS}/seed1"
    assert row["missing"] == missing
    [note] = [x for x in markdown(results, "tableD2").splitlines() if x.startswith("Missing runs")]
    assert note == f"Missing runs: {5 * 3 + 1}, named in the column 'missing' of the .csv file"


def test_a_few_missing_runs_are_named_in_order(results):
    runs = table_runs(CONFIG, "tableD2")
    for run in runs[2:]:
        write_run(results, f"{run.dataset}/{run.model}/{run.prior}", run.seed, nll=90.0)
    tables.write_table("tableD2", spec("tableD2"), results)
    [note] = [x for x in markdown(results, "tableD2").splitlines() if x.startswith("Missing runs")]
    assert note == "Missing runs: " + ", ".join(sorted(run.folder for run in runs[:2]))


def test_a_run_several_cells_share_is_missing_once(results):
    tables.write_table("tableD3", spec("tableD3"), results)
    text = markdown(results, "tableD3")
    assert text.count(f"runs/short/{LARS}/seed0") == 1


@pytest.mark.parametrize("metric", ["nll", "elbo", "kl", "recons", "z"])
def test_each_metric_is_its_own(results, metric):
    write_run(results, LARS)
    table = "tableD2" if metric == "nll" else "tableD1"
    assert cell(results, table, LARS, metric)["ours"] == METRICS[metric]


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("nll", 84.965, "84.97"),
        ("nll", 100.4, "100.40"),
        ("kl", 0.001, "0.00"),
        ("z", 1.0, "1"),
        ("z", 0.0146, "0.0146"),
        ("z", 2e-6, "2e-06"),
        ("z", 0.99999, "1"),
    ],
)
def test_format(metric, value, text):
    assert tables.format_value(metric, value + 1e-9 * (metric == "nll")) == text


# Marks -------------------------------------------------------------------------------------------


def test_unverified_data_is_marked(results):
    write_run(results, LARS, verified=False, nll=83.05)
    write_run(results, STANDARD, nll=84.97)
    row = cell(results, "tableD2", LARS)
    assert not row["verified"]
    ours = markdown_row(results, "tableD2", "LARS; a = MLP[100−100]")
    assert ours == ["83.05° (83.05; +0.00)", "0.0123° (0.015; −0.00265)"]
    assert markdown_row(results, "tableD2", "standard")[0] == "84.97 (84.97; +0.00)"
    note = "° made from data files that are not the published ones"
    assert markdown(results, "tableD2").count(note) == 1


def test_one_unverified_seed_marks_the_mean(results):
    write_run(results, LARS, 0)
    write_run(results, LARS, 1, verified=False)
    assert not cell(results, "tableD2", LARS, seeds=[0, 1])["verified"]


@pytest.mark.parametrize(("error", "marked"), [(0.049, False), (0.05, False), (0.051, True)])
def test_uncertain_z_is_marked(results, error, marked):
    write_run(results, LARS, 0, log_z_se=error)
    write_run(results, LARS, 1, log_z_se=0.001)
    assert cell(results, "tableD2", LARS, seeds=[0, 1])["log_z_se"] == error
    for text in markdown_row(results, "tableD2", "LARS; a = MLP[100−100]"):
        assert ("†" in text) == marked
    note = "† standard error of log Z above 0.05 nats"
    assert (note in markdown(results, "tableD2")) == marked


def test_quoted_and_missing_are_marked(results):
    write_run(results, "dynamic_mnist/hvae/lars", nll=82.0)
    tables.write_table("table2", spec("table2"), results)
    assert markdown_row(results, "table2", "VAE (L=2) + VGP") == ["81.32‡", ""]
    assert markdown_row(results, "table2", "LVAE (L=5)") == ["— [81.74‡]", "— [102.11‡]"]
    own = ["82.00 (81.62; +0.38)", "— (100.40)"]
    assert markdown_row(results, "table2", "HVAE (L=2) + LARS") == own
    text = markdown(results, "table2")
    assert "‡ quoted, not measured here" in text and "— not run yet" in text
    assert "° " not in text and "† " not in text
    rows = pd.read_csv(results / "table2.csv")
    assert list(rows["quoted"].dropna()) == [81.32]
    assert rows.loc[rows["quoted"].notna(), "ours"].isna().all()
    published = rows[rows["published"].notna()]
    assert list(published["published"]) == [
        *(103.38, 81.74, 102.11, 81.24, 101.18, 79.10, 79.75, 97.56)
    ]
    for source in published["source"].unique():
        assert f"‡ {source}" in text.splitlines()


def test_another_papers_number_stands_beside_ours(results):
    write_run(results, "dynamic_mnist/lvae/standard", nll=85.0)
    tables.write_table("table2", spec("table2"), results)
    assert markdown_row(results, "table2", "LVAE (L=5)") == ["85.00 [81.74‡]", "— [102.11‡]"]
    assert "In square brackets: another paper's" in markdown(results, "table2")
    write_run(results, STANDARD, nll=86.0)
    tables.write_table("tableR1", spec("tableR1"), results)
    shown = markdown_row(results, "tableR1", "standard")
    assert shown[0] == "86.00 (84.97; +1.03) [84.45‡]" and shown[2] == "— (89.11)"


COSTS = {
    "num_acceptance_parameters": 15_201,
    "num_prior_parameters": 1_000_000,
    "train_seconds": 123.456,
    "sample_seconds": 1.23456,
    "nll_se": 0.234,
}


def test_what_a_prior_costs(results):
    """Of an unverified data set and an uncertain Z: neither is a mark of times and sizes."""
    write_run(results, LARS, verified=False, log_z_se=0.06, **COSTS)
    tables.write_table("tableR1", spec("tableR1"), results)
    shown = markdown_row(results, "tableR1", "LARS")
    assert shown[5:] == ["0.23°†", "0.0123°†", "1,015,201", "6.17", "1,230"]
    rows = pd.read_csv(results / "tableR1.csv").set_index(["dataset", "prior", "metric"])["ours"]
    assert rows["dynamic_mnist", "lars", "sample_ms"] == pytest.approx(1_234.56)
    assert rows["dynamic_mnist", "lars", "step_ms"] == pytest.approx(1_000 * 123.456 / 20_000)


def test_a_time_that_an_older_record_does_not_have(results):
    write_run(results, LARS, **{k: v for k, v in COSTS.items() if k != "sample_seconds"})
    tables.write_table("tableR1", spec("tableR1"), results)
    assert markdown_row(results, "tableR1", "LARS")[-2:] == ["6.17", "n/a"]
    assert "n/a not in the record of the run: evaluate it again" in markdown(results, "tableR1")


def test_an_upper_bound_is_marked(results):
    """Where a lower bound takes the place of the prior's density; of no metric without it."""
    write_run(results, LARS, is_bound=True)
    write_run(results, STANDARD)
    row = cell(results, "tableD2", LARS)
    assert row["is_bound"] and math.isnan(cell(results, "tableD2", STANDARD)["is_bound"])
    assert markdown_row(results, "tableD2", "LARS; a = MLP[100−100]")[0].startswith("≤ 90.00 (")
    assert markdown_row(results, "tableD2", "standard")[0].startswith("90.00 (")
    assert "≤ an upper bound" in markdown(results, "tableD2")
    assert r"$\le$ 90.00" in (results / "tableD2.tex").read_text(encoding="utf-8")
    tables.write_table("tableD1", spec("tableD1"), results)
    shown = markdown_row(results, "tableD1", "dynamic MNIST; LARS joint")
    assert [text.startswith("≤") for text in shown] == [True, True, False, False]


def test_a_quoted_row_that_is_measured_shows_the_measurement(results):
    row = {"label": "other", "model": "vae", "prior": "lars", "quoted": {"dynamic_mnist": 81.3}}
    changes = {"tables": {"table2": {"rows": [row]}}}
    write_run(results, LARS, nll=90.0)
    tables.write_table("table2", spec("table2", **changes), results)
    assert markdown_row(results, "table2", "other") == ["90.00", "—"]


# The formats -------------------------------------------------------------------------------------

SMALL = {
    "tables": {
        "small": {
            "caption": "Test NLL (nats) and Z",
            "dataset": "digits",
            "model": "vae",
            "rows": [{"prior": "standard"}, {"prior": "lars_T2"}, {"prior": "maf"}],
            "columns": [{"metric": "nll"}, {"metric": "z"}],
        }
    }
}


def test_a_column_of_another_budget_shows_what_is_there(results):
    """With its own sentence in the caption; what is not there is not missing, and not trained."""
    columns = [{"metric": "nll"}, {"metric": "nll", "budget": "converged", "label": "later"}]
    changed = {"tables": {"small": SMALL["tables"]["small"] | {"columns": columns}}}
    write_run(results, "digits/vae/standard", nll=100.5)
    write_run(results, "digits/vae/lars_T2", nll=98.1)
    later = {"budget": "converged", "iterations": 200_000}
    write_run(results, "digits/vae/standard", nll=95.25, **later)
    tables.write_table("small", spec("small", **changed), results)
    assert markdown_row(results, "small", "standard") == ["100.50", "95.25"]
    assert markdown_row(results, "small", "LARS; T = 2") == ["98.10", "—"]
    text = markdown(results, "small")
    assert "Budget short: 20,000 iterations" in text
    assert "Budget converged: 200,000 iterations" in text
    assert "Missing runs: runs/short/digits/vae/maf/seed0\n" in text
    made_from = json.loads((results / "small.json").read_text())["made_from"]
    assert "runs/converged/digits/vae/standard/seed0/metrics.json" in made_from

    config = merge(CONFIG, changed)
    assert {run.budget for run in table_runs(config, "small")} == {"short"}
    others = experiment.table_runs_of_other_budgets(config, "small")
    assert [run.budget for run in others] == ["converged"] * 3
    with refused("unknown .*convergd"):
        columns[1]["budget"] = "convergd"
        table_runs(merge(CONFIG, changed), "small")


def test_markdown_golden(results):
    write_run(results, "digits/vae/standard", nll=100.5, z=1, log_z_se=0, num_z_samples=0)
    write_run(results, "digits/vae/lars_T2", verified=False, nll=98.126, z=0.19, log_z_se=0.06)
    tables.write_table("small", spec("small", **SMALL), results)
    assert markdown(results, "small") == (
        "**Table small.** Test NLL (nats) and Z. "
        "Budget short: 20,000 iterations, K = 1,000 importance samples, "
        "S up to 200,000,000 samples for Z, seeds 0, on cpu.\n"
        "\n"
        "|             | NLL     | Z      |\n"
        "|:------------|:--------|:-------|\n"
        "| standard    | 100.50  | 1      |\n"
        "| LARS; T = 2 | 98.13°† | 0.19°† |\n"
        "| MAF         | —       | —      |\n"
        "\n"
        "° made from data files that are not the published ones\n"
        "\n"
        "† standard error of log Z above 0.05 nats\n"
        "\n"
        "— not run yet\n"
        "\n"
        "Missing runs: runs/short/digits/vae/maf/seed0\n"
    )


def test_a_caption_speaks_of_the_papers_numbers_only_where_they_are(results):
    write_run(results, "digits/vae/standard", nll=100.5)
    for table, says in (("small", None), ("tableD4", "In parentheses: the paper's.")):
        tables.write_table(table, spec(table, **SMALL), results)
        text = markdown(results, table)
        assert "Each cell" not in text and ("paper" in text) == (says is not None)
        assert says is None or says in text
    write_run(results, "dynamic_mnist/vae/maf", nll=90.0)
    tables.write_table("tableD4", spec("tableD4"), results)
    assert "Each cell: ours (the paper's; the difference)." in markdown(results, "tableD4")


def test_numbers_keep_their_zeros(results):
    for prior in ("standard", "lars_T2", "maf"):
        write_run(results, f"digits/vae/{prior}", nll=100.5, z=0.5)
    tables.write_table("small", spec("small", **SMALL), results)
    assert markdown_row(results, "small", "MAF") == ["100.50", "0.5"]


def test_titles(results):
    for table, title in (("table1", "Table 1."), ("tableD3", "Table D.3.")):
        tables.write_table(table, spec(table), results)
        caption = CONFIG["tables"][table]["caption"]
        assert markdown(results, table).startswith(f"**{title}** {caption}. In paren")


def test_caption_of_runs_that_differ(results):
    write_run(results, STANDARD, num_z_samples=0, iterations=20_000, device="NVIDIA H200")
    write_run(results, LARS, iterations=5_000, device="cpu", num_importance_samples=50)
    tables.write_table("tableD2", spec("tableD2"), results)
    assert (
        "Budget short: 5,000 to 20,000 iterations, K = 50 to 1,000 importance samples, "
        "S up to 200,000,000 samples for Z, seeds 0, on NVIDIA H200, cpu."
    ) in markdown(results, "tableD2")


def test_several_devices_of_one_cell(results):
    for seed, device in enumerate(["NVIDIA H200", "cpu", "NVIDIA H200"]):
        write_run(results, LARS, seed, device=device)
    assert cell(results, "tableD2", LARS, seeds=[0, 1, 2])["device"] == "NVIDIA H200; cpu"
    assert "on NVIDIA H200, cpu." in markdown(results, "tableD2")


def test_csv_is_tidy_and_of_full_precision(results):
    values = {"nll": 100 / 3, "z": 1e-7 / 3}
    write_run(results, LARS, **values)
    tables.write_table("tableD3", spec("tableD3"), results)
    rows = pd.read_csv(results / "tableD3.csv")
    assert len(rows) == 7 * 4
    assert set(rows["table"]) == {"tableD3"}
    assert not rows.duplicated(["row", "column"]).any()
    assert list(rows["metric"][:4]) == ["nll", "z", "kl", "recons"]
    ours = rows[rows["prior"] == "lars"].set_index("metric")["ours"]
    assert {metric: ours[metric] for metric in values} == values  # to the last bit
    assert rows.loc[rows["prior"] != "lars", "ours"].isna().all()
    measured = rows[rows["prior"] == "lars"].iloc[0]
    assert measured["iterations"] == 20_000
    assert measured["num_importance_samples"] == 1_000
    assert measured["num_z_samples"] == 200_000_000
    assert measured["device"] == "cpu"


def test_the_same_input_gives_the_same_bytes(results):
    write_run(results, LARS)
    contents = []
    for _ in range(2):
        tables.write_table("tableD3", spec("tableD3"), results)
        files = sorted(path for path in results.iterdir() if path.is_file())
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]
    suffixes = ("csv", "html", "json", "md", "tex")
    assert [path.name for path in files] == [f"tableD3.{suffix}" for suffix in suffixes]


def test_the_page_shows_what_the_markdown_shows(results):
    write_run(results, "digits/vae/standard", nll=100.5)
    small = merge(SMALL, {"tables": {"small": {"caption": "NLL <b> & Z"}}})
    tables.write_table("small", spec("small", **small), results)
    page = ElementTree.fromstring((results / "small.html").read_text().split("\n", 1)[1])
    cells = [[cell.text or "" for cell in row] for row in page.iter("tr")]
    lines = [line for line in markdown(results, "small").splitlines() if line.startswith("|")]
    in_markdown = [[text.strip() for text in line.strip("|").split("|")] for line in lines]
    del in_markdown[1]  # the line below the head
    assert cells == in_markdown
    paragraphs = ["".join(p.itertext()) for p in page.iter("p")]
    assert paragraphs[0].startswith("Table small. NLL <b> & Z. Budget short")
    assert paragraphs[1:] == markdown(results, "small").strip().split("\n\n")[2:]


# All tables of the config ------------------------------------------------------------------------


def compiled(path: Path) -> str:
    """The text of the PDF that pdflatex makes of a file, without overfull lines."""
    for program in ("pdflatex", "pdftotext"):
        if shutil.which(program) is None:
            message = f"{program} is not installed: the LaTeX of the tables is not compiled"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2_000:]
    too_wide = [float(x) for x in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert max(too_wide, default=0) < 5, "the table does not fit on the page"
    text = ["pdftotext", "-layout", path.with_suffix(".pdf").name, "-"]
    return subprocess.run(
        text, cwd=path.parent, capture_output=True, encoding="utf-8", check=True
    ).stdout


@pytest.mark.parametrize("table", CONFIG["tables"])
def test_every_table_with_all_its_runs(results, table):
    """Each run its own numbers; every cell of Markdown, CSV and the typeset table has them."""
    seeds = [0, 1, 2]
    settings = spec(table, seeds)
    runs = dict.fromkeys(
        f"{c['dataset']}/{c['model']}/{c['prior']}" for c in settings["cells"] if c["model"]
    )
    budgets = {c["budget"] or "short" for c in settings["cells"]}
    for (i, run), seed, budget in itertools.product(enumerate(runs), seeds, budgets):
        numbers = {
            "nll": 201 + i + 0.1 * seed,
            "elbo": 301 + i + 0.1 * seed,
            "kl": 401 + i + 0.1 * seed,
            "recons": 501 + i + 0.1 * seed,
            "z": 0.601 + i / 1_000,
            "nll_se": 0.11 + i,
            "num_acceptance_parameters": 1_000,
            "num_prior_parameters": i,
            "train_seconds": 20.0 * (i + 1),  # of 20,000 iterations
            "sample_seconds": 0.002 * (i + 1),
        }
        write_run(results, run, seed, verified=i % 2 == 0, budget=budget, log_z_se=0.06, **numbers)
    tables.write_table(table, settings, results)
    text = compiled(results / f"{table}.tex")
    assert CONFIG["tables"][table]["caption"].split()[-1] in text
    rows = pd.read_csv(results / f"{table}.csv")
    assert len(rows) == len(settings["cells"])
    assert rows["missing"].isna().all()
    base = {"nll": 201.1, "elbo": 301.1, "kl": 401.1, "recons": 501.1, "nll_se": 0.11}
    base |= {"prior_parameters": 1_000, "step_ms": 1}
    order = list(runs)
    for _, row in rows[rows["model"].notna()].iterrows():
        i = order.index(f"{row['dataset']}/{row['model']}/{row['prior']}")
        others = {"z": 0.601 + i / 1_000, "sample_ms": 2 * (i + 1)}
        expected = others.get(row["metric"]) or base[row["metric"]] + i
        assert row["ours"] == pytest.approx(expected)
        papers = paper_values()[table] if table != "tableR3" else {}
        paper = papers.get(order[i], {}).get(row["metric"], math.nan)
        assert row["paper"] == pytest.approx(paper, nan_ok=True)
        if pd.notna(paper):
            assert row["difference"] == row["ours"] - row["paper"]
        shown = tables.format_value(row["metric"], row["ours"])
        assert shown in markdown(results, table)
        assert shown in text
    assert "not run yet" not in markdown(results, table)


@pytest.mark.parametrize("table", ["table1", "table2", "tableD1"])
def test_tables_without_any_run(results, table):
    tables.write_table(table, spec(table), results)
    text, rows = markdown(results, table), pd.read_csv(results / f"{table}.csv")
    for run in experiment.table_runs(CONFIG, table):
        assert run.folder in set(rows["missing"])
    assert "iterations" not in text
    assert "Missing runs" in compiled(results / f"{table}.tex")


def test_labels_with_letters_that_latex_reads_as_commands(results):
    label = r"50 % of a_b & c#1 {x} $5 \y z^2 ~ ε ×"
    changes = {"tables": {"tableD6": {"caption": label}}, "priors": {"lars": {"label": label}}}
    write_run(results, LARS)
    tables.write_table("tableD6", spec("tableD6", **changes), results)
    text = compiled(results / "tableD6.tex")
    # the underscore is drawn as a line, which is no letter to a PDF reader
    for part in (r"50 % of a b & c#1 {x} $5 \y z", "ε ×."):
        assert part in re.sub(" +", " ", text)


# Wrong files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", '{"nll": 90.0, "kl"', "\x00\x01", "nothing"])
@pytest.mark.parametrize("name", ["metrics.json", "run.json"])
def test_a_damaged_file_is_named(results, name, content):
    path = write_run(results, LARS) / name
    path.write_text(content)
    with refused(f"{path} is not a whole JSON file.*delete it and make it again"):
        tables.write_table("tableD2", spec("tableD2"), results)
    assert not list(results.glob("tableD2.*"))


def test_metrics_of_another_model(results):
    folder = write_run(results, LARS)
    tables.write_table("tableD2", spec("tableD2"), results)  # metrics.json names none: not checked
    (folder / "metrics.json").write_text(json.dumps(METRICS | {"model_sha256": "0"}))
    with refused(f"{folder}/metrics.json was made from another model .*: evaluate the run again"):
        tables.write_table("tableD2", spec("tableD2"), results)


@pytest.mark.parametrize(
    "key", ["nll", "log_z_se", "num_z_samples", "num_importance_samples", "iterations", "device"]
)
def test_metrics_without_a_key(results, key):
    folder = write_run(results, LARS)
    metrics = METRICS.copy()
    del metrics[key]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with refused(f"{folder}/metrics.json .*'{key}' is a required .*: evaluate the run again"):
        tables.write_table("tableD2", spec("tableD2"), results)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", [1, 2]),
        ("metrics.json", 3),
        ("metrics.json", METRICS | {"nll": "ninety"}),
        ("metrics.json", METRICS | {"nll": None}),
        ("run.json", {}),
        ("run.json", {"data": 3}),
        ("run.json", {"data": [{}]}),
        ("run.json", []),
    ],
)
def test_a_file_of_another_kind(results, name, content):
    folder = write_run(results, LARS)
    (folder / name).write_text(json.dumps(content))
    remedy = {"metrics.json": "evaluate the run", "run.json": "train the run"}[name]
    with refused(f"{folder}/{name} is not what it should be .*: {remedy} again"):
        tables.write_table("tableD2", spec("tableD2"), results)


def test_metrics_without_run_json(results):
    folder = write_run(results, LARS)
    (folder / "run.json").unlink()
    with refused(f"{folder}/run.json is missing"):
        tables.write_table("tableD2", spec("tableD2"), results)


def test_a_results_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "results").write_text("a file")
    with refused("could not be written"):
        tables.write_table("tableD2", spec("tableD2"), tmp_path / "results")
