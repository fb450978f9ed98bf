import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resampled_priors.files import (
    ResampledPriorsError,
    atomic_write,
    read_json,
    sha256,
    write_json,
)


def test_atomic_write_makes_folders_and_keeps_the_suffix(tmp_path):
    path = tmp_path / "a" / "b" / "figure.pdf"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent and temporary != path
        assert temporary.suffix == ".pdf"
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_write_failing_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_in_mid_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, signal, sys\n"
        "from resampled_priors.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_refusal_of_the_file_system_is_one_line(tmp_path):
    path = tmp_path / "big.json"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))  # as a full disk would, in part
    try:
        with pytest.raises(
            ResampledPriorsError, match=r"big\.json could not be written"
        ) as caught:
            write_json(path, list(range(10_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "folder").write_text("")
    with pytest.raises(ResampledPriorsError, match="could not be written"):
        write_json(tmp_path / "folder" / "below" / "a.json", 1)


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "usual").stat().st_mode


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    write_json(path, value)
    assert read_json(path) == value


def test_nan_is_refused_before_the_file_is_touched(tmp_path):
    write_json(tmp_path / "a.json", {"nll": 80.0})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"nll": float("nan")})
    assert read_json(tmp_path / "a.json") == {"nll": 80.0}


@pytest.mark.parametrize(
    "content", [None, b"", b'{"nll": 8', b"\xff\xfe\x00", b"nll = 80"], ids=repr
)
def test_unreadable_json_is_one_line(tmp_path, content):
    path: Path = tmp_path / "metrics.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ResampledPriorsError, match=r"metrics\.json is .*make it") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_sha256_known_answer(tmp_path):  # FIPS 180-2, appendix B.1
    (tmp_path / "abc").write_text("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "abc") == expected
