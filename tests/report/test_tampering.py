"""Every field of every record of a small results folder changed, with the sums made anew.

Counted is what `verify` does not see. What a chain of hashes cannot show is named here as in
docs/numbers.md: the numbers of the last link, which no other file names.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resampled_priors.experiment import Run, load_config, resolve_run, resolve_table
from resampled_priors.files import read_json, sha256, write_json
from resampled_priors.report.figures import make_figure
from resampled_priors.report.tables import write_table
from resampled_priors.report.verify import verify
from resampled_priors.runs.steps import estimate_run_z, evaluate_run, train_run

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])
STANDARD, POSTHOC = (Run("short", "digits", "vae", p, 0) for p in ("standard", "lars_posthoc"))
FIGURE = {"kind": "running_z", "runs": [POSTHOC.folder], "num_samples": 1_000, "seed": 0}


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A results folder with a run, one fitted to it post hoc, a table and a figure; the data."""
    folder = tmp_path_factory.mktemp("whole")
    data = Path(shutil.copy(digits, folder / "digits.safetensors"))
    results = folder / "results"
    for run in (STANDARD, POSTHOC):
        settings = resolve_run(CONFIG, run)
        settings["training"] |= {"iterations": 2, "warm_up": 1}
        base = None if run is STANDARD else results / STANDARD.folder / "model.safetensors"
        train_run(results / run.folder, settings, data, base, "cpu")
        estimate_run_z(results / run.folder, 2_000, None, "cpu")
        evaluate_run(results / run.folder, data, 2, "cpu")
    rows = [
        {"prior": "standard"},
        {"prior": "lars_posthoc"},
        {"label": "A", "quoted": {"digits": 7}},
    ]
    table = CONFIG["tables"]["tableD4"] | {"dataset": "digits", "rows": rows}
    spec = resolve_table(CONFIG | {"tables": {"tableD4": table}}, "tableD4")
    write_table("tableD4", spec, results)
    make_figure("figA2", FIGURE, results, folder)
    assert verify(results, folder)[2] == []
    return folder


@pytest.fixture
def results(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy")) / "results"


def unseen(results: Path) -> bool:
    problems = verify(results, results.parent)[2]
    assert not any("\n" in line for line in problems)
    return not problems


# Records -----------------------------------------------------------------------------------------


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """The place of every value in a record, those within others too."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inside:
        yield (*at, key)
        if isinstance(part, dict | list):
            yield from places(part, (*at, key))


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if value is None:
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.01 + 1e-4
    if isinstance(value, str):
        return ("1" if value[:1] != "1" else "2") + value[1:]
    return type(value)()


def tampered(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A record with one value changed, removed, or added; what was done."""
    for place in places(record):
        for what in ("changed", "removed"):
            copy = json.loads(json.dumps(record))
            part = copy
            for key in place[:-1]:
                part = part[key]
            if what == "removed":
                del part[place[-1]]
            elif part[place[-1]] == other(part[place[-1]]):
                continue  # an empty list
            else:
                part[place[-1]] = other(part[place[-1]])
            yield f"{'.'.join(map(str, place))} {what}", copy
    yield "a key added", {**record, "added": 1}


def missed(path: Path, results: Path) -> tuple[int, list[str]]:
    """How many changes were made to a record, one at a time, and those that were not seen."""
    content, record = path.read_bytes(), read_json(path)
    found, count = [], 0
    for what, changed in tampered(record):
        write_json(path, changed)
        count += 1
        if unseen(results):
            found.append(what)
    path.write_bytes(content)
    return count, found


RECORDS = [
    *(f"{run.folder}/{n}.json" for run in (STANDARD, POSTHOC) for n in ("run", "z", "metrics")),
    "tableD4.json",
    "figA2.json",
]


@pytest.mark.parametrize("name", RECORDS)
def test_a_changed_record_is_seen(name, results):
    count, found = missed(results / name, results)
    print(f"{name}: {len(found)} of {count} changes unseen")
    assert count > 10
    assert found == []


# Nothing names the metrics of a run that no table shows.
LAST_LINK = {
    *("nll", "nll_se", "elbo_se", "kl_se", "recons_se"),
    *("num_importance_samples", "num_test_images", "evaluate_seconds", "git_commit", "git_dirty"),
    "sample_seconds",
}


def test_what_is_seen_of_the_last_link(results):
    for path in results.glob("tableD4.*"):
        path.unlink()
    count, found = missed(results / POSTHOC.folder / "metrics.json", results)
    print(f"metrics.json of a run in no table: {len(found)} of {count} changes unseen: {found}")
    changed = {what.split()[0] for what in found if what.endswith(" changed")}
    assert changed <= LAST_LINK


# Other files -------------------------------------------------------------------------------------


def with_sums_anew(results: Path, suffix: str) -> None:
    path = results / "tableD4.json"
    record = read_json(path)
    record["files"][suffix] = sha256(results / f"tableD4.{suffix}")
    write_json(path, record)


@pytest.mark.parametrize("suffix", ["csv", "md", "tex", "html"])
def test_a_changed_digit_of_a_table_is_seen(suffix, results):
    path, record = results / f"tableD4.{suffix}", results / "tableD4.json"
    content, recorded = path.read_bytes(), record.read_bytes()
    digits = [i for i, byte in enumerate(content) if byte in b"0123456789"][::4]
    found = 0
    for position in digits:
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        found += unseen(results)
        with_sums_anew(results, suffix)
        found += unseen(results)
        record.write_bytes(recorded)
    print(f"tableD4.{suffix}: {found} of {2 * len(digits)} changed digits unseen")
    assert len(digits) > 5 and found == 0


def lines_of(change):
    return lambda text: "\n".join(change(text.splitlines())) + "\n"


EDITS = {
    "csv, labels exchanged": (
        "csv",
        lambda text: text.replace("standard", "?").replace("LARS post hoc", "standard"),
    ),
    "csv, a row removed": ("csv", lines_of(lambda lines: [*lines[:1], *lines[2:]])),
    "csv, a row twice": ("csv", lines_of(lambda lines: [*lines, lines[-1]])),
    "md, caption": ("md", lambda text: text.replace("Budget short", "Budget paper")),
    "md, appended": ("md", lambda text: text + "\nAll of it verified.\n"),
    "md, rows exchanged": ("md", lines_of(lambda x: [*x[:4], x[5], x[4], *x[6:]])),
    "tex, caption": ("tex", lambda text: text.replace("Budget short", "Budget paper")),
    "html, title": ("html", lambda text: text.replace("D.4", "D.5")),
    "html, a note": ("html", lambda text: text.replace("</body>", "<p>verified</p></body>")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_table_is_seen(edit, results):
    suffix, change = EDITS[edit]
    path = results / f"tableD4.{suffix}"
    before = path.read_text(encoding="utf-8")
    path.write_text(change(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    assert not unseen(results)
    with_sums_anew(results, suffix)
    assert not unseen(results)


@pytest.mark.parametrize(
    "name", ["figA2.npz", "figA2.pdf", "figA2.png", f"{POSTHOC.folder}/training.csv"]
)
def test_a_changed_byte_is_seen(name, results):
    path = results / name
    content = path.read_bytes()
    positions = range(0, len(content), max(1, len(content) // 25))
    found = 0
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        found += unseen(results)
    path.write_bytes(content)
    print(f"{name}: {found} of {len(positions)} changed bytes unseen")
    assert found == 0 and unseen(results)


@pytest.mark.parametrize("name", ["tableD4", "figA2"])
def test_a_record_or_a_file_that_is_gone_is_seen(name, results):
    for path in sorted(results.glob(f"{name}.*")):
        content = path.read_bytes()
        path.unlink()
        assert not unseen(results), path
        path.write_bytes(content)
