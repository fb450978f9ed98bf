"""The documentation says what is there: pages, names, commands, config, files of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import run_page
import torch
import typer
import yaml
from test_library import make_run
from torch.distributions import Independent, Normal
from training_runs import run, settings_for

import resampled_priors
from resampled_priors import ResampledPrior, cli
from resampled_priors.data.dataset import load_dataset
from resampled_priors.experiment import Run, load_config, resolve_run

ROOT = Path(__file__).parents[1]
TUTORIAL = "docs/tutorial.md"
# Pages whose YAML is laid over the config.
CONFIG_PAGES = ["docs/ablation.md", "docs/architecture.md", "docs/data.md", "config/README.md"]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
)


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags are MkDocs' own."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def blocks(page, language):
    return run_page.blocks((ROOT / page).read_text(encoding="utf-8"), language)


def navigation(entries):
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from navigation(value) if isinstance(value, list) else [value]


def test_the_navigation_has_every_page_once():
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)
    pages = list(navigation(site["nav"]))
    there = (ROOT / "docs").glob("**/*.md")
    assert sorted(pages) == sorted(str(path.relative_to(ROOT / "docs")) for path in there)
    assert site["theme"]["font"] is False  # or each page would ask another server for it


def test_the_reference_has_every_public_name():
    named = re.findall(r"^::: resampled_priors\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.M)
    assert sorted(named) == sorted(resampled_priors.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_included_files_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target
    assert not re.search(r"^--8 ?<", text, re.MULTILINE)  # GitHub would show that line
    assert "```mermaid" not in text  # the site would ask another server for the script


# Python ------------------------------------------------------------------------------------------

# A block below a line that ends in (`examples/FILE`): is that file.
EXAMPLE = re.compile(r"\(`(examples/[^`]+)`\):\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_are_the_files_it_names(page):
    for name, block in EXAMPLE.findall((ROOT / page).read_text(encoding="utf-8")):
        assert block == (ROOT / name).read_text(encoding="utf-8"), (
            f"{page} and {name} differ: paste the file into the page"
        )


def test_every_example_stands_in_a_page():
    shown = {name for page in PAGES for name, _ in EXAMPLE.findall((ROOT / page).read_text())}
    there = ROOT.glob("examples/**/*.*")
    assert shown == {p.relative_to(ROOT).as_posix() for p in there if p.suffix in (".py", ".yaml")}


def other_python(page):
    """The Python of a page that is not an example's file, which tests of their own run."""
    files = {block for _, block in EXAMPLE.findall((ROOT / page).read_text(encoding="utf-8"))}
    return [block for block in blocks(page, "python") if block not in files]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if other_python(page) and page != TUTORIAL]
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    make_run(tmp_path / "results")
    shutil.copy(ROOT / "results" / "table1.csv", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    estimate = ResampledPrior.estimate_z
    monkeypatch.setattr(ResampledPrior, "estimate_z", lambda prior, _: estimate(prior, 10_000))
    proposal = Independent(Normal(torch.zeros(50), torch.ones(50)), 1)
    z = proposal.sample((5,))
    images = np.zeros((3, 20, 16), dtype=np.uint8)
    names = {name: getattr(resampled_priors, name) for name in resampled_priors.__all__}
    names |= {"torch": torch, "Independent": Independent, "Normal": Normal}
    names |= {"resampled_priors": resampled_priors, "proposal": proposal, "z": z}
    names |= {
        "samples": z.repeat(10, 1),
        "log_posterior": proposal.log_prob(z),
        "log_q": proposal.log_prob(z),
    }
    names |= dict.fromkeys(("train", "validation", "test"), images)
    with torch.random.fork_rng():
        for block in other_python(page):
            exec(compile(block, page, "exec"), names)


NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?![\w^])"


def test_the_tutorial_runs_prints_what_it_says_and_draws_its_figures(tmp_path):
    command = [sys.executable, ROOT / "tests" / "run_page.py", ROOT / TUTORIAL, tmp_path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said = "".join(blocks(TUTORIAL, "text"))
    assert re.sub(NUMBER, "#", done.stdout) == re.sub(NUMBER, "#", said)
    numbers = [list(map(float, re.findall(NUMBER, text))) for text in (done.stdout, said)]
    assert len(numbers[0]) > 10
    assert numbers[0] == pytest.approx(numbers[1], rel=0.1, abs=0.05)  # other processors round so
    shown = re.findall(r"\]\((tutorial_\w+\.png)\)", (ROOT / TUTORIAL).read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(path.name for path in tmp_path.iterdir())
    for name in shown:
        new, old = (matplotlib.image.imread(folder / name) for folder in (tmp_path, ROOT / "docs"))
        assert abs(new.shape[1] - old.shape[1]) <= 10 and old.std() > 0.05


def test_the_optimizer_of_the_architecture_page_trains(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    overlays = [ROOT / "config.yaml"]
    for number, block in enumerate(blocks("docs/architecture.md", "yaml")):
        overlays.append(tmp_path / f"{number}.yaml")
        overlays[-1].write_text(block, encoding="utf-8")
    settings = resolve_run(
        load_config(overlays), Run("short", "digits", "vae_adamw", "standard", 0)
    )
    settings["training"] |= {"iterations": 3, "warm_up": 2}
    data = load_dataset(digits)
    model, trainer = run(data, settings, tmp_path / "adamw")
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0.01
    plain, _ = run(data, settings_for(iterations=3, warm_up=2), tmp_path / "adam")
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    assert any((one != other).any() for one, other in pairs)


# Commands and config -----------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page):
    commands = typer.main.get_command(cli.app).commands
    text = (ROOT / page).read_text(encoding="utf-8")
    for line in re.findall(r"^(?:\S+/)?resampled-priors (.*)$", text, re.MULTILINE):
        name, *words = line.split()
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
    targets = re.findall(
        r"^(\w+)(?= *[^#\n]*:.*##)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert target in targets


@pytest.mark.parametrize("page", CONFIG_PAGES)
def test_the_yaml_of_a_page_fits_the_config(page, tmp_path):
    overlays = [ROOT / "config.yaml"]
    for number, block in enumerate(blocks(page, "yaml")):
        overlays.append(tmp_path / f"{number}.yaml")
        overlays[-1].write_text(block, encoding="utf-8")
    assert len(overlays) > 1
    load_config(overlays)


def test_the_changelog_knows_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[?([^]\n ]+)\]?", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert resampled_priors.__version__ in headings


def test_continuous_integration_calls_make():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"].keys() == {"test", "lint", "docs", "dist"}
    for target, job in workflow["jobs"].items():
        assert f"make {target}" in [step.get("run") for step in job["steps"]]


def test_pre_commit_has_the_constrained_versions():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    versions = {hook["repo"].rsplit("/", 1)[1]: hook["rev"] for hook in hooks}
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    assert versions == {
        "ruff-pre-commit": f"v{pins['ruff']}",
        "snakefmt": f"v{pins['snakefmt']}",
    }


@pytest.mark.parametrize("name", ["bug", "number"])
def test_issue_templates_are_forms(name):
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    assert all(field["type"] in ("input", "textarea") for field in form["body"])
    assert all(field["attributes"]["label"] for field in form["body"])
