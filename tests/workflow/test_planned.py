"""The shipped Snakefile, through Snakemake itself: what is planned."""

import re
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from changed_config import all_runs, paper_tables
from small_workflow import DEMO, ROOT, STEPS, TINY_DEMO, planned, run_jobs, snakemake

from resampled_priors.experiment import Run, load_config, merge, runs_trained_together, table_runs


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_every_run_of_the_paper_is_planned_once(fresh, seeds):
    overlay = {"budgets": {"short": {"seeds": seeds}}}
    config = merge(load_config([ROOT / "config.yaml"]), overlay)
    runs = all_runs(config)
    assert len(runs) == 51 * len(seeds)
    datasets = ("static_mnist", "dynamic_mnist", "omniglot", "fashion_mnist")
    expected = Counter(
        [job for run in runs for job in run_jobs(run)]
        + [("prepare", dataset) for dataset in datasets]
        + [("table", table) for table in paper_tables(config)]
    )
    assert planned(fresh, overlay, demo=False) == expected
    assert max(expected.values()) == 1


def test_the_demo_plans_all_tables_on_the_digits(fresh):
    done = snakemake(fresh, "--dry-run", "tables", configfiles=["config/demo.yaml"])
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    together = {name for name in counts if "_together_" in name}
    assert {name: n for name, n in counts.items() if name not in together} == {
        "prepare": "1",
        "fit_posthoc": "1",  # and its Z and NLL, of the one run that is trained alone
        "estimate_z": "1",
        "evaluate": "1",
        "table": "8",
        "tables": "1",
        "total": "40",
    }
    groups = {step: {n for n in together if n.startswith(step)} for step in STEPS}
    assert {step: len(names) for step, names in groups.items()} == dict.fromkeys(STEPS, 9)
    assert sum(map(len, groups.values())) == len(together)
    assert "rule train" not in done.stdout and len(done.stdout.splitlines()) < 70
    assert "Time at the rates measured on cpu, one job after another:" in done.stdout
    assert "dynamic_mnist" not in done.stdout


def test_rivals_are_planned_by_a_target_of_their_own(fresh):
    done = snakemake(fresh, "--dry-run", "rivals", configfiles=["config/demo.yaml"])
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    config = load_config([ROOT / "config.yaml", ROOT / "config/demo.yaml"])
    tables = [table for table in config["tables"] if table.startswith("tableR")]
    runs = {run for table in tables for run in table_runs(config, table)}
    groups = runs_trained_together(config)
    shown = {n for n, group in enumerate(groups) if runs.intersection(group)}
    alone = sum("base" in config["priors"][run.prior] for run in runs)
    assert (counts["table"], counts["figure"], counts["evaluate"]) == ("2", "1", str(alone))
    assert {n for n in range(len(groups)) if f"evaluate_together_{n}" in counts} == shown
    assert {run.dataset for run in runs} == {"digits"}


def test_touch_says_what_counts_as_made(fresh):
    (fresh / "results").mkdir()
    for suffix in ("pdf", "png", "npz"):
        (fresh / f"results/figA1.{suffix}").touch()
    targets = ("results/figA1.pdf", "results/fig1.pdf")
    done = snakemake(fresh, "--touch", *targets, configfiles=[])
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert "counted as made, nothing was run: 1 figure" in lines
    [absent] = [line for line in lines if line.startswith("not there, made when something needs")]
    assert "1 figA1.json" in absent and "1 lars_1d.npz" in absent
    assert "Finished jobid" not in done.stdout and len(lines) < 50


def test_one_cell_is_one_run(fresh):
    run = Run("short", "dynamic_mnist", "vae", "lars_T50", 0)
    jobs = planned(fresh, target=f"results/{run.folder}/metrics.json", demo=False)
    assert jobs == Counter([("prepare", "dynamic_mnist"), *run_jobs(run)])


def test_a_post_hoc_cell_trains_its_base_and_no_more(fresh):
    run, base = (
        Run("short", "omniglot", "vae", prior, 3) for prior in ("lars_posthoc", "standard")
    )
    jobs = planned(fresh, target=f"results/{run.folder}/metrics.json", demo=False)
    expected = [("prepare", "omniglot"), *run_jobs(base, ("train",)), *run_jobs(run)]
    assert jobs == Counter(expected)


def test_a_run_of_another_budget_is_trained_at_that_budget(fresh):
    """The budget in force, short, is for tables and figures; a run's own is in its address."""
    run = Run("paper", "dynamic_mnist", "vae", "lars_posthoc", 1)
    target = f"results/{run.folder}/metrics.json"
    base = replace(run, prior="standard")
    expected = [("prepare", "dynamic_mnist"), *run_jobs(base, ("train",)), *run_jobs(run)]
    assert planned(fresh, target=target, demo=False) == Counter(expected)
    done = snakemake(fresh, "--dry-run", "--printshellcmds", target, configfiles=[])
    assert done.stdout.count('"iterations": 10000000, "warm_up": 100000') == 2
    assert '{"z_samples": 10000000000, "z_target": null}' in done.stdout
    unknown = target.replace("paper", "papr")
    assert "MissingRule" in snakemake(fresh, "--dry-run", unknown, configfiles=[]).stdout


def test_the_snakefile_where_the_workflow_catalog_looks(fresh):
    arguments = ("--snakefile", "workflow/Snakefile", "--dry-run", "tables")
    done = snakemake(fresh, *arguments, configfiles=["config/demo.yaml"])
    assert done.returncode == 0, done.stdout
    assert re.search(r"^total +40$", done.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("overlay", "message"),
    {
        "budgets: {short: {iteratoins: 3}}": (
            "config: unknown key 'budgets.short.iteratoins': did you mean 'iterations'?"
        ),
        "tables: {tableD2: {model: vea}}": "config: tables.tableD2: unknown model 'vea'",
    }.items(),
)
def test_a_wrong_config_is_one_line(fresh, overlay, message):
    (fresh / "wrong.yaml").write_text(overlay)
    done = snakemake(fresh, "--dry-run", "tables", configfiles=["wrong.yaml"])
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    [line] = [line for line in done.stdout.splitlines() if message in line]
    # nothing follows it but the place in the workflow's own files
    after = done.stdout.split(line)[1].strip().splitlines()
    assert all(re.match(r" *File .*\.smk\"?, line|", text) for text in after)


def test_snakemake_has_nothing_to_complain_of(fresh):
    done = snakemake(fresh, "--lint", configfiles=[])
    assert done.returncode == 0, done.stdout
    assert "Congratulations, your workflow is in a good condition!" in done.stdout


def test_the_page_of_everything_waits_for_all_tables_and_figures(fresh):
    """And for no run by itself: it shows what they were made from."""
    done = snakemake(fresh, "--dry-run", "-p", "index", configfiles=DEMO)
    assert done.returncode == 0, done.stdout
    [rule] = re.findall(r"^rule page:\n(?: .*\n)+", done.stdout, flags=re.MULTILINE)
    [inputs] = re.findall("input: (.*)", rule)
    assert "output: my results/index.html" in rule
    for name in [*TINY_DEMO["tables"], *TINY_DEMO["figures"]]:
        assert f"my results/{name}." in inputs
    assert "runs/" not in inputs


def test_the_rule_graph_of_the_documentation_is_current(fresh):
    """After a change of rules: snakemake --rulegraph all | dot -Tsvg > docs/rulegraph.svg"""
    done = snakemake(fresh, "--rulegraph", "--quiet", "all", "--", "all", configfiles=[])
    labels = dict(re.findall(r'(\d+)\[label = "(\w+)"', done.stdout))
    edges = {(labels[a], labels[b]) for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)}
    svg = ElementTree.parse(ROOT / "docs" / "rulegraph.svg")
    drawn, arrows = {}, []
    for group in svg.iterfind(".//{*}g[@class]"):
        title = group.find("{*}title").text
        if group.get("class") == "node":
            drawn[title] = group.find(".//{*}text").text
        elif group.get("class") == "edge":
            arrows.append(title.split("->"))
    assert len(edges) > 10
    assert {(drawn[a], drawn[b]) for a, b in arrows} == edges
