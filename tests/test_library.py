"""The library as others use it: its docstrings, its examples, and runs loaded again."""

import doctest
import math
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import resampled_priors
from resampled_priors import ResampledDistribution, cli, load_run
from resampled_priors.errors import ResampledPriorsError
from resampled_priors.files import sha256, write_json
from resampled_priors.models import build_model
from resampled_priors.report.figures.samples import write_samples
from resampled_priors.runs.steps import estimate_run_z

EXAMPLES = Path(__file__).parents[1] / "examples"
STANDARD = {"name": "standard", "family": "standard_normal"}
LARS = {
    **{"name": "lars", "family": "lars", "proposal": {"family": "standard_normal"}},
    **{"hidden": [10], "truncation": 100, "smoothing": 0.1, "num_proposals": 16},
}
MODELS = {
    "vae": {"name": "vae", "family": "vae", "latent_size": 50},
    "vae_resampled_output": {
        **{"name": "vae_resampled_output", "family": "vae_resampled_output", "latent_size": 5},
        "output": {"hidden": [10], "truncation": 20, "smoothing": 0.1, "num_proposals": 16},
    },
}


def make_run(results, model_name="vae", prior=LARS):
    """A run folder with an untrained model, whose a(z) is made steep, and an estimate of Z."""
    folder = results / "runs" / "short" / "dynamic_mnist" / model_name / prior["name"] / "seed0"
    model_settings = MODELS[model_name]
    settings = {"dataset": "dynamic_mnist", "model": model_settings, "prior": prior, "seed": 0}
    torch.manual_seed(0)
    model = build_model(settings, (28, 28))
    if model.resampling.truncation != 1:
        model.resampling.log_a.network[-1].weight.data *= 5
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    about = {"settings": settings, "device": "cpu", "iterations": 0, "train_seconds": 0.0}
    about["model_sha256"] = sha256(folder / "model.safetensors")
    write_json(folder / "run.json", about)
    estimate_run_z(folder, 100_000, None, "cpu")
    return folder


NAMES = {name: getattr(resampled_priors, name) for name in resampled_priors.__all__}
NAMES["torch"] = torch


# Docstrings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", resampled_priors.__all__)
def test_the_example_of_each_public_name_runs(name, tmp_path, monkeypatch):
    make_run(tmp_path / "results")
    shutil.copy(EXAMPLES.parent / "results" / "tableD4.csv", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    public = getattr(resampled_priors, name)
    module = sys.modules[public.__module__]
    tests = doctest.DocTestFinder().find(public, name, module, globs=vars(module) | NAMES)
    assert any(test.examples for test in tests)
    runner = doctest.DocTestRunner()
    torch.manual_seed(0)
    for test in tests:
        runner.run(test)
    assert runner.summarize().failed == 0


def test_the_public_names_load_torch_only_when_used():
    code = (
        "import sys, resampled_priors; assert 'torch' not in sys.modules;"
        "[getattr(resampled_priors, name) for name in resampled_priors.__all__];"
        "assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'load_runs'"):
        resampled_priors.load_runs  # noqa: B018


# Examples ----------------------------------------------------------------------------------------


@pytest.fixture
def example(capsys):
    """Function that runs an example: its variables, and the numbers it prints by their names."""

    def run(name):
        with torch.random.fork_rng():
            variables = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        lines = capsys.readouterr().out.splitlines()
        numbers = [re.fullmatch(r"(.*) = (-?[0-9.]+)( nats)?", line) for line in lines]
        return variables, {match[1]: float(match[2]) for match in numbers}

    return run


def quadrature(target, proposal, log_a, half_width=6.0, step=0.02):
    """Z and KL(q‖π), nats, as sums over a grid in the plane; and the grid's points and weight."""
    axis = torch.arange(-half_width, half_width, step)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_q, log_pi = target.log_prob(points), proposal.log_prob(points)
        z = float((log_pi + log_a(points)).double().exp().sum() * step**2)
        kl = float((log_q.double().exp() * (log_q - log_pi)).sum() * step**2)
    return z, kl, points, step**2


def test_example_of_a_target_in_the_plane(example):
    variables, numbers = example("target_2d")
    target, proposal, prior = (variables[key] for key in ("target", "proposal", "prior"))
    z, kl_proposal, points, cell = quadrature(target, proposal, prior.log_a)
    assert numbers["KL(q||N(0, I))"] == pytest.approx(kl_proposal, abs=0.02)
    assert numbers["Z"] == pytest.approx(z, rel=0.02)
    assert numbers["proposals per sample"] == pytest.approx((1 - (1 - z) ** 100) / z, rel=0.03)
    with torch.no_grad():  # the fraction of p_T in linear space, eq. 4
        a, pi = prior.log_a(points).double().exp(), proposal.log_prob(points).double().exp()
        alpha = (1 - z) ** 99
        p = (1 - alpha) * pi * a / z + alpha * pi
        q = target.log_prob(points).double().exp()
        kl = float((torch.special.xlogy(q, q) - torch.special.xlogy(q, p)).sum() * cell)
    assert numbers["KL(q||p_T)"] == pytest.approx(kl, abs=0.01)
    assert kl < 0.1 * kl_proposal


def test_example_of_a_flow(example):
    variables, numbers = example("zuko_flow")
    target, prior, flow = (variables[key] for key in ("target", "prior", "resampled"))
    z, _, points, cell = quadrature(target, variables["normal"], prior.log_a)
    assert numbers["Z"] == pytest.approx(z, rel=0.02)
    with torch.no_grad():
        log_q, log_p = target.log_prob(points), flow().log_prob(points)
    assert float(log_p.double().exp().sum() * cell) == pytest.approx(1, abs=0.02)
    kl = float((log_q.double().exp() * (log_q - log_p)).sum() * cell)
    assert numbers["KL(q||flow on LARS)"] == pytest.approx(kl, abs=0.03)
    assert 0 < kl < numbers["KL(q||flow)"] - 0.1


EVENTS = {  # all events, or a fine grid of them, and the volume of each
    "bits": (torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6), 1.0),
    "box": (torch.cartesian_prod(*[(torch.arange(200) + 0.5) / 200] * 2), 200**-2),
    "circle": ((torch.arange(1_000) / 1_000 - 0.5)[:, None] * 2 * math.pi, 2 * math.pi / 1_000),
    "categories": (torch.arange(5)[:, None], 1.0),
}


def test_example_of_other_proposals(example):
    variables, numbers = example("proposals")
    assert variables["CASES"].keys() == EVENTS.keys()
    for name, (proposal, target, *_) in variables["CASES"].items():
        points, cell = EVENTS[name]
        prior = variables["priors"][name]
        with torch.no_grad():
            log_q, log_pi, log_a = (
                f(points).double() for f in (target.log_prob, proposal.log_prob, prior.log_a)
            )
        z = float((log_pi + log_a).exp().sum() * cell)
        alpha = (1 - z) ** 99
        log_p = log_pi + ((1 - alpha) * log_a.exp() / z + alpha).log()  # eq. 4
        assert float(log_p.exp().sum() * cell) == pytest.approx(1, abs=1e-3)
        kls = [float((log_q.exp() * (log_q - p)).sum() * cell) for p in (log_pi, log_p)]
        assert numbers[f"{name}: Z"] == pytest.approx(z, rel=0.03)
        assert numbers[f"{name}: KL(q||proposal)"] == pytest.approx(kls[0], abs=0.03)
        assert numbers[f"{name}: KL(q||LARS)"] == pytest.approx(kls[1], abs=0.01)
        assert kls[1] < 0.05 * kls[0]


def test_example_of_conditions(example):
    """Of each condition: its Z, p_T and KLs as sums over a line; and its samples."""
    variables, numbers = example("conditional")
    line, cell = torch.arange(-6, 6, 0.01)[:, None], 0.01
    for value, p in variables["distributions"].items():
        c = torch.tensor([value])
        proposal = variables["lars"].proposal(c)
        log_q = variables["target"](c).log_prob(line)[:, 0]
        with torch.no_grad():
            log_pi, log_a = proposal.log_prob(line), variables["lars"].log_a(line, c)
            z = float((log_pi + log_a).exp().sum() * cell)
            alpha = (1 - z) ** 99
            log_p = log_pi + ((1 - alpha) * log_a.exp() / z + alpha).log()  # eq. 4
            assert torch.allclose(p.log_prob(line), log_p, atol=0.03)
            flow = variables["flow"](c).log_prob(line)
        assert numbers[f"c = {value}: Z"] == pytest.approx(z, rel=0.03)
        kls = [float((log_q.exp() * (log_q - p)).sum() * cell) for p in (flow, log_p)]
        assert numbers[f"c = {value}: KL(q||flow)"] == pytest.approx(kls[0], abs=0.03)
        assert numbers[f"c = {value}: KL(q||LARS)"] == pytest.approx(kls[1], abs=0.03)
        assert kls[1] < kls[0] - 0.05
        share = float(log_p.exp()[line[:, 0] > 0].sum() * cell)
        assert float((p.sample((10_000,)) > 0).float().mean()) == pytest.approx(share, abs=0.025)
    with pytest.raises(ValueError, match="one condition at a time: each has a Z of its own"):
        ResampledDistribution(variables["flow"](torch.ones(3, 1)), lambda z: z[..., 0])


def test_example_of_a_vae(example):
    variables, numbers = example("vae")
    lars, proposal = variables["lars"], variables["proposal"]
    torch.manual_seed(3)
    with torch.no_grad():
        a = lars.log_a(proposal.sample((200_000,))).exp()
    error = float(a.std()) / math.sqrt(len(a))
    assert abs(numbers["Z"] - float(a.mean())) < 5 * error + 1e-3 * numbers["Z"]
    standard, resampled = (numbers[f"{n} prior: -ELBO"] for n in ("standard normal", "LARS"))
    # Independent pixels, each with its own frequency, are a code without any latents.
    images = variables["train_images"]
    frequencies = ((images.sum(0) + 1) / (len(images) + 2)).expand_as(variables["test_images"])
    pixels = torch.nn.functional.binary_cross_entropy(
        frequencies, variables["test_images"], reduction="none"
    )
    assert resampled < standard - 0.2 < standard < float(pixels.sum(-1).mean())


# Runs loaded again -------------------------------------------------------------------------------


def test_a_loaded_run_samples_ranks_and_scores(tmp_path):
    folder = make_run(tmp_path)
    model = load_run(str(folder))
    assert not model.training
    p = model.prior.distribution()
    torch.manual_seed(1)
    a = model.prior.log_a(torch.randn(100_000, 50)).detach().exp()
    assert float(p.log_z.exp()) == pytest.approx(float(a.mean()), rel=0.02)
    z, log_a = p.sample_ranked(1_000)
    assert (log_a.diff() <= 0).all()
    torch.testing.assert_close(model.prior.log_a(z), log_a)
    assert model.decode(model.prior.sample((3,))).shape == (3, 784)
    terms = model.terms(torch.ones(2, 784), 4)
    assert [term.shape for term in terms] == [(4, 2)] * 3


@pytest.mark.parametrize(
    ("model_name", "prior", "ranked"),
    [
        ("vae", LARS, True),
        ("vae", LARS, False),
        ("vae", STANDARD, False),
        ("vae_resampled_output", STANDARD, True),
        ("vae_resampled_output", STANDARD, False),
    ],
    ids=["lars ranked", "lars", "standard", "output ranked", "output"],
)
def test_grids_of_samples(tmp_path, model_name, prior, ranked):
    folder = make_run(tmp_path, model_name, prior)
    outputs = [tmp_path / "out" / f"{number}.png" for number in range(3)]
    for output, seed in zip(outputs, (0, 0, 1), strict=True):
        write_samples(folder, output, num_images=7, ranked=ranked, seed=seed)
    first, again, other = (matplotlib.image.imread(path)[..., 0] for path in outputs)
    assert first.shape == (3 * 29 - 1, 3 * 29 - 1)  # 3 rows and 3 columns, a line between
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    grey = matplotlib.image.imread(outputs[0])[58:, 29:57, 0]  # the eighth place is empty
    assert (grey == grey[0, 0]).all()


def test_samples_by_the_command_line(tmp_path, monkeypatch, capsys):
    folder, output = make_run(tmp_path), tmp_path / "grid.png"
    arguments = ["sample", str(folder), "--ranked", "--images", "4", "--out", str(output)]
    monkeypatch.setattr(sys, "argv", ["resampled-priors", *arguments, "--device", "cpu"])
    with pytest.raises(SystemExit) as status:
        cli.main()
    assert status.value.code == 0
    said = capsys.readouterr().out
    highest, lowest = map(float, re.search(r"log a from (\S+) .* to (\S+) nats", said).groups())
    assert 0 > highest > lowest
    model = load_run(folder)
    torch.manual_seed(0)
    z, _ = model.prior.distribution().sample_ranked(4)
    shown = matplotlib.image.imread(output)[..., 0]
    with torch.no_grad():
        means = model.decode(z).reshape(4, 28, 28)
    np.testing.assert_allclose(shown[:28, :28], means[0], atol=0.51 / 255)
    np.testing.assert_allclose(shown[29:, 29:], means[3], atol=0.51 / 255)


def test_samples_that_cannot_be(tmp_path):
    folder = make_run(tmp_path, prior=STANDARD)
    output = tmp_path / "grid.png"
    with pytest.raises(ResampledPriorsError, match=r"no acceptance function.*leave out --ranked"):
        write_samples(folder, output, 4, ranked=True, seed=0)
    with pytest.raises(ResampledPriorsError, match=r"grid\.xyz is no \.png file: name one"):
        write_samples(folder, output.with_suffix(".xyz"), 4, ranked=False, seed=0)
    with pytest.raises(ResampledPriorsError, match=r"run\.json is missing"):
        write_samples(tmp_path, output, 4, ranked=False, seed=0)
    assert not output.exists() and list(tmp_path.glob("*grid*")) == []
