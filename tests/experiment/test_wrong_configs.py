"""Wrong configs: each is refused in one line that names place and remedy."""

from typing import Any

import pytest
from changed_config import CONFIG, REMOVED, with_value
from refusals import refused

from resampled_priors import experiment

LARS_LIKE = CONFIG["priors"]["lars"]


OUTPUT = CONFIG["models"]["vae_resampled_output"]["output"]


ROW = {"label": "other", "model": "vae", "prior": "lars"}


TOY: dict[str, Any] = dict(CONFIG["toys"]["lars_10"]["prior"])


TOY["proposal"] = TOY


# path, value, what the message says of place and remedy
WRONG = {
    # unknown keys, at every level
    "top": ("bugdet", "demo", "unknown key 'bugdet': did you mean 'budget'"),
    "top, no likeness": ("zzz", 1, "unknown key 'zzz': use one of pathvars, budget, device"),
    "pathvars": ("pathvars.reslts", "x", "'pathvars.reslts': did you mean 'results'"),
    "data": ("data.miror", "x", "unknown key 'data.miror': did you mean 'mirror'"),
    "budget": ("budgets.short.iteration", 5, "'budgets.short.iteration': .*'iterations'"),
    "budget's model": (
        "budgets.short.models.conv_hvae.warmup",
        5,
        "'budgets.short.models.conv_hvae.warmup': did you mean 'warm_up'",
    ),
    "training": ("training.lerning_rate", 1, "'training.lerning_rate': .*'learning_rate'"),
    "budget's training": ("budgets.short.training", {"patence": 1}, "did you mean 'patience'"),
    "budget's model's training": (
        "budgets.short.models.conv_hvae.training",
        {"batchsize": 1},
        "'budgets.short.models.conv_hvae.training.batchsize': did you mean 'batch_size'",
    ),
    "model's training": (
        "models.vae.training",
        {"warm_up": 1},
        "'models.vae.training.warm_up': use",
    ),
    "model's training, range": (
        "models.vae.training",
        {"patience": 0},
        "patience: 0 is less than",
    ),
    "data set's prior": (
        "datasets.omniglot.priors.vamp",
        {"component": 3},
        "datasets.omniglot: unknown key 'priors.vamp.component': did you mean 'components'",
    ),
    "data set's prior, range": (
        "datasets.omniglot.priors.vamp.components",
        0,
        "datasets.omniglot: priors.vamp.components: 0 is less than",
    ),
    "data set's prior, name": (
        "datasets.omniglot.priors",
        {"vmap": {"components": 3}},
        "datasets.omniglot.priors: unknown prior 'vmap': did you mean 'vamp'",
    ),
    "data set's prior, another one": (
        "datasets.omniglot.priors.lars_vamp",
        {"proposal": "mixture"},
        "datasets.omniglot.priors.lars_vamp.proposal: this key does not belong here",
    ),
    "data sets": (
        "datasets.mnist",
        {"label": "x"},
        "datasets.mnist: 'images' is .*: add it; .* none of static_mnist, ",
    ),
    "data set": ("datasets.digits.early_stoping", True, "did you mean 'early_stopping'"),
    "model": ("models.vae.latent_sise", 3, "'models.vae.latent_sise': .*'latent_size'"),
    "output": ("models.vae_resampled_output.output.T", 3, "output.T': use one of hidden, trunc"),
    "LARS": ("priors.lars.truncaton", 3, "'priors.lars.truncaton': did you mean 'truncation'"),
    "flow": ("priors.maf.layer", 3, "'priors.maf.layer': did you mean 'layers'"),
    "normal": (
        "priors.standard.hidden",
        [3],
        "'priors.standard.hidden': use one of label, ",
    ),
    "table": ("tables.table1.captoin", "x", "'tables.table1.captoin': did you mean 'caption'"),
    "row": ("tables.table1.rows.0.datset", "x", "'tables.table1.rows.0.datset': .*'dataset'"),
    "column": ("tables.table1.columns.2.piror", "x", "table1.columns.2.piror': .*'prior'"),
    # missing keys
    "no budget": ("budget", REMOVED, "the top level: 'budget' is a required property: add it"),
    "no mirror": ("data.mirror", REMOVED, "data: 'mirror' is a required property: add it"),
    "no iterations": ("budgets.demo.iterations", REMOVED, "budgets.demo: 'iterations' is a requ"),
    "no patience": ("training.patience", REMOVED, "training: 'patience' is a required property"),
    "no truncation": ("priors.lars_T5.truncation", REMOVED, "priors.lars_T5: 'truncation' is a"),
    "no layers": ("priors.maf.layers", REMOVED, "priors.maf: 'layers' is a required property"),
    "no label": ("datasets.omniglot.label", REMOVED, "datasets.omniglot: 'label' is a required"),
    "no output": ("models.vae_resampled_output.output", REMOVED, "'output' is a required propert"),
    "no rows": ("tables.tableD2.rows", REMOVED, "tables.tableD2: 'rows' is a required property"),
    # types
    "shape of images": (
        "datasets.letters",
        {"label": "x", "images": "x.npz", "image_shape": [8]},
        r"datasets.letters.image_shape: \[8\] is too short; it is height and width of the images",
    ),
    "shape of published images": ("datasets.digits.image_shape", [8, 8], "'datasets.digits.image"),
    "hidden 10": ("priors.lars.hidden", 10, "priors.lars.hidden: 10 is not of type 'array'"),
    "hidden text": ("priors.lars.hidden", ["a"], "priors.lars.hidden.0: 'a' is not of type 'int"),
    "hidden 10.0": ("priors.lars.hidden", [10.0], "lars.hidden.0: 10.0 is not of type 'integer'"),
    "T text": ("priors.lars.truncation", "inf", "truncation: 'inf' .* or null for p_infinity"),
    "T infinite": ("priors.lars.truncation", float("inf"), "truncation: inf .* or null for p_inf"),
    "iterations 1e4": ("budgets.short.iterations", "1e4", "short.iterations: '1e4' is not of ty"),
    "iterations yes": ("budgets.short.iterations", True, "short.iterations: True is not of type"),
    "partial text": ("partial", "yes", "partial: 'yes' is not of type 'boolean'"),
    "table list": ("tables.table1", [], r"tables.table1: \[\] is not of type 'object'"),
    "no priors": ("priors", None, "priors: None is not of type 'object'"),
    "quoted text": ("tables.table2.rows.0.quoted.omniglot", "9", "quoted.omniglot: '9' is not of"),
    "seeds number": ("budgets.short.seeds", 3, "budgets.short.seeds: 3 is not of type 'array'"),
    # ranges
    "T 0": ("priors.lars_T2.truncation", 0, "priors.lars_T2.truncation: 0 .*T, at least 2"),
    "T 1": ("priors.lars_T2.truncation", 1, "truncation: 1 .*T = 1 is the proposal itself"),
    "T -5": ("priors.lars_T2.truncation", -5, "truncation: -5 .*at least 2"),
    "T of output": (
        "models.vae_resampled_output.output.truncation",
        1,
        "truncation: 1 .*T = 1 ",
    ),
    "width -10": ("priors.lars_10-10.hidden", [10, -10], "lars_10-10.hidden.1: -10 is less than"),
    "width 0": ("priors.realnvp.hidden", [0], "priors.realnvp.hidden.0: 0 is less than the minim"),
    "no layer": ("priors.lars.hidden", [], r"priors.lars.hidden: \[\] should be non-empty"),
    "no flow layer": (
        "priors.maf.layers",
        0,
        "priors.maf.layers: 0 is less than the minimum",
    ),
    "smoothing 0": ("priors.lars.smoothing", 0, "priors.lars.smoothing: 0 is less than or equal"),
    "smoothing 2": ("priors.lars.smoothing", 2, "smoothing: 2 is greater than the maximum of 1"),
    "smoothing nan": (
        "priors.lars.smoothing",
        float("nan"),
        "smoothing: nan is not of type 'nu",
    ),
    "proposals 0": ("priors.lars.num_proposals", 0, "num_proposals: 0 is less than the minimum"),
    "latent -50": ("models.vae.latent_size", -50, "vae.latent_size: -50 is less than the minim"),
    "iterations 0": ("budgets.short.iterations", 0, "short.iterations: 0 is less than the minim"),
    "warm-up -1": ("budgets.short.warm_up", -1, "short.warm_up: -1 is less than the minimum of 0"),
    "K 0": ("budgets.short.importance_samples", 0, "importance_samples: 0 is less than the min"),
    "S 2": ("budgets.short.z_samples", 2, "z_samples: 2 is less than the minimum of 4"),
    "target 0": ("budgets.short.z_target", 0, "z_target: 0 is less than or equal to the minimum"),
    "no seed": ("budgets.short.seeds", [], r"budgets.short.seeds: \[\] should be non-empty"),
    "seed twice": ("budgets.short.seeds", [0, 0], r"seeds: \[0, 0\] has non-unique elements"),
    "seed -1": ("budgets.short.seeds", [-1], "seeds.0: -1 is less than the minimum of 0"),
    "rate 0": ("training.learning_rate", 0.0, "learning_rate: 0.0 is less than or equal to the"),
    "rate inf": ("training.learning_rate", float("inf"), "learning_rate: inf is not of type 'num"),
    "factor inf": ("datasets.digits.schedule_factor", float("inf"), "schedule_factor: inf is not"),
    "batch 0": ("training.batch_size", 0, "training.batch_size: 0 is less than the minimum of 1"),
    "device": ("device", "gpu", "device: 'gpu' .*it is auto, cpu, cuda or cuda:N"),
    "empty folder": ("pathvars.results", "", "pathvars.results: '' should be non-empty"),
    "no row": ("tables.table1.rows", [], r"tables.table1.rows: \[\] should be non-empty"),
    # names
    "budget's name": ("budgets.a b", CONFIG["budgets"]["demo"], "budgets: 'a b' does not match"),
    "budget name": ("budget", "papr", "budget: unknown budget 'papr': did you mean 'paper'"),
    "budget's model name": (
        "budgets.short.models",
        {"convhvae": {"iterations": 5}},
        "budgets.short.models: unknown model 'convhvae': did you mean 'conv_hvae'",
    ),
    "unverified name": (
        "data.accept_unverified",
        ["omniglo"],
        "unknown dataset 'omniglo': did you m",
    ),
    "model family": ("models.vae.family", "vea", "vae.family: 'vea' is not one of .*'vae'"),
    "prior family": (
        "priors.lars.family",
        "las",
        "priors.lars.family: 'las' is not one of .*lars",
    ),
    "output of a VAE": (
        "models.vae.output",
        OUTPUT,
        "unknown key 'models.vae.output': use one of",
    ),
    "proposal": ("priors.lars.proposal", "standrd", "lars.proposal: .*'standrd': .*'standard'"),
    "base": (
        "priors.lars_posthoc.base",
        "standrd",
        "lars_posthoc.base: .*'standrd': .*'standard",
    ),
    "LARS on LARS": (
        "priors.lars_T2.proposal",
        "lars",
        "priors.lars_T2.proposal: 'lars' is itself a LARS prior: name a prior of another family",
    ),
    "LARS on itself": ("priors.lars.proposal", "lars", "'lars' is itself a LARS prior: name a"),
    "own class on LARS": (
        "priors.mine",
        {"label": "mine", "family": f"{__file__}:WRONG", "proposal": "lars"},
        "priors.mine.proposal: 'lars' is itself a LARS prior: name a prior of another family",
    ),
    "own class on an unknown prior": (
        "priors.mine",
        {"label": "mine", "family": f"{__file__}:WRONG", "proposal": {"family": "maf"}},
        "priors.mine.proposal: unknown prior .*: use one of standard, lars, ",
    ),
    "proposal that is post hoc": (
        "priors",
        CONFIG["priors"]
        | {
            "fitted": {**LARS_LIKE, "proposal": "flow"},
            "flow": {**CONFIG["priors"]["maf"], "base": "standard"},
        },
        "priors.fitted.proposal: 'flow' is itself fitted post hoc: name a prior without a base",
    ),
    "post hoc on LARS": (
        "priors.lars_posthoc.base",
        "lars_T2",
        "priors.lars_posthoc.base: 'lars_T2' is itself a LARS prior: name a prior of another",
    ),
    "base of a flow": ("priors.maf.base", "standrd", "priors.maf.base: .*'standrd': .*'standard'"),
    "prior's name": ("priors.a b", LARS_LIKE, "priors: 'a b' does not match"),
    "prior's name, a folder": ("priors...", LARS_LIKE, "priors"),
    "table's name": ("tables.a/b", CONFIG["tables"]["table1"], "tables: 'a/b' does not match"),
    "metric": ("tables.tableD2.columns.0.metric", "NLL", "metric: 'NLL' is not one of .*'nll'"),
    "row's data set": ("tables.table1.rows.0.dataset", "minst", "tables.table1: .*'minst'"),
    "row's prior": ("tables.tableD3.rows.1.prior", "lars_T3", "tables.tableD3: .*did you mean"),
    "column's model": ("tables.table1.columns.0.model", "vea", "tables.table1: .*'vea': .*'vae'"),
    "table's data set": ("tables.tableD2.dataset", REMOVED, "tables.tableD2: unknown dataset ''"),
    "table's model": ("tables.tableD2.model", REMOVED, "tableD2: row 'standard' names no model"),
    "quoted nothing": ("tables.table2.rows.0.quoted", {}, r"table2.rows.0.quoted: \{\} "),
    "neither quoted nor measured": (
        "tables.table2.rows.0",
        {"label": "HVAE + X"},
        "tables.table2: row 'HVAE . X' names no model or prior and quotes nothing: give it",
    ),
    "quoted name": (
        "tables.table2.rows.0.quoted",
        {"dynamic_mnst": 1.0},
        "tables.table2.rows.quoted: unknown dataset 'dynamic_mnst': did you mean 'dynamic_mnist'",
    ),
    "all empty": (
        "tables.table2",
        {
            "caption": "x",
            "dataset": "digits",
            "rows": [{"label": "x", "quoted": {"omniglot": 1}}],
            "columns": [{"metric": "nll"}],
        },
        "tables.table2: no cell has a number in it: give a row a model",
    ),
    "equal rows": (
        "tables.tableD4.rows",
        [{"prior": "lars"}, {"prior": "maf", "label": "LARS"}],
        "tables.tableD4: two cells are in row 'LARS', column 'NLL': .*labels that differ",
    ),
    # toys and figures
    "toy": ("toys.lars_10.learning_rte", 1, "'toys.lars_10.learning_rte': .*'learning_rate'"),
    "toy's T": ("toys.lars_10.prior.truncation", 1, "prior.truncation: 1 .*T, at least 2"),
    "toy's prior": (
        "toys.lars_10.prior",
        {"family": "lars"},
        "lars_10.prior: 'proposal' is a required",
    ),
    "toy's target": ("toys.lars_10.target", "x", "toys.lars_10.target: 'x' is not one of"),
    "figure": ("figures.fig3.grd", [4, 8], "'figures.fig3.grd': did you mean 'grid'"),
    "figure's toy": ("figures.fig1.toys", ["lars_1"], "fig1.toys: unknown toy 'lars_1': did"),
    "figure's run": ("figures.fig3.runs", ["digits/vae"], "fig3.runs.0: .*DATASET/MODEL/PRIOR"),
    "figure's data set": (
        "figures.fig3.runs",
        ["omniglo/vae/lars"],
        "figures.fig3.runs: unknown dataset 'omniglo': did you mean 'omniglot'",
    ),
    # contradictions
    "a of a standard prior": (
        "figures.fig3.runs",
        ["digits/vae/standard"],
        "figures.fig3.runs: prior 'standard' has no acceptance function to show: name a LARS",
    ),
    "Z of a flow": (
        "figures.figA2.runs",
        ["digits/vae/maf"],
        "figA2.runs: prior 'maf' has no acc",
    ),
    "latents that do not fit": (
        "figures.figD11.runs",
        ["digits/vae/lars"],
        "figures.figD11.runs: model 'vae' has latent_size 50: name one with latent_size 2",
    ),
    "latents that do not fit, by the model": (
        "models.vae_2d.latent_size",
        3,
        "figD10.runs: model 'vae_2d' has latent_size 3: name one with latent_size 2",
    ),
    "grid too large": (
        "figures.fig3.grid",
        [400, 800],
        r"figures.fig3.grid: \[400, 800\] has room for more than the num_proposals of 10000",
    ),
    "two runs where one fits": (
        "figures.figA2.runs",
        ["digits/vae/lars", "omniglot/vae/lars"],
        "figures.figA2.runs: .* is too long",
    ),
    "toy of two dimensions": ("figures.fig1.toys", ["lars_10"], "'lars_10' has another target th"),
    "toy of one dimension": (
        "figures.figD4.toys",
        ["realnvp", "lars_1d"],
        "figures.figD4.toys: 'lars_1d' has another target than gaussian_ring: name one with that",
    ),
    "toy twice": ("figures.figD3.toys", ["lars_10"] * 2, "figD3.toys: .* has non-unique elements"),
    "one toy of two": ("figures.figD4.toys", ["realnvp"], "figures.figD4.toys: .*short"),
    "toy without a label": (
        "figures.fig2.toys",
        ["lars_10", "realnvp"],
        "figures.fig2.labels: 3 labels of 2 things: give one for each",
    ),
    "run without a label": (
        "figures.fig3.labels",
        ["MNIST"],
        "figures.fig3.labels: 1 labels of 2 things: give one for each",
    ),
    "toy with another proposal": (
        "figures.figD4.toys",
        ["realnvp", "lars_10"],
        "figures.figD4.toys: 'lars_10' does not have 'realnvp' as its proposal: name a LARS toy",
    ),
    "toy without a network": (
        "toys.lars_1d.prior",
        {"family": "standard_normal"},
        "toys.lars_1d.prior.family: 'standard_normal' is not one of .*'lars'",
    ),
    "toy with itself as proposal": (
        "toys.lars_10.prior.proposal",
        TOY,
        "an entry contains itself",
    ),
    "figure without a grid": ("figures.fig3.grid", REMOVED, "figures.fig3: 'grid' is a required"),
    "figure without runs": (
        "figures.figD10.runs",
        REMOVED,
        "figures.figD10: 'runs' is a required",
    ),
    "figure without toys": ("figures.figD4.toys", REMOVED, "figures.figD4: 'toys' is a required"),
    "figure of no group": (
        "figures.figD5.groups",
        [],
        r"figures.figD5.groups: \[\] should be non",
    ),
    "figure of no kind": ("figures.fig4", {"caption": "x"}, "figures.fig4: 'kind' is a required"),
    "figure of an unknown kind": (
        "figures.figD14.kind",
        "latents",
        "figures.figD14.kind: 'latents' is not one of .*'latent_means'",
    ),
    "key of another kind": (
        "figures.figD14.grid",
        [2, 2],
        "'figures.figD14.grid': use one of caption, kind, runs, seed",
    ),
    "figure's name": (
        "figures.my figure",
        {"caption": "x", "kind": "rejection"},
        "'my figure' do",
    ),
    "post hoc on nothing": (
        "priors.lars_posthoc.base",
        None,
        "base: None is not of type 'string'",
    ),
    "flow post hoc on itself": (
        "priors.maf.base",
        "maf",
        "maf.base: 'maf' is itself fitted post hoc: name a prior without a base",
    ),
    "post hoc on itself": (
        "priors.lars_posthoc.base",
        "lars_posthoc",
        "is itself a LARS prior: n",
    ),
    "latents of half": (
        "models.vae.latent_size",
        2.5,
        "latent_size: 2.5 is not of type 'integer'",
    ),
    "seed too large": (
        "budgets.short.seeds",
        [10**9],
        "seeds.0: 1000000000 is greater than the m",
    ),
    "device number": ("device", "cuda:-1", "device: 'cuda:-1' .*it is auto, cpu, cuda or cuda:N"),
    "device null": ("device", None, "device: None is not of type 'string'"),
    "equal columns": (
        "tables.tableD4.columns",
        [{"metric": "nll"}, {"metric": "nll"}],
        "tables.tableD4: two cells are in row 'standard', column 'NLL'",
    ),
}


def set_by(path: str, value: Any) -> experiment.Config:
    if path == "priors...":  # a name that with_value would take apart
        return CONFIG | {"priors": CONFIG["priors"] | {"..": value}}
    return with_value(path, value)


@pytest.mark.parametrize(("path", "value", "match"), WRONG.values(), ids=WRONG)
def test_wrong_config(path, value, match):
    with refused(f"config: .*{match}"):
        experiment.validate_config(set_by(path, value))


def test_there_are_many_wrong_configs():
    assert len(WRONG) >= 100
    assert len({path for path, _, _ in WRONG.values()}) >= 80
