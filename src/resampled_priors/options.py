"""Options that commands share, each declared once, and what they are turned into."""

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from .errors import ResampledPriorsError
from .experiment import Config, load_config
from .experiment.configuration import check_settings
from .runs.provenance import log_header

Resolve = Callable[[Config], Config]

RunFolder = Annotated[
    Path,
    typer.Argument(help="…/runs/BUDGET/DATASET/MODEL/PRIOR/seedN, such as Snakemake asks for."),
]
RunFolders = Annotated[list[Path], typer.Argument(help="As Snakemake asks for; of one data set.")]
DataFile = Annotated[Path, typer.Option(help="The prepared data set.")]
DataFolder = Annotated[Path, typer.Option(help="Prepared data sets.")]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
ResultsFolder = Annotated[Path, typer.Option(help="The results folder.")]
RESULTS, DATA = Path("results"), Path("data/prepared")


@dataclass
class FromConfig:
    """The config that a command reads."""

    configfile: Annotated[
        list[Path],
        typer.Option("--configfile", help="Config file; repeat it to lay one over another."),
    ] = field(default_factory=lambda: [Path("config.yaml")])
    config: Annotated[
        list[str] | None,
        typer.Option("--config", help="KEY=VALUE over the config, as budget=paper."),
    ] = None

    def load(self) -> Config:
        """The whole config, checked."""
        return load_config(self.configfile, self.config)

    def settings_for(self, command: str, resolve: Resolve, text: str | None) -> Config:
        """The settings of a command, given as JSON, or what ``resolve`` makes of the config.

        Its log begins here, and shows them.
        """
        begin_log()
        if text is None:
            settings = resolve(self.load())
        else:
            try:
                settings = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ResampledPriorsError(f"--settings is not JSON: {error}") from error
            check_settings(settings, command)
        log(f"settings: {json.dumps(settings)}")
        return settings


@dataclass
class Given(FromConfig):
    """The settings that a command is given: as JSON, or by the config."""

    settings: Annotated[
        str | None, typer.Option(help="Resolved settings as JSON, in the place of the config.")
    ] = None

    def to(self, command: str, resolve: Resolve) -> Config:
        """As ``settings_for``."""
        return self.settings_for(command, resolve, self.settings)


@dataclass
class Shown(FromConfig):
    """The config, and a results folder that it names where nobody else does."""

    results: Annotated[
        Path | None, typer.Option(help="The results folder; default: the config's.")
    ] = None

    def folder(self, config: Config) -> Path:
        """The folder given, or the config's."""
        return self.results or Path(config.get("pathvars", {}).get("results", "results"))


@dataclass
class Machine:
    """Where a command computes."""

    device: Annotated[
        str, typer.Option(help="auto (a GPU where there is one), cpu, cuda or cuda:N.")
    ] = "auto"
    threads: Threads = 1

    def use(self) -> str:
        """As ``use_device``."""
        return use_device(self.device, self.threads)


GROUPS = (FromConfig, Given, Shown, Machine)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options that each parameter of ``GROUPS`` stands for in its place."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if hint in GROUPS}
    own = [p for name, p in inspect.signature(command).parameters.items() if name not in groups]
    shared = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(group(), option.name),
            annotation=get_type_hints(group, include_extras=True)[option.name],
        )
        for group in groups.values()
        for option in fields(group)
    ]
    own = [p.replace(kind=p.KEYWORD_ONLY, annotation=hints[p.name]) for p in own]

    def run(**options: Any) -> None:
        for name, group in groups.items():
            values = {option.name: options.pop(option.name) for option in fields(group)}
            options[name] = group(**values)
        command(**options)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*own, *shared])
    run.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    return run


def use_device(device: str, threads: int) -> str:
    """Set up the process; the device's name, 'auto' resolved.

    Raises:
        ResampledPriorsError: the device is not there.
    """
    import torch

    from .machine.gpus import claim_gpu
    from .machine.memory import keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
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


def log(line: str) -> None:
    """Print a line for a log; on a terminal it would be in the way."""
    if not sys.stdout.isatty():
        print(line, flush=True)


def begin_log() -> None:
    """Say when and where a command is started, how, and by which versions."""
    log(log_header(["resampled-priors", *sys.argv[1:]]))
