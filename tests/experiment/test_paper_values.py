"""The paper's numbers, and the runs that each table needs."""

import itertools
import re

import pytest
from changed_config import CONFIG, all_runs, paper_tables, with_value

from resampled_priors import experiment
from resampled_priors.experiment import table_cells
from resampled_priors.report.paper import paper_values, published_values

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


# The systems of Table 2 that are measured here, on both data sets.
SYSTEMS = {
    "IWAE (L=2)": "hvae_iwae50/standard",
    "LVAE (L=5)": "lvae/standard",
    "HVAE (L=2) + VampPrior": "hvae/vamp",
    "HVAE (L=2) + LARS": "hvae/lars",
    "VAE + IAF": "vae_iaf/standard",
    "ConvHVAE + VampPrior": "conv_hvae/vamp",
    "ConvHVAE + LARS": "conv_hvae/lars",
}
RIVALS = {
    (system, dataset): f"{dataset}/{run}"
    for system, run in SYSTEMS.items()
    if not run.endswith("lars")
    for dataset in ("dynamic_mnist", "omniglot")
}


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
        if table in paper_tables(CONFIG)
        for run, values in runs.items()
        for metric, value in values.items()
    }
    assert shipped == listing()
    assert len(shipped) == 24 + 4 + 24 + 12 + 28 + 10 + 8 + 6


def test_each_measured_cell_has_a_number_of_the_paper_and_each_number_a_cell():
    cells = {
        (table, cell.coordinates, cell.metric)
        for table in paper_tables(CONFIG)
        for cell in table_cells(CONFIG, table)
        if cell.measured
    }
    assert cells == set(listing()) | {("table2", run, "nll") for run in RIVALS.values()}


def test_quoted_and_published_rows_are_table_2():
    ours = {"HVAE (L=2) + LARS", "ConvHVAE + LARS"}
    cells = table_cells(CONFIG, "table2")
    published = published_values()["table2"]
    rivals = [
        (c.row, c.dataset, c.quoted or published[c.coordinates].nll)
        for c in cells
        if c.quoted is not None or c.coordinates in published
    ]
    assert rivals == [row for row in table_2() if row[0] not in ours]
    assert len(published) == len([row for row in rivals if row[0] != "VAE (L=2) + VGP"])
    assert {c.row for c in cells if not c.measured} == {"VAE (L=2) + VGP"}
    assert {c.row: f"{c.model}/{c.prior}" for c in cells if c.row in SYSTEMS} == SYSTEMS
    order = list(dict.fromkeys(cell.row for cell in cells))
    assert order == list(dict.fromkeys(system for system, _, _ in table_2()))


def test_published_values_have_a_source_and_a_model_and_prior_of_the_config():
    for table, runs in published_values().items():
        assert table in CONFIG["tables"]
        for run, (nll, source) in runs.items():
            dataset, model, prior = run.split("/")
            assert dataset in CONFIG["datasets"] and model in CONFIG["models"]
            assert prior in CONFIG["priors"]
            assert nll > 0 and re.search(r", 20\d\d, arXiv:\d{4}\.\d{5}", source)


def test_rivals_tables_repeat_the_papers_values():
    values = paper_values()
    for table in ("tableR1", "tableR2"):
        for run, metrics in values[table].items():
            of_others = [values[name].get(run) for name in ("table1", "tableD4", "tableD5")]
            assert metrics in of_others


def expected_runs(table: str) -> set[str]:
    """The runs whose numbers the paper's table holds."""
    rivals = set(RIVALS.values()) if table == "table2" else set()
    return {run for name, run, _ in listing() if name == table} | rivals


@pytest.mark.parametrize("table", paper_tables(CONFIG))
def test_runs_of_a_table(table):
    runs = experiment.table_runs(CONFIG, table)
    assert len(runs) == len(set(runs))
    assert {f"{r.dataset}/{r.model}/{r.prior}" for r in runs} == expected_runs(table)


def test_all_tables_of_the_paper_are_there():
    wanted = ["table1", "table2", *(f"tableD{i}" for i in range(1, 7))]
    assert paper_tables(CONFIG) == wanted
    assert list(CONFIG["tables"]) == [*wanted, "tableR1", "tableR2", "tableR3"]


def test_number_of_runs():
    assert CONFIG["budgets"]["short"]["seeds"] == [0]
    assert len(all_runs(CONFIG)) == 51
    three = with_value("budgets.short.seeds", [0, 1, 2])
    runs = all_runs(three)
    assert len(runs) == 153
    assert {run.seed for run in runs} == {0, 1, 2}
    assert len(all_runs(with_value("budget", "paper"))) == 153
