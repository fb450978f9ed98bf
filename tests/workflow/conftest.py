"""Folders with the workflow in them: as in a fresh clone, and with the small demo finished."""

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from small_workflow import (
    DEMO,
    copy_workflow,
    snakemake,
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which the demo has run, small; made once, whatever the number of workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, log = shared / "finished demo", shared / "finished demo.json"
    with open(shared / "finished demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            done = snakemake(copy_workflow(folder), "tables", configfiles=DEMO)
            log.write_text(json.dumps([done.returncode, done.stdout]))
    status, output = json.loads(log.read_text())
    assert status == 0, output
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder, times and all."""
    return Path(shutil.copytree(finished, tmp_path / "again"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """The workflow in a folder where nothing has run."""
    return copy_workflow(tmp_path_factory.mktemp("fresh") / "clone")
