"""Where a result comes from: code version and packages, for run.json and logs."""

import platform
import shlex
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("resampled-priors", "torch", "torchvision", "zuko", "numpy", "scikit-learn", "scipy")


def code_version() -> dict[str, Any]:
    """The git commit of the package's checkout and whether its sources differ from it.

    Both are None where the package is not run from a checkout of its own.
    """
    root = Path(__file__).resolve().parents[3]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not (root / "pyproject.toml").is_file():
            return {"git_commit": None, "git_dirty": None}
        changes = git(
            "status", "--porcelain", "--untracked-files=no", "--", "src", "pyproject.toml"
        )
        return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(changes)}
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_dirty": None}


def describe_device(device: str) -> str:
    """'cpu', or the name of the GPU."""
    if not device.startswith("cuda"):
        return device
    import torch

    return torch.cuda.get_device_name(device)


def environment() -> dict[str, Any]:
    """Code version, package versions, Python and processor architecture."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        **code_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": versions,
    }


def log_header(command: list[str]) -> str:
    """The first lines of a log: when and where, the command, and the versions."""
    about = environment()
    changed = " and changes to it" if about["git_dirty"] else ""
    commit = f"commit {about['git_commit']}{changed}" if about["git_commit"] else "no checkout"
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return "\n".join(
        [
            f"started: {now} on {platform.node()}",
            f"command: {shlex.join(command)}",
            f"versions: {commit}, Python {about['python']}, {packages}",
        ]
    )
