"""A SLURM cluster of one machine, this one: private ports, all its files in one folder."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = (
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "srun",
    "squeue",
    "scancel",
    "scontrol",
    "sinfo",
)
SECONDS_TO_START = 60
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/none
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
MailProg=/bin/true
# Two jobs at a time whatever the machine has; they are small.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000
PartitionName=main Nodes=ALL Default=YES
"""


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]


def search_path() -> str:
    return os.environ["PATH"] + ":/usr/sbin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start the daemons; yield the environment variables that lead SLURM's commands to them.

    On leaving, whatever happened, jobs are cancelled and the daemons ended. Logs stay in `folder`,
    whose path must be short: it holds a socket.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    text = CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        folder=folder,
        controller_port=free_port(),
        node_port=free_port(),
    )
    (folder / "slurm.conf").write_text(text)
    # No control groups are used, and this plugin is the one that does not ask for them.
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    # --force: a folder that only its owner may enter is good enough
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munged += [f"--key-file={key}"]
    munged += [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    environment |= {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{search_path()}"}
    # Snakemake takes SLURM_CONF from the environment of a job's srun.
    (folder / "bin").mkdir()
    srun = folder / "bin" / "srun"
    real = shutil.which("srun", path=search_path())
    srun.write_text(f'#!/bin/sh\nSLURM_CONF="{folder}/slurm.conf" exec "{real}" "$@"\n')
    srun.chmod(0o755)
    daemons: list[subprocess.Popen] = []
    try:
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
            with open(folder / f"{command[0]}.out", "wb") as output:
                daemons.append(
                    subprocess.Popen(command, env=environment, stdout=output, stderr=output)
                )
            if command is munged:
                wait_until(lambda: (folder / "munge.socket").exists(), folder)
        wait_until(
            lambda: ask("sinfo", "--noheader", "--format=%T", env=environment) == "idle", folder
        )
        yield environment
    finally:
        with suppress(subprocess.SubprocessError, TimeoutError):
            ask("scancel", "--user=root", env=environment)
            wait_until(lambda: ask("squeue", "--noheader", env=environment) == "", folder)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def ask(*command: str, env: dict[str, str]) -> str:
    """What a SLURM command prints; nothing where it fails."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


def wait_until(ready, folder: Path) -> None:
    """Wait for a state of the cluster; after a minute say what its daemons said."""
    deadline = time.monotonic() + SECONDS_TO_START
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.out")))
            raise TimeoutError(f"SLURM does not start:\n{logs}")
        time.sleep(0.2)
