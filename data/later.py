"""Libraries that take seconds to import, imported where they are first used: a command without use of them answers at once."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        """What the module has under a name; it is kept, so that loops look it up as fast as in the module."""
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        """A worker process that is sent one imports the module itself."""
        return later, (self.__name__,)


def later(name: str) -> ModuleType:
    """A module that is imported when something of it is first used.

    Type checkers see nothing of it: give them the true import under ``if TYPE_CHECKING``. A class cannot be derived
    from one of its classes, nor may a name of it stand in an annotation that is evaluated, without importing it.

    Parameters
    ----------
    name
        Of the module, with those of its packages.

    Returns
    -------
    ModuleType
        Has the attributes of the module.
    """
    return _Later(name)
