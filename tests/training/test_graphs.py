"""Several steps at once, as a GPU does them, and the compiled loss."""

import pandas as pd
import pytest
import torch
from training_runs import (
    assert_same_results,
    early,
    resampled_output,
    rows_of,
    run,
    settings_for,
    train_model,
)

from resampled_priors.machine import linear as onednn
from resampled_priors.runs.training import build_run_model
from resampled_priors.training import early_stopping, loop
from resampled_priors.training import trainer as trainer_module
from resampled_priors.training.trainer import Trainer

# --- several steps at once, as a GPU does them ---------------------------------------------


class Recorded:
    """In the place of a CUDA graph: the same calls, with the inputs at fixed addresses."""

    made = 0

    def __init__(self, function, inputs, state):
        type(self).made += 1
        self.function, self.inputs = function, [value.clone() for value in inputs]
        before = [tensor.clone() for tensor in state]
        generator = torch.get_rng_state()
        function(*self.inputs)
        torch.set_rng_state(generator)
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)

    def __call__(self, *inputs):
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value)
        self.function(*self.inputs)


GRAPHED = {
    "lars": settings_for(prior="lars", iterations=31, warm_up=9, decay_after=17),
    "realnvp": settings_for(prior="lars_realnvp", iterations=9, warm_up=4),
    "conv_hvae": settings_for(model="conv_hvae", iterations=6, warm_up=3),
    "resampled output": resampled_output(iterations=8, warm_up=4),
    "early stopping": early(iterations=14, validation_interval=5, patience=2),
}


@pytest.mark.parametrize("kind", GRAPHED)
def test_steps_in_a_graph_are_the_steps_one_by_one(kind, small, tmp_path, monkeypatch):
    """The recording must leave no trace, and all that a replay needs must be in its inputs."""
    monkeypatch.setattr(early_stopping, "Z_SAMPLES", 2_000)
    monkeypatch.setattr(loop, "LOG_ROWS", 4)
    monkeypatch.setattr(trainer_module, "Graph", Recorded)
    run(small, GRAPHED[kind], tmp_path / "one by one")
    init = Trainer.__init__

    def three_at_once(self, *arguments):
        init(self, *arguments)
        self.graph_steps = 3 if kind == "lars" else 2

    monkeypatch.setattr(Trainer, "__init__", three_at_once)
    recorded = Recorded.made
    run(small, GRAPHED[kind], tmp_path / "graph")
    assert Recorded.made == recorded + 1
    assert_same_results(tmp_path / "one by one", tmp_path / "graph")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", GRAPHED)
def test_a_graph_on_a_gpu_trains_like_single_steps(kind, small, tmp_path, monkeypatch):
    for steps in (1, 2):
        monkeypatch.setattr(trainer_module, "GRAPH_STEPS", steps)
        model = build_run_model(GRAPHED[kind], None)
        train_model(model, small, GRAPHED[kind], tmp_path / str(steps), device="cuda")
    rows = [rows_of(tmp_path / str(steps)) for steps in (1, 2)]
    pd.testing.assert_series_equal(rows[0]["loss"], rows[1]["loss"], rtol=1e-4)


@pytest.mark.parametrize("kind", ["lars", "realnvp", "conv_hvae", "resampled output"])
def test_the_compiled_loss_is_the_plain_one(kind, small, monkeypatch):
    """Without the code generation, which needs a compiler: what is traced gives the same terms.

    Traced in one piece, but for zuko's flows, which it cannot look into.
    """
    monkeypatch.setattr(onednn, "FASTER", False)  # it rounds otherwise, and is never traced
    model, x = build_run_model(GRAPHED[kind], None), small.evaluation_images("validation", 0)
    compiled = torch.compile(model.terms, backend="aot_eager", fullgraph=kind != "realnvp")
    results = []
    for function in (model.terms, compiled):
        torch.manual_seed(0)
        terms = function(x, 1, training=True)
        model.zero_grad()
        sum(term.mean() for term in terms).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([*terms, model.resampling.z_in_training(), *gradients])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
