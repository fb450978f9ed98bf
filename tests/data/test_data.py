"""Data sets: the real files where there are any, and every way in which a file can be wrong."""

import gzip
import hashlib
import http.server
import re
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.stats
import torch
from safetensors.torch import load_file, save_file

from resampled_priors.data import prepare as data
from resampled_priors.data.prepare import binarize, load_dataset, prepare
from resampled_priors.data.raw import RAW_FILES, RawFile, fetch
from resampled_priors.errors import ResampledPriorsError

SIZES = {
    "static_mnist": (50_000, 10_000, 10_000),
    "dynamic_mnist": (50_000, 10_000, 10_000),
    "omniglot": (23_000, 1_345, 8_070),
    "fashion_mnist": (50_000, 10_000, 10_000),
    "digits": (1_297, 200, 300),
}
CONTENT = bytes(range(256)) * 40


def refused(match: str):
    """Expect a one-line ResampledPriorsError that matches."""
    return pytest.raises(ResampledPriorsError, match=f"^(?=.*{match})[^\n]*$")


def upright(images: torch.Tensor) -> torch.Tensor:
    return images.reshape(-1, 28, 28).float()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


# The real files ---------------------------------------------------------------------------------


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


# Binarisation -----------------------------------------------------------------------------------


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
        for split in data.SPLITS
        for seed in range(4)
    }
    torch.manual_seed(123)  # must play no part
    assert torch.equal(dataset.evaluation_images("test", 2), draws["test", 2])
    assert draws["test", 2].shape == (300, 784)
    assert draws["test", 2].unique().tolist() == [0, 1]
    # every (split, seed) has a stream of its own: compare where all images are half grey
    grey = torch.full((200, 784), 128, dtype=torch.uint8)
    alike = data.Dataset("digits", "grey", grey, grey, grey, {}, [])
    streams = [alike.evaluation_images(*key) for key in draws]
    for i, a in enumerate(streams):
        for b in streams[:i]:
            # n = 156,800 fair coins: 6 standard errors, fails once in 10^7 draws
            assert abs((a == b).float().mean() - 0.5) < 0.0076
    with refused("Unknown split 'tests'.*validation"):
        dataset.evaluation_images("tests", 0)


def test_static_bits_are_used_as_published(prepared):
    dataset = load_dataset(prepared("static_mnist"))
    for seed in (0, 1):
        bits = dataset.evaluation_images("test", seed)
        assert bits.dtype == torch.float32 and torch.equal(bits.byte(), dataset.test)
    assert torch.equal(dataset.binarize(dataset.train[:9]).byte(), dataset.train[:9])


# Fetching ---------------------------------------------------------------------------------------


def raw_file(*urls: str, algorithm: str = "sha256") -> RawFile:
    known_hash = f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}"
    return RawFile("folder", "images.bin", known_hash, urls)


@pytest.fixture
def folders(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """An empty mirror (with the file's folder in it) and a raw folder that does not exist yet."""
    monkeypatch.delenv("RESAMPLED_PRIORS_MIRROR", raising=False)
    (tmp_path / "mirror" / "folder").mkdir(parents=True)
    return tmp_path / "mirror", tmp_path / "raw"


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("by_variable", [False, True])
def test_mirror(folders, monkeypatch, algorithm, compressed, by_variable):
    mirror, raw = folders
    if compressed:
        (mirror / "folder" / "images.bin.gz").write_bytes(gzip.compress(CONTENT, mtime=0))
    else:
        (mirror / "folder" / "images.bin").write_bytes(CONTENT)
    if by_variable:
        monkeypatch.setenv("RESAMPLED_PRIORS_MIRROR", str(mirror))
    path, digest, verified = fetch(
        raw_file(algorithm=algorithm), raw, None if by_variable else mirror
    )
    assert path.read_bytes() == CONTENT
    assert (digest, verified) == (hashlib.sha256(CONTENT).hexdigest(), True)
    assert path.parent == (raw if compressed else mirror) / "folder"


def test_mirror_comes_before_raw_folder_and_raw_folder_before_the_network(folders):
    mirror, raw = folders
    (raw / "folder").mkdir(parents=True)
    (raw / "folder" / "images.bin").write_bytes(CONTENT)
    assert fetch(raw_file(), raw, mirror)[0] == raw / "folder" / "images.bin"
    (mirror / "folder" / "images.bin").write_bytes(CONTENT)
    assert fetch(raw_file(), raw, mirror)[0] == mirror / "folder" / "images.bin"


def test_mirror_that_is_not_a_folder(folders):
    with refused("elsewhere is not a folder.*data.mirror or RESAMPLED_PRIORS_MIRROR"):
        fetch(raw_file(), folders[1], folders[0] / "elsewhere")


FLIPPED = CONTENT[:500] + b"\x00" + CONTENT[501:]
WHOLE_GZ = gzip.compress(CONTENT, mtime=0)
GARBLED_GZ = WHOLE_GZ[:10] + b"\xff" + WHOLE_GZ[11:]  # there is no deflate block of type 3


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("images.bin", FLIPPED, "is not the published file"),
        ("images.bin", CONTENT[:-1], "is not the published file"),
        ("images.bin", b"", "is not the published file"),
        ("images.bin.gz", gzip.compress(FLIPPED, mtime=0), "is not the published file"),
        ("images.bin.gz", b"", "is not the published file"),
        ("images.bin.gz", WHOLE_GZ[:-9], "is damaged or unreadable"),
        ("images.bin.gz", WHOLE_GZ[:20], "is damaged or unreadable"),
        ("images.bin.gz", WHOLE_GZ[:5], "is damaged or unreadable"),
        ("images.bin.gz", WHOLE_GZ[:-8] + b"\0" + WHOLE_GZ[-7:], "is damaged or unreadable"),
        ("images.bin.gz", WHOLE_GZ[:30] + b"\0\0" + WHOLE_GZ[32:], "is damaged or unreadable"),
        ("images.bin.gz", GARBLED_GZ, "is damaged or unreadable"),
    ],
)
@pytest.mark.parametrize("place", ["mirror", "raw"])
def test_wrong_content_is_refused(folders, place, name, content, match):
    mirror, raw = folders
    folder = (mirror if place == "mirror" else raw) / "folder"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    with refused(f"{re.escape(str(folder / name))} {match}.*delete it and get"):
        fetch(raw_file(), raw, mirror)
    assert [path.name for path in raw.rglob("*") if path.is_file()] == (
        [name] if place == "raw" else []
    )


def test_mismatch_names_both_hashes_and_can_be_accepted(folders):
    mirror, raw = folders
    (mirror / "folder" / "images.bin.gz").write_bytes(gzip.compress(FLIPPED, mtime=0))
    expected, found = (hashlib.sha256(c).hexdigest() for c in (CONTENT, FLIPPED))
    with refused(f"sha256 is {found}, expected {expected}.*data.accept_unverified"):
        fetch(raw_file(), raw, mirror)
    path, digest, verified = fetch(raw_file(), raw, mirror, accept_unverified=True)
    assert (path.read_bytes(), digest, verified) == (FLIPPED, found, False)
    # the copy in the raw folder is no way round the check
    with refused("is not the published file"):
        fetch(raw_file(), raw)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the first part of the path says."""

    def do_GET(self):
        self.server.asked.append(self.path)
        what = self.path.strip("/").split("/")[0]
        if what == "busy":
            self.send_error(503)
            return
        bodies = {"page": b"<html>Please log in</html>", "gz": WHOLE_GZ, "half": WHOLE_GZ[:99]}
        body = {**bodies, "garbled": GARBLED_GZ}.get(what, CONTENT)
        self.send_response(200)
        if what != "unannounced":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-100] if what in ("cut", "unannounced") else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on this machine; `.url` is its address, `.asked` the paths it was asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("good", ["plain", "gz"])
@pytest.mark.parametrize("bad", ["busy", "cut", "unannounced", "page", "half", "garbled"])
def test_download_tries_the_next_address(server, folders, bad, good):
    mirror, raw = folders
    file = raw_file(f"{server.url}/{bad}/images.bin", f"{server.url}/{good}/images.bin.gz")
    path, _, verified = fetch(file, raw, mirror)
    assert path == raw / "folder" / "images.bin"
    assert path.read_bytes() == CONTENT and verified
    assert list(path.parent.iterdir()) == [path]
    assert len(server.asked) == 2
    fetch(file, raw, mirror)
    assert len(server.asked) == 2  # not downloaded again


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ("busy", "status 503.*data.mirror"),
        ("cut", "ChunkedEncodingError.*data.mirror"),
        ("unannounced", "is not the published file"),
        ("page", "is not the published file"),
        ("half", "EOFError.*data.mirror"),
        ("garbled", "error.*data.mirror"),
    ],
)
def test_failed_download_leaves_nothing(server, folders, bad, match):
    mirror, raw = folders
    with refused(match):
        fetch(raw_file(f"{server.url}/{bad}/images.bin"), raw, mirror)
    assert not raw.exists()


def test_absent_without_network(server, folders):
    mirror, raw = folders
    server.shutdown()
    server.server_close()
    where = f"{mirror / 'folder'} or {raw / 'folder'}"
    with refused(f"images.bin was not found in {where}.*ConnectionError.*RESAMPLED_PRIORS_MIRROR"):
        fetch(raw_file(f"{server.url}/images.bin"), raw, mirror)
    assert not raw.exists()


# Readers: what passed unverified may be anything ------------------------------------------------

ROW = b"0 " * 783 + b"1\n"


def test_amat_reads_bits(tmp_path):
    (tmp_path / "a").write_bytes(ROW + b"1 " + ROW[2:])
    bits = data._read_amat(tmp_path / "a", 2)
    assert bits.shape == (2, 784) and bits.dtype == torch.uint8
    assert bits.nonzero().tolist() == [[0, 783], [1, 0], [1, 783]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        ROW,
        ROW * 3,
        ROW + ROW[:-1],
        ROW + b"2 " + ROW[2:],
        ROW + b"/ " + ROW[2:],  # the character before 0
        ROW + b"0\n" + ROW[2:],
        ROW + ROW[:-1] + b" ",
        ROW.replace(b" ", b",") * 2,
    ],
)
def test_amat_of_another_form(tmp_path, content):
    (tmp_path / "a.amat").write_bytes(content)
    with refused("a.amat does not hold 2 lines of 784 columns of 0 and 1"):
        data._read_amat(tmp_path / "a.amat", 2)


IDX = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 28, 28)) + bytes(2 * 784)


def test_idx_reads(tmp_path):
    (tmp_path / "idx").write_bytes(IDX[:-1] + b"\x07")
    images = data._read_idx(tmp_path / "idx", (2, 28, 28))
    assert images.shape == (2, 28, 28) and images[1, 27, 27] == 7 and images.sum() == 7


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        IDX[:-1],
        IDX + b"\0",
        b"<html>Please log in</html>" * 100,
        IDX[:2] + b"\x09" + IDX[3:],  # signed bytes
        IDX[:7] + b"\x01" + IDX[8 : 16 + 784],  # one image
    ],
)
def test_idx_of_another_form(tmp_path, content):
    (tmp_path / "idx-file").write_bytes(content)
    with refused("idx-file (is not an idx file|does not hold uint8).*get the published file"):
        data._read_idx(tmp_path / "idx-file", (2, 28, 28))


def chardata(sizes: tuple[int, int] = (3, 2)) -> dict[str, np.ndarray]:
    """What MATLAB would write: an upright L in every image, column by column."""
    letter = np.zeros((28, 28))
    letter[4:24, 6] = 1.0
    letter[23, 7:15] = 0.5
    mat = {}
    for prefix, size in zip(("", "test"), sizes, strict=True):
        mat[prefix + "data"] = np.tile(letter.flatten(order="F")[:, None], (1, size))
        mat[prefix + "target"] = np.eye(50, dtype=np.uint8)[:, 5 : 5 + size]
    return mat


def test_chardata_stands_upright(tmp_path):
    scipy.io.savemat(tmp_path / "c.mat", chardata())
    (train, test), (train_labels, test_labels) = data._read_chardata(tmp_path / "c.mat", (3, 2))
    assert train.shape == (3, 784) and test.shape == (2, 784) and train.dtype == torch.uint8
    for image in upright(torch.cat([train, test])):
        assert image[4:24, 6].tolist() == [255] * 20  # the stem
        assert image[23, 7:15].tolist() == [128] * 8  # the foot, 0.5 x 255 rounded to even
        assert image.sum() == 20 * 255 + 8 * 128
    assert train_labels.tolist() == [5, 6, 7] and test_labels.tolist() == [5, 6]


@pytest.mark.parametrize(
    "change",
    [
        {"data": None},
        {"testtarget": None},
        {"data": np.zeros((784, 4))},
        {"data": np.zeros((3, 784))},
        {"testdata": np.full((784, 2), 255.0)},
        {"testdata": np.full((784, 2), -0.1)},
        {"data": np.full((784, 3), np.nan)},
        {"target": np.zeros((50, 4))},
        {"data": "text"},
    ],
)
def test_chardata_of_another_form(tmp_path, change):
    mat = {key: value for key, value in (chardata() | change).items() if value is not None}
    scipy.io.savemat(tmp_path / "c.mat", mat)
    with refused("c.mat does not hold .*get the published file"):
        data._read_chardata(tmp_path / "c.mat", (3, 2))


@pytest.mark.parametrize("keep", [0, 50, 200, 400])
def test_chardata_truncated(tmp_path, keep):
    scipy.io.savemat(tmp_path / "c.mat", chardata(), do_compression=True)
    content = (tmp_path / "c.mat").read_bytes()
    assert len(content) > keep
    (tmp_path / "c.mat").write_bytes(content[:keep])
    with refused("c.mat (is not a MATLAB file|does not hold)"):
        data._read_chardata(tmp_path / "c.mat", (3, 2))


# Prepared files ---------------------------------------------------------------------------------


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
        data._save(path, whole | change, about)
        with refused("d.safetensors has no validation images"):
            load_dataset(path)
    data._save(path, {key: whole[key] for key in whole if key != "test"}, about)
    with refused("d.safetensors has no test images"):
        load_dataset(path)
    data._save(path, whole, about)
    assert load_dataset(path).name == "digits"
