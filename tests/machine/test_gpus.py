"""GPUs handed out to processes, on a machine that need not have any."""

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress

import pytest

from resampled_priors.cli import use_device
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.machine import gpus

CLAIM = """
import os, sys
from resampled_priors.machine.gpus import claim_gpu
claim_gpu()
print(os.environ.get("CUDA_VISIBLE_DEVICES", "not set"), flush=True)
assert "torch" not in sys.modules
sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path):
    """Function that starts a process which claims a GPU and lives on: (the GPU, the process)."""
    processes = []

    def start(visible: str | None = "2,0,GPU-8a5e") -> tuple[str, subprocess.Popen]:
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            environment["CUDA_VISIBLE_DEVICES"] = visible
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process.stdout.readline().strip(), process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_each_process_has_a_gpu_of_its_own_and_more_share_evenly(claim):
    names = [claim()[0] for _ in range(5)]
    assert set(names[:3]) == {"2", "0", "GPU-8a5e"}
    assert max(Counter(names).values()) == 2


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_gpu_of_a_process_that_ended_is_free(claim, sign):
    held = {name: process for name, process in (claim() for _ in range(3))}
    held["0"].send_signal(sign)
    held["0"].wait()
    assert claim()[0] == "0"


@pytest.mark.parametrize("visible", ["3", ""])
def test_where_there_is_no_choice_nothing_changes(claim, visible):
    assert [claim(visible)[0] for _ in range(2)] == [visible, visible]


def test_gpus_are_those_of_nvidia_smi_where_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\n[ "$1" = --query-gpu=index ] && printf "0\\n1\\n"\n')
    program.chmod(0o755)
    assert gpus.visible_gpus() == ["0", "1"]
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert gpus.visible_gpus() == []
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert gpus.visible_gpus() == []


@pytest.mark.parametrize(
    ("device", "claims"), {"auto": 1, "cuda": 1, "cuda:0": 0, "cpu": 0}.items()
)
def test_a_command_claims_a_gpu_where_the_device_names_none(monkeypatch, device, claims):
    claimed = []
    monkeypatch.setattr(gpus, "claim_gpu", lambda: claimed.append(device))
    with suppress(ResampledPriorsError):  # there may be no GPU here
        use_device(device, threads=1)
    assert len(claimed) == claims
