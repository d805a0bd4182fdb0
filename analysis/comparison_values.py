"""Comparisons of methods as plain values, for JSON files."""

import dataclasses
from typing import Any

import numpy as np

from analysis.comparison import Comparison, MethodResult
from models.complementarity import Complementarity
from models.sculpting import Sculpting


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain values, for ``comparison.json``."""
    return {
        "signal_region": list(comparison.window),
        "test_events": comparison.events,
        "methods": {name: _method_json(result) for name, result in comparison.methods.items()},
        "complementarity": {name: matrix_json(matrix) for name, matrix in comparison.complementarity.items()},
    }


def _method_json(result: MethodResult) -> dict[str, Any]:
    at = {
        f"{eff:g}": dataclasses.asdict(values) | {"binomial_error": error}
        for eff, (values, error) in result.sic.items()
    }
    curve = {key: values.tolist() for key, values in dataclasses.asdict(result.band).items()}
    return {
        "max_sic": dataclasses.asdict(result.max_sic) | {"binomial_error": result.max_sic_error},
        "sic_at": at,
        "auc": dataclasses.asdict(result.auc),
        "cpu_seconds": dataclasses.asdict(result.cpu_seconds),
        "sculpting": sculpting_json(result.sculpting),
        "sic_curve": curve,
    }


def sculpting_json(test: Sculpting | None) -> dict[str, Any] | None:
    """The test of a flat selection as plain values."""
    if test is None:
        return None
    return {key: plain_numbers(value) for key, value in dataclasses.asdict(test).items()}


def matrix_json(matrix: Complementarity) -> dict[str, Any]:
    """Matrices of score correlation and selection overlap as plain values."""
    return {
        "methods": list(matrix.names),
        "rank_correlation": plain_numbers(matrix.correlation),
        "selection_overlap": plain_numbers(matrix.overlap),
    }


def plain_numbers(value: Any) -> Any:
    """Arrays as lists, numbers that are not finite as None."""
    if isinstance(value, np.ndarray):
        return [plain_numbers(item) for item in value.tolist()]
    if isinstance(value, list):
        return [plain_numbers(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
