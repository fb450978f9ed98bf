"""Peak memory of each step, at the size of the real data sets, below what its rule asks for."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from resampled_priors.data import SPLITS
from resampled_priors.data.dataset import load_dataset
from resampled_priors.data.prepare import write_prepared

ROOT = Path(__file__).parents[2]
# Few iterations and images: they take time. As many samples per image and in all as need memory.
OVERLAY = {
    "budget": "small",
    "device": "cpu",
    "budgets": {
        "small": {
            "iterations": 2,
            "warm_up": 1,
            "importance_samples": 1_000,
            "z_samples": 500_000,
            "seeds": [0],
        }
    },
    "toys": {"lars_realnvp": {"iterations": 2}},
}
# A process's peak begins at that of its parent, so the parent is a small one.
LAUNCHER = """
import os, sys
command = [sys.executable, "-c", "from resampled_priors.cli import main; main()", *sys.argv[1:]]
process = os.spawnv(os.P_NOWAIT, sys.executable, command)
_, status, usage = os.wait4(process, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
CONV = "results/runs/small/dynamic_mnist/conv_hvae/lars/seed0"
FLOW = "results/runs/small/dynamic_mnist/vae/lars_realnvp/seed0"
PLANE = "results/runs/small/dynamic_mnist/vae_2d/lars/seed0"


@pytest.fixture(scope="module")
def stated():
    """Rule -> the memory that it asks for at the first attempt, in MB, as Snakemake says it."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "-p", "--cores", "1", "--forceall"]
    command += ["all", "--configfile", "config/demo.yaml", "--config", "runs_per_process=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {}
    for block in re.split(r"\n(?=\[|(?:local)?rule )", done.stdout):
        rule, memory = re.match(r"rule (\w+):", block), re.search(r"mem_mb=(\d+)", block)
        if rule and memory:
            found.setdefault(rule[1], set()).add(int(memory[1]))
    return {rule: max(memories) for rule, memories in found.items()}


@pytest.fixture(scope="module")
def peak(tmp_path_factory) -> Callable[..., float]:
    """Function that runs a command and gives its peak memory, in MB."""
    folder = tmp_path_factory.mktemp("memory")
    (folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY))
    configs = ["--configfile", str(ROOT / "config.yaml"), "--configfile", "small.yaml"]

    def run(command: str, *arguments: str) -> float:
        words = [sys.executable, "-c", LAUNCHER, command, *arguments]
        words += configs if command != "prepare" else []
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.splitlines()[-1]) / 1024  # KB on Linux

    run.folder = folder
    return run


def test_every_rule_that_works_states_its_memory(stated):
    steps = "prepare train fit_posthoc estimate_z evaluate table toy figure page"
    assert stated.keys() == set(steps.split())


def test_peak_memory_is_below_what_the_rule_asks_for(stated, peak, prepared, mirror):
    mnist = prepared("dynamic_mnist")
    few = load_dataset(mnist)
    tensors = {split: getattr(few, split) for split in SPLITS}
    tensors["test"] = few.test[:4].clone()
    about = {"name": few.name, "kind": few.kind, "provenance": few.provenance}
    write_prepared(peak.folder / "few.safetensors", tensors, about)
    (peak.folder / "data").mkdir()
    (peak.folder / "data" / mnist.name).symlink_to(mnist)

    steps = [
        ("prepare", "omniglot", "--output", "o", "--mirror", str(mirror), "--accept-unverified"),
        *(("train", run, "--data", str(mnist)) for run in (CONV, FLOW, PLANE)),
        *(("estimate-z", run) for run in (CONV, FLOW, PLANE)),
        ("evaluate", CONV, "--data", "few.safetensors"),
        ("evaluate", FLOW, "--data", "few.safetensors"),
        # the aggregate posterior: a mixture of 50,000 components, on a grid
        ("figure", "figD11", "--data", "data"),
        ("toy", "lars_realnvp", "--output", "toy.npz"),
        ("table", "tableD3"),
    ]
    peaks = [(step, peak(*step), stated[step[0].replace("-", "_")]) for step in steps]
    for step, used, asked in peaks:
        print(f"{' '.join(step[:2])}: {used:.0f} of {asked} MB")
    assert [step for step, used, asked in peaks if used > asked] == []
