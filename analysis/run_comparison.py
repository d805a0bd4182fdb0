"""The trained methods of a run side by side: no label is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import models
from analysis.comparison import sculpting_or_none
from analysis.comparison_values import matrix_json, sculpting_json
from analysis.run import Run, method_columns, searched_table, selection_label
from analysis.windows import Window
from data.errors import ConfigError
from data.eventid import N_FOLDS
from data.types import Table
from models import Method
from models.complementarity import Complementarity, complementarity
from models.regions import OUTSIDE, SIGNAL
from models.sculpting import Sculpting


@dataclass(frozen=True)
class WindowComparison:
    """The methods of a window.

    Attributes
    ----------
    window
        Signal region and side bands.
    complementarity
        Sample to the matrices on its events inside the window.
    sculpting
        Method to the test that it keeps the same fraction of the data at every mass of the two side bands; None
        where too few events are selected.
    """

    window: Window
    complementarity: dict[str, Complementarity]
    sculpting: dict[str, Sculpting | None]


def compare_run(run: Run) -> list[WindowComparison]:
    """Compare all trained methods of a run, window by window.

    Parameters
    ----------
    run
        A run whose methods are trained.

    Returns
    -------
    list of WindowComparison
        In order of mass; data and signal simulation of the region that is searched.

    Raises
    ------
    ConfigError
        If the run has fewer than two methods.
    IncompleteError
        If a method is not trained.
    """
    names = list(run.config.methods)
    if len(names) < 2:
        msg = f"methods of this run: {', '.join(names) or 'none'}; a comparison needs two, add them under methods"
        raise ConfigError(msg)
    for method, window in run.tasks():
        run.identity(f"train {method} {window.name}")
    columns = method_columns(run, names)
    tables = {name: searched_table(run, name, columns) for name in run.filled}
    return [_compare_window(run, window, tables) for window in run.config.windows()]


def _compare_window(run: Run, window: Window, tables: Mapping[str, Table]) -> WindowComparison:
    trained = {name: models.load(run.root / "models" / name / window.name) for name in run.config.methods}
    matrices, tests = {}, {}
    for sample, table in tables.items():
        region = next(iter(trained.values())).window.of(np.asarray(table["mjj"], dtype=np.float64))
        inside = {name: column[region != OUTSIDE] for name, column in table.items()}
        if not len(inside["mjj"]):
            continue
        own = run.trained_on(sample)
        judged = {
            name: _judge(method, inside, trained_on=selection_label(name, window) in own)
            for name, method in trained.items()
        }
        weight = np.abs(inside["weight"])  # ranks and overlaps are shares, which negative weights do not have
        matrices[sample] = complementarity(
            {name: score for name, (score, _) in judged.items()},
            {name: selected for name, (_, selected) in judged.items()},
            weight,
        )
        if sample == run.data.name:
            beside = region[region != OUTSIDE] != SIGNAL
            tests = {
                name: sculpting_or_none(name, inside["mjj"], selected, beside, weight)
                for name, (_, selected) in judged.items()
            }
    return WindowComparison(window, matrices, tests)


def _judge(method: Method, table: Table, *, trained_on: bool) -> tuple[Any, Any]:
    score, votes = method.evaluate(table, trained_on=trained_on)
    return score, votes > N_FOLDS // 2


def run_json(windows: Sequence[WindowComparison]) -> dict[str, Any]:
    """The comparison of a run as plain values, for ``comparison.json``."""
    return {
        one.window.name: {
            "signal_region": list(one.window.signal_region),
            "complementarity": {name: matrix_json(matrix) for name, matrix in one.complementarity.items()},
            "sculpting": {name: sculpting_json(test) for name, test in one.sculpting.items()},
        }
        for one in windows
    }
