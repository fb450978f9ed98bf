"""What each prior gains over the standard prior, from tables written by hand."""

import pandas as pd
import pytest

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.report.gains import gains_over_standard

COLUMNS = "row column metric dataset model prior budget ours paper published source is_bound"
NAN = float("nan")


def write(path, *rows):
    pd.DataFrame(rows, columns=COLUMNS.split()).to_csv(path, index=False)
    return path


def cell(prior, ours, paper=NAN, published=NAN, source=NAN, is_bound=NAN, **changed):
    place = {"row": prior, "column": "digits", "metric": "nll", "dataset": "digits"}
    place |= {"model": "vae", "prior": prior, "budget": "short"} | changed
    return [*place.values(), ours, paper, published, source, is_bound]


def test_gains_are_over_the_standard_prior_of_the_same_model_data_and_budget(tmp_path):
    longer = {"column": "digits, long", "budget": "long"}
    path = write(
        tmp_path / "tableR1.csv",
        cell("standard", 90.0, 85.0, 84.5, "A"),
        cell("standard", 87.0, **longer),
        cell("standard", 0.25, metric="nll_se"),
        cell("vamp", 86.5, NAN, 82.25, "A"),
        cell("vamp", NAN, NAN, 82.25, "A", **longer),
        cell("lars", 87.5, 83.125, 80.0, "B"),  # another source: no gain published
        cell("lars", 85.75, **longer),
        cell("snis", 88.0, is_bound=True),
        cell("maf", NAN),
        cell("maf", 1.0, metric="step_ms"),
        cell("realnvp", 80.0, model="hvae"),  # its standard prior is not there
    )
    wide = gains_over_standard(path)
    assert wide.to_dict("split") == {
        "index": ["vamp", "lars", "snis"],
        "columns": ["digits", "digits, long"],
        "data": [["3.50 [2.25]", "—"], ["2.50 (1.88)", "1.25"], ["≥ 2.00", ""]],
    }


def test_tables_without_published_numbers_have_none(tmp_path):
    path = write(tmp_path / "table1.csv", cell("standard", 90.0), cell("lars", 88.0))
    pd.read_csv(path).drop(columns="published").to_csv(path, index=False)
    assert gains_over_standard(path).empty


@pytest.mark.parametrize("text", ["published,metric\n1,nll\n", ""])
def test_damaged_tables_are_named(tmp_path, text):
    (tmp_path / "tableR1.csv").write_text(text)
    with pytest.raises(ResampledPriorsError, match=r"tableR1\.csv is not a table .*make it again"):
        gains_over_standard(tmp_path / "tableR1.csv")
