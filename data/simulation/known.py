"""All that a recipe may name: the backgrounds, the signals of `data.simulation.signals`, and points by name."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Union

import pydantic

import data.simulation.signals
from data.simulation.processes import Background, Point, Signal


def _kinds(base: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    """The classes below one that a recipe can name by their ``type``."""
    for kind in base.__subclasses__():
        if "type" in kind.model_fields:
            yield kind
        yield from _kinds(kind)


for _module in pkgutil.iter_modules(data.simulation.signals.__path__):
    importlib.import_module(f"data.simulation.signals.{_module.name}")

if TYPE_CHECKING:  # which signals there are is known when their files have been looked for
    ProcessEntry = Background | Signal | Point
else:
    ProcessEntry = Annotated[
        Union[(*_kinds(Background), *_kinds(Signal), Point)], pydantic.Field(discriminator="type")
    ]
