"""Anomaly methods behind one interface: create, fit, score, save, load.

.. include:: which_method.md
"""

import importlib
from typing import Any

from models.base import Method, available, check_options, create, describe, load, needing
from models.bundle import versions

__all__ = [
    "Method",
    "available",
    "check_options",
    "create",
    "describe",
    "fit_together",
    "load",
    "needing",
    "versions",
]


def __getattr__(name: str) -> Any:
    """`fit_together` on first use: what it needs takes seconds to import."""
    if name == "fit_together":
        return importlib.import_module("models.together").fit_together
    msg = f"module 'models' has no attribute '{name}'"
    raise AttributeError(msg)
