"""Reading a config: files laid over one another, the schema, and errors that name the key.

Nothing here imports torch: Snakemake reads this module at every start.
"""

import difflib
import hashlib
import symtable
import sys
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema
import yaml

from ..errors import ResampledPriorsError

Config = dict[str, Any]
LARGEST = sys.float_info.max
SECTIONS = ("budgets", "datasets", "models", "priors", "tables", "toys", "figures")


def merge(base: Config, overlay: Config) -> Config:
    """``base`` with ``overlay`` laid over it, mapping by mapping, as Snakemake does."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def remove_nulls(config: Config) -> None:
    """Take out the entries that are null: what an overlay removes of the config below it."""
    sections = [config.get(name) for name in SECTIONS]
    budgets = config.get("budgets")
    if isinstance(budgets, dict):
        sections += [b.get("models") for b in budgets.values() if isinstance(b, dict)]
    for section in sections:
        if isinstance(section, dict):
            for name in [name for name, entry in section.items() if entry is None]:
                del section[name]


def read_config(paths: list[Path], values: list[str]) -> Config:
    """The config files laid over one another, then ``key=value`` pairs; not yet checked.

    Raises:
        ResampledPriorsError: a file that is missing or not YAML, or a pair that is none.
    """
    config: Config = {}
    for path in paths:
        try:
            config = merge(config, yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {})
        except Exception as error:  # YAML's readers of dates and numbers raise what they like
            reason = " ".join(str(error).split())
            raise ResampledPriorsError(
                f"config file {path} cannot be read: {reason}: "
                "correct it, or name another with --configfile"
            ) from error
    for pair in values:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ResampledPriorsError(f"--config wants KEY=VALUE, got '{pair}'")
        try:
            config = merge(config, {key: yaml.safe_load(value)})
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ResampledPriorsError(f"--config {pair} is not YAML: {reason}") from error
    return config


@cache
def _validator() -> jsonschema.Draft202012Validator:
    schema, families = (
        yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
        for name in ("config.schema.yaml", "families.schema.yaml")
    )
    # A part of the schema would be looked for anew at every reference: 0.4 s a start.
    registry = referencing.Registry().with_resource(
        families["$id"], referencing.jsonschema.DRAFT202012.create_resource(families)
    )
    draft = jsonschema.Draft202012Validator
    # JSON schema takes 10.0 for an integer, YAML's .nan and .inf for numbers, 10**400 for both.
    types = draft.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int and abs(value) < 2**63,
            "number": lambda _, value: type(value) in (int, float) and abs(value) <= LARGEST,
        }
    )
    return jsonschema.validators.extend(draft, type_checker=types)(schema, registry=registry)


def check_schema(config: Config, place: str = "") -> None:
    """Check the form of a whole config: keys, types, ranges.

    Args:
        place: what an error's line has before the key.

    Raises:
        ResampledPriorsError: one line that names the key and the remedy.
    """
    message = _first_message(_validator().iter_errors(config))
    if message is not None:
        raise ResampledPriorsError(f"config: {place}{message}")


def check_settings(settings: Any, command: str) -> None:
    """Check the form of --settings, a command's resolved settings: keys, types, ranges.

    Raises:
        ResampledPriorsError: one line that names the key and the remedy.
    """
    message = what_is_wrong(settings, f"{command}_settings")
    if message is not None:
        raise ResampledPriorsError(f"--settings: {message}")


def what_is_wrong(value: Any, definition: str) -> str | None:
    """The first thing wrong in what should be as one of the schema's definitions; or None."""
    return _first_message(_validator().descend(value, {"$ref": f"#/$defs/{definition}"}))


def _first_message(errors: Iterable[jsonschema.ValidationError]) -> str | None:
    try:
        found = sorted(errors, key=lambda error: list(map(str, error.path)))
    except RecursionError:
        return "an entry contains itself: write it out"
    return _schema_message(found[0]) if found else None


def _schema_message(error: jsonschema.ValidationError) -> str:
    if error.context:  # of several alternatives, the one that came closest
        best = jsonschema.exceptions.best_match([error])
        error = best if best is not None else error
    place = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [key for key in error.instance if key not in known]
        full = ".".join(filter(None, [place, str(unknown[0])]))
        return f"unknown key '{full}': {suggestion(str(unknown[0]), known)}"
    if error.validator == "not":
        return f"{place}: this key does not belong here: remove it"
    hint = error.schema.get("description", "")
    if error.validator == "required":
        remedy = f"add it; it is {hint}" if hint else "add it"
        return f"{place or 'the top level'}: {error.message}: {remedy}"
    message = f"{place or 'the top level'}: {error.message}"
    return f"{message}; it is {hint}" if hint else message


def suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    return f"did you mean '{close[0]}'?" if close else f"use one of {', '.join(known)}"


def lookup(config: Config, section: str, name: str, place: str) -> Config:
    """``config[section][name]``, or an error that names the place and what is known."""
    if not isinstance(name, str) or name not in config[section]:
        known = list(config[section])
        raise ResampledPriorsError(
            f"config: {place}: unknown {section.removesuffix('s')} '{name}': "
            f"{suggestion(str(name), known)} (defined under {section})"
        )
    return config[section][name]


def with_code(settings: Any, place: str) -> Any:
    """Settings in which each class of the user's own has the hash of its file beside it.

    The hash makes a run depend on that file, which is not part of the package.

    Raises:
        ResampledPriorsError: as ``own_code_sha256``.
    """
    if not isinstance(settings, dict):
        return settings
    settings = {key: with_code(value, f"{place}.{key}") for key, value in settings.items()}
    if ".py:" in str(settings.get("family")):
        settings["code_sha256"] = own_code_sha256(settings["family"], f"{place}.family")
    return settings


def own_code_sha256(family: str, place: str) -> str:
    """The hash of the file of FILE.py:CLASS, which is looked into for the class but not run.

    Raises:
        ResampledPriorsError: a file that is missing or not Python, or defines no such class.
    """
    file, _, name = family.rpartition(":")
    try:
        source = Path(file).read_bytes()
        symbols = symtable.symtable(source, file, "exec").get_symbols()
    except (OSError, SyntaxError, ValueError) as error:
        raise ResampledPriorsError(
            f"config: {place}: {file} cannot be read as Python ({error}): "
            "give the path of a Python file, from the working folder"
        ) from error
    known = [s.get_name() for s in symbols if s.is_assigned() or s.is_imported()]
    if name not in known:
        raise ResampledPriorsError(
            f"config: {place}: {file} has no class {name}: {suggestion(name, known)}"
        )
    return hashlib.sha256(source).hexdigest()
