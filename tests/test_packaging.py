"""The files around the package agree with each other: pins, version, citation, make targets."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
TARGETS = ["help", "demo", "test", "lint", "schema", "docs", "bench", "dist", "clean"]


def distribution_names(requirements):
    """Lower-case names of the requirements, extras of this package itself left out."""
    names = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements}
    return names - {PROJECT["name"]}


def exact_pins(lines):
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


@pytest.fixture(scope="module")
def constraints():
    return exact_pins((ROOT / "constraints.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def extras():
    return {
        name: distribution_names(requirements)
        for name, requirements in PROJECT["optional-dependencies"].items()
    }


def test_every_direct_dependency_is_pinned(constraints, extras):
    direct = distribution_names(PROJECT["dependencies"]).union(*extras.values())
    assert direct <= constraints.keys()


def test_constraints_are_exact_versions_sorted_by_name():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    names = [pin.split("==")[0] for pin in pins]
    assert names == sorted(set(names))


def test_build_backend_has_the_constrained_version(constraints):
    assert exact_pins(PYPROJECT["build-system"]["requires"]) == {
        "setuptools": constraints["setuptools"]
    }


def test_conda_environment_states_the_same_pins(constraints, extras):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    assert environment["channels"] == ["conda-forge"]
    (by_pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert by_pip[0] == "-c constraints.txt"
    assert by_pip[-1] == "-e .[test]"
    wanted = distribution_names(PROJECT["dependencies"]) | extras["test"] | extras["workflow"]
    assert exact_pins(by_pip) == {name: constraints[name] for name in wanted}


def test_licence_is_the_declared_one():
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")


def test_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Bauer", "Mnih"]
    assert paper["identifiers"][0]["value"] == "arXiv:1810.11428"


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_its_targets(target):
    dry_run = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True)
    assert dry_run.returncode == 0, dry_run.stderr.decode()


def test_make_lists_its_targets():
    listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^  make (\w+)\t", listing.stdout, re.MULTILINE) == TARGETS


def test_make_says_that_installing_takes_a_while():
    command = ["make", "--dry-run", "--always-make", "demo"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.index('echo "Installing into .venv') < said.index("-m venv") < said.index(" pip ")


def test_the_command_says_its_version():
    code = "from resampled_priors.cli import main; main()"
    command = [sys.executable, "-c", code, "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"resampled-priors {PROJECT['version']}\n"


# Containers --------------------------------------------------------------------------------------


def test_the_image_gets_what_the_workflow_reads_and_no_results():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"  # nothing but what is named
    named = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in named)
    read = {"Snakefile", "config.yaml", "config", "workflow", "profiles", "src", "pyproject.toml"}
    # Each rule names environment.yml under conda, and that constraints.txt.
    assert read | {"README.md", "constraints.txt", "environment.yml"} <= named
    assert not named & {"results", "data", "docs", "tests", ".git", ".venv"}


def test_both_images_install_the_pinned_versions_and_run_the_demo():
    command = (ROOT / "Dockerfile").read_text().split("\nCMD ")[1]
    demo = ["snakemake", "all", "--cores", "all", "--configfile", "config/demo.yaml"]
    assert json.loads(command) == demo
    definition = (ROOT / "apptainer.def").read_text()
    assert f"exec {' '.join(demo)} " in definition
    copied = re.findall(r"^    (\S+) /opt/resampled-priors/\1$", definition, re.MULTILINE)
    assert set(copied) >= {"pyproject.toml", "constraints.txt", "src", *PROJECT["license-files"]}
    for text in ((ROOT / "Dockerfile").read_text(), definition):
        installs = re.findall(r"pip install [^\n]*", text)
        assert installs and all("-c constraints.txt" in line for line in installs)
    assert (
        f'container: "{re.search(r"apptainer build (.*sif)", definition)[1]}"'
        in (ROOT / "Snakefile").read_text()
    )


@pytest.mark.parametrize("rules", sorted((ROOT / "workflow" / "rules").glob("*.smk")), ids=str)
def test_no_output_is_ensured_which_no_storage_can_serve(rules):
    """Snakemake looks for an ensured file in the storage before it has put it there."""
    assert "ensure(" not in rules.read_text()


def test_the_kubernetes_profile_says_that_it_is_untested():
    path = ROOT / "profiles" / "kubernetes" / "config.v8+.yaml"
    profile = yaml.safe_load(path.read_text())
    assert profile["executor"] == "kubernetes" and profile["shared-fs-usage"] == "none"
    assert profile["container-image"].endswith(f":{PROJECT['version']}")
    assert "Untested" in path.read_text()


# Wheel and sdist ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a wheel and an sdist, built from a copy in this environment."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    code = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return folder / "dist"


def test_wheel_and_sdist_hold_every_file_of_the_package(built):
    package = ROOT / "src" / "resampled_priors"
    files = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    schemas = {f"experiment/{name}.schema.yaml" for name in ("config", "families")}
    assert {f"resampled_priors/{name}" for name in ("py.typed", *schemas)} <= files
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name}
    assert in_wheel == files
    root = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        in_sdist = set(archive.getnames())
    assert {f"{root}/src/{name}" for name in files} <= in_sdist


def test_the_installed_wheel_works_far_from_its_sources(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    target, run = tmp_path / "site", subprocess.run
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run([*pip, "--target", target, wheel], check=True)
    code = (
        "import resampled_priors as package;"
        f"assert package.__file__.startswith({str(target)!r}), package.__file__;"
        "[getattr(package, name) for name in package.__all__];"
        "from resampled_priors.cli import main; main()"
    )
    arguments = ["figure", "figA1", "--configfile", ROOT / "config.yaml", "--results", "."]
    environment = os.environ | {"PYTHONPATH": str(target)}
    run([sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "figA1.pdf").stat().st_size > 1000
    script = [ROOT / "tests" / "readme_library.py", ROOT / "README.md"]
    said = run(
        [sys.executable, *script], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    assert str(target) in said.stdout.decode()


def test_a_release_publishes_what_make_dist_has_tried_without_a_token():
    text = (ROOT / ".github/workflows/release.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert "make dist" in [step.get("run") for step in jobs["dist"]["steps"]]
    assert jobs["publish"]["needs"] == "dist"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets" not in text and "password" not in text
