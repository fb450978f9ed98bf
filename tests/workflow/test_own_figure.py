"""A figure that a user's config adds, through Snakemake."""

import numpy as np
import yaml
from small_workflow import copy_workflow, planned, snakemake


def test_a_figure_of_ones_own_is_made_by_name_and_with_all_others(tmp_path):
    folder = copy_workflow(tmp_path / "work")
    mine = {"caption": "Mine", "kind": "ranked", "runs": ["digits/vae/lars"], "seed": 0}
    mine |= {"groups": ["highest", "random"], "grid": [2, 3], "num_proposals": 50}
    overlay = {"figures": {"my_figure": mine}}
    (folder / "own.yaml").write_text(yaml.safe_dump(overlay))
    configfiles = ["config/demo.yaml", "tiny.yaml", "own.yaml"]
    done = snakemake(folder, "my results/my_figure.pdf", configfiles=configfiles)
    assert done.returncode == 0, done.stdout
    assert (folder / "my results" / "my_figure.pdf").read_bytes().startswith(b"%PDF")
    assert np.load(folder / "my results" / "my_figure.npz")["kind"] == "ranked"
    assert planned(folder, overlay, "my results/my_figure.pdf") == {}

    changed = {"figures": {"my_figure": mine | {"grid": [1, 2]}}}
    everything = snakemake(folder, "--dry-run", "-p", "figures", configfiles=configfiles).stdout
    assert "my results/fig3.pdf" in everything and "output: my results/my_figure" not in everything
    assert planned(folder, changed, "my results/my_figure.pdf") == {("figure", "my_figure"): 1}
    again = snakemake(folder, "--dry-run", "-p", "--forceall", "figures", configfiles=configfiles)
    assert "output: my results/my_figure.pdf" in again.stdout
