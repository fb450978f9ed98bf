"""index.html: all tables and figures of a results folder on one page that stands alone."""

import base64
import os
import re
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.image
from markupsafe import Markup

from ..experiment import Config, Run, paper_number
from ..files import atomic_write
from ..runs.records import read_record

CSS_PIXELS_PER_DOT = 0.5  # of figures with 300 dots an inch
RECORDS = ("run.json", "z.json", "metrics.json", "training.csv")
DIFFERENCES = Path("docs/differences.md")  # where the page is made in a clone


def write_index(settings: Config, results: Path) -> None:
    """Write index.html to the results folder: pictures in it, records and PDFs linked.

    Args:
        settings: ``experiment.resolve_index``. What is not there is named as missing.

    Raises:
        ResampledPriorsError: a damaged record, or a folder that cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."), autoescape=True, trim_blocks=True
    )
    environment.globals["number"] = paper_number
    runs = [_run(results, folder) for folder in settings["runs"]]
    there = [run for run in runs if run["done"]]
    page = environment.get_template("index.html.j2").render(
        budget=settings["budget"],
        schedule=settings["schedule"],
        devices=sorted({run["record"]["device"] for run in there}),
        tables={name: _table(results, name) for name in settings["tables"]},
        figures=[_figure(results, *figure) for figure in settings["figures"].items()],
        runs=runs,
        count=len(there),
        differences=os.path.relpath(DIFFERENCES, results) if DIFFERENCES.exists() else None,
    )
    with atomic_write(results / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _table(results: Path, name: str) -> Markup | None:
    """What the body of NAME.html holds, the paper's numbers on lines of their own."""
    path = results / f"{name}.html"
    if not path.exists():
        return None
    _, _, rest = path.read_text(encoding="utf-8").partition("<body>")
    body, _, _ = rest.partition("</body>")
    body = re.sub(r"<td>([^<]*?) ([(\[][^<]*)</td>", r"<td>\1 <small>\2</small></td>", body)
    body = re.sub(r"<table.*</table>", r'<div class="wide">\g<0></div>', body, flags=re.DOTALL)
    return Markup(body)


def _figure(results: Path, name: str, caption: str) -> dict[str, Any]:
    """A picture as a data URI, how wide it is shown, and what else there is of it."""
    path = results / f"{name}.png"
    figure: dict[str, Any] = {"name": name, "caption": caption, "picture": None}
    if path.exists():
        picture = path.read_bytes()
        width = matplotlib.image.imread(path).shape[1]
        figure["picture"] = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        figure["width"] = round(width * CSS_PIXELS_PER_DOT)
        suffixes = ("pdf", "npz", "json")
        figure["files"] = [s for s in suffixes if path.with_suffix(f".{s}").exists()]
    return figure


def _run(results: Path, folder: str) -> dict[str, Any]:
    """A run's name, its records that are there, and what they say: a later one over an earlier.

    A run is done once its Z is known: only tables ask for its metrics.
    """
    names = [name for name in RECORDS if (results / folder / name).exists()]
    record: dict[str, Any] = {}
    for name in (name for name in names if name.endswith(".json")):
        record |= read_record(results / folder / name)
    place = Run.from_folder(folder)
    name = f"{place.dataset}/{place.model}/{place.prior}/seed{place.seed}"
    return {
        "name": name,
        "folder": folder,
        "records": names,
        "record": record,
        "done": "z" in record,
    }
