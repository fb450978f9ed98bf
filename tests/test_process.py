"""Nothing that is imported or called changes the user's process: torch's checks, threads, …"""

import subprocess
import sys

import pytest
from safetensors.torch import save_file

from resampled_priors.files import sha256, write_json
from resampled_priors.models import build_model
from resampled_priors.runs.steps import estimate_run_z

WATCHED = """
import os, random, signal, sys, warnings
import numpy, torch, torch._dynamo
from torch.distributions import Distribution, Normal

def state():
    return {
        "distributions": dict(vars(Distribution)),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "types": (torch.get_default_dtype(), torch.get_float32_matmul_precision()),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "compiler": torch._dynamo.config.suppress_errors,
        "torch's random numbers": torch.get_rng_state().tolist(),
        "numpy's random numbers": str(numpy.random.get_state()),
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "path": list(sys.path),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
    }

before = state()
%s
after = state()
changed = [name for name in before if before[name] != after[name]]
assert not changed, changed
try:
    Normal(torch.tensor(0.0), torch.tensor(-1.0))
except ValueError:
    pass
else:
    raise AssertionError("argument checks are off")
"""
STANDARD = {"name": "standard", "family": "standard_normal"}
REALNVP = {"name": "realnvp", "family": "realnvp", "layers": 2, "hidden": [8]}
LARS = {"name": "lars", "family": "lars", "hidden": [4], "truncation": 100}
LARS |= {"smoothing": 0.1, "num_proposals": 16}


def run(lines):
    command = [sys.executable, "-W", "error::UserWarning", "-c", WATCHED % lines]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_every_module_changes_nothing():
    run("""
import importlib, pkgutil, resampled_priors
for module in pkgutil.walk_packages(resampled_priors.__path__, "resampled_priors."):
    importlib.import_module(module.name)
""")


@pytest.mark.parametrize("proposal", [STANDARD, REALNVP], ids=lambda prior: prior["name"])
def test_loading_a_run_changes_nothing(proposal, tmp_path):
    prior = LARS | {"proposal": proposal}
    folder = tmp_path / "runs/short/dynamic_mnist/vae/lars/seed0"
    folder.mkdir(parents=True)
    model = {"name": "vae", "family": "vae", "latent_size": 2}
    settings = {"dataset": "dynamic_mnist", "model": model, "prior": prior, "seed": 0}
    save_file(build_model(settings, (28, 28)).state_dict(), folder / "model.safetensors")
    about = {"settings": settings, "device": "cpu", "iterations": 0, "train_seconds": 0.0}
    about["model_sha256"] = sha256(folder / "model.safetensors")
    write_json(folder / "run.json", about)
    estimate_run_z(folder, 1_000, None, "cpu")
    run(f"""
from resampled_priors import load_run
model = load_run({str(folder)!r})
random = torch.get_rng_state()
assert model.prior.log_prob(model.prior.sample((3,))).shape == (3,)
torch.set_rng_state(random)
""")


def test_whoever_has_loaded_zuko_keeps_it_as_zuko_is(tmp_path):
    run("""
from resampled_priors.priors import build_prior
random = torch.get_rng_state()
flow = build_prior({"family": "realnvp", "layers": 2, "hidden": [4]}, 3)
flow.distribution().log_prob(flow.sample((3,)))
import zuko  # later than the library
zuko.flows.NSF(2)().log_prob(torch.zeros(5, 2))
zuko.distributions.Joint(Normal(0.0, 1.0), Normal(0.0, 1.0)).sample((2,))
torch.set_rng_state(random)
""")
    lines = """
import zuko, torch
from torch.distributions import Distribution
before = dict(vars(Distribution))
from resampled_priors.priors import build_prior
build_prior({"family": "maf", "layers": 2, "hidden": [4]}, 3)
assert dict(vars(Distribution)) == before
"""
    subprocess.run([sys.executable, "-c", lines], check=True)
