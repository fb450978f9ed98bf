"""For MkDocs: figures from outside the pages' folder, maths as MathML, where the source lies."""

import html
import os
import re
import subprocess
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

RESULTS = Path(__file__).parents[1] / "results"
ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
SPACED_LOG = ("<mi>log</mi><m", '<mi>log</mi><mspace width="0.17em"/><m')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.repo_url = repository() or None
    config.repo_name = "source" if config.repo_url else None
    return config


def repository() -> str:
    """The address of the repository that the site is built from: of GitHub's run, or of origin."""
    if "GITHUB_REPOSITORY" in os.environ:
        return f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}"
    command = ["git", "remote", "get-url", "origin"]
    try:
        remote = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True)
    except FileNotFoundError:  # no git
        return ""
    address = re.sub(r"^git@([^:]+):", r"https://\1/", remote.stdout.strip())
    return address.removesuffix(".git") if address.startswith("https://") else ""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path in [*RESULTS.glob("*.png"), *RESULTS.glob("*.pdf")]:
        files.append(File.generated(config, f"figures/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return re.sub(r"\]\(\.\./results/([^/)]+\.(png|pdf)\))", r"](figures/\1", markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas are MathML: browsers set it by themselves, without a script."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        formula = convert(html.unescape(match[3]), display=display)
        return formula.replace(*SPACED_LOG)  # the converter sets log p as logp

    return ARITHMATEX.sub(mathml, content)
