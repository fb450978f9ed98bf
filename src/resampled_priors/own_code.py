"""Classes of the user's own, named in config as FILE.py:CLASS."""

import hashlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ResampledPriorsError


def own_class(family: str, code_sha256: str) -> Callable[..., Any]:
    """The class (or function) FILE.py:CLASS.

    Args:
        code_sha256: of the file, as the resolved settings have it.

    Raises:
        ResampledPriorsError: the file is missing, another than it was, or fails.
    """
    file, _, name = family.rpartition(":")
    try:
        if hashlib.sha256(Path(file).read_bytes()).hexdigest() != code_sha256:
            raise ResampledPriorsError(
                f"{file} has changed since this run's settings were made: "
                "bring that file back, or train the run again"
            )
        found = runpy.run_path(file)  # reads the source, never a compiled file that may be older
    except ResampledPriorsError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise ResampledPriorsError(
            f"{file} cannot be used ({in_one_line(error)}): correct it"
        ) from error
    return found[name]


def has_own_class(settings: Any) -> bool:
    """Whether resolved settings name, at any depth, a class of the user's own."""
    if not isinstance(settings, dict):
        return False
    return "code_sha256" in settings or any(map(has_own_class, settings.values()))


def in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def build_part(
    kind: str, families: dict[str, Callable[..., Any]], settings: dict[str, Any], *given: Any
) -> Any:
    """A part of one of the families, or of the user's own class, from its resolved settings.

    Args:
        kind: what the errors call it: likelihood, objective …
        settings: ``family`` and that family's settings.
        given: what the program gives the constructor before the settings.

    Raises:
        ResampledPriorsError: an unknown family; as ``own_class``; a class that cannot be built.
    """
    settings = dict(settings)
    family = settings.pop("family")
    if ":" in family:
        make = own_class(family, settings.pop("code_sha256"))
    elif family in families:
        make = families[family]
    else:
        raise ResampledPriorsError(
            f"unknown {kind} family '{family}': use one of {', '.join(families)}"
        )
    try:
        return make(*given, **settings)
    except Exception as error:  # whatever the user's code raises
        raise ResampledPriorsError(
            f"{kind} {family} with settings {settings} cannot be built "
            f"({in_one_line(error)}): correct the class or its settings in the config"
        ) from error
