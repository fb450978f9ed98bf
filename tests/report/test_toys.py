"""Toys on disk: trained as they should be, and a file that anybody can read."""

import numpy as np
import torch

from resampled_priors.report.toys import train_toy

LARS = {
    "family": "lars",
    "proposal": {"family": "standard_normal"},
    "hidden": [10, 10],
    "truncation": 100,
    "smoothing": 0.1,
    "num_proposals": 256,
}


def test_training_lowers_the_kl_and_gives_a_file_without_pickles(tmp_path):
    settings = {
        "target": "mixture_1d",
        "prior": LARS,
        "iterations": 300,
        "batch_size": 256,
        "learning_rate": 0.01,
        "seed": 0,
    }
    outputs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    state = torch.random.get_rng_state()
    for output in outputs:
        train_toy("lars_1d", settings, output)
    assert torch.equal(state, torch.random.get_rng_state())
    first, second = (dict(np.load(output, allow_pickle=False)) for output in outputs)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert first["kl"] < 0.5 * first["kl_proposal"]
    assert first["log_a"].max() <= 0
    assert 0 < first["z"] < 1
    assert len(first["loss"]) == 300
    for key in ("log_q", "log_proposal", "log_a"):
        assert first[key].shape == first["axis"].shape
