"""What the shell offers where a value is typed: read from folders and files, so that the answer comes at once."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import typer

from data.errors import OddjetError
from data.files import read_json
from data.sections import read_yaml
from data.simulation.ready import ready_recipes

Completer = Callable[[str], list[str]]
"""From what is typed to what it may become."""
_METHODS = Path(__file__).parents[1] / "models" / "methods"
_NAME = re.compile(r'^    name = "(\w+)"$', re.MULTILINE)
_YAML = (".yaml", ".yml")


def files(*suffixes: str) -> Completer:
    """Completes paths of files with one of some endings, and of the folders on the way.

    Parameters
    ----------
    *suffixes
        Endings with their dot.
    """

    def complete(incomplete: str) -> list[str]:
        return sorted(_paths(incomplete, suffixes))

    return complete


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    folder, slash, begun = incomplete.rpartition("/")
    found = [f"{folder}{slash}{name}" for name in _entries(f"{folder}{slash}" or ".", begun, suffixes)]
    if len(found) == 1 and found[0].endswith("/"):  # the shell would put a blank behind it
        yield from list(_paths(found[0], suffixes)) or found
    else:
        yield from found


def _entries(folder: str, begun: str, suffixes: tuple[str, ...]) -> list[str]:
    """Names of files and folders that begin so; hidden ones only where a dot was typed."""
    try:
        inside = [one for one in Path(folder).expanduser().iterdir() if one.name.startswith(begun)]
        shown = [one for one in inside if begun.startswith(".") or not one.name.startswith(".")]
    except (OSError, RuntimeError):  # a folder that cannot be read, or the home of nobody
        return []
    # Path.is_dir raises for a link into a closed folder, which would hide all others
    folders = {one for one in shown if os.path.isdir(one)}  # noqa: PTH112
    return [
        f"{one.name}/" if one in folders else one.name
        for one in shown
        if one in folders or one.suffix in suffixes
    ]


configurations = files(*_YAML)
"""Completes configurations."""


def recipes(incomplete: str) -> list[str]:
    """Ready recipes, and YAML files where something is typed."""
    return [*_beginning(ready_recipes(), incomplete), *(configurations(incomplete) if incomplete else ())]


def methods(incomplete: str) -> list[str]:
    """Names of methods: those that stand in their files, of which none is imported."""
    names = (name for path in _METHODS.glob("*.py") for name in _NAME.findall(path.read_text("utf-8")))
    return _beginning(sorted(names), incomplete)


def presets(incomplete: str) -> list[str]:
    """Names of presets."""
    return _beginning(("default", "quick", "paper"), incomplete)


def selections(ctx: typer.Context, incomplete: str) -> list[str]:
    """Selections of a run that has been scanned, of the configuration that was typed before."""
    # before an option without its value no argument has found its name yet
    config = ctx.params.get("config") or next(iter(ctx.args), None)
    if config is None:
        return []
    try:
        root = Path(read_yaml(Path(config))["run"]["output"])
        known = list(read_json(root / "fits.json"))
    except (OddjetError, KeyError, TypeError):  # not a search, or not scanned yet
        return []
    return _beginning(known, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
