"""Early stopping on the validation NLL."""

import math

import pytest
import torch
from safetensors.torch import load_file
from training_runs import (
    CONFIG,
    Interrupted,
    assert_same_results,
    early,
    interrupt_at,
    rows_of,
    run,
    settings_for,
)

from resampled_priors.evaluation import importance_weighted_terms
from resampled_priors.training import early_stopping

# --- early stopping ------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", list(CONFIG["datasets"]))
def test_only_static_mnist_stops_early(dataset):
    schedule = settings_for(dataset)["training"]
    stops = dataset == "static_mnist"
    assert schedule["early_stopping"] is stops
    assert ("patience" in schedule, "validation_interval" in schedule) == (stops, stops)


def script_validation(monkeypatch, nlls):
    """Validation that gives these NLLs in turn."""
    values = iter(nlls)

    def terms(model, images, num_samples):
        return {"log_likelihood": torch.full((3,), -float(next(values)))}

    monkeypatch.setattr(early_stopping, "importance_weighted_terms", terms)
    monkeypatch.setattr(early_stopping, "Z_SAMPLES", 200)


def weights_after(small, settings, iterations, folder):
    """The weights of an ordinary run of this length: validation draws no random numbers here."""
    schedule = settings["training"] | {"iterations": iterations, "early_stopping": False}
    run(small, settings | {"training": schedule}, folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("nlls", "warm_up", "stop", "best"),
    [
        ([9, 8, 7, 8, 9, 10, 10], 0, 10, 6),  # two validations without a better one
        ([9, 8, 7, 8, 6, 9, 9, 9], 0, 14, 10),  # a better one in time
        ([9, 9, 9, 9, 9, 9, 9], 0, 6, 2),  # as good is not better
        ([9, 10, 10, 10, 10, 10, 10, 10], 8, 12, 2),  # none is judged before the warm-up's end
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 0, 20, 20),  # better to the last
        ([9, math.nan, 8, math.nan, math.nan], 0, 10, 6),  # NaN is never the best
    ],
)
def test_the_best_weights_are_written(nlls, warm_up, stop, best, small, tmp_path, monkeypatch):
    settings = settings_for("static_mnist", iterations=20, validation_interval=2, patience=2)
    settings["training"]["warm_up"] = warm_up
    settings["dataset"] = "digits"
    script_validation(monkeypatch, nlls)
    _, trainer = run(small, settings, tmp_path / "early")
    stopping = trainer.early_stopping
    assert (trainer.progress.iteration, stopping.best_iteration) == (stop, best)
    rows = rows_of(tmp_path / "early")
    assert rows["iteration"].tolist() == list(range(1, stop + 1))
    found = rows["validation_nll"].tolist()[1::2]
    assert found == pytest.approx(nlls[: stop // 2], nan_ok=True)
    assert rows["validation_nll"][::2].isna().all()
    written = load_file(tmp_path / "early" / "model.safetensors")
    wanted = weights_after(small, settings, best, tmp_path / "wanted")
    later = weights_after(small, settings, best + 1, tmp_path / "later")
    for name, value in wanted.items():
        assert torch.equal(written[name], value), name
    assert not torch.equal(written["decoder.0.weight"], later["decoder.0.weight"])


def test_the_best_weights_outlive_an_interruption(small, tmp_path, monkeypatch):
    settings = early(iterations=12, validation_interval=3, patience=9)
    script_validation(monkeypatch, [5, 6, 7, 8])
    run(small, settings, tmp_path / "whole")
    script_validation(monkeypatch, [5, 6, 7, 8])
    with monkeypatch.context() as patch:
        interrupt_at(patch, 7)
        with pytest.raises(Interrupted):
            run(small, settings, tmp_path / "resumed", checkpoint_seconds=0)
    _, trainer = run(small, settings, tmp_path / "resumed")
    stopping = trainer.early_stopping
    assert (trainer.progress.iteration, stopping.best_iteration, stopping.best_nll) == (12, 3, 5)
    assert_same_results(tmp_path / "whole", tmp_path / "resumed")


def test_validation_is_the_importance_weighted_nll(small, tmp_path, monkeypatch):
    monkeypatch.setattr(early_stopping, "Z_SAMPLES", 2_000)
    settings = early(iterations=4, validation_interval=2, patience=2)
    calls = []

    def recorded(model, images, num_samples):
        terms = importance_weighted_terms(model, images, num_samples)
        calls.append((images, num_samples, model.training, model.prior.log_z.item(), terms))
        return terms

    monkeypatch.setattr(early_stopping, "importance_weighted_terms", recorded)
    model, trainer = run(small, settings, tmp_path)
    assert len(calls) == 2
    for images, num_samples, mode, log_z, _ in calls:
        assert torch.equal(images, small.evaluation_images("validation", 0))
        assert num_samples == 2
        assert not mode
        assert log_z == pytest.approx(math.log(0.5), abs=0.5)
    assert model.training
    nlls = [-float(terms["log_likelihood"].mean()) for *_, terms in calls]
    assert rows_of(tmp_path)["validation_nll"].dropna().tolist() == pytest.approx(nlls)
    assert trainer.early_stopping.best_nll == pytest.approx(min(nlls))
