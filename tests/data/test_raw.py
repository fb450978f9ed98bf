"""Raw files from a mirror, a folder, the network, and every way in which they can be wrong."""

import gzip
import hashlib
import http.server
import re
import threading
from pathlib import Path

import pytest
from refusals import refused

from resampled_priors.data.raw import RawFile, fetch

CONTENT = bytes(range(256)) * 40


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
