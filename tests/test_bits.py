"""Nine kinds of short run as they were before the package was rebuilt, to the bit.

bits.json holds the settings of each run and what they gave at commit 4fd415e. What is drawn before
training is the same on any processor; what follows rounds as the processor and its libraries do,
so on another one than that of the file the numbers are compared to rounding.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from resampled_priors.files import read_json, sha256
from resampled_priors.runs.steps import estimate_run_z, evaluate_run, train_run
from resampled_priors.runs.training import build_run_model

RECORD = json.loads(Path(__file__).with_name("bits.json").read_text(encoding="utf-8"))
KINDS = RECORD["kinds"]
UNSET = "z_average"  # was 1 until it was set, and is now NaN


def processor():
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    )
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{names[0] if names else 'unknown'}, {capability}, torch {torch.__version__}"


def hash_of(state):
    digest = hashlib.sha256()
    for key in sorted(state):
        if not key.endswith(UNSET):
            digest.update(key.encode())
            digest.update(state[key].numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def base(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    train_run(folder, KINDS["vae-standard"]["settings"], digits, None, "cpu")
    return folder / "model.safetensors"


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_what_it_was(kind, digits, base, tmp_path):
    recorded = KINDS[kind]
    settings, of_base = recorded["settings"], base if "posthoc" in kind else None
    same_processor = processor() == RECORD["processor"]
    state = build_run_model(settings, of_base).state_dict()
    assert sorted(state) == recorded["keys"]
    if of_base is None or same_processor:  # else the base itself has rounded otherwise
        assert hash_of(state) == recorded["initial"]

    train_run(tmp_path, settings, digits, of_base, "cpu")
    estimate_run_z(tmp_path, 2_000, None, "cpu")
    evaluate_run(tmp_path, digits, 3, "cpu")
    rows = (tmp_path / "training.csv").read_text().splitlines()
    losses = [float(row.split(",")[1]) for row in rows[1:]]
    found = read_json(tmp_path / "metrics.json") | {"losses": losses}
    for key in ("losses", "z", "nll", "kl", "recons"):
        assert found[key] == pytest.approx(recorded[key], rel=1e-3)
    if same_processor:
        assert sha256(tmp_path / "model.safetensors") == recorded["trained"]
        assert {k: found[k] for k in ("z", "nll")} == {k: recorded[k] for k in ("z", "nll")}
