"""Prepared files of the published data sets: the real files where there are any."""

import gzip
import hashlib
import resource
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from refusals import refused

from resampled_priors.data import prepare as data
from resampled_priors.data.dataset import load_dataset
from resampled_priors.data.prepare import prepare
from resampled_priors.data.raw import RAW_FILES

SIZES = {
    "static_mnist": (50_000, 10_000, 10_000),
    "dynamic_mnist": (50_000, 10_000, 10_000),
    "omniglot": (23_000, 1_345, 8_070),
    "fashion_mnist": (50_000, 10_000, 10_000),
    "digits": (1_297, 200, 300),
}


def upright(images: torch.Tensor) -> torch.Tensor:
    return images.reshape(-1, 28, 28).float()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


def test_every_data_set_is_tested():
    assert SIZES.keys() == RAW_FILES.keys()


@pytest.mark.parametrize("name", SIZES)
def test_splits_labels_and_provenance(prepared, name):
    dataset = load_dataset(prepared(name))
    images = {split: getattr(dataset, split) for split in data.SPLITS}
    assert dataset.name == name
    assert {s: tuple(x.shape) for s, x in images.items()} == {
        s: (n, 784) for s, n in zip(data.SPLITS, SIZES[name], strict=True)
    }
    assert all(x.dtype == torch.uint8 for x in images.values())
    if name == "static_mnist":
        assert dataset.kind == "binary" and dataset.labels == {}
        assert all(x.unique().tolist() == [0, 1] for x in images.values())
    else:
        assert dataset.kind == "grey"
        assert all((x.min(), x.max()) == (0, 255) for x in images.values())
        classes = list(range(50 if name == "omniglot" else 10))
        for split, labels in dataset.labels.items():
            assert labels.shape == (len(images[split]),)
            assert labels.dtype == torch.int64
            assert labels.unique().tolist() == classes
        assert tuple(dataset.labels) == data.SPLITS
    assert len(dataset.provenance) == max(1, len(RAW_FILES[name]))
    if name != "omniglot":
        assert dataset.verified


def test_omniglot_stand_in_is_marked(prepared, mirror):
    content = (mirror / "omniglot" / "chardata.mat").read_bytes()
    published = hashlib.md5(content).hexdigest() == "21ecaf34373511aa7691cf2e0802aa3d"
    dataset = load_dataset(prepared("omniglot"))
    assert dataset.verified == published
    assert dataset.provenance[0]["sha256"] == hashlib.sha256(content).hexdigest()


def test_mnist_splits_follow_the_order_of_the_file(prepared, mirror):
    with gzip.open(mirror / "mnist" / "train-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read(), np.uint8, offset=16).reshape(60_000, 784)
    dataset = load_dataset(prepared("dynamic_mnist"))
    assert np.array_equal(dataset.train, raw[:50_000])
    assert np.array_equal(dataset.validation, raw[50_000:])


@pytest.mark.parametrize("name", ["dynamic_mnist", "fashion_mnist"])
def test_ones_and_trousers_stand(prepared, name):
    dataset = load_dataset(prepared(name))
    for split in data.SPLITS:
        inked = upright(getattr(dataset, split)[dataset.labels[split] == 1]) > 127
        height = inked.any(2).sum(1).float().mean()
        width = inked.any(1).sum(1).float().mean()
        assert height > 1.5 * width


@pytest.mark.parametrize("split", data.SPLITS)
def test_static_mnist_stands_as_mnist_does(prepared, split):
    static = upright(getattr(load_dataset(prepared("static_mnist")), split)).mean(0)
    mnist = upright(load_dataset(prepared("dynamic_mnist")).test).mean(0)
    assert correlation(static, mnist) > 0.99 > correlation(static.T, mnist)


@pytest.mark.parametrize("split", data.SPLITS)
def test_digits_stand_as_mnist_does_and_labels_belong_to_them(prepared, digits, split):
    def class_means(path: Path, split: str) -> torch.Tensor:
        dataset = load_dataset(path)
        images, labels = upright(getattr(dataset, split)), dataset.labels[split]
        means = torch.stack([images[labels == digit].mean(0) for digit in range(10)])
        return means - means.mean(0)

    ours, theirs = class_means(digits, split), class_means(prepared("dynamic_mnist"), "test")
    # MNIST's digits fill the middle 20 x 20 pixels only, scikit-learn's the whole image
    theirs = torch.nn.functional.interpolate(theirs[None, :, 4:24, 4:24], (28, 28))[0]
    match = correlation(ours, theirs)
    turned = [ours.mT, ours.flip(1), ours.flip(2), ours.rot90(1, (1, 2)), ours.rot90(-1, (1, 2))]
    assert match > 0.1 + max(correlation(other, theirs) for other in turned)
    assert match > 0.1 + correlation(ours.roll(1, 0), theirs)


def test_digits_are_dealt_out_once_each(digits):
    from sklearn.datasets import load_digits

    dataset = load_dataset(digits)
    images = torch.cat([dataset.train, dataset.validation, dataset.test])
    labels = torch.cat([dataset.labels[split] for split in data.SPLITS])
    # a bilinear 8 -> 28 enlargement keeps the mean nearly, and tells most of the images apart
    order = np.random.RandomState(0).permutation(1797)
    raw = load_digits()
    assert np.array_equal(labels, raw.target[order])
    means = raw.images.mean((1, 2))[order] * 255 / 16
    assert np.abs(images.float().mean(1).numpy() - means).max() < 8
    assert sorted(order.tolist()) == list(range(1797))


def test_omniglot_pixel_by_pixel(prepared, mirror):
    raw = scipy.io.loadmat(mirror / "omniglot" / "chardata.mat")
    test = upright(load_dataset(prepared("omniglot")).test)
    for image, row, column in [(0, 3, 17), (1, 14, 14), (77, 20, 5), (8_069, 9, 12)]:
        # column-major: a column's 28 pixels lie together
        assert test[image, row, column] == round(raw["testdata"][28 * column + row, image] * 255)
    inked = raw["testdata"][:, 77].reshape(28, 28, order="F")
    assert np.array_equal(test[77], np.rint(inked * 255))
    assert not np.array_equal(test[77], test[77].T)


def test_omniglot_train_and_validation_make_up_the_file(prepared, mirror):
    raw = scipy.io.loadmat(mirror / "omniglot" / "chardata.mat")
    dataset = load_dataset(prepared("omniglot"))
    order = np.random.RandomState(0).permutation(24_345)
    for split, part in (("train", order[:23_000]), ("validation", order[23_000:])):
        grey = raw["data"][:, part].T.reshape(-1, 28, 28).swapaxes(1, 2).reshape(-1, 784)
        assert np.array_equal(getattr(dataset, split), np.rint(grey * 255))
        assert np.array_equal(dataset.labels[split], raw["target"][:, part].argmax(0))


def test_omniglot_validation_comes_from_all_over_the_file():
    # The file may be sorted by character. Positions of a random draw of n among N have mean
    # (N - 1) / 2 and standard error N / sqrt(12 n): fails once in 10^5 splits, and any split that
    # takes one end fails.
    part = data._permutation(24_345)[23_000:].double()
    error = 24_345 / (12 * 1_345) ** 0.5
    assert abs(part.mean() - 24_344 / 2) < 4.4 * error
    assert part.unique().numel() == 1_345
    # the split must never change under a user's hands
    assert data._permutation(24_345)[:4].tolist() == [9825, 22946, 16348, 11132]


def test_the_bytes_are_those_on_record(digits):
    """Records of runs name the hash of the prepared file."""
    recorded = "afb1aa36825de2a2cccdeb68f47c3d626a9290b1ede85e62742b84c6abec7540"
    assert hashlib.sha256(digits.read_bytes()).hexdigest() == recorded


def test_same_raw_files_give_the_same_bytes(digits, tmp_path):
    for i in range(5):  # several metadata entries would be written in a random order
        prepare("digits", tmp_path / str(i), raw_folder=tmp_path)
        assert (tmp_path / str(i)).read_bytes() == digits.read_bytes()


def test_a_flipped_byte_is_refused_and_then_accepted_with_a_mark(mirror, tmp_path):
    broken = tmp_path / "mirror" / "mnist"
    broken.mkdir(parents=True)
    for path in (mirror / "mnist").iterdir():
        (broken / path.name).symlink_to(path.resolve())
    name = "t10k-labels-idx1-ubyte"
    labels = bytearray(gzip.decompress((broken / f"{name}.gz").read_bytes()))
    labels[-1] ^= 1
    (broken / f"{name}.gz").unlink()
    (broken / name).write_bytes(labels)
    folders = {"raw_folder": tmp_path / "raw", "mirror": tmp_path / "mirror"}
    output = tmp_path / "mnist.safetensors"

    with refused(f"{name} is not the published file.*expected ff7b.*data.accept_unverified"):
        prepare("dynamic_mnist", output, **folders)
    assert not output.exists()
    prepare("dynamic_mnist", output, accept_unverified=True, **folders)
    dataset = load_dataset(output)
    assert [file["verified"] for file in dataset.provenance] == [True, True, True, False]
    assert not dataset.verified


def test_unknown_name(tmp_path):
    with refused("Unknown data set 'mnist'.*static_mnist, dynamic_mnist, omniglot"):
        prepare("mnist", tmp_path / "a", raw_folder=tmp_path)


def test_full_disk_leaves_no_prepared_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with refused("digits.safetensors could not be written"):
            prepare("digits", tmp_path / "digits.safetensors", raw_folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_other_digits_than_the_known_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DIGITS_HASH", "sha256:" + "0" * 64)
    with refused("load_digits .* is not the published file"):
        prepare("digits", tmp_path / "a", raw_folder=tmp_path)
    prepare("digits", tmp_path / "a", raw_folder=tmp_path, accept_unverified=True)
    assert not load_dataset(tmp_path / "a").verified
