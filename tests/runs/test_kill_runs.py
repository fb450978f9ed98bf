"""Twenty real kills; `python tests/kill_runs.py` does more of them, to every kind of run."""

import subprocess
import sys
from pathlib import Path


def test_twenty_kills_lose_nothing():
    program = Path(__file__).with_name("kill_runs.py")
    kinds = ["vae/lars", "vae/lars_posthoc", "vae/early stopping"]
    done = subprocess.run(
        [sys.executable, program, "--kills", "20", "--seed", "1", "--kinds", *kinds],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nin all 20 kills, 0 results lost: " in done.stdout
