"""The command line: one command for each step of the workflow, each usable by hand."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import ResampledPriorsError
from .experiment import (
    Config,
    Run,
    load_config,
    resolve_evaluation,
    resolve_figure,
    resolve_run,
    resolve_table,
    resolve_toy,
    resolve_z,
)
from .experiment.configuration import check_settings
from .runs.provenance import log_header

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Regenerate the tables and figures of 'Resampled Priors for VAEs' (LARS), step by step. "
    "Snakemake calls these commands; each also works by hand.",
)

RunFolder = Annotated[
    Path,
    typer.Argument(help="…/runs/BUDGET/DATASET/MODEL/PRIOR/seedN, such as Snakemake asks for."),
]
ConfigFiles = Annotated[
    list[Path],
    typer.Option("--configfile", help="Config file; repeat it to lay one over another."),
]
ConfigValues = Annotated[
    list[str] | None, typer.Option("--config", help="KEY=VALUE over the config, as budget=paper.")
]
Device = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda, cuda:N; default: the config's.")
]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
SettingsText = Annotated[
    str | None, typer.Option(help="Resolved settings as JSON, in the place of the config.")
]
ResultsFolder = Annotated[
    Path | None, typer.Option(help="The results folder; default: the config's.")
]
DEFAULT_CONFIG = [Path("config.yaml")]


def settings_from(
    command: str, text: str | None, configfile: list[Path], values: list[str] | None, resolve: Any
) -> Config:
    """The settings of a command, given as JSON, or what ``resolve`` makes of the config.

    Its log begins here, and shows them.
    """
    begin_log()
    if text is None:
        settings = resolve(load_config(configfile, values))
    else:
        try:
            settings = json.loads(text)
        except ValueError as error:
            raise ResampledPriorsError(f"--settings is not JSON: {error}") from error
        check_settings(settings, command)
    log(f"settings: {json.dumps(settings)}")
    return settings


def log(line: str) -> None:
    """Print a line for a log; on a terminal it would be in the way."""
    if not sys.stdout.isatty():
        print(line, flush=True)


def begin_log() -> None:
    """Say when and where a command is started, how, and by which versions."""
    log(log_header(["resampled-priors", *sys.argv[1:]]))


def results_folder(results: Path | None, config: Config) -> Path:
    """The folder given, or the config's."""
    return results or Path(config.get("pathvars", {}).get("results", "results"))


def use_device(device: str | None, threads: int) -> str:
    """Set up the process; the device's name, 'auto' resolved.

    Raises:
        ResampledPriorsError: the device is not there.
    """
    import torch

    from .machine.gpus import claim_gpu
    from .machine.memory import keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
    device = device or "auto"
    if device in ("auto", "cuda"):
        claim_gpu()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ResampledPriorsError(
            f"device '{device}' cannot be used ({str(error).splitlines()[0]}): use --device cpu"
        ) from error
    return device


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="static_mnist, dynamic_mnist … or yours.")],
    output: Annotated[Path, typer.Option(help="The prepared file to write (.safetensors).")],
    raw: Annotated[Path, typer.Option(help="Folder for downloads.")] = Path("data/raw"),
    mirror: Annotated[
        Path | None,
        typer.Option(
            help="Folder looked in before the network.", envvar="RESAMPLED_PRIORS_MIRROR"
        ),
    ] = None,
    accept_unverified: Annotated[
        bool, typer.Option(help="Take files that are not the published ones; they are marked.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="A data set of your own: its .npz file of images.")
    ] = None,
) -> None:
    """Fetch, verify and split a data set into one prepared file."""
    from .data.prepare import prepare as prepare_dataset
    from .data.prepare import prepare_own

    begin_log()
    if images is None:
        prepare_dataset(
            dataset, output, raw_folder=raw, mirror=mirror, accept_unverified=accept_unverified
        )
    else:
        prepare_own(dataset, images, output)
    print(f"prepared {dataset} in {output}")


@app.command()
def train(
    run: RunFolder,
    data: Annotated[Path, typer.Option(help="The prepared data set.")],
    base: Annotated[
        Path | None, typer.Option(help="Post hoc: the base run's model.safetensors.")
    ] = None,
    settings: SettingsText = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
    device: Device = None,
    threads: Threads = 1,
) -> None:
    """Train one run: writes model.safetensors, training.csv and run.json."""
    resolved = settings_from(
        "train", settings, configfile, config, lambda c: resolve_run(c, Run.from_folder(run))
    )
    device = use_device(device, threads)
    from .runs.steps import train_run

    train_run(run, resolved, data, base, device)


@app.command()
def train_together(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, all of one data set.")],
    data: Annotated[Path, typer.Option(help="The prepared data set.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(help="Resolved settings as JSON, once for each run, in place of the config."),
    ] = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
    device: Device = None,
    threads: Threads = 1,
) -> None:
    """Train several runs side by side in one process: small models share a GPU this way."""
    texts = settings or [None] * len(runs)
    if len(texts) != len(runs):
        raise ResampledPriorsError(
            f"{len(runs)} runs and {len(texts)} --settings: give --settings once for each run"
        )

    def settings_of(run: Path, text: str | None) -> Config:
        of_run = Run.from_folder(run)
        return settings_from("train", text, configfile, config, lambda c: resolve_run(c, of_run))

    resolved = {run: settings_of(run, text) for run, text in zip(runs, texts, strict=True)}
    device = use_device(device, threads)
    from .runs.steps import train_runs_together

    train_runs_together(resolved, data, device)


@app.command()
def estimate_z(
    run: RunFolder,
    settings: SettingsText = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
    device: Device = None,
    threads: Threads = 1,
) -> None:
    """Estimate Z of a trained run: writes z.json."""
    resolved = settings_from(
        "estimate_z", settings, configfile, config, lambda c: resolve_z(c, Run.from_folder(run))
    )
    device = use_device(device, threads)
    from .runs.steps import estimate_run_z

    estimate_run_z(run, resolved["z_samples"], resolved.get("z_target"), device)


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[Path, typer.Option(help="The prepared data set.")],
    settings: SettingsText = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
    device: Device = None,
    threads: Threads = 1,
) -> None:
    """Test NLL and ELBO of a run whose Z is known: writes metrics.json."""
    resolved = settings_from(
        "evaluate",
        settings,
        configfile,
        config,
        lambda c: resolve_evaluation(c, Run.from_folder(run)),
    )
    device = use_device(device, threads)
    from .runs.steps import evaluate_run

    evaluate_run(run, data, resolved["importance_samples"], device)


@app.command()
def table(
    name: Annotated[str, typer.Argument(help="table1, table2, tableD1 … tableD6")],
    results: Annotated[Path, typer.Option(help="The results folder.")] = Path("results"),
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
    settings: SettingsText = None,
) -> None:
    """Build a table from the runs that are there: writes NAME.csv, .md, .tex, .html."""
    resolved = settings_from(
        "table", settings, configfile, config, lambda c: resolve_table(c, name)
    )
    from .report.tables import write_table

    write_table(name, resolved, results)


@app.command()
def toy(
    name: Annotated[str, typer.Argument(help="A toy of the config: lars_1d, lars_10-10 …")],
    output: Annotated[Path, typer.Option(help="The file to write (.npz).")],
    settings: SettingsText = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
    threads: Threads = 1,
) -> None:
    """Train a one- or two-dimensional example: writes its densities, Z and KLs."""
    resolved = settings_from("toy", settings, configfile, config, lambda c: resolve_toy(c, name))
    use_device("cpu", threads)
    from .report.toys import train_toy

    train_toy(name, resolved, output)


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="A figure of the config: fig1 … figD14, or yours.")],
    results: Annotated[Path, typer.Option(help="The results folder.")] = Path("results"),
    data: Annotated[Path, typer.Option(help="Prepared data sets.")] = Path("data/prepared"),
    redraw: Annotated[
        bool, typer.Option(help="Draw the saved numbers again, without any model.")
    ] = False,
    settings: SettingsText = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
    device: Device = None,
    threads: Threads = 1,
) -> None:
    """Make a figure from the runs and toys that are there: writes NAME.npz, NAME.pdf, NAME.png."""
    from .report.figures import make_figure, redraw_figure

    def resolve(loaded: Config) -> Config:
        return resolve_figure(loaded, name)

    if redraw:
        redraw_figure(name, results, lambda: resolve(load_config(configfile, config)))
        return
    resolved = settings_from("figure", settings, configfile, config, resolve)
    make_figure(name, resolved, results, data, use_device(device, threads))


@app.command()
def sample(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="The image to write (.png).")],
    ranked: Annotated[
        bool, typer.Option(help="Proposals instead of samples, the highest a(z) first.")
    ] = False,
    images: Annotated[int, typer.Option(help="How many images.", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.", min=0)] = 0,
    device: Device = None,
    threads: Threads = 1,
) -> None:
    """Draw images from a run whose Z is known: writes a grid of them."""
    device = use_device(device, threads)
    from .report.figures.samples import write_samples

    write_samples(run, out, images, ranked, seed, device)


@app.command()
def status(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; by default all.")] = None,
    results: ResultsFolder = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
) -> None:
    """Show which cells of which tables are done, at work, failed or missing."""
    from rich.console import Console

    from .report.status import table_status

    loaded = load_config(configfile, config)
    for name in tables or loaded["tables"]:
        Console().print(table_status(loaded, name, results_folder(results, loaded)))


@app.command()
def results_page(
    output: Annotated[Path, typer.Option(help="The page to write (.md).")] = Path(
        "docs/results.md"
    ),
    results: ResultsFolder = None,
    configfile: ConfigFiles = DEFAULT_CONFIG,
    config: ConfigValues = None,
) -> None:
    """Put the tables and figures that are there on one page."""
    from .report.page import write_results_page

    loaded = load_config(configfile, config)
    write_results_page(loaded, results_folder(results, loaded), output)


@app.command()
def verify(
    results: Annotated[Path, typer.Argument(help="The results folder.")] = Path("results"),
    data: Annotated[Path, typer.Option(help="Prepared data sets.")] = Path("data/prepared"),
) -> None:
    """Compare files with the hashes recorded of them; show what made each number."""
    from .report.verify import verify as verify_results

    runs, numbers, problems = verify_results(results, data)
    for table in (runs, numbers):
        if len(table):
            print(table.to_markdown(index=False, tablefmt="simple", disable_numparse=True) + "\n")
    if problems:
        print("\n".join(problems) + "\n")
        raise ResampledPriorsError(
            f"{results}: what does not match is named above: {len(problems)}"
        )
    print("all that is there matches")


@app.command()
def measured_times(
    output: Annotated[Path, typer.Option(help="The file to write (.csv).")],
    results: Annotated[Path, typer.Option(help="The results folder.")] = Path("results"),
) -> None:
    """Collect how long runs took: what estimates of the time are made from."""
    from .report.timing import write_measured_times

    write_measured_times(results, output)


def main() -> None:
    """Run the command line; an error the user can mend is one line and exit status 1."""
    try:
        app()
    except ResampledPriorsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
