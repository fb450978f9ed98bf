"""Readers of raw files: what passed unverified may be anything."""

import numpy as np
import pytest
import scipy.io
import torch
from refusals import refused

from resampled_priors.data.readers import read_amat, read_chardata, read_idx

ROW = b"0 " * 783 + b"1\n"


def test_amat_reads_bits(tmp_path):
    (tmp_path / "a").write_bytes(ROW + b"1 " + ROW[2:])
    bits = read_amat(tmp_path / "a", 2)
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
        read_amat(tmp_path / "a.amat", 2)


IDX = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 28, 28)) + bytes(2 * 784)


def test_idx_reads(tmp_path):
    (tmp_path / "idx").write_bytes(IDX[:-1] + b"\x07")
    images = read_idx(tmp_path / "idx", (2, 28, 28))
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
        read_idx(tmp_path / "idx-file", (2, 28, 28))


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
    (train, test), (train_labels, test_labels) = read_chardata(tmp_path / "c.mat", (3, 2))
    assert train.shape == (3, 784) and test.shape == (2, 784) and train.dtype == torch.uint8
    for image in torch.cat([train, test]).reshape(-1, 28, 28).float():
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
        read_chardata(tmp_path / "c.mat", (3, 2))


@pytest.mark.parametrize("keep", [0, 50, 200, 400])
def test_chardata_truncated(tmp_path, keep):
    scipy.io.savemat(tmp_path / "c.mat", chardata(), do_compression=True)
    content = (tmp_path / "c.mat").read_bytes()
    assert len(content) > keep
    (tmp_path / "c.mat").write_bytes(content[:keep])
    with refused("c.mat (is not a MATLAB file|does not hold)"):
        read_chardata(tmp_path / "c.mat", (3, 2))
