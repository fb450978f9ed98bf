"""Provenance: what matches, every kind of mismatch by its name, and what is absent."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from resampled_priors import cli
from resampled_priors.experiment import Run, load_config, resolve_run, resolve_table
from resampled_priors.files import read_json, sha256, write_json
from resampled_priors.report.tables import write_table
from resampled_priors.report.verify import verify
from resampled_priors.runs.steps import estimate_run_z, evaluate_run, train_run

ROOT = Path(__file__).parents[2]
CONFIG = load_config([ROOT / "config.yaml"])
STANDARD, POSTHOC = (f"short/digits/vae/{prior}/seed0" for prior in ("standard", "lars_posthoc"))


def make(results, data, prior, iterations=2):
    run = Run("short", "digits", "vae", prior, 0)
    settings = resolve_run(CONFIG, run)
    settings["training"] |= {"iterations": iterations, "warm_up": 1}
    base = results / "runs" / STANDARD / "model.safetensors" if "posthoc" in prior else None
    folder = results / run.folder
    train_run(folder, settings, data, base, "cpu")
    return folder


@pytest.fixture(scope="module")
def made(digits, tmp_path_factory):
    """A results folder with a run, a post-hoc one fitted to it, their table; and the data."""
    folder = tmp_path_factory.mktemp("made")
    data = Path(shutil.copy(digits, folder / "digits.safetensors"))
    for prior in ("standard", "lars_posthoc"):
        run = make(folder / "results", data, prior)
        estimate_run_z(run, 2_000, None, "cpu")
        evaluate_run(run, data, 2, "cpu")
    rows = [{"prior": "standard"}, {"prior": "lars_posthoc"}, {"prior": "maf"}]
    table = CONFIG["tables"]["tableD4"] | {"dataset": "digits", "rows": rows}
    spec = resolve_table(CONFIG | {"tables": {"tableD4": table}}, "tableD4")
    write_table("tableD4", spec, folder / "results")
    return folder


@pytest.fixture
def results(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "copy")) / "results"


def test_all_is_well(results):
    runs, numbers, problems = verify(results, results.parent)
    assert problems == []
    assert list(runs["run"]) == [POSTHOC, STANDARD]
    for _, row in runs.iterrows():
        run = read_json(results / "runs" / row["run"] / "run.json")
        assert row["weights"] == f"{run['model_sha256'][:12]} ok"
        assert row["data"] == f"{sha256(results.parent / 'digits.safetensors')[:12]} ok"
        assert row["trained by"].startswith((run["git_commit"] or "unknown")[:7])
        assert row["evaluated by"] == row["trained by"]
    assert runs["settings"].nunique() == 2
    metrics = read_json(results / "runs" / POSTHOC / "metrics.json")
    row = numbers[numbers["runs"] == POSTHOC].iloc[0]
    assert row["number"] == f"{metrics['nll']:.6g}"
    assert len(numbers) == 4 and set(numbers["metrics"]) == {"ok"}  # maf has not been run


def test_what_is_absent_is_no_mismatch(results):
    for weights in results.rglob("*.safetensors"):
        weights.unlink()
    shutil.rmtree(results / "runs" / STANDARD)
    runs, numbers, problems = verify(results, results / "none")
    assert problems == []
    assert list(runs["run"]) == [POSTHOC]
    assert runs["weights"].str.endswith(" absent").all()
    assert runs["data"].str.endswith(" absent").all()
    assert list(numbers["metrics"]) == ["absent", "absent", "ok", "ok"]


def spoil_weights(results):
    path = results / "runs" / POSTHOC / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def other_data(results):
    path = results.parent / "digits.safetensors"
    save_file(load_file(path), path)


def retrained_base(results):
    make(results, results.parent / "digits.safetensors", "standard", iterations=3)


def changed(name, run=POSTHOC, **values):
    """A record with these values, its checksum right."""

    def change(results):
        path = results / "runs" / run / name
        write_json(path, read_json(path) | values)

    return change


def edited_metrics(results):
    path = results / "runs" / POSTHOC / "metrics.json"
    path.write_text(path.read_text().replace('"nll": ', '"nll": 1'))


def edited_training(results):
    path = results / "runs" / POSTHOC / "training.csv"
    path.write_text(path.read_text().replace("\n1,", "\n01,", 1))


def edited_table(suffix):
    def edit(results):
        nll = read_json(results / "runs" / STANDARD / "metrics.json")["nll"]
        path = results / f"tableD4.{suffix}"
        text = path.read_text()
        old, new = (
            (str(nll), str(nll + 1)) if suffix == "csv" else (f"{nll:.2f}", f"{nll - 1:.2f}")
        )
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def no_table(results):
    (results / "tableD4.csv").write_text("a,b\n1,2\n")


# what is spoilt, and what each of the lines on it says
MISMATCHES = {
    "weights": (spoil_weights, [f"{POSTHOC}/model.safetensors is not the file that run.json"]),
    "training.csv": (
        edited_training,
        [f"{POSTHOC}/training.csv is not the file that run.json names"],
    ),
    "data": (other_data, ["digits.safetensors is not the file"]),
    "another base": (
        retrained_base,
        [
            f"{POSTHOC} was fitted to another model",
            f"{STANDARD}/z.json was made from another model than run.json: estimate Z",
            f"tableD4.json was made from another runs/{STANDARD}/run.json",
            f"{STANDARD}/metrics.json was made from another model than run.json: evaluate",
        ],
    ),
    "z.json of another model": (
        changed("z.json", model_sha256="0"),
        [
            f"{POSTHOC}/z.json was made from another model than run.json: estimate Z",
            f"{POSTHOC}/metrics.json was made from another z.json than the one beside it",
            f"tableD4.json was made from another runs/{POSTHOC}/z.json than is there",
        ],
    ),
    "metrics.json of another model": (
        changed("metrics.json", model_sha256="0"),
        [
            f"{POSTHOC}/metrics.json was made from another model than run.json: evaluate",
            f"tableD4.json was made from another runs/{POSTHOC}/metrics.json than is there",
        ],
    ),
    "metrics.json of other data": (
        changed("metrics.json", data_sha256="0"),
        [
            f"{POSTHOC}/metrics.json: data_sha256 is not that of run.json: evaluate",
            f"tableD4.json was made from another runs/{POSTHOC}/metrics.json than is there",
        ],
    ),
    "another Z": (
        changed("z.json", z=0.3),
        [
            f"{POSTHOC}/z.json: log_z is not the logarithm of z: estimate Z",
            f"{POSTHOC}/z.json: log_z_se is not z_se / z: estimate Z",
            f"{POSTHOC}/metrics.json was made from another z.json than the one beside it",
            f"tableD4.json was made from another runs/{POSTHOC}/z.json than is there",
        ],
    ),
    "other iterations": (
        changed("metrics.json", STANDARD, iterations=7),
        [
            "metrics.json: iterations is not that of run.json",
            f"tableD4.json was made from another runs/{STANDARD}/metrics.json than is there",
            "tableD4.csv: standard, NLL: iterations is 2.0, by the metrics 7.0",
            "tableD4.csv: standard, Z: iterations is 2.0, by the metrics 7.0",
        ],
    ),
    "another NLL": (
        changed("metrics.json", nll=1.5),
        [
            "tableD4.csv: LARS post hoc, NLL: ours is ",
            f"tableD4.json was made from another runs/{POSTHOC}/metrics.json than is there",
        ],
    ),
    "an edited record": (
        edited_metrics,
        [
            "metrics.json is not as it was written: delete it",
            f"tableD4.json was made from another runs/{POSTHOC}/metrics.json than is there",
        ],
    ),
    "an edited csv": (
        edited_table("csv"),
        [
            "tableD4.csv is not the file that tableD4.json names",
            "tableD4.csv: standard, NLL: ours is",
        ],
    ),
    "an edited md": (
        edited_table("md"),
        ["tableD4.md is not the file that tableD4.json names: make tableD4 again"],
    ),
    "no table": (no_table, ["tableD4.csv is not the file that tableD4.json names"]),
    "no record of a table": (
        lambda results: (results / "tableD4.json").unlink(),
        ["tableD4.json is missing"],
    ),
    "a run of another seed": (
        lambda results: shutil.copytree(
            results / "runs" / STANDARD, results / "runs" / STANDARD.replace("seed0", "seed1")
        ),
        ["seed1/run.json is of a run whose seed is 0, the folder's is 1: move it"],
    ),
}


@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_a_mismatch_is_named(mismatch, results):
    spoil, expected = MISMATCHES[mismatch]
    spoil(results)
    _, _, problems = verify(results, results.parent)
    assert len(problems) == len(expected), problems
    assert not any("\n" in line for line in problems)
    for part in expected:
        assert any(part in line for line in problems), (part, problems)


def test_records_of_before_they_named_their_model_are_taken(results):
    for path in (results / "runs").rglob("*.json"):
        record = read_json(path)
        later = {"training_sha256", "run_sha256", "z_sha256", "base_run_sha256"}
        if path.name != "run.json":
            later |= {"model_sha256", "data_sha256", "git_commit"}
        kept = {key: value for key, value in record.items() if key not in later}
        path.write_text(json.dumps(kept))  # nor had they a checksum
    write_table("tableD4", read_json(results / "tableD4.json")["settings"], results)
    runs, _, problems = verify(results, results.parent)
    assert problems == []
    assert set(runs["evaluated by"].str[:7]) == {"unknown"}


def test_the_committed_results_belong_together():
    runs, numbers, problems = verify(ROOT / "results", ROOT / "data" / "prepared")
    assert problems == []
    assert len(runs) >= 20 and len(numbers) >= 60
    assert set(numbers["metrics"]) == {"ok"}


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["resampled-priors", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code, *capsys.readouterr()

    return call


def test_the_command(command, results):
    status, out, error = command(results, "--data", results.parent)
    assert (status, error) == (0, "")
    assert out.endswith("all that is there matches\n")
    assert POSTHOC in out and "tableD4" in out
    spoil_weights(results)
    status, out, error = command(results, "--data", results.parent)
    assert status == 1
    assert error == f"error: {results}: what does not match is named above: 1\n"
    assert f"{POSTHOC}/model.safetensors is not the file that run.json names\n" in out
    assert "DIFFERS" in out


def test_a_folder_without_runs(command, tmp_path):
    status, _, error = command(tmp_path)
    assert (status, error) == (1, f"error: {tmp_path} has no runs: name a results folder\n")
