"""Anomaly methods behind one interface: create, fit, score, save, load."""

from models import cwola
from models.base import Method, available, check_options, create, load, needing
from models.bundle import versions

__all__ = ["Method", "available", "check_options", "create", "cwola", "load", "needing", "versions"]
