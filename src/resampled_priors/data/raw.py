"""Raw files: where they are published, what they should hold, and how they are got.

A mirror is looked in before the network; what is verified is the hash of the uncompressed content.
"""

import gzip
import hashlib
import io
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import ResampledPriorsError
from ..files import atomic_write


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
DIGITS_HASH = "sha256:87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


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

    compressed = False
    if path is None:
        content, verified = _download(file, folders, accept_unverified)
    else:
        try:
            found = path.read_bytes()
            content = _uncompressed(found)
            compressed = content is not found
        except (OSError, EOFError, zlib.error) as error:
            raise ResampledPriorsError(
                f"{path} is damaged or unreadable ({error}): delete it and get it again."
            ) from error
        verified = verify(content, file.known_hash, path, accept_unverified)

    if path is None or compressed:
        path = kept
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest(), verified


def _uncompressed(content: bytes) -> bytes:
    # By the first bytes and not by the name: some servers uncompress what they send.
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def verify(
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
            return content, verify(content, file.known_hash, url, accept_unverified)
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
