"""The benchmark's plain reference computes what the package computes, and the clock runs."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resampled_priors.data.dataset import load_dataset
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.models import build_model

ROOT = Path(__file__).parents[1]
CONFIG = load_config([ROOT / "config.yaml"])


@pytest.fixture(scope="module")
def reference():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import reference

        yield reference


def build_both(reference, name, prior):
    """Our model and the reference with the same weights: both hold their layers in one order."""
    torch.manual_seed(0)
    ours = build_model(resolve_run(CONFIG, Run("short", "digits", name, prior, 0)), (28, 28))
    plain = reference.build(name, prior)
    mine, theirs = (
        [p for n, p in sorted(model.named_parameters(), key=lambda item: part(item[0]))]
        for model in (ours, plain)
    )
    assert [p.shape for p in mine] == [p.shape for p in theirs]
    with torch.no_grad():
        for source, target in zip(mine, theirs, strict=True):
            target.copy_(source)
    return ours, plain


def part(name):
    """Encoder, prior and decoder in this order, whatever they are called inside."""
    order = ["encoder.", "posterior_2", "posterior_1_features", "posterior_1", "prior_1"]
    order += ["decoder_features", "features", "decoder.", "prior."]
    if name.startswith("posterior_1."):
        return order.index("posterior_1") + (0.5 if name.count(".") == 2 else -0.5)
    return next(i for i, start in enumerate(order) if name.startswith(start))


@pytest.mark.parametrize("prior", ["standard", "lars", "lars_realnvp"])
@pytest.mark.parametrize("name", ["vae", "hvae", "conv_hvae"])
def test_the_reference_gives_the_same_terms(name, prior, reference, digits):
    """Means over samples of their own, image by image: false alarms in 90 × 6e-8."""
    ours, plain = build_both(reference, name, prior)
    images, num_samples = load_dataset(digits).evaluation_images("test", 0)[:30], 300
    ours.eval()
    plain.eval()
    if "lars" in prior:
        ours.prior.log_z.fill_(-0.7)
    with torch.no_grad():
        mine = torch.stack(ours.terms(images, num_samples))
        theirs = torch.stack(plain.terms(images, num_samples, torch.tensor(-0.7)))
    error = ((mine.var(1) + theirs.var(1)) / num_samples).sqrt()
    assert ((mine.mean(1) - theirs.mean(1)).abs() / error).max() < 5.4
    weights = theirs[0] + theirs[1] - theirs[2]
    bound = weights.logsumexp(0) - math.log(num_samples)
    torch.manual_seed(1)
    nll = reference.negative_log_likelihood(plain, images, num_samples, torch.tensor(-0.7))
    torch.testing.assert_close(nll.mean(), -bound.mean(), rtol=0.02, atol=0)


def test_the_reference_trains_with_algorithm_1(reference):
    """The same loss and the same gradients of a(z), averaged over many draws of proposals."""
    ours, plain = build_both(reference, "vae", "lars")
    z = torch.randn(1, 64, 50)
    log_posterior = plain.prior.proposal().log_prob(z) + 0.5 * torch.randn(1, 64)
    gradients = []
    for prior, network in ((ours.prior, ours.prior.log_a.network), (plain.prior, None)):
        network = network or prior.network
        total = torch.zeros(10_000)
        ours.prior.z_average.fill_(1.0)
        for _ in range(40):
            value = prior.training_log_prob(z, log_posterior)
            plain.prior.average = 1.0
            ours.prior.z_average.fill_(1.0)
            network.zero_grad()
            value.mean().backward()
            total += network[2].weight.grad.flatten() / 40
        gradients.append(total)
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert error < 0.05


def test_bench_measures_and_writes_its_table(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "bench.py", "--device", "cpu"]
    command += ["--repeats", "2", "--only", "NLL, K = 1,000, vae", "--output", tmp_path / "b.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (row,) = json.loads((tmp_path / "b.json").read_text())["rows"]
    # Multiply-adds of one decoded sample, by hand: the decoder's and a(z)'s; the encoder's is
    # shared by 1,000.
    by_hand = 50 * 300 + 300 * 300 + 300 * 784 + 50 * 100 + 100 * 100 + 100
    by_hand += (784 * 300 + 300 * 300 + 300 * 100) / 1_000
    for way, rate in row["matrix_rates"].items():
        assert row["ratios_to_bounds"][way] == pytest.approx(row["ours"] * by_hand / rate)
    assert "| NLL, K = 1,000, vae " in done.stdout


def test_priors_are_timed_against_the_standard_one():
    command = [sys.executable, ROOT / "benchmarks" / "priors.py", "vamp", "--rounds", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cells = [line.split("|")[1:3] for line in done.stdout.splitlines()[2:]]
    ratios = {name.strip(): float(ratio) for name, ratio in cells}
    assert list(ratios) == ["standard", "VampPrior"]
    assert ratios["standard"] == 1 < ratios["VampPrior"]
