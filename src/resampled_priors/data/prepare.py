"""Prepared files: the raw files of a data set read, split, and written as one.

`prepare` makes that of a published data set, `prepare_own` that of a user's own images;
`load_dataset` (dataset.py) reads both. Source of the splits: the paper's C.1.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ResampledPriorsError
from ..files import atomic_write, sha256
from . import IMAGE_SHAPE, SPLITS
from .dataset import FORMAT_VERSION, METADATA_KEY, checksum_file
from .raw import DIGITS_HASH, RAW_FILES, fetch, verify
from .readers import read_amat, read_chardata, read_digits, read_idx, read_own

Images = Labels = dict[str, Tensor]  # by split
_SPLIT_SEED = 0


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

    if name == "digits":
        grey, label, content, source = read_digits()
        verified = verify(content, DIGITS_HASH, source, accept_unverified)
        digest = hashlib.sha256(content).hexdigest()
        provenance = [{"name": source, "sha256": digest, "verified": verified}]
        images, labels = _deal(grey, label, _permutation(len(grey)), (1_297, 200, 300))
    else:
        images, labels = _read_splits(name, paths)
    tensors = images | {f"{split}_labels": label.long() for split, label in labels.items()}
    kind = "binary" if name == "static_mnist" else "grey"
    write_prepared(output, tensors, {"name": name, "kind": kind, "provenance": provenance})


def _read_splits(name: str, paths: list[Path]) -> tuple[Images, Labels]:
    """Images (N, pixels) uint8 and labels (N,) of each split of a data set that has raw files."""
    if name == "static_mnist":
        sizes = (50_000, 10_000, 10_000)
        return dict(zip(SPLITS, map(read_amat, paths, sizes), strict=True)), {}
    if name == "omniglot":
        (train, test), (train_labels, test_labels) = read_chardata(paths[0], (24_345, 8_070))
        # The file may be sorted by character, so the 1,345 validation images are drawn from it.
        images, labels = _deal(train, train_labels, _permutation(24_345), (23_000, 1_345))
        return images | {"test": test}, labels | {"test": test_labels}
    # MNIST and FashionMNIST: the last 10,000 of the training file are for validation
    shapes = ((60_000, *IMAGE_SHAPE), (60_000,), (10_000, *IMAGE_SHAPE), (10_000,))
    train, train_labels, test, test_labels = map(read_idx, paths, shapes)
    order = torch.arange(60_000)
    images, labels = _deal(train.flatten(1), train_labels, order, (50_000, 10_000))
    return images | {"test": test.flatten(1)}, labels | {"test": test_labels}


def prepare_own(name: str, images: str | Path, output: str | Path) -> None:
    """Write the prepared file of a data set of the user's own.

    Args:
        name: as in the config.
        images: an .npz file with `train`, `validation` and `test`, each (N, height, width):
            uint8 grey values 0..255, or bits where no value is above 1, or finite floats, taken
            as they are (flat (N, 784) stands for 28 x 28); and, for figures that show classes,
            `train_labels`, `validation_labels`, `test_labels`, integers (N,).
        output: as for `prepare`.

    Raises:
        ResampledPriorsError: the file is missing, damaged, or holds something else.
    """
    tensors, kind, shape = read_own(Path(images))
    # Verified: there is no published file that it might differ from.
    provenance = [{"name": Path(images).name, "sha256": sha256(images), "verified": True}]
    about: dict[str, Any] = {"name": name, "kind": kind, "provenance": provenance}
    if shape != IMAGE_SHAPE:
        about["image_shape"] = shape
    write_prepared(output, tensors, about)


def _permutation(size: int) -> Tensor:
    # numpy promises that RandomState's stream never changes, torch promises no such thing
    return torch.from_numpy(np.random.RandomState(_SPLIT_SEED).permutation(size))


def _deal(
    images: Tensor, labels: Tensor, order: Tensor, sizes: tuple[int, ...]
) -> tuple[Images, Labels]:
    """Deal images and labels, taken in the given order, to the first splits in these sizes."""
    parts = dict(zip(SPLITS, order.split(list(sizes)), strict=False))
    return {s: images[i] for s, i in parts.items()}, {s: labels[i] for s, i in parts.items()}


def write_prepared(output: str | Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write a prepared file and its checksum: images and labels, and what they are."""
    from safetensors.torch import save

    # One metadata entry: safetensors writes several in a random order, and the same data set
    # should give the same bytes.
    metadata = {METADATA_KEY: json.dumps({"format_version": FORMAT_VERSION, **about})}
    content = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata)
    checksum = checksum_file(output)
    with atomic_write(checksum) as beside, atomic_write(output) as temporary:
        line = f"{hashlib.sha256(content).hexdigest()}  {checksum.stem}\n"
        beside.write_bytes(line.encode("utf-8", "surrogateescape"))
        temporary.write_bytes(content)
