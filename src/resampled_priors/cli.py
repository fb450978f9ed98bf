"""The command line: one command for each step of the workflow, each usable by hand."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from . import __version__
from .errors import ResampledPriorsError
from .experiment import (
    Config,
    Run,
    figure_runs,
    resolve_evaluation,
    resolve_figure,
    resolve_index,
    resolve_run,
    resolve_table,
    resolve_toy,
    resolve_z,
    table_runs,
    table_runs_of_other_budgets,
)
from .machine.terminal import any_terminal
from .options import (
    DATA,
    RESULTS,
    DataFile,
    DataFolder,
    FromConfig,
    Given,
    Machine,
    ResultsFolder,
    RunFolder,
    RunFolders,
    Shown,
    Threads,
    begin_log,
    use_device,
    with_options,
)
from .runs.records import check_settings_of

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Regenerate the tables and figures of 'Resampled Priors for VAEs' (LARS), step by step. "
    "Snakemake calls these commands; each also works by hand.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"resampled-priors {__version__}")
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command; groups of options among its parameters are spelt out."""
    return app.command()(with_options(function))


def _of_run(resolve: Callable[[Config, Run], Config], folder: Path) -> Callable[[Config], Config]:
    """What a step of the run with this folder takes from a config."""
    return lambda config: resolve(config, Run.from_folder(folder))


def _of_trained(
    resolve: Callable[[Config, Run], Config], folder: Path
) -> Callable[[Config], Config]:
    """The same of a run that has been trained, by the settings that the config has now."""

    def of(config: Config) -> Config:
        run = Run.from_folder(folder)
        check_settings_of(folder, resolve_run(config, run))
        return resolve(config, run)

    return of


def _check_runs(config: Config, runs: list[Run], results: Path) -> None:
    """Refuse to show a run of other settings than the config's."""
    for run in runs:
        check_settings_of(results / run.folder, resolve_run(config, run))


@command
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


@command
def train(
    run: RunFolder,
    data: DataFile,
    given: Given,
    machine: Machine,
    base: Annotated[
        Path | None, typer.Option(help="Post hoc: the base run's model.safetensors.")
    ] = None,
) -> None:
    """Train one run: writes model.safetensors, training.csv and run.json."""
    settings = given.to("train", _of_run(resolve_run, run))
    device = machine.use()
    from .runs.steps import train_run

    train_run(run, settings, data, base, device)


@command
def train_together(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, all of one data set.")],
    data: DataFile,
    from_config: FromConfig,
    machine: Machine,
    settings: Annotated[
        list[str] | None,
        typer.Option(help="Resolved settings as JSON, once for each run, in place of the config."),
    ] = None,
) -> None:
    """Train several runs side by side in one process: small models share a GPU this way."""
    texts = settings or [None] * len(runs)
    if len(texts) != len(runs):
        raise ResampledPriorsError(
            f"{len(runs)} runs and {len(texts)} --settings: give --settings once for each run"
        )
    resolved = {
        run: from_config.settings_for("train", _of_run(resolve_run, run), text)
        for run, text in zip(runs, texts, strict=True)
    }
    device = machine.use()
    from .runs.steps import train_runs_together

    train_runs_together(resolved, data, device)


@command
def estimate_z(runs: RunFolders, given: Given, machine: Machine) -> None:
    """Estimate Z of trained runs, one after another: writes z.json of each."""
    settings = {run: given.to("estimate_z", _of_trained(resolve_z, run)) for run in runs}
    device = machine.use()
    from .runs.steps import estimate_run_z

    for run, of_run in settings.items():
        estimate_run_z(run, of_run["z_samples"], of_run.get("z_target"), device)


@command
def evaluate(runs: RunFolders, data: DataFile, given: Given, machine: Machine) -> None:
    """Test NLL and ELBO of runs whose Z is known, one by one: writes metrics.json of each."""
    settings = {run: given.to("evaluate", _of_trained(resolve_evaluation, run)) for run in runs}
    device = machine.use()
    from .runs.steps import evaluate_run

    for run, of_run in settings.items():
        evaluate_run(run, data, of_run["importance_samples"], device)


@command
def table(
    name: Annotated[str, typer.Argument(help="table1, table2, tableD1 … tableD6")],
    given: Given,
    results: ResultsFolder = RESULTS,
) -> None:
    """Build a table from the runs that are there: writes NAME.csv, .md, .tex, .html."""

    def resolve(config: Config) -> Config:
        runs = table_runs(config, name) + table_runs_of_other_budgets(config, name)
        _check_runs(config, runs, results)
        return resolve_table(config, name)

    settings = given.to("table", resolve)
    from .report.tables import write_table

    write_table(name, settings, results)


@command
def toy(
    name: Annotated[str, typer.Argument(help="A toy of the config: lars_1d, lars_10-10 …")],
    output: Annotated[Path, typer.Option(help="The file to write (.npz).")],
    given: Given,
    threads: Threads = 1,
) -> None:
    """Train a one- or two-dimensional example: writes its densities, Z and KLs."""
    settings = given.to("toy", lambda config: resolve_toy(config, name))
    use_device("cpu", threads)
    from .report.toys import train_toy

    train_toy(name, settings, output)


@command
def figure(
    name: Annotated[str, typer.Argument(help="A figure of the config: fig1 … figD14, or yours.")],
    given: Given,
    machine: Machine,
    results: ResultsFolder = RESULTS,
    data: DataFolder = DATA,
    redraw: Annotated[
        bool, typer.Option(help="Draw the saved numbers again, without any model.")
    ] = False,
) -> None:
    """Make a figure from the runs and toys that are there: writes NAME.npz, NAME.pdf, NAME.png."""
    from .report.figures import make_figure, redraw_figure

    def resolve(config: Config) -> Config:
        _check_runs(config, figure_runs(config, name), results)
        return resolve_figure(config, name)

    if redraw:
        redraw_figure(name, results, lambda: resolve(given.load()))
        return
    settings = given.to("figure", resolve)
    make_figure(name, settings, results, data, machine.use())


@command
def index(given: Given, results: ResultsFolder = RESULTS) -> None:
    """Put the tables and figures that are there on one page that stands alone: index.html."""
    settings = given.to("index", resolve_index)
    from .report.index import write_index

    write_index(settings, results)
    print(f"all on one page: {results / 'index.html'}")


@command
def sample(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="The image to write (.png).")],
    machine: Machine,
    ranked: Annotated[
        bool, typer.Option(help="Proposals instead of samples, the highest a(z) first.")
    ] = False,
    images: Annotated[int, typer.Option(help="How many images.", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.", min=0)] = 0,
) -> None:
    """Draw images from a run whose Z is known: writes a grid of them."""
    device = machine.use()
    from .report.figures.samples import write_samples

    write_samples(run, out, images, ranked, seed, device)


@command
def card(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs whose Z is known.")],
) -> None:
    """Describe trained weights that are to be kept or given away: writes card.md beside them."""
    from .report.card import write_card

    for run in runs:
        print(write_card(run))


@command
def status(
    shown: Shown,
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; by default all.")] = None,
) -> None:
    """Show which cells of which tables are done, at work, failed or missing."""
    from rich.console import Console

    from .report.status import status as status_of

    config = shown.load()
    Console().print(status_of(config, tables or list(config["tables"]), shown.folder(config)))


@command
def results_page(
    shown: Shown,
    output: Annotated[Path, typer.Option(help="The page to write (.md).")] = Path(
        "docs/results.md"
    ),
) -> None:
    """Put the tables and figures that are there on one page."""
    from .report.page import write_results_page

    config = shown.load()
    write_results_page(config, shown.folder(config), output)


@command
def verify(
    results: Annotated[Path, typer.Argument(help="The results folder.")] = Path("results"),
    data: DataFolder = DATA,
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


@command
def measured_times(
    output: Annotated[Path, typer.Option(help="The file to write (.csv).")],
    results: ResultsFolder = RESULTS,
) -> None:
    """Collect how long runs took: what estimates of the time are made from."""
    from .report.timing import write_measured_times

    write_measured_times(results, output)


def main() -> None:
    """Run the command line; an error the user can mend is one line and exit status 1."""
    any_terminal()
    try:
        app()
    except ResampledPriorsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
