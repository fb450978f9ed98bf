"""Checkpoints of long work: the last two, each with a checksum, and torch's generators in them."""

import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from ..files import atomic_write

CHECKPOINT_SECONDS = 30.0
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
        self.newest = run_folder / "checkpoint" / f"{step}.{key}.pt"
        self.older = self.newest.with_suffix(".older.pt")
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

    def clear(self) -> None:
        """Remove the step's checkpoints: its result is on disk."""
        folder = self.newest.parent
        for path in folder.glob(f"{self.step}.*"):
            path.unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _whole_state(file: bytes, device: str) -> dict[str, Any] | None:
    """What a checkpoint holds: checksum and tensors; None where it is damaged."""
    if hashlib.sha256(file[32:]).digest() != file[:32]:
        return None
    try:
        return torch.load(io.BytesIO(file[32:]), device, weights_only=True)
    except Exception:  # no checkpoint, for all its checksum: nothing in it is run
        return None
