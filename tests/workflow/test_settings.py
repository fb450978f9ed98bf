"""Results whose settings Snakemake has no memory of: refused where they are not the config's."""

import json
import shutil

import yaml
from small_workflow import copy_workflow, planned, snakemake

TABLE = {"caption": "One run", "dataset": "digits", "model": "vae", "columns": [{"metric": "nll"}]}
TABLE["rows"] = [{"prior": "lars_T2"}]
REFUSED = (
    "my results/runs/demo/digits/vae/lars_T2/seed0: prior.truncation is 2 in run.json and 7 in "
    "the config: train it again (delete the folder), or correct the config"
)


def test_a_run_of_other_settings_is_refused_where_snakemake_would_keep_it(tmp_path):
    folder = copy_workflow(tmp_path / "work")
    mine = {"tables": {"mine": TABLE}, "budgets": {"demo": {"iterations": 2, "warm_up": 1}}}
    (folder / "own.yaml").write_text(yaml.safe_dump(mine))
    configfiles = ["config/demo.yaml", "tiny.yaml", "own.yaml"]
    table = "my results/mine.md"

    def make(*arguments):
        return snakemake(folder, table, *arguments, configfiles=configfiles)

    done = make()
    assert done.returncode == 0, done.stdout
    changed = mine | {"priors": {"lars_T2": {"truncation": 7, "label": "LARS; T = 7"}}}
    overlay = changed | {"pathvars": {"results": "my results", "data": "my data"}}
    assert planned(folder, overlay, table)["train", "demo", "digits", "vae", "lars_T2", "0"] == 1

    (folder / "own.yaml").write_text(yaml.safe_dump(changed))
    shutil.move(folder / ".snakemake", tmp_path / "memory")
    for arguments in ([], ["--touch"], ["--dry-run"]):
        done = make(*arguments)
        assert done.returncode == 1, done.stdout
        assert REFUSED in done.stdout.splitlines()
    (folder / table).unlink()
    done = make()
    assert done.returncode == 1 and REFUSED in done.stdout.splitlines()
    assert not (folder / table).exists()

    run = folder / "my results/runs/demo/digits/vae/lars_T2/seed0"
    assert json.loads((run / "run.json").read_text())["settings"]["prior"]["truncation"] == 2
    (folder / "own.yaml").write_text(yaml.safe_dump(mine))
    done = make()
    assert done.returncode == 0, done.stdout
    assert "T = 7" not in (folder / table).read_text()
