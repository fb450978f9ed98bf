"""Every figure of the paper: its numbers against something independent, and the files it gives."""

import itertools
import math
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from figure_runs import TOYS, add_metrics, add_training, make_run
from matplotlib.text import Text
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from resampled_priors.errors import ResampledPriorsError
from resampled_priors.experiment import load_config
from resampled_priors.lars.sampler import sample_resampled
from resampled_priors.report.figures import (
    KINDS,
    aggregate_posterior,
    latent_density,
    make_figure,
    ranked_values,
    redraw_figure,
)
from resampled_priors.report.figures.images import GAP_GREY, image_grid, power_of_ten
from resampled_priors.report.figures.style import new_figure, paper_style
from resampled_priors.report.figures.trade_off import proposals_per_sample
from resampled_priors.report.paper import paper_values
from resampled_priors.report.toys import train_toy
from resampled_priors.runs.load import load_run

CONFIG = load_config([Path(__file__).parents[2] / "config.yaml"])
PAPER = {"fig1", "fig2", "fig3", "figA1", "figA2", *(f"figD{n}" for n in range(3, 15))}
TABLES = {"figT2", "figT3"}  # of the paper, as pictures
MORE = {*TABLES, "figR1", "figR2"}

GROUPS = {"groups": ["highest", "random", "lowest"], "grid": [2, 3], "num_proposals": 200}
VAE_LARS = "runs/short/digits/vae/lars/seed0"
VAE_2D = "runs/short/digits/vae_2d/lars/seed0"
TRADE_OFF = [
    f"runs/short/digits/vae/{run}" for run in ("standard/seed0", "lars/seed0", "lars/seed1")
]
COSTS = [  # of an older record, which has no time of samples, the first
    {"num_prior_parameters": 0},
    {"num_prior_parameters": 5, "sample_seconds": 0.5, "is_bound": True},
    {"num_prior_parameters": 5, "sample_seconds": 1.5, "is_bound": True},
]
LABELS = ["high: {network}", "low: {network}", "RealNVP + LARS\n{network}"]
SETTINGS = {
    "fig1": {"toys": ["lars_1d"]},
    "fig2": {"toys": ["lars_10-10", "lars_10", "lars_realnvp"], "labels": LABELS},
    "fig3": {**GROUPS, "groups": ["highest", "lowest"], "runs": [VAE_LARS]},
    "figA1": {},
    "figA2": {"runs": [VAE_LARS], "num_samples": 20_000},
    "figD3": {"toys": ["lars_10-10", "lars_10"], "labels": LABELS[:2]},
    "figD4": {"toys": ["realnvp", "lars_realnvp"], "labels": ["RealNVP", LABELS[2]]},
    "figD5": {**GROUPS, "groups": ["highest", "lowest"], "runs": [VAE_LARS]},
    "figD6": {**GROUPS, "runs": [VAE_LARS] * 3},
    "figD7": {**GROUPS, "groups": [], "runs": [VAE_LARS] * 2},
    "figD8": {**GROUPS, "runs": ["runs/short/digits/vae/lars_posthoc/seed0"]},
    "figD9": {**GROUPS, "runs": ["runs/short/digits/vae_resampled_output/standard/seed0"]},
    "figD10": {"runs": ["runs/short/digits/vae_2d/standard/seed0"], "kl_samples": 500},
    "figD11": {"runs": [VAE_2D], "kl_samples": 500},
    "figD12": {"runs": ["runs/short/digits/vae_2d/lars_20-20/seed0"], "kl_samples": 500},
    "figD13": {"runs": ["runs/short/digits/vae_2d/lars_posthoc/seed0"], "kl_samples": 500},
    "figD14": {"runs": ["runs/short/digits/vae_2d/standard/seed0", VAE_2D]},
    "figR1": {"runs": TRADE_OFF, "labels": ["standard", "LARS", "LARS"]},
    "figR2": {"runs": TRADE_OFF[:2], "labels": ["standard", "LARS"]},
    "figT2": {"runs": TRADE_OFF, "labels": ["standard", "100−100", "100−100"]},
    "figT3": {"runs": TRADE_OFF, "labels": ["standard", "T = 100", "T = 100"]},
}
SETTINGS = {
    name: {"seed": 0, "labels": ["digits"] * len(settings.get("runs", []))}
    | settings
    | {"kind": CONFIG["figures"][name]["kind"]}
    for name, settings in SETTINGS.items()
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with every run and toy that the figures show, untrained or nearly so."""
    folder = tmp_path_factory.mktemp("results")
    for run in {run for settings in SETTINGS.values() for run in settings.get("runs", [])}:
        make_run(folder, run)
    for index, run in enumerate(TRADE_OFF):
        add_metrics(folder, run, nll=90.0 - index, parameters=100 * index, **COSTS[index])
        add_training(folder, run)
    for name, (target, prior) in TOYS.items():
        settings = {"target": target, "prior": prior, "iterations": 3, "batch_size": 16}
        train_toy(
            name, {**settings, "learning_rate": 0.01, "seed": 0}, folder / "toy" / f"{name}.npz"
        )
    return folder


@pytest.fixture(scope="module")
def numbers(results, digits):
    """Function from a figure's name to its saved numbers; the figure is made once."""

    def get(name: str) -> dict[str, np.ndarray]:
        if not (results / f"{name}.npz").exists():
            make_figure(name, SETTINGS[name], results, digits.parent)
        return dict(np.load(results / f"{name}.npz", allow_pickle=False))

    return get


def no_settings() -> dict:
    raise AssertionError("the file has all that its figure needs")


def test_every_figure_of_the_paper_is_there():
    assert set(CONFIG["figures"]) == PAPER | MORE == set(SETTINGS)
    assert {settings["kind"] for settings in SETTINGS.values()} == set(KINDS)


@pytest.mark.parametrize("name", sorted(PAPER | MORE))
def test_a_figure_is_one_page_not_blank_and_can_be_redrawn(name, results, numbers):
    numbers(name)
    pdf = (results / f"{name}.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", pdf)) == 1
    assert len(pdf) < 1_000_000
    width = float(re.search(rb"/MediaBox \[ 0 0 ([0-9.]+)", pdf).group(1)) / 72
    assert width <= 5.5 + 1e-6  # the paper's text width, inches
    picture = matplotlib.image.imread(results / f"{name}.png")
    assert picture[..., :3].std() > 0.02
    before = (results / f"{name}.png").read_bytes()
    redraw_figure(name, results, no_settings)
    assert (results / f"{name}.png").read_bytes() == before  # (a PDF may hold -0 in place of 0)


def test_a_missing_run_or_toy_is_named_with_what_makes_it(tmp_path):
    with pytest.raises(ResampledPriorsError, match=r"vae/lars/seed0 has no run.json.*snakemake"):
        make_figure("fig3", SETTINGS["fig3"], tmp_path, tmp_path)
    with pytest.raises(ResampledPriorsError, match="resampled-priors toy lars_1d"):
        make_figure("fig1", SETTINGS["fig1"], tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- Fig. A.1, A.2 --------------------------------------------------------------------------


def test_rejection_sampling_has_an_envelope_that_touches_the_target(numbers):
    shown = numbers("figA1")
    ratio = shown["q"] / (shown["m"] * shown["proposal"])
    assert ratio.max() == pytest.approx(1)
    step = shown["axis"][1] - shown["axis"][0]
    assert shown["q"].sum() * step == pytest.approx(1, abs=1e-3)


def test_the_running_estimate_of_z_ends_at_z(numbers, results):
    shown = numbers("figA2")
    assert shown["samples"][-1] == 20_000
    assert (np.diff(shown["samples"]) > 0).all()
    z = math.exp(load_run(results / VAE_LARS).prior.log_z)  # an independent estimate
    assert abs(shown["z"][-1] - z) < 5 * math.sqrt(2) * shown["standard_error"][-1]


# ---- ranked samples -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["figD8", "figD9"])
def test_proposals_are_ranked_and_the_grids_hold_their_images(name, numbers):
    shown = numbers(name)
    log_a = shown["0/log_a"]
    assert len(log_a) == 200 and (np.diff(log_a) <= 0).all() and log_a.max() <= 0
    for group in GROUPS["groups"]:
        assert shown[f"0/{group}/images"].shape == (6, 28, 28)
        assert len(np.unique(shown[f"0/{group}/images"], axis=0)) == 6
    np.testing.assert_array_equal(shown["0/highest/log_a"], log_a[:6])
    np.testing.assert_array_equal(shown["0/lowest/log_a"], log_a[-6:])
    assert np.isin(shown["0/random/log_a"], log_a).all()
    assert shown["0/spread/images"].shape == (14, 28, 28)
    assert shown["0/spread/log_a"][0] == log_a[-1] and shown["0/spread/log_a"][-1] == log_a[0]


def test_the_images_are_decoded_from_the_proposals_they_are_ranked_by(results):
    model = load_run(results / VAE_LARS)
    torch.manual_seed(1)
    log_a, decode = model.rank_proposals(50)
    torch.manual_seed(1)
    z = model.prior.proposal_distribution().sample((50,))
    with torch.no_grad():
        best = z[model.prior.log_a(z).argmax()]
        torch.testing.assert_close(decode(torch.tensor([0]))[0], model.decode(best))
        torch.testing.assert_close(log_a[0], model.prior.log_a(best))


def test_the_image_grid_reads_row_by_row_from_the_top():
    pixels = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    grid = image_grid(pixels, 2, 3)
    assert grid.shape == (2 * 29 - 1, 3 * 29 - 1)
    assert [[grid[r * 29, c * 29] for c in range(3)] for r in range(2)] == [[0, 1, 2], [3, 4, 5]]
    assert (grid[28] == GAP_GREY).all()


def test_the_image_grid_takes_images_of_any_shape():
    pixels = np.arange(2, dtype=np.uint8)[:, None, None] * np.ones((2, 8, 5), np.uint8)
    assert image_grid(pixels, 2, 1).shape == (17, 5)
    assert [image_grid(pixels, 1, 2)[0, column] for column in (0, 5, 6)] == [0, GAP_GREY, 1]


@pytest.mark.parametrize(
    ("log_value", "text"),
    [
        (math.log(2.6e-23), "$10^{-22.6}$"),
        (math.log(0.31), "$10^{-0.5}$"),
        (math.log(0.995), "$10^{0}$"),  # and not −0
        (0.0, "$10^{0}$"),
        (math.log(9.999e-5), "$10^{-4}$"),
        (-1000 * math.log(10) + math.log(3), "$10^{-999.5}$"),  # far below the smallest float
    ],
)
def test_values_below_the_smallest_float_are_printed(log_value, text):
    assert power_of_ten(log_value) == text


def test_the_axis_of_values_holds_very_small_ones():
    log_a = np.linspace(-0.01, -2000, 100)
    shown = {"0/log_a": log_a, "0/log_z": np.array(-50.0), "0/variable": np.array("a(z)")}
    axes = new_figure(3, 2).subplots()
    ranked_values._value_panel(axes, shown | {"labels": np.array(["digits"])}, 0)
    drawn = axes.lines[0].get_ydata()
    assert np.isfinite(drawn).all() and drawn.min() == pytest.approx(-2000 / math.log(10))


# ---- two-dimensional latent space -----------------------------------------------------------


def test_the_aggregate_posterior_is_the_mixture_it_should_be(monkeypatch):
    torch.manual_seed(0)
    mean, log_std = torch.randn(300, 2) * 2, torch.randn(300, 2) - 2
    points = torch.randn(70, 2) * 2
    components = Independent(Normal(mean.double(), log_std.double().exp()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(300, dtype=torch.double)), components)
    expected = mixture.log_prob(points.double())
    torch.testing.assert_close(
        aggregate_posterior.log_mixture_density(points, mean, log_std), expected
    )
    monkeypatch.setattr(aggregate_posterior, "BLOCK", 1_000)  # 3 points at a time
    torch.testing.assert_close(
        aggregate_posterior.log_mixture_density(points, mean, log_std), expected
    )


def test_mixture_density_keeps_its_digits_for_narrow_components():
    mean, log_std = torch.tensor([[5.0, -5.0]]), torch.full((1, 2), math.log(1e-3))
    at = mean + 1e-3
    exact = -1.0 - math.log(2 * math.pi) - 2 * math.log(1e-3)
    density = aggregate_posterior.log_mixture_density(at, mean, log_std).item()
    # float32's spacing at 5 shifts the point by up to 2.4e-4 standard deviations
    assert density == pytest.approx(exact, abs=1e-3)


def test_samples_of_the_aggregate_posterior_have_its_moments():
    torch.manual_seed(0)
    mean, log_std = torch.tensor([[-1.0, 2.0], [3.0, 0.0]]), torch.zeros(2, 2)
    z = aggregate_posterior.sample_mixture(mean, log_std, 20_000)
    torch.testing.assert_close(z.mean(0), mean.mean(0), atol=0.1, rtol=0)
    expected = 1 + mean.var(0, correction=0)
    torch.testing.assert_close(z.var(0), expected, atol=0.2, rtol=0)


@pytest.mark.parametrize("name", ["figD10", "figD11"])
def test_densities_integrate_to_one_and_the_kls_agree_with_quadrature(name, numbers):
    shown = numbers(name)
    cell = (shown["axis"][1] - shown["axis"][0]) ** 2
    log_q = shown["log_q"].astype(float)
    q = np.exp(log_q)
    assert q.sum() * cell == pytest.approx(1, abs=0.02)
    pairs = [("kl_proposal", "log_proposal")]
    if "log_p" in shown:
        assert np.exp(shown["log_p"].astype(float)).sum() * cell == pytest.approx(1, abs=0.03)
        pairs.append(("kl", "log_p"))
    for key, density in pairs:
        quadrature = (q * (log_q - shown[density])).sum() * cell
        value, error = shown[key]
        assert abs(value - quadrature) < 5 * error + 0.05


def test_the_scatter_plots_show_every_training_image(numbers):
    shown = numbers("figD14")
    for index in range(2):
        assert shown[f"{index}/mean"].shape == (1297, 2)
        assert set(shown[f"{index}/label"]) == set(range(10))
    assert shown["titles"][0].startswith("standard prior")
    assert "MLP[2−100−100−1]" in shown["titles"][1]


# ---- trade-offs -----------------------------------------------------------------------------


def papers(metric, values):
    return {f"paper/digits/vae/{run}/{metric}": np.array(value) for run, value in values.items()}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_trade_offs_are_means_over_seeds_relative_to_the_first_run(name, numbers, results):
    shown = numbers(name)
    assert list(shown["runs"]) == ["digits/vae/standard", "digits/vae/lars"]
    assert list(shown["nll"]) == [90.0, 88.5] and list(shown["parameters"]) == [0, 150]
    assert list(shown["truncation"]) == [1, 100]
    paper = papers("nll", {"standard": 85.0, "lars": 83.0}) | papers("z", {"lars": 0.02})
    draw = KINDS[CONFIG["figures"][name]["kind"]].draw
    ours, theirs = (line.get_ydata() for line in draw(shown | paper).axes[-1].lines[:2])
    assert sorted(ours) == [-1.5, 0.0] and sorted(theirs) == [-2.0, 0.0]
    assert "the paper" not in [line.get_label() for line in draw(shown).axes[-1].lines]


def test_the_cost_of_a_sample_is_what_the_sampler_draws():
    """With a(z) = Z everywhere."""
    torch.manual_seed(0)
    shown = {"truncation": np.array([5, 0, 1])}
    cost = proposals_per_sample(np.array([0.3, 0.3, 1.0]), shown)
    log_a = torch.tensor(0.3).log()
    for truncation, expected in ((5, cost[0]), (None, cost[1])):
        _, counts = sample_resampled(
            Normal(0.0, 1.0), lambda z: log_a.expand(z.shape), 50_000, truncation
        )
        assert counts.double().mean().item() == pytest.approx(expected, abs=0.05)
    assert cost[2] == 1


@pytest.mark.parametrize("name", sorted(TABLES))
def test_no_label_of_a_trade_off_lies_on_a_line_or_on_another(name):
    """Of the committed numbers, beside the paper's."""
    shown = dict(np.load(Path(__file__).parents[2] / f"results/{name}.npz"))
    for run, values in paper_values()[name].items():
        shown |= {f"paper/{run}/{metric}": np.array(value) for metric, value in values.items()}
    with paper_style():
        figure = KINDS[str(shown["kind"])].draw(shown)
        figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [text.get_text() for text in axes.texts]
        assert set(labels) == set(shown["labels"]) - ({"standard"} if name == "figT2" else set())
        boxes = [text.get_window_extent() for text in axes.texts]
        for line in axes.lines:
            path = line.get_transform().transform_path(line.get_path())
            assert not any(path.intersects_bbox(box, filled=False) for box in boxes)
        for box, other in itertools.combinations(boxes, 2):
            assert not box.overlaps(other)


def test_costs_are_means_over_seeds_of_what_the_records_say(numbers):
    found = numbers("figR1")
    assert list(found["runs"]) == ["digits/vae/standard", "digits/vae/lars"]
    assert list(found["labels"]) == ["standard", "LARS"]
    np.testing.assert_allclose(found["nll"], [90, 88.5])
    np.testing.assert_allclose(found["sample_ms"], [math.nan, 1_000])
    np.testing.assert_allclose(found["prior_parameters"], [0, 155])
    assert list(found["is_bound"]) == [False, True]


def test_a_prior_of_unknown_cost_has_no_point(numbers):
    figure = KINDS["nll_against_cost"].draw(numbers("figR1"))
    names = [{text.get_text() for text in axes.texts} for axes in figure.axes]
    assert names == [set(), {"LARS", "standard"}]
    points = [
        [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "ov"]
        for axes in figure.axes
    ]
    assert points == [[1_000], [0, 155]]


def test_the_names_of_priors_keep_their_order_and_do_not_meet():
    count = 21
    random = np.random.default_rng(0)
    shown = {
        "labels": np.array([f"a prior of a long name {i}" for i in range(count)]),
        "nll": 85 + 0.1 * random.random(count) + 5 * (np.arange(count) > 18),
        "sample_ms": 10 ** random.uniform(-2, 3, count),
        "prior_parameters": np.r_[0, 10 ** random.uniform(0, 6, count - 1)],
        "num_acceptance_parameters": random.integers(0, 2, count),
        "is_bound": random.random(count) < 0.2,
    }
    with paper_style():
        figure = KINDS["nll_against_cost"].draw(shown)
        figure.draw_without_rendering()
    [texts] = [axes.texts for axes in figure.axes if axes.texts]
    boxes = {text.get_text(): Text.get_window_extent(text) for text in texts}
    in_order = [boxes[shown["labels"][i]] for i in np.argsort(shown["nll"])]
    for below, above in itertools.pairwise(in_order):
        assert below.y1 <= above.y0
    page = figure.bbox
    for box in boxes.values():
        assert box.x0 >= figure.axes[1].bbox.x1
        assert page.contains(*box.min)
        assert page.contains(*box.max)


def test_a_trade_off_needs_no_weights(results, tmp_path, numbers):
    numbers("figT3")
    for run in TRADE_OFF:
        (tmp_path / run).mkdir(parents=True)
        for record in ("run.json", "metrics.json"):
            (tmp_path / run / record).write_bytes((results / run / record).read_bytes())
    make_figure("figT3", SETTINGS["figT3"], tmp_path, tmp_path)
    (tmp_path / TRADE_OFF[1] / "metrics.json").unlink()
    with pytest.raises(ResampledPriorsError, match=r"lars/seed0 has no metrics.json.*snakemake"):
        make_figure("figT3", SETTINGS["figT3"], tmp_path, tmp_path)


# ---- the paper's numbers, and what a picture says -------------------------------------------


def text_of(figure):
    axes = [*figure.axes, *(child for a in figure.axes for child in a.child_axes)]
    return " ".join(t.get_text() for a in axes for t in (a.title, a.xaxis.label, *a.texts))


def test_toys_stand_beside_the_papers_numbers(numbers):
    shown = numbers("fig2")
    paper = {"paper/lars_10/z": np.array(0.17), "paper/standard_normal/kl": np.array(1.8)}
    assert "paper" not in text_of(KINDS["toy_plane"].draw(shown))
    with_paper = text_of(KINDS["toy_plane"].draw(shown | paper))
    assert with_paper.count("(paper: 0.17)") == with_paper.count("(paper: 1.80)") == 1


def test_the_share_of_forced_samples_is_marked_where_they_outweigh_the_others(numbers):
    shown = numbers("figD7") | {"0/log_z": np.array(-4.5), "0/log_a": np.linspace(-25, 0, 500)}
    figure = KINDS["ranked_values"].draw(shown)
    z, truncation = math.exp(shown["0/log_z"]), int(shown["0/truncation"])
    share = (1 - z) ** (truncation - 1)
    [dashed] = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    a = 10 ** dashed.get_ydata()[0]
    assert (1 - share) * a / z == pytest.approx(share)  # the two terms of eq. 4
    assert rf"\alpha_T$ = {share:.2g}" in text_of(figure)
    rare = KINDS["ranked_values"].draw(shown | {"0/log_z": np.array(-0.2)})  # a line out of view
    assert "alpha_T" in text_of(rare) and "dashed" not in text_of(rare)
    older = {key: value for key, value in shown.items() if "truncation" not in key}
    assert "alpha" not in text_of(KINDS["ranked_values"].draw(older))


@pytest.mark.parametrize("log_a", [np.linspace(-25, 0, 500), np.linspace(-0.2, 0, 500)])
@pytest.mark.parametrize("log_z", [-0.2, -4.5, -20.0])
def test_remarks_beside_sorted_values_lie_clear_of_them(log_a, log_z, numbers):
    shown = {**numbers("figD7"), "0/log_a": log_a, "0/log_z": np.array(log_z)}
    shown["0/truncation"] = np.array(100)
    figure = KINDS["ranked_values"].draw(shown)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        curve = np.interp([box.x0, box.x1], *axes.lines[0].get_data())
        assert box.y1 < curve.min() and 0 < box.x0 < box.x1 < len(log_a), text


def test_the_papers_z_is_a_point_at_its_own_number_of_samples(numbers):
    run = "dynamic_mnist/vae/lars"
    shown = numbers("figA2") | {"run": np.array(run)}
    paper = {f"paper/{run}/z": np.array(0.01321), f"paper/{run}/samples": np.array(1e10)}
    figure = KINDS["running_z"].draw(shown | paper)
    assert "0.01321" in text_of(figure) and figure.axes[0].get_xlim()[1] == 1e10
    assert "0.01321" not in text_of(KINDS["running_z"].draw(shown))


@pytest.mark.parametrize(("name", "shape"), [("fig3", (1, 2)), ("figD6", (3, 3))])
def test_data_sets_stand_side_by_side_and_the_groups_of_a_single_one(name, shape, numbers):
    figure = KINDS["ranked"].draw(numbers(name))
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == shape


def test_contours_hold_the_mass_that_they_should():
    axis = np.linspace(-5, 5, 301)
    x, y = np.meshgrid(axis, axis)
    density = np.exp(-(x**2 + y**2) / 2) / (2 * np.pi)
    levels = latent_density.mass_levels(density, (0.9, 0.5))
    assert levels == pytest.approx([0.1 / (2 * np.pi), 0.5 / (2 * np.pi)], rel=0.02)  # of a normal
