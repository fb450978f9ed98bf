"""What a step made, kept under checkpoint/ until Snakemake has noted that the step is complete.

Snakemake deletes outputs that it has not noted as complete, even whole ones: those of a job that
outlived a Snakemake that was killed, or that was ended after its last write. The same step called
again then puts them back, to the same bytes. Nothing here imports torch.
"""

import io
import json
import zipfile
from pathlib import Path

from ..files import atomic_write

# Step -> the output that is written last, which says what made the others, and its seconds in it.
RECORDS = {"train": "run.json", "estimate_z": "z.json", "evaluate": "metrics.json"}
SECONDS = {"run.json": "train_seconds", "z.json": "seconds", "metrics.json": "evaluate_seconds"}
SUFFIX = ".finished.zip"


def write_outputs(folder: Path, outputs: dict[str, bytes]) -> None:
    """Write these files into the folder, in their order."""
    for name, content in outputs.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(content)


def keep(path: Path, outputs: dict[str, bytes]) -> None:
    """Keep these files in one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in outputs.items():
            archive.writestr(name, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def kept_outputs(path: Path) -> dict[str, bytes] | None:
    """The files that one holds; None where it is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError:
        return None
    except Exception:  # zipfile raises what it likes at damaged files
        print(f"{path} is damaged and is not used", flush=True)
        return None


def kept_seconds(path: Path) -> float | None:
    """How long the work took that a kept file holds; None where it is damaged."""
    outputs = kept_outputs(path)
    for name, key in SECONDS.items():
        if outputs is not None and name in outputs:
            return json.loads(outputs[name])[key]
    return None


def is_kept(record: Path) -> bool:
    """Whether the outputs beside a record, and it, would be put back if they were deleted."""
    return bool(_kept_as(record))


def confirm(record: Path) -> None:
    """Keep the outputs no longer that belong to a record: Snakemake takes them for complete."""
    for path in _kept_as(record):
        path.unlink(missing_ok=True)
    folder = record.parent / "checkpoint"
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _kept_as(record: Path) -> list[Path]:
    """The kept files whose record is the one on disk."""
    step = next(step for step, name in RECORDS.items() if name == record.name)
    paths = list(record.parent.glob(f"checkpoint/{step}.*{SUFFIX}"))
    if not paths or not record.exists():
        return []
    content = record.read_bytes()
    return [path for path in paths if (kept_outputs(path) or {}).get(record.name) == content]
