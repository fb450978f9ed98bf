"""Images of a user's own: of any shape and kind, and every way in which they can be wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from refusals import refused
from safetensors import safe_open
from sklearn.datasets import load_digits

from resampled_priors.data import SPLITS
from resampled_priors.data.dataset import load_dataset
from resampled_priors.data.prepare import prepare_own
from resampled_priors.files import sha256


def own_images(**changes):
    random = np.random.default_rng(0)
    arrays = {
        "train": random.integers(0, 256, (20, 28, 28), np.uint8),
        "validation": random.integers(0, 256, (5, 784), np.uint8),
        "test": random.integers(0, 256, (7, 28, 28), np.uint8),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def prepared_from(folder, **arrays):
    np.savez_compressed(folder / "letters.npz", **arrays)
    prepare_own("letters", folder / "letters.npz", folder / "letters.safetensors")
    return load_dataset(folder / "letters.safetensors")


def real_images(shape, dtype=np.float64):
    random = np.random.default_rng(0)
    sizes = dict(zip(SPLITS, (6, 2, 3), strict=True))
    return {s: random.normal(size=(n, *shape)).astype(dtype) for s, n in sizes.items()}


def about(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["resampled_priors"])


def test_images_of_ones_own(tmp_path):
    arrays = own_images(test_labels=np.arange(7, dtype=np.int32))
    data = prepared_from(tmp_path, **arrays)
    assert (data.name, data.kind, data.image_shape) == ("letters", "grey", (28, 28))
    for split in SPLITS:
        np.testing.assert_array_equal(getattr(data, split), arrays[split].reshape(-1, 784))
    assert data.labels["test"].tolist() == list(range(7))
    assert data.labels.keys() == {"test"}
    (source,) = data.provenance
    assert source["name"] == "letters.npz"
    assert source["sha256"] == sha256(tmp_path / "letters.npz")


def test_bits_stay_as_they_are(tmp_path):
    bits = {name: images % 2 for name, images in own_images().items()}
    data = prepared_from(tmp_path, **bits)
    assert data.kind == "binary"
    expected = bits["test"].reshape(-1, 784).astype(np.float32)
    np.testing.assert_array_equal(data.evaluation_images("test", seed=3), expected)
    np.testing.assert_array_equal(data.means("test"), expected)


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (1, 3), (28, 28)])
def test_any_shape_of_image(tmp_path, shape):
    random = np.random.default_rng(0)
    arrays = {split: random.integers(0, 256, (4, *shape), np.uint8) for split in SPLITS}
    data = prepared_from(tmp_path, **arrays)
    assert data.image_shape == shape
    height, width = shape
    for split in SPLITS:
        images = getattr(data, split)
        assert images.shape == (4, height * width)
        np.testing.assert_array_equal(images.reshape(4, *shape), arrays[split])
    # where nothing is said the file is as those of the published data sets
    said = about(tmp_path / "letters.safetensors").get("image_shape", [28, 28])
    assert said == list(shape)
    assert ("image_shape" in about(tmp_path / "letters.safetensors")) == (shape != (28, 28))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_values_are_taken_as_they_are(tmp_path, dtype):
    arrays = real_images((8, 8), dtype)
    data = prepared_from(tmp_path, **arrays)
    assert (data.kind, data.image_shape) == ("real", (8, 8))
    for split in SPLITS:
        expected = torch.from_numpy(arrays[split]).float().reshape(-1, 64)
        for images in (getattr(data, split), data.means(split)):
            assert torch.equal(images, expected)
        for seed in (0, 1):
            assert torch.equal(data.evaluation_images(split, seed), expected)
    assert torch.equal(data.binarize(data.train[:2]), data.train[:2])  # nothing is drawn


def test_the_digits_as_scikit_learn_has_them(tmp_path):
    images = load_digits().images / 16
    data = prepared_from(
        tmp_path, train=images[:1_297], validation=images[1_297:1_497], test=images[1_497:]
    )
    assert (data.kind, data.image_shape, data.train.shape) == ("real", (8, 8), (1_297, 64))
    np.testing.assert_array_equal(data.test.reshape(-1, 8, 8), images[1_497:].astype(np.float32))


def test_floats_are_real_values_even_if_they_are_only_0_and_1(tmp_path):
    bits = {name: (images % 2).astype(float) for name, images in own_images().items()}
    assert prepared_from(tmp_path, **bits).kind == "real"


NOT_FINITE = np.full((7, 28, 28), np.nan)
WRONG = {
    "missing": ({"validation": None}, "should hold 'validation' as uint8"),
    "integers": ({"test": np.zeros((3, 784), np.int64)}, r"'test' .* and has int64 \(3, 784\)"),
    "half": ({"test": np.zeros((3, 784), np.float16)}, r"'test' .* and has float16 \(3, 784\)"),
    "byte order": ({"test": np.zeros((3, 784), ">f4")}, r"'test' .* and has >f4 \(3, 784\)"),
    "flat": ({"train": np.zeros((3, 64), np.uint8)}, r"or \(N, 784\), and has uint8 \(3, 64\)"),
    "colour": ({"train": np.zeros((3, 8, 8, 3), np.uint8)}, r"uint8 \(3, 8, 8, 3\)"),
    "empty": ({"train": np.zeros((0, 784), np.uint8)}, r"uint8 \(0, 784\)"),
    "no pixels": ({"train": np.zeros((3, 0, 8), np.uint8)}, r"uint8 \(3, 0, 8\)"),
    "shapes": (
        {"validation": np.zeros((3, 32, 32), np.uint8)},
        "holds 'validation' of another type or image shape than 'train'",
    ),
    "turned": (
        real_images((4, 9)) | {"test": np.zeros((3, 9, 4))},
        "holds 'test' of another type or image shape",
    ),
    "types": ({"test": np.zeros((3, 784))}, "holds 'test' of another type or image shape"),
    "not finite": ({split: NOT_FINITE for split in SPLITS}, "'train' with values that are not"),
    "too large": (real_images((2, 2)) | {"test": np.full((3, 2, 2), 1e39)}, "'test' with values"),
    "labels": ({"test_labels": np.zeros(6, int)}, r"'test_labels' as integers \(7,\)"),
    "objects": ({"test_labels": np.array([None])}, "cannot be read"),
    "more": ({"labels": np.zeros(3)}, "holds 'labels' too"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_images_that_cannot_be_used(tmp_path, changes, message):
    source, output = tmp_path / "letters.npz", tmp_path / "out.safetensors"
    np.savez(source, **own_images(**changes))
    with refused(f"letters.npz [^\n]*{message}[^\n]*data sets of your own"):
        prepare_own("letters", source, output)
    assert not output.exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut short", b"no archive"])
def test_files_that_are_no_images(tmp_path, content):
    source = tmp_path / "letters.npz"
    if content is not None:
        source.write_bytes(content)
    with refused(r"letters\.npz cannot be read"):
        prepare_own("letters", source, tmp_path / "out.safetensors")


def test_names_and_shape_of_data_sets_without_torch():
    """Snakemake, at each start, reads the config without torch."""
    code = "import sys, resampled_priors.data.raw; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
