"""Every file that the program reads, damaged in many ways: one line that names it, or no harm.

A damage is harmless where what is read is what was written. Anything else, a traceback, another
number, a hang, code that runs, is a failure of the test.
"""

import gzip
import hashlib
import io
import pickle
import random
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save
from scipy.io import savemat

from resampled_priors.data import SPLITS, readers
from resampled_priors.data.dataset import checksum_file, load_dataset
from resampled_priors.data.prepare import prepare_own
from resampled_priors.data.raw import RawFile, fetch
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import Run, load_config, resolve_run, resolve_table
from resampled_priors.files import read_json
from resampled_priors.report.figures import make_figure, redraw_figure
from resampled_priors.report.tables import write_table
from resampled_priors.report.toys import train_toy
from resampled_priors.runs.checkpoints import Checkpoint
from resampled_priors.runs.steps import estimate_run_z, evaluate_run, train_run

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])
RUN = Run("short", "digits", "vae", "lars_T2", 0)
SECONDS = 60  # an answer that takes longer is a hang

# Damages: the content of a file -> another -----------------------------------------------------


class Trap:
    """An object whose unpickling would leave a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def flip(number: int) -> Callable[[bytes], bytes]:
    """Turn one bit over: in the first bytes, the last, or anywhere, by the number of the case."""

    def damage(content: bytes) -> bytes:
        place = random.Random(number)
        size = len(content)
        ranges = [(0, min(64, size)), (max(0, size - 64), size), (0, size)]
        position = place.randrange(*ranges[number % 3])
        changed = bytearray(content)
        changed[position] ^= 1 << place.randrange(8)
        return bytes(changed)

    return damage


def other_digit(number: int) -> Callable[[bytes], bytes]:
    """Turn the lowest bit of a digit over: in a text another number, of the same form."""

    def damage(content: bytes) -> bytes:
        digits = [i for i, byte in enumerate(content[:5_000]) if byte in b"0123456789"]
        position = random.Random(number).choice(digits or [0])
        changed = bytearray(content)
        changed[position] ^= 1
        return bytes(changed)

    return damage


def other_archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "something else")
    return buffer.getvalue()


def other_arrays(content: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, axis=np.zeros((3, 2)), log_q=np.array(["a"]))
    return buffer.getvalue()


def trap(content: bytes) -> bytes:
    return pickle.dumps(Trap("sprung"))


def torch_trap(content: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"content": Trap("sprung")}, buffer)
    return buffer.getvalue()


def numpy_trap(content: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, axis=np.array([Trap("sprung")], dtype=object))
    return buffer.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "a tenth": lambda content: content[: len(content) // 10],
    "half": lambda content: content[: len(content) // 2],
    "all but a byte": lambda content: content[:-1],
    "the second half": lambda content: content[len(content) // 2 :],
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[: -len(content) // 3] + bytes(len(content) // 3),
    "noise": lambda content: random.Random(0).randbytes(len(content)),
    "twice": lambda content: content + content,
    "text": lambda content: b"this is not the file\n",
    "JSON": lambda content: b'{"settings": {"seed": 1}, "z": "x", "data": 3}',
    "JSON list": lambda content: b"[1, 2]",
    "deep": lambda content: b"[" * 100_000,
    "not a number": lambda content: b'{"z": NaN, "log_z": Infinity}',
    "compressed": gzip.compress,
    "archive": other_archive,
    "other arrays": other_arrays,
    "other tensors": lambda content: save({"train": torch.zeros(2, 2)}),
    "pickle": trap,
    "torch pickle": torch_trap,
    "numpy pickle": numpy_trap,
    **{f"bit {number}": flip(number) for number in range(12)},
    **{f"digit {number}": other_digit(number) for number in range(6)},
}


# Files, and what reads them --------------------------------------------------------------------


RUN_FOLDER = f"results/{RUN.folder}"
PREPARED = "data/digits.safetensors"
RAW = bytes(range(256)) * 20
RAW_FILE = RawFile("folder", "file", f"sha256:{hashlib.sha256(RAW).hexdigest()}", ())


def without_times(path: Path) -> dict[str, Any]:
    of_times = ("seconds", "run_sha256", "z_sha256")  # hashes of files with times in them
    return {key: value for key, value in read_json(path).items() if not key.endswith(of_times)}


def evaluation(folder: Path) -> dict[str, Any]:
    evaluate_run(folder / RUN_FOLDER, folder / PREPARED, 1, "cpu")
    return without_times(folder / RUN_FOLDER / "metrics.json")


def estimate_of_z(folder: Path) -> dict[str, Any]:
    estimate_run_z(folder / RUN_FOLDER, 2_000, None, "cpu")
    return without_times(folder / RUN_FOLDER / "z.json")


def table(folder: Path) -> str:
    spec = resolve_table(CONFIG, "tableD3")
    cell = spec["cells"][0] | {"dataset": "digits", "model": "vae", "prior": RUN.prior}
    write_table("tableD3", spec | {"cells": [cell]}, folder / "results")
    return (folder / "results" / "tableD3.csv").read_text()


def dataset(path: Path) -> list[Any]:
    found = load_dataset(path)
    parts = [*(getattr(found, split) for split in SPLITS), *found.labels.values()]
    return [found.name, found.kind, found.provenance, [part.numpy().tobytes() for part in parts]]


def figure(folder: Path) -> bytes:
    make_figure(
        "fig1", {"kind": "toy_line", "toys": ["lars_1d"]}, folder / "results", folder / "data"
    )
    return (folder / "results" / "fig1.png").read_bytes()


def redrawn(folder: Path) -> bytes:
    redraw_figure("fig1", folder / "results", dict)
    return (folder / "results" / "fig1.png").read_bytes()


def own_dataset(folder: Path) -> list[Any]:
    prepare_own("mine", folder / "mine.npz", folder / "data" / "mine.safetensors")
    name, kind, _, content = dataset(folder / "data" / "mine.safetensors")
    return [name, kind, content]  # the provenance has the hash of the damaged file


def checkpoint(folder: Path) -> bool:
    """Whether a checkpoint as it was saved is continued from, this one or the one before."""
    state = Checkpoint(folder, "train", {}).load()
    return state is not None and state["weights"].tolist() in ([1.0, 2.0], [0.0, 1.0])


def config(folder: Path) -> str:
    """A config is the user's: damaged, it is refused or is another that is valid."""
    load_config([folder / "config.yaml"])
    return "valid"


def fetched(folder: Path) -> bytes:
    path, _, verified = fetch(RAW_FILE, folder / "raw")
    assert verified
    return path.read_bytes()


# Of a raw file that need not be the published one, only the form can be known.
def idx(folder: Path) -> torch.Size:
    return readers.read_idx(folder / "idx", (2, 28, 28)).shape


def amat(folder: Path) -> tuple[torch.Size, bool]:
    bits = readers.read_amat(folder / "amat", 2)
    return bits.shape, bool((bits <= 1).all())


def chardata(folder: Path) -> list[torch.Size]:
    return [
        part.shape for parts in readers.read_chardata(folder / "mat", (3, 2)) for part in parts
    ]


# name: file, what reads it; what is read is the same whenever all is well
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "run.json, estimated": (f"{RUN_FOLDER}/run.json", estimate_of_z),
    "run.json, evaluated": (f"{RUN_FOLDER}/run.json", evaluation),
    "run.json, shown": (f"{RUN_FOLDER}/run.json", table),
    "model.safetensors": (f"{RUN_FOLDER}/model.safetensors", evaluation),
    "z.json": (f"{RUN_FOLDER}/z.json", evaluation),
    "metrics.json": (f"{RUN_FOLDER}/metrics.json", table),
    "prepared data": (PREPARED, lambda folder: dataset(folder / PREPARED)),
    "toy": ("results/toy/lars_1d.npz", figure),
    "numbers of a figure": ("results/fig1.npz", redrawn),
    "own data": ("mine.npz", own_dataset),
    "newest checkpoint": (str(Checkpoint(Path(), "train", {}).newest), checkpoint),
    "older checkpoint": (str(Checkpoint(Path(), "train", {}).older), checkpoint),
    "config": ("config.yaml", config),
    "raw file": ("raw/folder/file", fetched),
    "compressed raw file": ("raw/folder/file.gz", fetched),
    "idx": ("idx", idx),
    "amat": ("amat", amat),
    "mat": ("mat", chardata),
}
CASES = [(reader, damage) for reader in READERS for damage in DAMAGES]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    """A folder with every kind of file, all of them whole."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "data").mkdir()
    for path in (digits, checksum_file(digits)):
        shutil.copy(path, folder / "data")
    settings = resolve_run(CONFIG, RUN)
    settings["training"] |= {"iterations": 2, "warm_up": 1}
    train_run(folder / RUN_FOLDER, settings, folder / PREPARED, None, "cpu")
    estimate_of_z(folder)
    evaluation(folder)
    toy = {"iterations": 2, "batch_size": 16, "seed": 0}
    train_toy("lars_1d", CONFIG["toys"]["lars_1d"] | toy, folder / "results/toy/lars_1d.npz")
    figure(folder)
    splits = {split: np.full((2, 28, 28), 200, np.uint8) for split in SPLITS}
    np.savez(folder / "mine.npz", **splits)
    saved = Checkpoint(folder, "train", {})
    for number in range(2):
        saved.save({"weights": torch.arange(2.0) + number})
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "raw/folder").mkdir(parents=True)
    (folder / "raw/folder/file").write_bytes(RAW)
    (folder / "raw/folder/file.gz").write_bytes(gzip.compress(RAW))
    header = b"".join(number.to_bytes(4, "big") for number in (0x803, 2, 28, 28))
    (folder / "idx").write_bytes(header + bytes([7] * 2 * 784))
    (folder / "amat").write_bytes((b"0 1 " * 391 + b"0 1\n") * 2)
    mat = {"data": np.zeros((784, 3)), "target": np.eye(50, dtype=np.uint8)[:, :3]}
    mat |= {f"test{key}": value[:, :2] for key, value in mat.items()}
    savemat(folder / "mat", mat, appendmat=False, do_compression=True)
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A copy of it to be damaged, and the working folder, where a trap would go off."""
    monkeypatch.delenv("RESAMPLED_PRIORS_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    return copy


@pytest.fixture(scope="module")
def as_written(whole, tmp_path_factory):
    """What each reader reads where nothing is damaged; made once."""
    results = {}

    def get(reader: str) -> Any:
        _, read = READERS[reader]
        if read not in results:
            copy = shutil.copytree(whole, tmp_path_factory.mktemp("as_written") / "copy")
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("RESAMPLED_PRIORS_MIRROR", raising=False)
                results[read] = read(copy)
        return results[read]

    return get


def hang(*_: object) -> None:
    raise AssertionError(f"no answer in {SECONDS} seconds")


@pytest.mark.parametrize(("reader", "damage"), CASES, ids=map(", ".join, CASES))
def test_a_damaged_file_is_refused_in_one_line_or_does_no_harm(reader, damage, folder, as_written):
    file, read = READERS[reader]
    expected = as_written(reader)
    if reader == "compressed raw file":
        (folder / "raw/folder/file").unlink()
    content = (folder / file).read_bytes()
    damaged = DAMAGES[damage](content)
    assert damaged != content
    (folder / file).write_bytes(damaged)
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        assert read(folder) == expected
    except ResampledPriorsError as error:
        assert "\n" not in str(error)
        assert ("config" if reader == "config" else Path(file).name) in str(error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not (folder.parent / "sprung").exists()
    assert (folder / file).read_bytes() in (damaged, content)  # left, or made again


def test_the_trap_springs_where_it_is_not_avoided(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(trap(b""))
    assert (tmp_path / "sprung").exists()


def test_a_checkpoint_that_is_a_pickle_with_a_right_checksum(folder):
    path = folder / READERS["newest checkpoint"][0]
    for content in (trap(b""), torch_trap(b"")):
        path.write_bytes(hashlib.sha256(content).digest() + content)
        assert checkpoint(folder)
    assert not (folder.parent / "sprung").exists()


def test_there_are_many_cases():
    assert len(CASES) >= 200
