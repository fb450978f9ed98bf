"""index.html: a page that stands alone, of what there is, with links to what it was made from."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from changed_config import CONFIG, with_value
from figure_runs import METRICS, MODELS, PRIORS

from resampled_priors.experiment import resolve_index
from resampled_priors.files import write_json
from resampled_priors.report.formats import to_html
from resampled_priors.report.index import write_index
from resampled_priors.report.tables import layout, table_rows

RUN = "runs/short/dynamic_mnist/vae/lars/seed0"
VOID = {"meta", "img", "wbr", "br"}


class Page(HTMLParser):
    """Links, pictures and ids of a page whose elements are all closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.pictures, self.ids, self.tags = [], [], [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.links += [found["href"]] if "href" in found else []
        self.pictures += [found] if tag == "img" else []
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def results(tmp_path):
    """One table, one figure, and one run that is evaluated."""
    run = tmp_path / RUN
    run.mkdir(parents=True)
    write_json(run / "metrics.json", METRICS | {"nll": 92.339, "z": 0.0107})
    settings = {"dataset": "dynamic_mnist", "model": {"name": "vae", **MODELS["vae"]}, "seed": 0}
    settings["prior"] = {"name": "lars", **PRIORS["lars"]}
    record = {"settings": settings, "iterations": 20_000, "train_seconds": 1.0, "device": "cpu"}
    write_json(run / "run.json", record | {"model_sha256": "1"})
    spec = {"budget": "short", "seeds": [0], "cells": [{"row": "VAE", "column": "LARS <1>"}]}
    spec["cells"][0] |= {"metric": "nll", "dataset": "dynamic_mnist", "model": "vae"}
    spec["cells"][0]["prior"] = "lars"
    rows = table_rows("table1", spec, tmp_path)
    (tmp_path / "table1.html").write_text(to_html(layout(rows), "1", "A caption.", ["° a note"]))
    (tmp_path / "table1.csv").write_text("")
    matplotlib.image.imsave(tmp_path / "figD7.png", np.zeros((10, 100, 3)))
    (tmp_path / "figD7.pdf").write_text("")
    return tmp_path


def page_of(results, config=CONFIG):
    write_index(resolve_index(config), results)
    text = (results / "index.html").read_text(encoding="utf-8")
    return Page(text), text


def test_the_page_stands_alone(results):
    page, text = page_of(results)
    [picture] = page.pictures
    mime, _, data = picture["src"].partition(",")
    assert mime == "data:image/png;base64"
    assert base64.b64decode(data) == (results / "figD7.png").read_bytes()
    assert picture["alt"] == CONFIG["figures"]["figD7"]["caption"]
    assert picture["width"] == "50"
    assert not page.tags & {"script", "link", "iframe"} and "url(" not in text
    assert '<meta name="viewport"' in text


def test_every_link_leads_somewhere(results):
    page, _ = page_of(results)
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("https://arxiv.org/"):
            target = (results if not link.endswith(".md") else Path.cwd()) / link
            assert target.exists() or Path(link).name == "differences.md", link
    assert f"{RUN}/metrics.json" in page.links and f"{RUN}/run.json" in page.links
    assert f"{RUN}/z.json" not in page.links  # which is not there
    assert "figD7.pdf" in page.links and "figD7.npz" not in page.links


def test_tables_have_the_paper_below_ours_and_what_is_missing_is_said(results):
    _, text = page_of(results)
    assert re.search(r"<td>92\.34°? <small>\(83\.03; \+9\.31\)</small></td>", text)
    assert "LARS &lt;1&gt;" in text and "A caption." in text and "° a note" in text
    assert "<b>Table 2.</b> Not made yet." in text
    assert text.count("Not made yet.") == len(CONFIG["tables"]) + len(CONFIG["figures"]) - 2
    runs = len(resolve_index(CONFIG)["runs"])
    assert f"1 of {runs} runs are\ndone, on cpu" in text
    assert text.count("not run yet") == runs - 1


def test_captions_are_escaped(results):
    _, text = page_of(results, with_value("figures.figD7.caption", 'a <b> & "c"'))
    assert "a &lt;b&gt; &amp; &#34;c&#34;" in text and "a <b>" not in text


def test_the_budget_stands_beside_the_papers(results):
    _, text = page_of(results, with_value("budgets.short.iterations", 1_234_567))
    row = re.search(r"<tr><th>iterations of a run</th><td>([^<]*)</td><td>([^<]*)</td>", text)
    assert row.groups() == ("1,234,567", "10,000,000")
