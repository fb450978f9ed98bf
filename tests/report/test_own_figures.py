"""Figures that are not the paper's: of any prior, by any name, by lines of YAML alone."""

import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import yaml
from figure_runs import FLOW, make_run

from resampled_priors import cli
from resampled_priors.experiment import (
    Run,
    figure_runs,
    load_config,
    resolve_figure,
    resolve_run,
)
from resampled_priors.files import sha256
from resampled_priors.report.figures import KINDS, make_figure, redraw_figure
from resampled_priors.report.toys import train_toy

ROOT = Path(__file__).parents[2]
CONFIG_FILE = ROOT / "config.yaml"
STANDARD = r"$\mathcal{N}(0, I)$"
OWN = """
import torch, zuko

class Wide(torch.nn.Module):
    def __init__(self, features):
        super().__init__()
        self.scale = torch.nn.Parameter(2 * torch.ones(features))

    def forward(self):
        return zuko.distributions.DiagNormal(torch.zeros_like(self.scale), self.scale)
"""


def numbers_of(kind, results, data, *runs):
    settings = {"runs": list(runs), "kl_samples": 100, "seed": 0, "device": "cpu"}
    return KINDS[kind].numbers(settings, results, data)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def own_prior(folder):
    (folder / "own.py").write_text(OWN)
    return {"family": f"{folder}/own.py:Wide", "code_sha256": sha256(folder / "own.py")}


# ---- any prior ------------------------------------------------------------------------------

WITHOUT = {"standard": STANDARD, "realnvp": "RealNVP", "maf": "MAF", "wide": "Wide"}
WITH = {"lars": STANDARD, "lars_realnvp": "RealNVP", "lars_wide": "Wide"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs with a two-dimensional latent space and each of these priors."""
    folder = tmp_path_factory.mktemp("priors")
    wide = own_prior(folder)
    lars = {"family": "lars", "truncation": None, "smoothing": 0.1, "num_proposals": 64}
    own = {"wide": wide, "lars_wide": {**lars, "hidden": [10], "proposal": wide}}
    for prior in [*WITHOUT, *WITH]:
        make_run(folder, f"runs/short/digits/vae_2d/{prior}/seed0", own.get(prior))
    return folder


@pytest.mark.parametrize(("prior", "label"), WITHOUT.items())
def test_a_prior_without_lars_is_called_what_it_is(prior, label, results, digits):
    run = f"runs/short/digits/vae_2d/{prior}/seed0"
    numbers = numbers_of("latent_density", results, digits.parent, run)
    assert titles(KINDS["latent_density"].draw(numbers))[1:] == [f"prior\n$p(z)$ = {label}"]
    means = numbers_of("latent_means", results, digits.parent, run)
    assert list(means["titles"]) == [f"{prior} prior\n{label}"]


@pytest.mark.parametrize(("prior", "label"), WITH.items())
def test_lars_names_its_proposal_and_its_network(prior, label, results, digits):
    run = f"runs/short/digits/vae_2d/{prior}/seed0"
    numbers = numbers_of("latent_density", results, digits.parent, run)
    network, truncation = ("10", r"\infty") if prior == "lars_wide" else ("100−100", "100")
    assert titles(KINDS["latent_density"].draw(numbers))[1:] == [
        f"proposal\n$\\pi(z)$ = {label}",
        f"$a(z)$\nMLP[2−{network}−1]",
        f"LARS prior\n$p_{{T={truncation}}}(z)$",
    ]
    means = numbers_of("latent_means", results, digits.parent, run)
    on = "" if label == STANDARD else f" on {label}"
    assert list(means["titles"]) == [f"LARS prior{on}\n$a$ = MLP[2−{network}−1]"]


def test_p_of_a_flow_is_shown_and_not_a_normal(results, digits):
    run = "runs/short/digits/vae_2d/wide/seed0"
    numbers = numbers_of("latent_density", results, digits.parent, run)
    assert numbers["log_proposal"].max() == pytest.approx(-np.log(2 * np.pi * 4), abs=1e-5)
    assert numbers["kl"][0] == pytest.approx(numbers["kl_proposal"][0])


def test_the_papers_numbers_stand_in_its_figures_alone(results, digits):
    saved = numbers_of(
        "latent_density", results, digits.parent, "runs/short/digits/vae_2d/lars/seed0"
    )
    shown = dict(saved) | {"run": np.array("dynamic_mnist/vae_2d/lars")}

    def text(**paper):
        figure = KINDS["latent_density"].draw(shown | paper)
        panels = [*figure.axes, *(bar for axes in figure.axes for bar in axes.child_axes)]
        return " ".join(axes.get_xlabel() for axes in panels)

    assert "paper" not in text()
    ours = {"paper/dynamic_mnist/vae_2d/lars/z": np.array(0.03)}
    assert text(**ours).count("paper: 0.03") == 1
    assert "paper" not in text(**{"paper/omniglot/vae_2d/lars/z": np.array(0.03)})


# ---- any name -------------------------------------------------------------------------------

MINE = {
    "caption": "Mine",
    "kind": "ranked",
    "runs": ["digits/vae/lars"],
    "groups": ["highest"],
    "grid": [2, 3],
    "num_proposals": 50,
    "seed": 0,
}


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["resampled-priors", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return done.value.code


def test_a_figure_is_lines_of_yaml(tmp_path, monkeypatch):
    """The command makes it and draws it again; the file's name may have a dot in it."""
    run = Run("short", "digits", "vae", "lars", 0)
    make_run(tmp_path, run.folder, whole=resolve_run(load_config([CONFIG_FILE]), run))
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"figures": {"my.figure": MINE}}))
    configs = ("--configfile", CONFIG_FILE, "--configfile", overlay)
    options = ("--results", tmp_path, *configs, "--device", "cpu")
    assert run_command(monkeypatch, "figure", "my.figure", *options) == 0
    made = {path.name for path in tmp_path.glob("my*")}
    assert made == {f"my.figure.{suffix}" for suffix in ("json", "npz", "pdf", "png")}
    picture = (tmp_path / "my.figure.png").read_bytes()
    (tmp_path / "my.figure.png").unlink()
    monkeypatch.chdir(tmp_path)  # no config there: the numbers say what they are
    assert run_command(monkeypatch, "figure", "my.figure", "--redraw", "--results", tmp_path) == 0
    assert (tmp_path / "my.figure.png").read_bytes() == picture


def test_runs_are_labelled_by_the_figure_or_by_their_data_set(tmp_path):
    overlay = tmp_path / "mine.yaml"
    runs = ["digits/vae/lars", "digits/vae/lars_T2"]
    figures = {"a": MINE | {"runs": runs}, "b": MINE | {"runs": runs, "labels": ["100", "2"]}}
    overlay.write_text(yaml.safe_dump({"figures": figures}))
    config = load_config([CONFIG_FILE, overlay])
    assert resolve_figure(config, "a")["labels"] == ["digits", "digits"]
    assert resolve_figure(config, "b")["labels"] == ["100", "2"]
    assert resolve_figure(config, "b", figure_runs(config, "b")[1:])["labels"] == ["2"]


@pytest.mark.parametrize("name", ["fig1", "fig2", "figD4", "figD9", "figD11", "figD14"])
def test_committed_numbers_are_drawn_as_they_were(name, tmp_path):
    """They were saved before figures had kinds: the config says which."""
    (tmp_path / f"{name}.npz").write_bytes((ROOT / "results" / f"{name}.npz").read_bytes())
    config = load_config([CONFIG_FILE])
    redraw_figure(name, tmp_path, lambda: resolve_figure(config, name))
    redrawn, committed = (
        matplotlib.image.imread(folder / f"{name}.png") for folder in (tmp_path, ROOT / "results")
    )
    assert redrawn.shape == committed.shape
    assert np.abs(redrawn - committed).mean() < 0.01  # another FreeType may draw other letters


def test_toys_of_any_prior_are_compared_with_the_normal(tmp_path):
    """KL(q‖N) beside the target is that, whatever the first toy's proposal is."""
    settings = {"target": "gaussian_ring", "iterations": 1, "batch_size": 4, "seed": 0}
    settings |= {"prior": FLOW, "learning_rate": 0.01}
    train_toy("flow", settings, tmp_path / "toy" / "flow.npz")
    figure = {"kind": "toy_plane", "toys": ["flow"], "labels": ["RealNVP"]}
    make_figure("mine", figure, tmp_path, tmp_path)
    numbers = dict(np.load(tmp_path / "mine.npz"))
    drawn = KINDS["toy_plane"].draw(numbers)
    [normal] = [axes for axes in drawn.axes if axes.get_title() == STANDARD]
    assert r"\mathcal{N})$ = 1.80" in normal.get_xlabel()
    assert numbers["flow/kl_proposal"] != pytest.approx(1.80, abs=0.01)
