"""Whole runs, made once; tests work on copies of them."""

import shutil
from pathlib import Path

import pytest
from run_steps import make_run, settings_for


@pytest.fixture(scope="module")
def lars_run(digits, tmp_path_factory):
    """A whole run with LARS; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("lars")
    make_run(folder, settings_for(prior="lars"), digits)
    return folder


@pytest.fixture(scope="module")
def standard_run(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("standard")
    make_run(folder, settings_for(), digits)
    return folder


@pytest.fixture
def copy(lars_run, tmp_path):
    """The run as Snakemake leaves it."""
    copies = shutil.ignore_patterns("checkpoint")
    return Path(shutil.copytree(lars_run, tmp_path / "run", ignore=copies))
