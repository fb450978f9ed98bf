"""Reading config files: laid over one another, and refused in one line."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from changed_config import CONFIG, ROOT, all_runs
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from snakemake.utils import update_config

from resampled_priors import experiment
from resampled_priors.experiment import load_config, merge

keys = st.sampled_from("abc")


values = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3),
    max_leaves=6,
)


mappings = st.dictionaries(keys, values, max_size=3)


@given(base=mappings, overlay=mappings)
def test_merge_is_snakemakes(base, overlay):
    expected = copy.deepcopy(base)
    update_config(expected, copy.deepcopy(overlay))
    before = copy.deepcopy((base, overlay))
    assert merge(base, overlay) == expected
    assert (base, overlay) == before


def test_overlays_and_values_in_their_order(tmp_path):
    for name, text in {
        "one": "priors: {lars: {truncation: 7, smoothing: 0.5}}\nbudget: demo",
        "two": "priors: {lars: {truncation: 8}}",
        "empty": "# nothing",
    }.items():
        (tmp_path / name).write_text(text)
    files = [ROOT / "config.yaml", *(tmp_path / name for name in ("one", "two", "empty"))]
    config = load_config(files, ["device=cpu", "budget=paper"])
    lars = config["priors"]["lars"]
    assert (lars["truncation"], lars["smoothing"], lars["hidden"]) == (8, 0.5, [100, 100])
    assert (config["device"], config["budget"]) == ("cpu", "paper")


@pytest.mark.parametrize(
    ("removed", "left"),
    [
        ("tables: {tableD6: null}", "tableD5"),
        ("figures: {fig1: null}\ntoys: {lars_1d: null}", "fig2"),
        ("tables: {tableD3: null}\nfigures: {figT3: null}\npriors: {lars_T10: null}", "lars_T50"),
        ("budgets: {demo: null}", "short"),
        ("budgets: {demo: {models: {vae: null}}}", "demo"),
    ],
)
def test_an_overlay_removes_an_entry(tmp_path, removed, left):
    (tmp_path / "removed.yaml").write_text(removed)
    config = load_config([ROOT / "config.yaml", tmp_path / "removed.yaml"])
    for section, names in yaml.safe_load(removed).items():
        for name, entry in names.items():
            assert (name in config[section]) == (entry is not None)
    assert any(left in config[section] for section in yaml.safe_load(removed))


def test_what_else_needs_a_removed_entry_is_named(tmp_path):
    (tmp_path / "removed.yaml").write_text("priors: {realnvp: null}")
    with refused("unknown prior 'realnvp'"):
        load_config([ROOT / "config.yaml", tmp_path / "removed.yaml"])


@pytest.mark.parametrize("overlay", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_shipped_overlays_are_valid(overlay):
    load_config([ROOT / "config.yaml", ROOT / "config" / overlay])


def test_the_demo_needs_no_data_but_the_embedded():
    demo = load_config([ROOT / "config.yaml", ROOT / "config" / "demo.yaml"])
    runs = all_runs(demo)
    assert {run.dataset for run in runs} == {"digits"}
    assert len(runs) == 25
    assert CONFIG["tables"].keys() - demo["tables"].keys() == {"tableR3"}
    slow = {"tableR1": {("vae", f"lars_{flow}") for flow in ("maf", "realnvp_large", "spline")}}
    for table in demo["tables"]:  # else it shows the same models and priors as the real thing
        shown = {(r.model, r.prior) for r in experiment.table_runs(demo, table)}
        wanted = {(r.model, r.prior) for r in experiment.table_runs(CONFIG, table)}
        assert wanted - shown == slow.get(table, set()) and shown <= wanted, table


@pytest.mark.parametrize("name", ["config.schema.yaml", "families.schema.yaml"])
def test_the_workflows_schema_is_the_packages(name):
    schema = ROOT / "workflow" / "schemas" / name
    assert schema.read_bytes() == Path(experiment.__file__).with_name(schema.name).read_bytes()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "missing.yaml cannot be read"),
        ("a: [1", "missing.yaml cannot be read"),
        ("- a\n- b", "missing.yaml cannot be read"),
        ("just text", "missing.yaml cannot be read"),
        (b"\xff\xfe\x00", "missing.yaml cannot be read"),
    ],
)
def test_unreadable_config_file(tmp_path, content, match):
    path = tmp_path / "missing.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(match):
        load_config([ROOT / "config.yaml", path])


@pytest.mark.parametrize(
    ("pair", "match"),
    [
        ("budget", "KEY=VALUE"),
        ("budget=[a", r"budget=\[a is not YAML"),
        ("bugdet=demo", "unknown key 'bugdet': did you mean 'budget'"),
        ("budget=dmeo", "unknown budget 'dmeo': did you mean 'demo'"),
    ],
)
def test_wrong_value_on_the_command_line(pair, match):
    with refused(match):
        load_config([ROOT / "config.yaml"], [pair])


def test_reading_the_config_does_not_load_torch():
    code = "import sys, resampled_priors.experiment as e; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
