"""One page of everything: the tables and figures of a results folder, as Markdown."""

import os
from pathlib import Path
from urllib.parse import quote

from ..experiment import Config, budget, paper_number
from ..files import atomic_write
from .explain import comparison

INTRODUCTION = """# Results

Every table and figure at the budget `{name}`: {iterations:,} iterations a run (the paper:
10,000,000), {importance_samples:,} importance samples. A cell of a table shows our number, then in
parentheses the paper's and the difference. What is not there yet has not been run.

This page is written by `resampled-priors results-page`."""


def write_results_page(config: Config, results: Path, output: Path) -> None:
    """Write the page; images are linked relative to it.

    Raises:
        ResampledPriorsError: the page cannot be written.
    """
    parts = [INTRODUCTION.format(name=config["budget"], **budget(config))]
    for name in config["tables"]:
        table = results / f"{name}.md"
        if table.exists():
            parts += [f"## Table {paper_number(name)}", table.read_text(encoding="utf-8").strip()]
    beside = comparison(config, results)
    parts += [beside] if beside else []
    for name, figure in config["figures"].items():
        if (results / f"{name}.png").exists():
            number, caption = paper_number(name), figure["caption"]
            stem = quote(Path(os.path.relpath(results, output.parent), name).as_posix())
            parts += [f"## Fig. {number}", f"![{caption}]({stem}.png)"]
            parts += [f"**Fig. {number}.** {caption} ([PDF]({stem}.pdf))."]
    with atomic_write(output) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
