"""All cells as a data frame: what the tables' files say, and nothing else."""

import csv
from pathlib import Path

import pytest
import yaml

from resampled_priors import results
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.report.paper import paper_values

ROOT = Path(__file__).parents[2]


def test_the_committed_results_have_every_cell_of_every_table():
    cells = results(ROOT / "results")
    tables = yaml.safe_load((ROOT / "config.yaml").read_text())["tables"]
    assert set(cells.table) == {path.stem for path in (ROOT / "results").glob("*.csv")}
    assert tables.keys() <= set(cells.table)
    assert not cells.duplicated(["table", "row", "column"]).any()
    numbers = cells[["ours", "paper", "quoted"]]
    assert (numbers.dtypes == "float64").all() and numbers.notna().any().all()


def test_published_cells_are_the_papers():
    cells = results(ROOT / "results")
    published = cells[cells.paper.notna()]
    assert len(published) > 50
    for cell in published.itertuples():
        run = f"{cell.dataset}/{cell.model}/{cell.prior}"
        assert paper_values()[cell.table][run][cell.metric] == cell.paper


def test_measured_cells_are_those_of_the_tables_file():
    cells = results(ROOT / "results")
    with open(ROOT / "results" / "tableD3.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    own = cells[cells.table == "tableD3"]
    assert len(own) == len(rows)
    for row, cell in zip(rows, own.itertuples(), strict=True):
        assert (cell.row, cell.column, cell.prior) == (row["row"], row["column"], row["prior"])
        assert str(cell.ours) == str(float(row["ours"] or "nan"))


def test_no_table_or_no_table_at_all(tmp_path):
    with pytest.raises(ResampledPriorsError, match=r"no table is there.*snakemake tables"):
        results(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ResampledPriorsError, match=r"other\.csv is not a table's.*delete it"):
        results(tmp_path)
