"""The five data sets: read from raw files (raw_files.py), split, and binarised.

`prepare` turns the raw files of one data set into one prepared file, `load_dataset` reads it.
Images are rows of 784 = 28 x 28 pixels, row by row from the top left, as uint8: grey values
0..255, or the bits 0/1 of a data set that is published binarised. Source: the paper's C.1.
"""

import hashlib
import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.raw import DIGITS_HASH, RAW_FILES, fetch, verify
from ..errors import ResampledPriorsError
from ..files import atomic_write, sha256

SPLITS = ("train", "validation", "test")
FORMAT_VERSION = 1
_METADATA_KEY = "resampled_priors"
_SPLIT_SEED = 0


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
        raise ResampledPriorsError(
            f"Unknown data set {name!r}: known are {', '.join(RAW_FILES)}; "
            "one of your own needs its --images."
        )
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
        verified = verify(content, DIGITS_HASH, source, accept_unverified)
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


def prepare_own(name: str, images: str | Path, output: str | Path) -> None:
    """Write the prepared file of a data set of the user's own.

    Args:
        name: as in the config.
        images: an .npz file with `train`, `validation` and `test`, each uint8 of shape (N, 28, 28)
            or (N, 784); grey values 0..255, or bits where no value is above 1; and, for figures
            that show classes, `train_labels`, `validation_labels`, `test_labels`, integers (N,).
        output: as for `prepare`.

    Raises:
        ResampledPriorsError: the file is missing, damaged, or holds something else.
    """
    remedy = "np.savez it as the page on data sets of your own says"
    try:
        with np.load(images, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # a damaged archive makes numpy raise any of a dozen kinds
        raise ResampledPriorsError(f"{images} cannot be read ({error}): {remedy}") from error
    tensors = {}
    for split in SPLITS:
        image = arrays.pop(split, np.empty(0))
        if image.dtype != np.uint8 or image.shape[1:] not in ((28, 28), (784,)) or not len(image):
            raise ResampledPriorsError(
                f"{images} should hold '{split}' as uint8 (N, 28, 28) or (N, 784), and has "
                f"{image.dtype} {image.shape}: {remedy}"
            )
        tensors[split] = torch.from_numpy(image.reshape(-1, 784))
        label = arrays.pop(f"{split}_labels", None)
        if label is not None:
            if label.dtype.kind not in "iu" or label.shape != (len(image),):
                raise ResampledPriorsError(
                    f"{images} should hold '{split}_labels' as integers ({len(image)},), and has "
                    f"{label.dtype} {label.shape}: {remedy}"
                )
            tensors[f"{split}_labels"] = torch.from_numpy(label.astype(np.int64))
    if arrays:
        raise ResampledPriorsError(f"{images} holds '{next(iter(arrays))}' too: {remedy}")
    binary = all(tensors[split].max() <= 1 for split in SPLITS)
    # Verified: there is no published file that it might differ from.
    provenance = [{"name": Path(images).name, "sha256": sha256(images), "verified": True}]
    about = {"name": name, "kind": "binary" if binary else "grey", "provenance": provenance}
    _save(output, tensors, about)


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
    checksum = checksum_file(output)
    with atomic_write(checksum) as beside, atomic_write(output) as temporary:
        beside.write_text(f"{hashlib.sha256(content).hexdigest()}  {checksum.stem}\n")
        temporary.write_bytes(content)


def checksum_file(prepared: str | Path) -> Path:
    """The file beside a prepared one that `sha256sum --check` reads, too."""
    return Path(f"{prepared}.sha256")


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
    """Read a prepared file; ResampledPriorsError when it is missing, damaged or no such file.

    Its checksum is compared where there is one: a pixel changed on a disk is a pixel still.
    """
    from safetensors import safe_open

    remedy = "delete it and prepare the data set again."
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[_METADATA_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if (checksum := checksum_file(path)).exists() and sha256(path) not in checksum.read_text():
            raise ValueError(f"its content is not that of {checksum.name}")
        name, kind, provenance = (about.get(key) for key in ("name", "kind", "provenance"))
    except FileNotFoundError as error:
        raise ResampledPriorsError(f"{path} is missing: prepare the data set first.") from error
    except Exception as error:  # a damaged file makes the reader raise any of half a dozen kinds
        reason = " ".join(str(error).split())
        raise ResampledPriorsError(
            f"{path} is not a whole prepared data set ({reason}): {remedy}"
        ) from error
    if (version := about.get("format_version")) != FORMAT_VERSION:
        raise ResampledPriorsError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}: {remedy}"
        )
    for split in SPLITS:
        image = tensors.get(split, torch.empty(0))
        if image.dtype != torch.uint8 or image.ndim != 2 or image.shape[1] != 784:
            raise ResampledPriorsError(f"{path} has no {split} images (N, 784) uint8: {remedy}")
        label = tensors.get(f"{split}_labels", torch.zeros(len(image), dtype=torch.int64))
        if label.dtype != torch.int64 or label.shape != image.shape[:1] or not len(image):
            raise ResampledPriorsError(f"{path} has no {split}_labels (N,) int64: {remedy}")
    described = isinstance(name, str) and kind in ("grey", "binary")
    if not described or not isinstance(provenance, list):
        raise ResampledPriorsError(f"{path} does not say what it holds: {remedy}")
    return Dataset(
        name=name,
        kind=kind,
        **{split: tensors[split] for split in SPLITS},
        labels={s: tensors[f"{s}_labels"] for s in SPLITS if f"{s}_labels" in tensors},
        provenance=provenance,
    )
