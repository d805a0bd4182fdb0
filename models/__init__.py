"""Anomaly methods behind one interface: create, fit, score, save, load."""

import importlib
import pkgutil

from models import methods
from models.base import Method, available, check_options, create, describe, load, needing
from models.bundle import versions
from models.together import fit_together

for _module in pkgutil.iter_modules(methods.__path__):
    importlib.import_module(f"{methods.__name__}.{_module.name}")

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
