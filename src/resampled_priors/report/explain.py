"""What ``compare`` finds, in words: a section of Markdown, with the likely causes."""

import math
import textwrap
from functools import cache
from importlib.resources import files
from pathlib import Path

import pandas as pd
import yaml

from ..experiment import Config, paper_number
from .compare import (
    LABELS,
    Compared,
    Exchange,
    Spread,
    apart,
    exchanges,
    gains,
    groups,
    noise,
    pairs,
    read_figures,
    read_table,
    seed_spread,
)
from .gains import gains_over_standard

MAIN = ("nll", "elbo", "kl")  # whose order is explained
HEADING = "## Beside the paper's numbers"
INTRODUCTION = """Found by code from the tables above, in nats (a Z as log Z). {chance}
A cell is apart from the paper's where the two differ by more than two standard errors: of these
count the one over the test images (or of the estimate), that of the training where it is known,
and the rounding of the paper's number; the paper gives no errors. Neighbours are cells with no
third between them in the paper's order. Likely causes are written by hand, and shown while what
they explain is there."""
KNOWN = """What the training leaves to chance is the standard deviation over seeds, pooled over the
runs that have several ({runs}): {spread}; noise is two standard errors by it."""
UNKNOWN = "No run has several seeds yet: what the training leaves to chance is unknown."


@cache
def causes() -> dict[str, dict[str, dict[str, str]]]:
    """Likely causes, by table, run and what is to be explained: above, below or apart."""
    return yaml.safe_load(files(__package__).joinpath("causes.yaml").read_text(encoding="utf-8"))


def comparison(config: Config, results: Path) -> str:
    """The section of all tables, and of the figures that state numbers; empty where none is there.

    Raises:
        ResampledPriorsError: a table, a figure or a record that is damaged.
    """
    spread, several = seed_spread(results, config["budget"])
    found = {
        name: (f"Table {paper_number(name)}", read_table(name, config, results), spread)
        for name in config["tables"]
    }
    shown = read_figures(config, results)
    found["figures"] = ("Figures of latent spaces", shown, {})  # other KLs than those of tables
    parts = [
        "\n\n".join([f"### {title}", *_about(name, cells, config, known), *_rivals(results, name)])
        for name, (title, cells, known) in found.items()
        if any(cell.run for cell in cells)
    ]
    return "\n\n".join([_introduction(spread, several), *parts]) if parts else ""


def _introduction(spread: Spread, several: dict[str, int]) -> str:
    values = ", ".join(f"{LABELS[key]} {value:.2g}" for key, value in spread.items())
    runs = ", ".join(f"{run}: {count}" for run, count in several.items())
    chance = KNOWN.format(runs=runs, spread=values) if several else UNKNOWN
    text = " ".join(INTRODUCTION.format(chance=chance).split())
    return f"{HEADING}\n\n{textwrap.fill(text, 100)}"


def _about(name: str, cells: list[Compared], config: Config, spread: Spread) -> list[str]:
    """The paragraphs of a table."""
    datasets = {cell.dataset for cell in cells}
    labels = {d: config["datasets"].get(d, {}).get("label", d) for d in datasets}
    if len(datasets) == 1:
        labels = dict.fromkeys(datasets, "")  # which goes without saying
    likely = _likely(name, cells, spread)
    ordered = [group for group in groups(cells) if pairs(group)]
    parts = ["\n".join(_order(group, labels, spread) for group in ordered)]
    parts += [*_gains(cells, config, labels, spread), _apart(cells, labels, spread)]
    parts += ["Likely causes:", "\n".join(likely)] if likely else []
    return [part for part in parts if part]


def _name(cell: Compared, labels: dict[str, str]) -> str:
    """What a cell is called among those of all data sets."""
    label = labels[cell.dataset]
    return cell.name if label in cell.name else f"{label}, {cell.name}"


def _order(group: list[Compared], labels: dict[str, str], spread: Spread) -> str:
    """One group's order, as an item of a list."""
    ordered = pairs(group)
    same = sum(a.ours <= b.ours for a, b in ordered)
    place = [LABELS[group[0].metric], labels[group[0].dataset]]
    label = f"- Order by {', '.join(filter(None, place))}:"
    if same == len(ordered):
        return f"{label} the paper's (pairs: {same})."
    found = [
        f"{e.above.name} above {e.below.name} by {e.ours:.2f} "
        f"(paper: below by {e.paper:.2f}), {_within(e)}"
        for e in exchanges(group, spread)
    ]
    pairs_there = f"the paper's in {same} of {len(ordered)} pairs"
    return f"{label} {pairs_there}. Exchanged neighbours: {'; '.join(found)}."


def _gains(
    cells: list[Compared], config: Config, labels: dict[str, str], spread: Spread
) -> list[str]:
    """A table of what LARS gains; or nothing."""
    rows = [
        {
            "LARS": _name(gain.cell, labels),
            "gain here": f"{gain.ours:.2f}{_error(gain.noise)}",
            "the paper's": f"{gain.paper:.2f}",
        }
        for gain in gains(cells, config, spread)
    ]
    if not rows:
        return []
    table = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    metric = LABELS[cells[0].metric]
    return [f"What LARS gains in {metric} over its proposal as the prior:", table]


def _rivals(results: Path, name: str) -> list[str]:
    """What each prior of a table of rivals gains over the standard prior; or nothing."""
    path = results / f"{name}.csv"
    table = gains_over_standard(path) if path.exists() else pd.DataFrame()
    if table.empty:
        return []
    text = "What each prior gains in NLL over the standard one (in the paper) [in another paper]:"
    return [text, table.to_markdown(disable_numparse=True)]


def _within(exchange: Exchange) -> str:
    if math.isnan(exchange.noise):
        return "noise unknown"
    side = "within" if exchange.ours <= exchange.noise else "beyond"
    return f"{side} noise ({exchange.noise:.2f})"


def _error(value: float) -> str:
    return "" if math.isnan(value) else f" ± {value:.2f}"


def _apart(cells: list[Compared], labels: dict[str, str], spread: Spread) -> str:
    """Which cells are apart from the paper's; by name, where it is not all of them."""
    parts = []
    for metric in dict.fromkeys(cell.metric for cell in cells if cell.run):
        measured = [cell for cell in cells if cell.metric == metric and cell.run]
        known = [c for c in measured if not math.isnan(c.standard_error(spread))]
        far = apart(known, spread)
        text = f"{LABELS[metric]} {len(far)} of {len(known)}"
        if not known:
            text = f"{LABELS[metric]} unknown, without metrics.json"
        if far and len(far) == len(known):
            ends = sorted(cell.difference for cell in far)
            text += f" ({' to '.join(dict.fromkeys(map(_signed, (ends[0], ends[-1]))))})"
        elif far:
            named = [f"{_name(cell, labels)} {_signed(cell.difference)}" for cell in far]
            text += f" ({'; '.join(named)})"
        if 0 < len(known) < len(measured):
            text += f" ({len(measured) - len(known)} more lack their metrics.json)"
        parts.append(text)
    return f"Apart from the paper's by more than two standard errors: {', '.join(parts)}."


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{abs(value):.2f}"


def _likely(name: str, cells: list[Compared], spread: Spread) -> list[str]:
    """The causes of what is there, as items of a list.

    ``above``: a cell is above one that it is below in the paper (and the reverse: ``below``), in
    the first of ``MAIN`` there is, by more than noise so far as that is known. ``apart``: it is.
    """
    measured = [cell for cell in cells if cell.run]
    there: set[tuple[str, str]] = {(cell.run, "apart") for cell in apart(measured, spread)}
    main = [metric for metric in MAIN if any(cell.metric == metric for cell in cells)][:1]
    for group in groups([cell for cell in cells if cell.metric in main]):
        for a, b in pairs(group):
            if a.ours > b.ours and not a.ours - b.ours <= noise(a, b, spread):
                there |= {(a.run, "above"), (b.run, "below")}
    return [
        f"- {cause.strip()}"
        for run, by_kind in causes().get(name, {}).items()
        for kind, cause in by_kind.items()
        if (run, kind) in there
    ]
