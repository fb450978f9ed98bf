"""What a config may say."""

import re

import pytest
import yaml
from changed_config import CONFIG, ROOT, with_value

from resampled_priors import experiment
from resampled_priors.experiment import Run, merge, table_cells

LARS_LIKE = CONFIG["priors"]["lars"]


ROW = {"label": "other", "model": "vae", "prior": "lars"}


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
        ("priors.lars_mine", LARS_LIKE | {"proposal": "maf"}),
        ("priors.flow_posthoc", LARS_LIKE | {"base": "realnvp"}),
        ("priors.mixture.base", "standard"),
        ("budgets.short.training", {"batch_size": 64}),
        ("budgets.short.models.conv_hvae.training", {"learning_rate": 1e-4, "patience": 3}),
        ("models.vae.training", {}),
        ("tables.tableD6.rows.2.prior", "lars"),  # a resampled output and a resampled prior
        ("figures.figD9.runs", ["dynamic_mnist/vae_resampled_output/lars"]),
        ("datasets.letters", {"label": "x", "images": "x.npz", "image_shape": [8, 12]}),
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
