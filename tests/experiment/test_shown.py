"""What tables and figures show: their settings, and all runs that they need."""

import pytest
from changed_config import CONFIG, with_value
from refusals import refused

from resampled_priors import experiment
from resampled_priors.experiment import Run, merge, table_cells


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
        shows_it = any(
            name == "LARS" or name.endswith("; LARS")
            for cell in table_cells(CONFIG, table)
            for name in (cell.row, cell.column)
        )
        changed = experiment.resolve_table(relabelled, table) != experiment.resolve_table(
            CONFIG, table
        )
        assert changed == shows_it, table


def test_unknown_table():
    with refused("unknown table 'tableD7': did you mean 'tableD"):
        table_cells(CONFIG, "tableD7")


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
