"""The workflow as a module of another, and runs trained together."""

import json
import re

import yaml
from small_workflow import DEMO, ROOT, TINY, TINY_DEMO, copy_workflow, snakemake

from resampled_priors.experiment import Run

MODULE = """
from resampled_priors.experiment import load_config


module resampled_priors:
    snakefile: "{root}/workflow/Snakefile"
    config: load_config(["{root}/config.yaml", "{root}/config/demo.yaml", "mine.yaml"])
    prefix: "priors"


use rule * from resampled_priors as priors_*


rule mine:
    default_target: True
    input: "priors/my results/mine.md"
    output: "mine.txt"
    shell: "cp {{input:q}} {{output:q}}"
"""


def test_another_workflow_uses_this_one_as_a_module(tmp_path):
    table = TINY_DEMO["tables"]["tableD2"] | {"rows": [{"prior": "standard"}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**TINY, "tables": {"mine": table}}))
    (tmp_path / "Snakefile").write_text(MODULE.format(root=ROOT))
    plan = snakemake(tmp_path, "--dry-run", configfiles=[])
    assert plan.returncode == 0, plan.stdout
    steps = ("prepare", "train", "estimate_z", "evaluate", "table")
    for name in [*(f"priors_{step}" for step in steps), "mine"]:
        assert re.search(rf"^{name} +1$", plan.stdout, flags=re.MULTILINE), name
    done = snakemake(tmp_path, configfiles=[])
    assert done.returncode == 0, done.stdout
    folder = (
        tmp_path / "priors" / "my results" / Run("demo", "digits", "vae", "standard", 0).folder
    )
    nll = json.loads((folder / "metrics.json").read_text())["nll"]
    assert f"{nll:.2f}" in (tmp_path / "mine.txt").read_text()


def test_runs_trained_together_are_those_trained_alone(tmp_path):
    """One job for several runs of a model; the same weights, in the same run folders."""
    results, model = "my results", "runs/demo/digits/vae/lars_T2/seed0/model.safetensors"
    weights = {}
    for together in (1, 3):
        folder = copy_workflow(tmp_path / str(together))
        (folder / "together.yaml").write_text(f"runs_per_process: {together}")
        configs = [*DEMO, "together.yaml"]
        done = snakemake(folder, f"{results}/{model}", configfiles=configs)
        assert done.returncode == 0, done.stdout
        assert len(list(folder.glob(f"{results}/runs/*/*/*/*/*/run.json"))) == together
        assert ("train_together" in done.stdout) == (together > 1)
        weights[together] = (folder / results / model).read_bytes()
    assert weights[1] == weights[3]
