"""The five data sets: raw files fetched and verified, split, and binarised.

`prepare` turns the raw files of one data set into one prepared file, `load_dataset` reads it.
Images are rows of 784 = 28 x 28 pixels, row by row from the top left, as uint8: grey values
0..255, or the bits 0/1 of a data set that is published binarised. Source: the paper's C.1.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import types
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resampled_priors.files import ResampledPriorsError, atomic_write

SPLITS = ("train", "validation", "test")
FORMAT_VERSION = 1
_METADATA_KEY = "resampled_priors"
_SPLIT_SEED = 0


@dataclass(frozen=True)
class RawFile:
    """A published file: its folder in a mirror, name and hash once uncompressed, and addresses."""

    folder: str
    name: str
    known_hash: str  # "algorithm:hexadecimal digest" of the uncompressed content
    urls: tuple[str, ...]


def _idx_files(folder: str, addresses: list[str], hashes: list[str]) -> list[RawFile]:
    names = [f"{s}-{c}-ubyte" for s in ("train", "t10k") for c in ("images-idx3", "labels-idx1")]
    return [
        RawFile(folder, name, f"sha256:{digest}", tuple(f"{a}/{name}.gz" for a in addresses))
        for name, digest in zip(names, hashes, strict=True)
    ]


def _amat_file(split: str, digest: str) -> RawFile:
    name = f"binarized_mnist_{split}.amat"
    address = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
    return RawFile("static_mnist", name, f"sha256:{digest}", (f"{address}/{name}",))


# Every raw file there is, in the order in which `prepare` reads them.
RAW_FILES: dict[str, list[RawFile]] = {
    # Larochelle & Murray's binarisation. These hashes are those that TensorFlow Datasets records
    # for the published addresses (url_checksums/binarized_mnist.txt).
    "static_mnist": [
        _amat_file("train", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
        _amat_file("valid", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
        _amat_file("test", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
    ],
    "dynamic_mnist": _idx_files(
        "mnist",
        [
            "https://ossci-datasets.s3.amazonaws.com/mnist",  # the first of torchvision's mirrors
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "http://yann.lecun.com/exdb/mnist",  # where it was published; often closed
        ],
        [
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ],
    ),
    # Burda et al.'s 28 x 28 grey images; only the md5 of the published file is on record.
    "omniglot": [
        RawFile(
            "omniglot",
            "chardata.mat",
            "md5:21ecaf34373511aa7691cf2e0802aa3d",
            (
                "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
                "https://raw.githubusercontent.com/yburda/iwae/master"
                "/datasets/OMNIGLOT/chardata.mat",
            ),
        )
    ],
    "fashion_mnist": _idx_files(
        "fashion_mnist",
        [
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",  # torchvision's mirror
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
        ],
        [
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ],
    ),
    "digits": [],  # comes with scikit-learn
}
# of the 1,797 8 x 8 images and then their labels, one byte a value
_DIGITS_HASH = "sha256:87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


# Fetching -----------------------------------------------------------------------------------


def fetch(
    file: RawFile,
    raw_folder: str | Path,
    mirror: str | Path | None = None,
    accept_unverified: bool = False,
) -> tuple[Path, str, bool]:
    """Find a raw file in the mirror, then in `raw_folder`, else download it; verify its content.

    Args:
        file: an entry of `RAW_FILES`.
        raw_folder: keeps the uncompressed copies of what was compressed or downloaded.
        mirror: folder looked in first, laid out as `RawFile.folder/name`, `.gz` allowed;
            None: the environment variable RESAMPLED_PRIORS_MIRROR, when it is set.
        accept_unverified: take a file that is not the published one.

    Returns:
        The uncompressed file, its sha256, and whether it is the published file.

    Raises:
        ResampledPriorsError: not found, damaged, or not the published file.
    """
    mirror = mirror or os.environ.get("RESAMPLED_PRIORS_MIRROR") or None
    if mirror is not None and not (mirror := Path(mirror).expanduser()).is_dir():
        raise ResampledPriorsError(
            f"The mirror {mirror} is not a folder: correct data.mirror or RESAMPLED_PRIORS_MIRROR."
        )
    kept = Path(raw_folder) / file.folder / file.name
    folders = [kept.parent] if mirror is None else [mirror / file.folder, kept.parent]
    candidates = [folder / (file.name + end) for folder in folders for end in ("", ".gz")]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)

    if path is None:
        content, verified = _download(file, folders, accept_unverified)
    else:
        try:
            content = _uncompressed(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise ResampledPriorsError(
                f"{path} is damaged or unreadable ({error}): delete it and get it again."
            ) from error
        verified = _verify(content, file.known_hash, path, accept_unverified)

    if path is None or path.suffix == ".gz":
        path = kept
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest(), verified


def _uncompressed(content: bytes) -> bytes:
    # By the first bytes and not by the name: some servers uncompress what they send.
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _verify(
    content: bytes, known_hash: str, source: str | Path, accept_unverified: bool = False
) -> bool:
    """Return whether `content` has the known hash; refuse it when it has not, unless accepted."""
    algorithm, expected = known_hash.split(":")
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != expected and not accept_unverified:
        raise ResampledPriorsError(
            f"{source} is not the published file: its {algorithm} is {found}, "
            f"expected {expected}; delete it and get the published file, or list the data set "
            "under data.accept_unverified in the config (its numbers are then marked)."
        )
    return found == expected


def _download(file: RawFile, looked_in: list[Path], accept_unverified: bool) -> tuple[bytes, bool]:
    """Try each address in turn; return the first content that passes, and whether it is verified.

    The content is held in memory (78 MB at most) until it is whole, so no half file is ever left.
    """
    import pooch
    import requests

    get = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=2**16, timeout=30)
    failures = []
    refused = None
    for url in file.urls:
        buffer = io.BytesIO()
        try:
            get(url, buffer, None)
            content = _uncompressed(buffer.getvalue())
            return content, _verify(content, file.known_hash, url, accept_unverified)
        except requests.HTTPError as error:
            failures.append(f"{url}: status {error.response.status_code}")
        except (OSError, EOFError, zlib.error) as error:  # every requests error is an OSError
            failures.append(f"{url}: {type(error).__name__}")
        except ResampledPriorsError as error:
            refused = error
    raise refused or ResampledPriorsError(
        f"{file.name} was not found in {' or '.join(map(str, looked_in))} and could not be "
        f"downloaded ({'; '.join(failures)}): put it, or {file.name}.gz, into a folder named "
        f"{file.folder} and name that folder's parent in data.mirror or RESAMPLED_PRIORS_MIRROR."
    )


# Reading: each returns the images of train (with validation) and test, and labels ---------------


def _require(condition: bool, source: str | Path, expected: str) -> None:
    if not condition:
        raise ResampledPriorsError(f"{source} does not hold {expected}: get the published file.")


def _read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read a uint8 idx file of the given shape with torchvision's reader."""
    try:
        import torchvision.datasets.mnist as mnist
    except RuntimeError:
        # "operator torchvision::nms does not exist": with a CPU build of torch the compiled
        # operators may not load. Only a reader is wanted, so their registration is skipped.
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("empty")
        import torchvision.datasets.mnist as mnist
    try:
        array = mnist.read_sn3_pascalvincent_tensor(str(path))
    except Exception as error:  # the reader asserts, indexes and parses without checks
        raise ResampledPriorsError(
            f"{path} is not an idx file ({error or type(error).__name__}): get the published file."
        ) from error
    _require(array.shape == shape and array.dtype == torch.uint8, path, f"uint8 of shape {shape}")
    return array


def _read_amat(path: Path, rows: int) -> Tensor:
    """Read a text file of `rows` lines of 784 bits; returns (rows, 784) uint8."""
    # Each value is one character and one separator, so the text is an array already.
    text = np.frombuffer(path.read_bytes(), np.uint8)
    expected = f"{rows} lines of 784 columns of 0 and 1"
    _require(text.size == rows * 784 * 2, path, expected)
    characters = text.reshape(rows, 784, 2)
    bits = characters[:, :, 0] - ord("0")  # uint8: anything below "0" wraps round to above 1
    ends = characters[:, :, 1]
    _require((ends[:, :-1] == ord(" ")).all() and (ends[:, -1] == ord("\n")).all(), path, expected)
    _require(bits.max() <= 1, path, expected)
    return torch.from_numpy(bits)


def _read_chardata(path: Path, sizes: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
    """Read Burda et al.'s MATLAB file: images (N, 784) uint8 and alphabets (N,) of train and test.

    `data` and `testdata` are (784, N) grey values in [0, 1] with column-major pixels; `target` and
    `testtarget` are (alphabets, N), one-hot.
    """
    from scipy.io import loadmat

    try:
        mat = loadmat(path)
    except Exception as error:  # a damaged file makes scipy raise any of a dozen kinds
        raise ResampledPriorsError(
            f"{path} is not a MATLAB file ({error}): get the published file."
        ) from error
    images, labels = [], []
    for prefix, size in zip(("", "test"), sizes, strict=True):
        grey, target = (mat.get(prefix + key, np.empty(0)) for key in ("data", "target"))
        _require(
            grey.shape == (784, size) and target.shape[1:] == (size,),
            path,
            f"{prefix}data and {prefix}target with {size} columns",
        )
        in_range = (grey > -1e-6) & (grey < 1 + 1e-6)  # false for NaN
        _require(in_range.all(), path, f"{prefix}data with values in [0, 1]")
        upright = grey.T.reshape(size, 28, 28).transpose(0, 2, 1).reshape(size, 784)
        images.append(torch.from_numpy(np.rint(upright * 255).astype(np.uint8)))
        labels.append(torch.from_numpy(target.argmax(axis=0)))
    return images, labels


def _read_digits() -> tuple[Tensor, Tensor, bytes, str]:
    """Return scikit-learn's digits: images (1797, 784), labels, the bytes behind them, source."""
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    content = digits.images.astype(np.uint8).tobytes() + digits.target.astype(np.uint8).tobytes()
    grey = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    grey = torch.nn.functional.interpolate(grey, (28, 28), mode="bilinear", align_corners=False)
    images = grey.round().to(torch.uint8).reshape(-1, 784)
    source = f"sklearn.datasets.load_digits (scikit-learn {sklearn.__version__})"
    return images, torch.from_numpy(digits.target), content, source


# Preparing and loading ----------------------------------------------------------------------


def prepare(
    name: str,
    output: str | Path,
    *,
    raw_folder: str | Path,
    mirror: str | Path | None = None,
    accept_unverified: bool = False,
) -> None:
    """Write the prepared file of one data set: splits, labels where there are any, provenance.

    Args:
        name: one of `RAW_FILES`.
        output: the safetensors file to write, whole or not at all; its bytes depend on the raw
            files only. `load_dataset` reads it.
        raw_folder, mirror, accept_unverified: see `fetch`.

    Raises:
        ResampledPriorsError: unknown name, or a raw file that is missing, damaged or not as
            published.
    """
    if name not in RAW_FILES:
        raise ResampledPriorsError(f"Unknown data set {name!r}: known are {', '.join(RAW_FILES)}.")
    provenance, paths = [], []
    for file in RAW_FILES[name]:
        path, digest, verified = fetch(file, raw_folder, mirror, accept_unverified)
        paths.append(path)
        provenance.append({"name": file.name, "sha256": digest, "verified": verified})

    if name == "static_mnist":
        sizes = (50_000, 10_000, 10_000)
        images = dict(zip(SPLITS, map(_read_amat, paths, sizes), strict=True))
        labels = {}
    elif name == "omniglot":
        (train, test), (train_labels, test_labels) = _read_chardata(paths[0], (24_345, 8_070))
        # The file may be sorted by character, so the 1,345 validation images are drawn from it.
        images, labels = _split(train, train_labels, _permutation(24_345), (23_000, 1_345))
        images["test"], labels["test"] = test, test_labels
    elif name == "digits":
        grey, label, content, source = _read_digits()
        verified = _verify(content, _DIGITS_HASH, source, accept_unverified)
        digest = hashlib.sha256(content).hexdigest()
        provenance = [{"name": source, "sha256": digest, "verified": verified}]
        images, labels = _split(grey, label, _permutation(len(grey)), (1_297, 200, 300))
    else:  # MNIST and FashionMNIST: the last 10,000 of the training file are for validation
        shapes = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
        train, train_labels, test, test_labels = map(_read_idx, paths, shapes)
        order = torch.arange(60_000)
        images, labels = _split(train.flatten(1), train_labels, order, (50_000, 10_000))
        images["test"], labels["test"] = test.flatten(1), test_labels

    tensors = images | {f"{split}_labels": label.long() for split, label in labels.items()}
    kind = "binary" if name == "static_mnist" else "grey"
    _save(output, tensors, {"name": name, "kind": kind, "provenance": provenance})


def _permutation(size: int) -> Tensor:
    # numpy promises that RandomState's stream never changes, torch promises no such thing
    return torch.from_numpy(np.random.RandomState(_SPLIT_SEED).permutation(size))


def _split(
    images: Tensor, labels: Tensor, order: Tensor, sizes: tuple[int, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Deal images and labels, taken in the given order, to the first splits in these sizes."""
    parts = dict(zip(SPLITS, order.split(list(sizes)), strict=False))
    return {s: images[i] for s, i in parts.items()}, {s: labels[i] for s, i in parts.items()}


def _save(output: str | Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    from safetensors.torch import save

    # One metadata entry: safetensors writes several in a random order, and the same data set
    # should give the same bytes.
    metadata = {_METADATA_KEY: json.dumps({"format_version": FORMAT_VERSION, **about})}
    content = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata)
    with atomic_write(output) as temporary:
        temporary.write_bytes(content)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set, on the CPU.

    Attributes:
        name: one of `RAW_FILES`.
        kind: `grey` (values 0..255) or `binary` (0 and 1).
        train, validation, test: images, (N, 784) uint8.
        labels: split -> (N,) int64; empty where the data set has none.
        provenance: name, sha256 and verified of each raw file.
    """

    name: str
    kind: str
    train: Tensor
    validation: Tensor
    test: Tensor
    labels: dict[str, Tensor]
    provenance: list[dict[str, Any]]

    @property
    def verified(self) -> bool:
        """Whether every raw file is the published one."""
        return all(file["verified"] for file in self.provenance)

    def binarize(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Bits (float32) of images of this data set: a fresh draw, or as published (`binary`)."""
        return images.float() if self.kind == "binary" else binarize(images, generator)

    def evaluation_images(self, split: str, seed: int) -> Tensor:
        """Return the bits of one split, (N, 784) float32, the same for the same seed."""
        if split not in SPLITS:
            raise ResampledPriorsError(f"Unknown split {split!r}: known are {', '.join(SPLITS)}.")
        generator = torch.Generator().manual_seed(len(SPLITS) * seed + SPLITS.index(split))
        return self.binarize(getattr(self, split), generator)


def binarize(grey: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw each pixel from a Bernoulli distribution with probability grey/255.

    Args:
        grey: uint8, any shape, any device.
        generator: of the same device; None: that device's default.

    Returns:
        float32 zeros and ones of the same shape and device. 0 always gives 0 and 255 always 1,
        because the uniform draw lies in [0, 1).
    """
    uniform = torch.rand(grey.shape, generator=generator, device=grey.device, dtype=torch.float32)
    return uniform.lt_(grey.float() / 255)  # in place: this runs at every training step


def load_dataset(path: str | Path) -> Dataset:
    """Read a prepared file; ResampledPriorsError when it is missing, damaged or no such file."""
    from safetensors import SafetensorError, safe_open

    remedy = "delete it and prepare the data set again."
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[_METADATA_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except FileNotFoundError as error:
        raise ResampledPriorsError(f"{path} is missing: prepare the data set first.") from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ResampledPriorsError(
            f"{path} is not a whole prepared data set ({error}): {remedy}"
        ) from error
    if (version := about.get("format_version")) != FORMAT_VERSION:
        raise ResampledPriorsError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}: {remedy}"
        )
    for split in SPLITS:
        image = tensors.get(split, torch.empty(0))
        if image.dtype != torch.uint8 or image.ndim != 2 or image.shape[1] != 784:
            raise ResampledPriorsError(f"{path} has no {split} images (N, 784) uint8: {remedy}")
    return Dataset(
        name=about["name"],
        kind=about["kind"],
        **{split: tensors[split] for split in SPLITS},
        labels={s: tensors[f"{s}_labels"] for s in SPLITS if f"{s}_labels" in tensors},
        provenance=about["provenance"],
    )
