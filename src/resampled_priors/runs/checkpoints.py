"""Checkpoints of long work: the last two, each with a checksum, and torch's generators in them.

The finished work of a step takes their place, until Snakemake has noted it (``finished.py``).
"""

import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from ..files import atomic_write
from .finished import SUFFIX, keep, kept_outputs, kept_seconds, write_outputs

CHECKPOINT_SECONDS = 30.0
HOUR, MONTH = 3600.0, 30 * 24 * 3600.0
FORMAT = 3  # of what is saved: a checkpoint of another format is not continued from


class Checkpoint:
    """The last two checkpoints of one step of a run, under a name of all the step depends on.

    They are no outputs that Snakemake knows of: it would delete those before each attempt.
    Saved and restored with the content are torch's global generators, which every random number
    of a step comes from, so that a continued step draws what it would have drawn.

    Args:
        step: ``train``, ``estimate_z`` or ``evaluate``.
        inputs: settings and hashes; a checkpoint of others is not continued from.
    """

    def __init__(
        self, run_folder: Path, step: str, inputs: dict[str, Any], device: str = "cpu"
    ) -> None:
        text = json.dumps({"format": FORMAT, **inputs}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = run_folder
        self.newest = run_folder / "checkpoint" / f"{step}.{key}.pt"
        self.older = self.newest.with_suffix(".older.pt")
        self.finished = self.newest.with_suffix(SUFFIX)
        self.step, self.device = step, device
        self.started = self.saved = time.monotonic()
        self.before = 0.0

    def seconds(self) -> float:
        """Time spent on the step, in earlier attempts up to their last checkpoint, too."""
        return self.before + time.monotonic() - self.started

    def is_due(self) -> bool:
        return time.monotonic() - self.saved > CHECKPOINT_SECONDS

    def save(self, content: dict[str, Any]) -> None:
        cuda = None if self.device == "cpu" else torch.cuda.get_rng_state(self.device)
        generators = {"cpu": torch.get_rng_state(), "cuda": cuda}
        buffer = io.BytesIO()
        state = {"content": content, "generators": generators, "seconds": self.seconds()}
        torch.save(state, buffer)
        payload = buffer.getvalue()
        with atomic_write(self.newest) as temporary:
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
            if self.newest.exists():
                os.replace(self.newest, self.older)
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The content of the newest whole checkpoint, its generators restored; or None.

        The step's clock begins here.
        """
        self.started = self.saved = time.monotonic()
        for path in (self.newest, self.older):
            try:
                file = path.read_bytes()
            except FileNotFoundError:
                continue
            state = _whole_state(file, self.device)
            if state is None:
                print(f"{path} is damaged: the checkpoint before it is used", flush=True)
                continue
            generators = state["generators"]
            torch.set_rng_state(generators["cpu"].cpu())
            if self.device != "cpu" and generators["cuda"] is not None:
                torch.cuda.set_rng_state(generators["cuda"].cpu(), self.device)
            self.before = state["seconds"]
            return state["content"]
        return None

    def restore(self) -> bool:
        """Put back the step's outputs where it was finished before; whether it was."""
        outputs = kept_outputs(self.finished)
        if outputs is None:
            return False
        write_outputs(self.folder, outputs)
        print(
            f"{self.step} was finished before, with these settings and data: its outputs are put "
            f"back (to do it again, delete {self.newest.parent})",
            flush=True,
        )
        return True

    def finish(self, outputs: dict[str, bytes]) -> None:
        """Write the step's outputs in their order, and keep them in the checkpoints' place.

        Killed at any moment, the same step called again makes the same files.
        """
        keep(self.finished, outputs)
        self.newest.unlink(missing_ok=True)
        self.older.unlink(missing_ok=True)
        write_outputs(self.folder, outputs)
        self._sort_out_others()

    def _sort_out_others(self) -> None:
        """Name what is left of work with other settings; after a month, short work is removed."""
        own = {self.newest, self.older, self.finished}
        for path in sorted(set(self.newest.parent.glob(f"{self.step}.*")) - own):
            seconds = (kept_seconds if path.name.endswith(SUFFIX) else _saved_seconds)(path)
            if time.time() - path.stat().st_mtime > MONTH and (seconds or 0) < HOUR:
                path.unlink()
            elif seconds is not None:
                print(
                    f"{path}: {seconds / HOUR:.2g} hours of work with other settings or data are "
                    "kept: delete it if nobody wants it",
                    flush=True,
                )


def _saved_seconds(path: Path) -> float | None:
    state = _whole_state(path.read_bytes(), "cpu")
    return None if state is None else state["seconds"]


def _whole_state(file: bytes, device: str) -> dict[str, Any] | None:
    """What a checkpoint holds: checksum and tensors; None where it is damaged."""
    if hashlib.sha256(file[32:]).digest() != file[:32]:
        return None
    try:
        return torch.load(io.BytesIO(file[32:]), device, weights_only=True)
    except Exception:  # no checkpoint, for all its checksum: nothing in it is run
        return None
