"""For MkDocs: the figures of results.md lie outside the folder of the pages; they join it here."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

RESULTS = Path(__file__).parents[1] / "results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path in [*RESULTS.glob("*.png"), *RESULTS.glob("*.pdf")]:
        files.append(File.generated(config, f"figures/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return re.sub(r"\]\(\.\./results/([^/)]+\.(png|pdf)\))", r"](figures/\1", markdown)
