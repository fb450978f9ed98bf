"""Which runs are done, at work or missing: the config's tables with the numbers there are."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..experiment import Config, Run, paper_number, resolve_table, table_runs
from .tables import MARKS, cell_text, layout, table_rows

WIDTH = 80  # characters of a terminal; a table that is wider goes on below
BETWEEN = 2  # characters between two columns
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


def status(config: Config, names: list[str], results: Path) -> RenderableType:
    """These tables as they stand, what their signs mean, and how many runs are done in all."""
    runs = {run: None for name in names for run in table_runs(config, name)}
    legend = [f"{mark} {meaning}" for mark, meaning in MARKS.values() if mark != "—"]
    return Group(
        *(table_status(config, name, results) for name in names),
        Text("\n".join(["(the paper's number; ours less the paper's)", *legend]), "dim"),
        Text(f"\nIn all, {_counts([run_state(results, run)[0] for run in runs])}"),
    )


def _counts(states: list[str]) -> str:
    """'2 of 5 runs are done; 1 running, 2 missing'."""
    counts = Counter(states)
    others = [f"{counts[state]} {state}" for state in STYLES if counts[state] and state != "done"]
    done = f"{counts['done']} of {len(states)} runs are done"
    return "; ".join([done, *([", ".join(others)] if others else [])])


def table_status(config: Config, name: str, results: Path) -> RenderableType:
    """A table as it stands: a number where its runs are done, else the states of its runs."""
    states = {run: run_state(results, run) for run in table_runs(config, name)}
    spec = resolve_table(config, name)

    def text(row: pd.Series) -> str:
        place = (row["budget"], row["dataset"], row["model"], row["prior"])
        runs = [Run(*place, seed) for seed in spec["seeds"]]
        waiting = {_short(*states[run]): None for run in runs if states.get(run, DONE) != DONE}
        there = pd.notna(row.get("device")) or pd.notna(row["quoted"])
        return ", ".join([cell_text(row)] * there + list(waiting))

    parts = [_shown(part) for part in _in_parts(layout(table_rows(name, spec, results), text))]
    parts[0].title = f"Table {paper_number(name)}. {spec['caption']}"
    parts[0].title_justify = "left"
    lines = [
        Text(f"{run.name}: {state}: {line}", STYLES[state])
        for run, (state, line) in states.items()
        if line
    ]
    return Group(*parts, Text(_counts([state for state, _ in states.values()])), *lines, "")


def _least_width(head: str, texts: Iterable[str]) -> int:
    """That of a column's longest word."""
    return max(map(len, " ".join([head, *texts]).split()))


def _in_parts(wide: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The columns in groups, each with the rows' names as narrow as a terminal."""
    names = _least_width("", wide.index) + BETWEEN
    first, width = 0, names
    for place, (head, texts) in enumerate(wide.items()):
        least = _least_width(head, texts) + BETWEEN
        if width + least > WIDTH and place > first:
            yield wide.iloc[:, first:place]
            first, width = place, names
        width += least
    yield wide.iloc[:, first:]


def _shown(wide: pd.DataFrame) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for head, texts in [("", wide.index), *wide.items()]:
        shown.add_column(head, overflow="fold", min_width=_least_width(head, texts))
    for label, cells in wide.iterrows():
        styles = [STYLES.get(cell.partition(" ")[0], "") for cell in cells]
        shown.add_row(str(label), *map(Text, cells, styles))
    return shown


def _short(state: str, line: str) -> str:
    """'running 68%'."""
    percent = re.search("[0-9]+%", line) if state == "running" else None
    return f"{state} {percent[0]}" if percent else state
