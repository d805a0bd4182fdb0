"""All that a recipe may name: the backgrounds, the signals of `data.simulation.signals`, and points by name."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Union, get_args

import pydantic

import data.simulation.signals
from data.errors import ConfigError
from data.simulation.processes import Background, Point, Signal


def _kinds(base: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    """The classes below one that a recipe can name by their ``type``."""
    for kind in base.__subclasses__():
        if "type" in kind.model_fields:
            yield kind
        yield from _kinds(kind)


def told_apart(kinds: Iterable[type[pydantic.BaseModel]]) -> list[type[pydantic.BaseModel]]:
    """Kinds of processes, none with a ``type`` of another; of a class that was reloaded the new one.

    Parameters
    ----------
    kinds
        Sections whose ``type`` is one of some words.

    Returns
    -------
    list
        The same, in order.

    Raises
    ------
    ConfigError
        If two have the same ``type``.
    """
    found: dict[str, type[pydantic.BaseModel]] = {}
    for kind in kinds:
        for name in get_args(kind.model_fields["type"].annotation):
            places = [f"{one.__module__}.{one.__qualname__}" for one in (found.get(name, kind), kind)]
            if places[0] != places[1]:
                msg = f"process type '{name}' is declared twice, by {places[0]} and {places[1]}; rename one"
                raise ConfigError(msg)
            found[name] = kind
    return list(dict.fromkeys(found.values()))


for _module in pkgutil.iter_modules(data.simulation.signals.__path__):
    importlib.import_module(f"data.simulation.signals.{_module.name}")

if TYPE_CHECKING:  # which signals there are is known when their files have been looked for
    ProcessEntry = Background | Signal | Point
else:
    ProcessEntry = Annotated[
        Union[(*told_apart([*_kinds(Background), *_kinds(Signal), Point]),)],
        pydantic.Field(discriminator="type"),
    ]
