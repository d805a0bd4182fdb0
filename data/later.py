"""Libraries that take seconds to import, imported where they are first used: a command without use of them answers at once."""

import importlib
from collections.abc import Callable
from typing import Any


class _Later:
    """Stands for a module until something of it is asked for.

    It is none itself: who walks through modules, as pdoc does, would take it for one of ours and give it another name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        """What the module has under a name; it is kept, so that loops look it up as fast as in the module."""
        value = getattr(importlib.import_module(self._name), name)
        setattr(self, name, value)
        return value

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        """A worker process that is sent one imports the module itself."""
        return later, (self._name,)


def later(name: str) -> Any:
    """A module that is imported when something of it is first used.

    Type checkers see nothing of it: give them the true import under ``if TYPE_CHECKING``. A class cannot be derived
    from one of its classes, nor may a name of it stand in an annotation that is evaluated, without importing it.

    Parameters
    ----------
    name
        Of the module, with those of its packages.

    Returns
    -------
    object
        Has the attributes of the module.
    """
    return _Later(name)
