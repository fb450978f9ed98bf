"""Commands in terminals and batch systems whose encoding is not UTF-8."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from resampled_priors import cli
from resampled_priors.experiment import Run
from resampled_priors.machine import terminal

CONFIG_FILE = Path(__file__).parents[2] / "config.yaml"
RUN = Run("short", "digits", "vae", "lars_Tinf", 0)
LINE = (
    "import sys; from resampled_priors import cli\n"
    "for sys.argv in {commands}:\n"
    "    try: cli.main()\n"
    "    except SystemExit as end: print('exit', end.code, flush=True)"
)
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_command_works(encoding, digits, tmp_path):
    """All in one process; the run's own figures and a failure, too."""
    spec = {"caption": "T = ∞ ± …", "dataset": "digits", "model": "vae"}
    spec |= {"rows": [{"prior": RUN.prior}], "columns": [{"metric": "nll"}, {"metric": "z"}]}
    budget = {"iterations": 2, "warm_up": 1, "importance_samples": 1, "z_samples": 2_000}
    overlay = {"tables": {"mine": spec}, "budgets": {"short": budget}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    config = ["--configfile", str(CONFIG_FILE), "--configfile", str(tmp_path / "own.yaml")]
    run, results, data = str(tmp_path / RUN.folder), ["--results", str(tmp_path)], str(digits)
    commands = [
        ["train", run, "--data", data, "--device", "cpu", *config],
        ["estimate-z", run, "--device", "cpu", *config],
        ["evaluate", run, "--data", data, "--device", "cpu", *config],
        ["table", "mine", *results, *config],
        ["status", *results, *config],
        ["verify", str(tmp_path), "--data", str(digits.parent)],
        ["status", "∞", *results, *config],
    ]
    line = LINE.format(commands=json.dumps([["resampled-priors", *c] for c in commands]))
    done = subprocess.run(
        [sys.executable, "-c", line],
        env={k: v for k, v in os.environ.items() if k not in ("LC_ALL", "PYTHONUTF8")}
        | ENCODINGS[encoding],
        capture_output=True,
        check=False,
    )
    out, error = done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    assert "Traceback" not in error, error
    codes = [int(x.split()[1]) for x in out.splitlines() if x.startswith("exit ")]
    assert codes == [0, 0, 0, 0, 0, 0, 1], out + error
    assert f"mine   {RUN.prior}" in out or "T = inf" in out
    assert "all that is there matches" in out
    assert "unknown table 'inf'" in error
    assert "T = ∞" in (tmp_path / "mine.md").read_text(encoding="utf-8")


def test_what_an_encoding_lacks_is_written_in_ascii(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["resampled-priors", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert (
        "92.3 ± 0.1, T = ∞; \udcfc ü".encode("ascii", "in_ascii") == b"92.3 +/- 0.1, T = inf; ? ?"
    )


def test_importing_changes_no_stream():
    line = (
        "import sys; before = [s.errors for s in (sys.stdout, sys.stderr)]; "
        "import resampled_priors.cli; "
        "print(before == [s.errors for s in (sys.stdout, sys.stderr)])"
    )
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert terminal.IN_ASCII["−"] == "-"
