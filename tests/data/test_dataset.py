"""What a model is trained on: binarised images, and prepared files that are none."""

import pytest
import scipy.stats
import torch
from refusals import refused
from safetensors.torch import load_file, save_file

from resampled_priors.data import SPLITS
from resampled_priors.data import prepare as data
from resampled_priors.data.dataset import Dataset, binarize, load_dataset
from resampled_priors.data.prepare import prepare, write_prepared


def chi_square(probabilities: torch.Tensor, draws: int = 40_000) -> float:
    """p-value of drawing each grey level 1..254 many times, against grey/255."""
    grey = torch.arange(1, 255, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(1)
    counts = torch.zeros(254, dtype=torch.float64)
    for _ in range(10):
        counts += probabilities(grey.expand(draws // 10, 254), generator).double().sum(0)
    p = grey.double() / 255
    statistic = ((counts - draws * p) ** 2 / (draws * p * (1 - p))).sum()
    return scipy.stats.chi2.sf(statistic.item(), df=254)


def test_binarize_draws_with_probability_grey_over_255():
    # Seeded; with another seed a correct draw fails once in 10^4.
    assert chi_square(binarize) > 1e-4
    # and the test has the power to tell 255 from 256
    off = lambda grey, g: torch.rand(grey.shape, generator=g) < grey / 256  # noqa: E731
    assert chi_square(off) < 1e-4


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_black_is_never_one_and_white_always(monkeypatch, uniform):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, uniform))
    assert binarize(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0, 1]


def test_binarize_shape_type_and_freshness():
    grey = torch.full((3, 5, 784), 128, dtype=torch.uint8)
    first, second = binarize(grey), binarize(grey)
    assert first.shape == grey.shape and first.dtype == torch.float32
    assert not torch.equal(first, second)
    same = [binarize(grey, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*same)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(binarize(grey, torch.Generator().manual_seed(3)), same[0])
        assert binarize(grey).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_evaluation_images_are_one_fixed_draw(digits):
    dataset = load_dataset(digits)
    draws = {
        (split, seed): dataset.evaluation_images(split, seed)
        for split in SPLITS
        for seed in range(4)
    }
    torch.manual_seed(123)  # must play no part
    assert torch.equal(dataset.evaluation_images("test", 2), draws["test", 2])
    assert draws["test", 2].shape == (300, 784)
    assert draws["test", 2].unique().tolist() == [0, 1]
    # every (split, seed) has a stream of its own: compare where all images are half grey
    grey = torch.full((200, 784), 128, dtype=torch.uint8)
    alike = Dataset("digits", "grey", grey, grey, grey, {}, [])
    streams = [alike.evaluation_images(*key) for key in draws]
    for i, a in enumerate(streams):
        for b in streams[:i]:
            # n = 156,800 fair coins: 6 standard errors, fails once in 10^7 draws
            assert abs((a == b).float().mean() - 0.5) < 0.0076
    with refused("Unknown split 'tests'.*validation"):
        dataset.evaluation_images("tests", 0)


def test_means_are_grey_over_255(digits):
    dataset = load_dataset(digits)
    for split in SPLITS:
        means = dataset.means(split)
        assert means.dtype == torch.float32
        assert torch.equal(means.double(), (dataset.images(split).double() / 255).float().double())
    with refused("Unknown split 'tests'.*validation"):
        dataset.means("tests")


def test_static_bits_are_used_as_published(prepared):
    dataset = load_dataset(prepared("static_mnist"))
    for seed in (0, 1):
        bits = dataset.evaluation_images("test", seed)
        assert bits.dtype == torch.float32 and torch.equal(bits.byte(), dataset.test)
    assert torch.equal(dataset.binarize(dataset.train[:9]).byte(), dataset.train[:9])


def test_missing_prepared_file(tmp_path):
    with refused("none.safetensors is missing: prepare"):
        load_dataset(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 100, 1_000, -1])
def test_truncated_prepared_file(digits, tmp_path, keep):
    path = tmp_path / "d.safetensors"
    path.write_bytes(digits.read_bytes()[:keep])
    with refused("d.safetensors is not a whole prepared data set.*delete it and prepare"):
        load_dataset(path)


def test_prepared_file_of_another_version(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "FORMAT_VERSION", 0)
    prepare("digits", tmp_path / "d.safetensors", raw_folder=tmp_path)
    monkeypatch.undo()
    with refused("d.safetensors has format version 0, .* reads 1: delete it and prepare"):
        load_dataset(tmp_path / "d.safetensors")


def test_files_that_are_no_prepared_data_sets(digits, tmp_path):
    path = tmp_path / "d.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with refused("d.safetensors is not a whole prepared data set"):
        load_dataset(path)
    with refused("is not a whole prepared data set"):
        load_dataset(tmp_path)
    about = {"name": "digits", "kind": "grey", "provenance": []}
    whole = load_file(digits)
    for change in (
        {"validation": whole["validation"].float()},
        {"validation": whole["validation"][:, :-1]},
        {"validation": whole["validation"].flatten()},
    ):
        write_prepared(path, whole | change, about)
        with refused("d.safetensors has no validation images"):
            load_dataset(path)
    write_prepared(path, {key: whole[key] for key in whole if key != "test"}, about)
    with refused("d.safetensors has no test images"):
        load_dataset(path)
    for change in ({"image_shape": [28, 27]}, {"image_shape": [8, 8]}):
        write_prepared(path, whole, about | change)
        with refused("d.safetensors has no train images"):
            load_dataset(path)
    write_prepared(path, whole, about | {"kind": "real"})
    with refused("d.safetensors has no train images .* torch.float32"):
        load_dataset(path)
    for change in (
        {"image_shape": 784},
        {"image_shape": [784]},
        {"image_shape": [28.0, 28.0]},
        {"image_shape": None},
        {"kind": "colour"},
        {"kind": ["grey"]},
        {"name": None},
        {"provenance": {}},
    ):
        write_prepared(path, whole, about | change)
        with refused("d.safetensors does not say what it holds: delete it and prepare"):
            load_dataset(path)
    write_prepared(path, whole, about)
    assert load_dataset(path).name == "digits"
    # another image shape with the same number of pixels is a data set of its own
    write_prepared(path, whole, about | {"image_shape": [14, 56]})
    assert load_dataset(path).image_shape == (14, 56)
