"""A disk that fills up in mid-work: one line, nothing lost or corrupt, and on with it later.

The disk is a small tmpfs, which only root can mount. The same by a limit on the size of files is
in test_files.py and test_data.py.
"""

import functools
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from resampled_priors.data.dataset import load_dataset
from resampled_priors.data.prepare import prepare
from resampled_priors.data.raw import RawFile, fetch
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import Run, load_config, resolve_run, resolve_table
from resampled_priors.files import read_json
from resampled_priors.report.figures import make_figure, redraw_figure
from resampled_priors.report.tables import write_table
from resampled_priors.report.toys import train_toy
from resampled_priors.runs import checkpoints
from resampled_priors.runs.checkpoints import Checkpoint
from resampled_priors.runs.steps import estimate_run_z, evaluate_run, train_run

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])
RUN = Run("short", "digits", "vae", "lars_T2", 0)
MEGABYTE = 2**20


class Disk:
    """A file system of 64 MB, and the file that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.filler = folder, folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Leave so many bytes free, in whole pages."""
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_bsize
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - leave)

    def clear(self) -> None:
        self.filler.unlink()

    def files(self) -> dict[Path, str]:
        """All files but the filler, with the hashes of their contents."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path != self.filler]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def refuses(self, work: Callable[[], object], leave: int = 0) -> None:
        """On a full disk: an error of one line, and all that was there before as it was."""
        self.fill(leave)
        before = self.files()
        with pytest.raises(
            ResampledPriorsError, match=r"^[^\n]* could not be written: No space left"
        ):
            work()
        after = self.files()
        assert {path: after.get(path) for path in before} == before
        assert not [path for path in after if ".part" in path.name]
        self.clear()


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def trained(disk, digits):
    """A trained run on the disk, its Z and metrics known."""
    folder = disk.folder / "results" / RUN.folder
    train_run(folder, settings(2), digits, None, "cpu")
    estimate_run_z(folder, 2_000, None, "cpu")
    evaluate_run(folder, digits, 1, "cpu")
    return folder


def settings(iterations: int):
    resolved = resolve_run(CONFIG, RUN)
    resolved["training"] |= {"iterations": iterations, "warm_up": 1}
    return resolved


def test_download(disk, tmp_path, monkeypatch):
    monkeypatch.delenv("RESAMPLED_PRIORS_MIRROR", raising=False)
    (tmp_path / "site").mkdir()
    content = bytes(MEGABYTE)
    (tmp_path / "site" / "raw").write_bytes(content)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known = f"sha256:{hashlib.sha256(content).hexdigest()}"
        address = f"http://127.0.0.1:{server.server_port}/raw"
        file = RawFile("folder", "raw", known, (address,))
        work = functools.partial(fetch, file, disk.folder / "data")
        disk.refuses(work, leave=MEGABYTE // 2)
        path, _, verified = work()
        server.shutdown()
    assert verified and path.read_bytes() == content


def test_prepare(disk):
    path = disk.folder / "digits.safetensors"
    work = functools.partial(prepare, "digits", path, raw_folder=disk.folder)
    disk.refuses(work, leave=MEGABYTE)
    assert disk.files() == {}
    work()
    assert load_dataset(path).name == "digits"
    disk.refuses(work, leave=MEGABYTE)


def test_checkpoint(disk, digits, tmp_path, monkeypatch):
    """The disk fills up after some checkpoints; training goes on from the last of them."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    train_run(tmp_path / "undisturbed", settings(6), digits, None, "cpu")
    saves = []
    save = Checkpoint.save

    def save_and_fill(self: Checkpoint, *arguments: object) -> None:
        save(self, *arguments)
        saves.append(disk.files())
        if len(saves) == 3:
            disk.fill()

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_fill)
        with pytest.raises(ResampledPriorsError, match="could not be written: No space left"):
            train_run(disk.folder / "run", settings(6), digits, None, "cpu")
    left = {path.name for path in disk.files()}
    assert len(saves) == 3 and left == {path.name for path in saves[-1]} - {".lock"}
    disk.clear()
    train_run(disk.folder / "run", settings(6), digits, None, "cpu")
    for name in ("model.safetensors", "training.csv"):
        one, other = (path / name for path in (disk.folder / "run", tmp_path / "undisturbed"))
        if name == "training.csv":
            rows = [pd.read_csv(path).drop(columns="seconds") for path in (one, other)]
            pd.testing.assert_frame_equal(*rows, check_exact=True)
        else:
            assert one.read_bytes() == other.read_bytes()


def test_results_of_training(disk, digits, tmp_path):
    work = functools.partial(train_run, disk.folder / "run", settings(2), digits, None, "cpu")
    disk.refuses(work, leave=MEGABYTE)
    assert not (disk.folder / "run" / "model.safetensors").exists()
    assert not (disk.folder / "run" / "run.json").exists()
    work()
    train_run(tmp_path / "undisturbed", settings(2), digits, None, "cpu")
    expected = read_json(tmp_path / "undisturbed" / "run.json")["model_sha256"]
    assert read_json(disk.folder / "run" / "run.json")["model_sha256"] == expected


def test_z_and_metrics(disk, digits, trained):
    steps = (
        ("z.json", lambda: estimate_run_z(trained, 2_000, None, "cpu")),
        ("metrics.json", lambda: evaluate_run(trained, digits, 1, "cpu")),
    )
    for name, work in steps:
        before = read_json(trained / name)
        disk.refuses(work)
        work()
        after = read_json(trained / name)
        for record in (before, after):
            for key in [key for key in record if "seconds" in key or key == "z_sha256"]:
                del record[key]
        assert after == before


def test_table(disk, trained):
    spec = resolve_table(CONFIG, "tableD3")
    cell = spec["cells"][0] | {"dataset": "digits", "model": "vae", "prior": RUN.prior}
    work = functools.partial(
        write_table, "tableD3", spec | {"cells": [cell]}, disk.folder / "results"
    )
    disk.refuses(work)
    work()
    disk.refuses(work)
    row = pd.read_csv(disk.folder / "results" / "tableD3.csv").iloc[0]
    assert row["ours"] == read_json(trained / "metrics.json")["nll"]


def test_toy_and_figure(disk):
    results = disk.folder / "results"
    toy = CONFIG["toys"]["lars_1d"] | {"iterations": 2, "batch_size": 16}
    make_toy = functools.partial(train_toy, "lars_1d", toy, results / "toy" / "lars_1d.npz")
    disk.refuses(make_toy)
    make_toy()
    work = functools.partial(
        make_figure, "fig1", {"kind": "toy_line", "toys": ["lars_1d"]}, results, results
    )
    for leave in (0, 32 * 1024):  # no space for the numbers; for them, but not for the picture
        disk.refuses(work, leave)
    work()
    drawn = (results / "fig1.png").read_bytes()
    disk.refuses(functools.partial(redraw_figure, "fig1", results, dict))
    assert (results / "fig1.png").read_bytes() == drawn
    with np.load(results / "fig1.npz") as numbers:
        assert "axis" in numbers
