"""The documentation says what is there: pages, names, commands, config, files of the project."""

import re
from pathlib import Path

import pytest
import typer
import yaml

import resampled_priors
from resampled_priors import cli
from resampled_priors.experiment import load_config

ROOT = Path(__file__).parents[1]
# Pages whose YAML is laid over the config.
CONFIG_PAGES = ["docs/ablation.md", "docs/data.md", "config/README.md"]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
)


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags are MkDocs' own."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def navigation(entries):
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from navigation(value) if isinstance(value, list) else [value]


def test_the_navigation_has_every_page_once():
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)
    pages = list(navigation(site["nav"]))
    assert sorted(pages) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_reference_has_every_public_name():
    named = re.findall(r"^::: resampled_priors\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.M)
    assert sorted(named) == sorted(resampled_priors.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_included_files_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target
    for included in re.findall(r'^--8<-- "(.*)"$', text, re.MULTILINE):
        assert (ROOT / included).exists(), included


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
