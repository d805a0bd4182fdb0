"""Which methods there are: each makes itself known by its name when its file is imported."""

import difflib
import importlib
import os
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import ConfigError

if TYPE_CHECKING:
    from models.base import Method

METHODS: "dict[str, type[Method]]" = {}
"""By name, those whose files have been imported."""
_PACKAGE = "models.methods"


def register(method: "type[Method]") -> "type[Method]":
    """Class decorator: make a method known by its name.

    The same class may come again, as where a cell of a notebook is run once more, a module is reloaded or a script is
    imported: the new one counts.

    Raises
    ------
    ConfigError
        If another class has the name.
    """
    if not method.__module__.startswith(f"{_PACKAGE}."):
        import_methods()  # a class from elsewhere must not take the name of one whose file has not been needed yet
    before = METHODS.get(method.name, method)
    if _origin(before) != _origin(method):
        places = [f"{one.__module__}.{one.__qualname__}" for one in (before, method)]
        msg = (
            f"method '{method.name}' is registered twice, by {places[0]} and {places[1]}; give one of them another name "
            "(in a notebook, a class that was renamed stays known until the kernel is restarted)"
        )
        raise ConfigError(msg)
    METHODS[method.name] = method
    return method


def _origin(method: "type[Method]") -> tuple[str, str]:
    """Where a class stands: a script that is run and also imported is two modules of one file."""
    file = getattr(sys.modules.get(method.__module__), "__file__", None)
    return os.path.realpath(file) if file else method.__module__, method.__qualname__


def import_methods() -> None:
    """Import all files of methods, which register them."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent / "methods")]):
        importlib.import_module(f"{_PACKAGE}.{module.name}")


def all_methods() -> "dict[str, type[Method]]":
    """Every method by name, sorted."""
    import_methods()
    return dict(sorted(METHODS.items()))


def find_method(name: str, source: str) -> "type[Method]":
    """The class of a method.

    Only its own module is imported where that has its name: the libraries that networks need take seconds, which a
    command that has none should not wait.
    """
    own = Path(__file__).parent / "methods" / f"{name}.py"
    if name not in METHODS and name.isidentifier() and own.is_file():
        importlib.import_module(f"{_PACKAGE}.{name}")
    known = METHODS if name in METHODS else all_methods()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known methods: {', '.join(known)}"
    msg = f"{source}: unknown method '{name}'; {hint}"
    raise ConfigError(msg)
