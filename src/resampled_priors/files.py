"""Files that are either whole or absent."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import ResampledPriorsError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it becomes `path`.

    The temporary file keeps the suffix of `path`, because some writers choose their format by it.
    It is removed when the block fails. The folder is made when it is missing.

    Raises:
        ResampledPriorsError: the file system refused (disk full, no permission ...).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)  # else a power cut could leave an empty file under the new name
        os.replace(temporary, path)
        _sync(path.parent)  # the new name is on the disk, too
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with suppress(OSError):  # nothing is left when all went well
            temporary.unlink()


def not_written(path: Path, error: OSError) -> ResampledPriorsError:
    """The error to raise where the file system refused (disk full, no permission ...)."""
    return ResampledPriorsError(f"{path} could not be written: {error.strerror or error}.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, obj: object) -> None:
    """Write `obj` as ``json_text``, whole or not at all."""
    text = json_text(obj)  # before the file is touched
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(obj: object) -> str:
    """Indented JSON. NaN and infinities are refused.

    An object gets one entry more, its checksum: a digit that is changed on a disk is still JSON.
    """
    if isinstance(obj, dict):
        obj = obj | {"checksum": _checksum(obj)}
    return json.dumps(obj, indent=2, allow_nan=False) + "\n"


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a missing or damaged one raises a ResampledPriorsError naming it.

    The checksum of `write_json` is compared and left out; older files have none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(content, ensure_ascii=False).encode()  # half a letter (\ud800) is no text
    except FileNotFoundError as error:
        raise ResampledPriorsError(f"{path} is missing: make it first.") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not JSON, or not UTF-8
        raise ResampledPriorsError(
            f"{path} is not a whole JSON file ({error}): delete it and make it again."
        ) from error
    if isinstance(content, dict) and "checksum" in content:
        checksum = content.pop("checksum")
        if checksum != _checksum(content):
            raise ResampledPriorsError(
                f"{path} is not as it was written: delete it and make it again."
            )
    return content


def _checksum(record: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(record))  # keys are texts there
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal (OSError when it cannot be read)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
