"""Tables: ours beside the paper's, as tidy CSV, Markdown, LaTeX and HTML."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ..experiment import Cell, Config, paper_number
from ..files import atomic_write
from ..runs.records import read_metrics, read_run
from .costs import COST_METRICS, value_of
from .formats import to_html, to_latex, to_markdown
from .paper import paper_values, published_values
from .shown import there, write_record

MAX_LOG_Z_ERROR = 0.05  # nats; a cell whose log Z is less certain is marked
COSTS = ("iterations", "num_importance_samples", "num_z_samples")
MOST_NAMED = 8  # missing runs, below a table
BOUNDS = ("nll", "elbo", "kl")  # what a lower bound on the prior's density makes upper bounds
MANY = "; "  # between several names in one field: folders and devices can hold spaces
MARKS = {
    "unverified": ("°", "made from data files that are not the published ones"),
    "uncertain": ("†", f"standard error of log Z above {MAX_LOG_Z_ERROR} nats"),
    "bound": ("≤", "an upper bound: a lower bound on the prior's density takes its place"),
    "quoted": ("‡", "quoted, not measured here"),
    "missing": ("—", "not run yet"),
    "unknown": ("n/a", "not in the record of the run: evaluate it again"),
}


def table_rows(name: str, spec: Config, results: Path) -> pd.DataFrame:
    """One row a cell, full precision: what the CSV holds.

    Columns: where the cell stands (``row``, ``column``, coordinates, ``metric``,
    ``budget``); ``ours``, the mean over the seeds that are there, and ``standard_error`` over
    them;
    ``difference``; what the runs cost and how Z was found; the seeds whose runs are missing;
    ``is_bound``, where ``ours`` is an upper bound; ``published`` and ``source``, where another
    paper has a number for this run.
    """
    return pd.DataFrame(
        [
            table_row(name, Cell(**cell), spec["budget"], spec["seeds"], results)
            for cell in spec["cells"]
        ]
    )


def table_row(
    name: str, cell: Cell, budget: str, seeds: list[int], results: Path
) -> dict[str, Any]:
    """One row of ``table_rows``."""
    row: dict[str, Any] = {"table": name, **vars(cell), "ours": math.nan}
    row["budget"] = cell.budget or budget
    values = paper_values().get(name, {}).get(cell.coordinates, {})
    row["paper"] = values.get(cell.metric, math.nan)
    if not cell.measured:
        return row | {"missing": ""}
    published = published_values().get(name, {}).get(cell.coordinates)
    if published is not None and cell.metric == "nll":
        row |= {"published": published.nll, "source": published.source}
    folders = {s: results / cell.run(budget, s).folder for s in seeds}
    there = {s: f for s, f in folders.items() if (f / "metrics.json").is_file()}
    wanted = seeds if row["budget"] == budget else []
    row["missing"] = MANY.join(cell.run(budget, s).folder for s in wanted if s not in there)
    if not there:
        return row
    metrics = pd.DataFrame([_read(folder, cell.metric) for folder in there.values()])
    row["ours"] = metrics[cell.metric].mean()
    row["standard_error"] = metrics[cell.metric].sem() if len(metrics) > 1 else math.nan
    row["difference"] = row["ours"] - row["paper"]
    row["seeds"] = " ".join(map(str, there))
    row["log_z_se"] = metrics["log_z_se"].max()
    for key in COSTS:
        row[key] = metrics[key].max()
    row["device"] = MANY.join(sorted(set(metrics["device"])))
    row["verified"] = bool(metrics["verified"].all())
    if cell.metric in BOUNDS and metrics["is_bound"].any():
        row["is_bound"] = True
    return row


def _read(folder: Path, metric: str) -> dict[str, Any]:
    run = read_run(folder)
    metrics = read_metrics(folder, run)
    verified = all(file["verified"] for file in run.get("data", []))
    values = {key: value_of(key, metrics) for key in (metric, "log_z_se", *COSTS)}
    is_bound = metrics.get("is_bound", False)
    return {**values, "device": metrics["device"], "verified": verified, "is_bound": is_bound}


# ---- what the reader sees -----------------------------------------------------------------


def format_value(metric: str, value: float) -> str:
    """Two decimals for nats; three significant digits for Z and times; whole numbers as such."""
    if metric == "prior_parameters":
        return f"{value:,.0f}"
    if metric == "z":
        return "1" if value == 1 else f"{value:.3g}"
    if metric.endswith("_ms"):
        return f"{float(f'{value:.3g}'):,g}"  # 1,230, not 1.23e+03
    return f"{value:.2f}"


def cell_text(row: pd.Series) -> str:
    """A cell as it is read: ours (the paper's; the difference) [another paper's], and marks."""
    text = _own_text(row)
    if pd.notna(row.get("published")):
        text += f" [{format_value(row['metric'], row['published'])}{MARKS['quoted'][0]}]"
    return text


def _own_text(row: pd.Series) -> str:
    metric = row["metric"]
    if pd.isna(row["ours"]) and pd.notna(row.get("device")):
        return MARKS["unknown"][0]
    if pd.isna(row["ours"]):
        if pd.notna(row["quoted"]):
            return format_value(metric, row["quoted"]) + MARKS["quoted"][0]
        paper = "" if pd.isna(row["paper"]) else f" ({format_value(metric, row['paper'])})"
        return MARKS["missing"][0] + paper
    text = f"{MARKS['bound'][0]} " if pd.notna(row.get("is_bound")) else ""
    text += format_value(metric, row["ours"])
    if pd.notna(row["standard_error"]) and metric != "prior_parameters":
        one_digit = float(f"{row['standard_error']:.1g}")
        text += f" ± {one_digit:g}"  # 10, not 1e+01
    if metric in COST_METRICS:
        return text
    text += "" if row["verified"] else MARKS["unverified"][0]
    text += MARKS["uncertain"][0] if row["log_z_se"] > MAX_LOG_Z_ERROR else ""
    if pd.notna(row["paper"]):
        sign = "+" if row["difference"] >= 0 else "−"
        difference = f"{sign}{format_value(metric, abs(row['difference']))}"
        text += f" ({format_value(metric, row['paper'])}; {difference})"
    return text


def layout(rows: pd.DataFrame, text: Callable[[pd.Series], str] = cell_text) -> pd.DataFrame:
    """The table as it is read: cells as text, rows and columns in the order of the config."""
    texts = rows.assign(text=rows.apply(text, axis=1))
    wide = texts.pivot(index="row", columns="column", values="text").fillna("")
    wide = wide.loc[rows["row"].unique(), rows["column"].unique()]
    return wide.rename_axis(index=None, columns=None)


def caption(spec: Config, rows: pd.DataFrame) -> str:
    """Title, what a cell shows, and the budget, samples, seeds and devices of what is there."""
    sentences = [f"{spec['caption']}."]
    ours, papers = rows["ours"].notna(), rows["paper"].notna()
    if (ours & papers).any():
        sentences.append("Each cell: ours (the paper's; the difference).")
    elif papers.any():
        sentences.append("In parentheses: the paper's.")
    if "published" in rows:
        sentences.append("In square brackets: another paper's, with networks of its own.")
    for budget, shown in rows[rows["ours"].notna()].groupby("budget", sort=False):
        devices = sorted({d for names in shown["device"] for d in names.split(MANY)})
        sentences.append(
            f"Budget {budget}: {_range(shown['iterations'])} iterations, "
            f"K = {_range(shown['num_importance_samples'])} importance samples, "
            f"S up to {_range(shown['num_z_samples'].nlargest(1))} samples for Z, "
            f"seeds {', '.join(map(str, spec['seeds']))}, on {', '.join(devices)}."
        )
    return " ".join(sentences)


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def notes(rows: pd.DataFrame, text: str) -> list[str]:
    """A line for each mark that the text uses, and one for the runs that are missing."""
    lines = [f"{mark} {meaning}" for mark, meaning in MARKS.values() if mark in text]
    if "source" in rows:
        lines += [f"{MARKS['quoted'][0]} {source}" for source in rows["source"].dropna().unique()]
    missing = sorted({f for names in rows["missing"] for f in names.split(MANY) if f})
    if len(missing) > MOST_NAMED:
        lines.append(
            f"Missing runs: {len(missing)}, named in the column 'missing' of the .csv file"
        )
    elif missing:
        lines.append("Missing runs: " + ", ".join(missing))
    return lines


def table_texts(name: str, spec: Config, results: Path) -> dict[str, str]:
    """What the files of a table hold, by suffix: csv, md, tex and html.

    Args:
        spec: ``experiment.resolve_table``.

    Raises:
        ResampledPriorsError: a damaged file among the runs.
    """
    rows = table_rows(name, spec, results)
    wide, heading = layout(rows), caption(spec, rows)
    lines = notes(rows, wide.to_string())
    number = paper_number(name)
    return {
        "csv": rows.to_csv(index=False, lineterminator="\n"),
        "md": to_markdown(wide, number, heading, lines),
        "tex": to_latex(wide, heading, lines),
        "html": to_html(wide, number, heading, lines),
    }


def write_table(name: str, spec: Config, results: Path) -> None:
    """Write NAME.csv, NAME.md, NAME.tex, NAME.html and their record to the results folder.

    Args:
        spec: ``experiment.resolve_table``.

    Raises:
        ResampledPriorsError: a damaged file among the runs, or a folder that cannot be written.
    """
    made_from = there(spec, results, results)
    texts = table_texts(name, spec, results)
    for suffix, text in texts.items():
        with atomic_write(results / f"{name}.{suffix}") as temporary:
            temporary.write_bytes(text.encode())
    write_record(name, spec, made_from, texts, results)
