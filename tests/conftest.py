"""Fixtures shared by all tests: the folder of real raw files, and data sets prepared from it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resampled_priors.data.prepare import prepare

torch.set_num_threads(1)  # the tensors are small: more threads only get in each other's way


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder of the real raw files; without one a test is skipped, but on CI it fails."""
    named = os.environ.get("RESAMPLED_PRIORS_MIRROR")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        message = (
            f"no raw files in {folder}: set RESAMPLED_PRIORS_MIRROR to a folder that has them"
        )
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return folder


@pytest.fixture(scope="session")
def prepared(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str], Path]:
    """Function from a data set's name to its prepared file, made at most once a session."""
    folder = tmp_path_factory.mktemp("prepared")

    def get(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            prepare(
                name,
                path,
                raw_folder=folder / "raw",
                # digits need no raw files, so they must not need the fixture either
                mirror=None if name == "digits" else request.getfixturevalue("mirror"),
                accept_unverified=name == "omniglot",  # the real file may be a stand-in
            )
        return path

    return get


@pytest.fixture(scope="session")
def digits(prepared: Callable[[str], Path]) -> Path:
    """The prepared file of the embedded data set."""
    return prepared("digits")
