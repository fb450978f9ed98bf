"""A GPU for each process, where there are several: Snakemake counts GPUs and hands none out.

Nothing here imports torch: it reads CUDA_VISIBLE_DEVICES once, so that has to be set before.
"""

import os
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import filelock

_held: list[filelock.BaseFileLock] = []  # until the process ends, however it ends


def nvidia_smi(query: str) -> list[str]:
    """What nvidia-smi answers to a query, a line for each GPU; nothing where there is none."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line.strip() for line in done.stdout.splitlines()] if done.returncode == 0 else []


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return nvidia_smi("index")
    return [gpu.strip() for gpu in named.split(",") if gpu.strip()]


def claim_gpu() -> None:
    """Show this process one of its GPUs only: one that the fewest others of this user have.

    A process has a lock file on a GPU for as long as it lives. With as many processes as GPUs
    (snakemake --resources gpu=4) each has its own; more of them share evenly.
    """
    gpus = visible_gpus()
    if len(gpus) < 2 or _held:
        return
    folder = Path(tempfile.gettempdir(), f"resampled-priors-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for place in count():
        for gpu in gpus:
            try:
                lock = filelock.FileLock(folder / f"{gpu}.{place}.lock")
                lock.acquire(blocking=False)
            except filelock.Timeout:
                continue
            _held.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return
