"""Readers of raw files: idx, amat, chardata, scikit-learn's digits, and a user's own .npz.

What passed unverified may be anything, so each reader checks what it finds. Images are rows of
pixels, row by row from the top left.
"""

import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ResampledPriorsError
from . import IMAGE_SHAPE, SPLITS

PIXELS = math.prod(IMAGE_SHAPE)
_OWN_REMEDY = "np.savez it as the page on data sets of your own says"


def _require(condition: bool, source: str | Path, expected: str) -> None:
    if not condition:
        raise ResampledPriorsError(f"{source} does not hold {expected}: get the published file.")


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
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


def read_amat(path: Path, rows: int) -> Tensor:
    """Read a text file of `rows` lines of bits, a pixel each; returns (rows, pixels) uint8."""
    # Each value is one character and one separator, so the text is an array already.
    text = np.frombuffer(path.read_bytes(), np.uint8)
    expected = f"{rows} lines of {PIXELS} columns of 0 and 1"
    _require(text.size == rows * PIXELS * 2, path, expected)
    characters = text.reshape(rows, PIXELS, 2)
    bits = characters[:, :, 0] - ord("0")  # uint8: anything below "0" wraps round to above 1
    ends = characters[:, :, 1]
    _require((ends[:, :-1] == ord(" ")).all() and (ends[:, -1] == ord("\n")).all(), path, expected)
    _require(bits.max() <= 1, path, expected)
    return torch.from_numpy(bits)


def read_chardata(path: Path, sizes: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
    """Read Burda et al.'s MATLAB file: images (N, pixels) uint8 and alphabets (N,) of train, test.

    `data` and `testdata` are (pixels, N) grey values in [0, 1] with column-major pixels; `target`
    and `testtarget` are (alphabets, N), one-hot.
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
            grey.shape == (PIXELS, size) and target.shape[1:] == (size,),
            path,
            f"{prefix}data and {prefix}target with {size} columns",
        )
        in_range = (grey > -1e-6) & (grey < 1 + 1e-6)  # false for NaN
        _require(in_range.all(), path, f"{prefix}data with values in [0, 1]")
        upright = grey.T.reshape(size, *IMAGE_SHAPE).transpose(0, 2, 1).reshape(size, PIXELS)
        images.append(torch.from_numpy(np.rint(upright * 255).astype(np.uint8)))
        labels.append(torch.from_numpy(target.argmax(axis=0)))
    return images, labels


def read_digits() -> tuple[Tensor, Tensor, bytes, str]:
    """scikit-learn's digits, enlarged from 8 x 8: images (1797, pixels), labels, the bytes behind
    them, and their source.
    """
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    content = digits.images.astype(np.uint8).tobytes() + digits.target.astype(np.uint8).tobytes()
    grey = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    grey = torch.nn.functional.interpolate(grey, IMAGE_SHAPE, mode="bilinear", align_corners=False)
    images = grey.round().to(torch.uint8).flatten(1)
    source = f"sklearn.datasets.load_digits (scikit-learn {sklearn.__version__})"
    return images, torch.from_numpy(digits.target), content, source


def read_own(path: Path) -> tuple[dict[str, Tensor], str, tuple[int, int]]:
    """Read the .npz file of a user's own images (docs/data.md says what it holds).

    Returns:
        images (N, pixels) by split and, where there are any, labels (N,) int64 by
        `{split}_labels`; the kind, `grey` or `binary` (uint8) or `real` (float32); the shape
        (height, width).

    Raises:
        ResampledPriorsError: the file is missing, damaged, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # a damaged archive makes numpy raise any of a dozen kinds
        raise ResampledPriorsError(f"{path} cannot be read ({error}): {_OWN_REMEDY}") from error
    tensors, shapes = {}, {}
    for split in SPLITS:
        tensors[split], shapes[split] = _own_images(path, split, arrays.pop(split, np.empty(0)))
        label = arrays.pop(f"{split}_labels", None)
        if label is not None:
            size = len(tensors[split])
            if label.dtype.kind not in "iu" or label.shape != (size,):
                raise ResampledPriorsError(
                    f"{path} should hold '{split}_labels' as integers ({size},), and has "
                    f"{label.dtype} {label.shape}: {_OWN_REMEDY}"
                )
            tensors[f"{split}_labels"] = torch.from_numpy(label.astype(np.int64))
    if arrays:
        raise ResampledPriorsError(f"{path} holds '{next(iter(arrays))}' too: {_OWN_REMEDY}")
    for split in SPLITS[1:]:
        if (tensors[split].dtype, shapes[split]) != (tensors["train"].dtype, shapes["train"]):
            raise ResampledPriorsError(
                f"{path} holds '{split}' of another type or image shape than 'train': "
                f"{_OWN_REMEDY}"
            )
    if tensors["train"].is_floating_point():
        kind = "real"
    else:
        kind = "binary" if all(tensors[split].max() <= 1 for split in SPLITS) else "grey"
    return tensors, kind, shapes["train"]


def _own_images(path: Path, split: str, array: NDArray) -> tuple[Tensor, tuple[int, int]]:
    """One split's images (N, pixels), uint8 or float32, and their shape."""
    shape = IMAGE_SHAPE if array.shape[1:] == (PIXELS,) else array.shape[1:]
    if array.dtype not in (np.uint8, np.float32, np.float64) or len(shape) != 2 or not array.size:
        raise ResampledPriorsError(
            f"{path} should hold '{split}' as uint8 or float images (N, height, width) or "
            f"(N, {PIXELS}), and has {array.dtype} {array.shape}: {_OWN_REMEDY}"
        )
    images = torch.from_numpy(array.reshape(len(array), -1))
    images = images if images.dtype == torch.uint8 else images.float()
    if not images.isfinite().all():
        raise ResampledPriorsError(
            f"{path} holds '{split}' with values that are not finite in float32: {_OWN_REMEDY}"
        )
    return images, shape
