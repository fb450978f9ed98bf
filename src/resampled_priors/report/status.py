"""Which runs are done, at work or missing: the config's tables with the numbers there are."""

import re
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..experiment import Config, Run, paper_number, resolve_table, table_runs
from ..report.tables import cell_text, layout, table_rows

FRESH = 120.0  # seconds; a run at work writes to its log, or a checkpoint, every 30
DONE = ("done", "")
STYLES = {
    "done": "green",
    "running": "yellow",
    "failed": "red",
    "interrupted": "magenta",
    "trained": "cyan",
    "missing": "dim",
}


def run_state(results: Path, run: Run) -> tuple[str, str]:
    """One of ``STYLES``, and the progress or error that the run's newest log ends with."""
    folder = results / run.folder
    if (folder / "metrics.json").exists():
        return DONE
    logs = sorted(
        results.glob(f"logs/*/{run.log_name}.log"), key=lambda path: path.stat().st_mtime
    )
    checkpoints = list(folder.glob("checkpoint/*"))
    line = _last_line(logs[-1]) if logs else ""
    if line.startswith("error:"):
        return "failed", line
    newest = max((path.stat().st_mtime for path in [*logs, *checkpoints]), default=0.0)
    if time.time() - newest < FRESH:
        return "running", line if "%" in line else ""
    if (folder / "run.json").exists():
        return "trained", ""
    return ("interrupted" if checkpoints else "missing"), ""


def _last_line(log: Path) -> str:
    """The last line, without tqdm's drawing of a bar."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return re.sub(r"\|[#0-9 ]*\|", "", lines[-1]).strip() if lines else ""


def table_status(config: Config, name: str, results: Path) -> RenderableType:
    """A table as it stands: a number where its runs are done, else the states of its runs."""
    states = {run: run_state(results, run) for run in table_runs(config, name)}
    spec = resolve_table(config, name)

    def text(row: pd.Series) -> str:
        place = (spec["budget"], row["dataset"], row["model"], row["prior"])
        runs = [Run(*place, seed) for seed in spec["seeds"]]
        waiting = {_short(*states[run]): None for run in runs if states.get(run, DONE) != DONE}
        there = pd.notna(row["ours"]) or pd.notna(row["quoted"])
        return ", ".join([cell_text(row)] * there + list(waiting))

    wide = layout(table_rows(name, spec, results), text)
    shown = Table("", *wide.columns, title=f"Table {paper_number(name)}. {spec['caption']}")
    for label, cells in wide.iterrows():
        styles = [STYLES.get(cell.partition(" ")[0], "") for cell in cells]
        shown.add_row(str(label), *map(Text, cells, styles))
    counts = Counter(state for state, _ in states.values())
    summary = [f"{counts[state]} {state}" for state in STYLES if state in counts]
    lines = [
        Text(f"{run.name}: {state}: {line}", STYLES[state])
        for run, (state, line) in states.items()
        if line
    ]
    return Group(shown, Text(f"{len(states)} runs: {', '.join(summary)}"), *lines, "")


def _short(state: str, line: str) -> str:
    """'running 68%'."""
    percent = re.search("[0-9]+%", line) if state == "running" else None
    return f"{state} {percent[0]}" if percent else state
