"""From columns to network inputs, and from network outputs to ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError, TrainingError
from data.types import FloatArray, Table
from models.arrays import take

Inputs = npt.NDArray[np.float32]
MAX_KNOTS = 10_001


def column(table: Table, name: str) -> FloatArray:
    """One column as float64, checked.

    Parameters
    ----------
    table
        The feature table.
    name
        The column.

    Returns
    -------
    numpy.ndarray
        float64, shape (events,), finite, in the column's units.

    Raises
    ------
    InputError
        If the column is missing, is not one number an event, or holds a value that is not finite in float32.
    """
    if name not in table:
        msg = f"table: column '{name}' is missing; columns here: {', '.join(sorted(table)) or 'none'}"
        raise InputError(msg)
    values = np.asarray(table[name])
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        msg = f"column '{name}': expected one number an event, found {values.dtype} of shape {values.shape}"
        raise InputError(msg)
    values = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        msg = (
            f"column '{name}': {len(bad)} of {len(values)} values are NaN or infinite, the first in row {bad[0]}; "
            "remove these events or repair the column"
        )
        raise InputError(msg)
    if len(values) and np.abs(values).max() > np.finfo(np.float32).max:
        msg = f"column '{name}' holds values beyond the range of float32; check its units"
        raise InputError(msg)
    return values


def array_column(table: Table, name: str) -> npt.NDArray[Any]:
    """One column, checked: float64 where it holds one number an event, float32 where it holds an array an event.

    Parameters
    ----------
    table
        The feature table.
    name
        The column.

    Returns
    -------
    numpy.ndarray
        float64 of shape (events,), or float32 of shape (events, …); finite.

    Raises
    ------
    InputError
        If the column is missing, not numeric, or holds a value that is not finite in float32.
    """
    if name not in table or np.ndim(table[name]) <= 1:
        return column(table, name)
    values = np.asarray(table[name])
    if values.dtype.kind not in "biuf":
        msg = f"column '{name}': expected numbers, found {values.dtype}"
        raise InputError(msg)
    values = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if len(bad):
        msg = (
            f"column '{name}': {len(bad)} of {len(values)} rows hold values that are NaN or infinite in float32, the "
            f"first is row {bad[0]}; remove these events or repair the column"
        )
        raise InputError(msg)
    return values


def input_matrix(table: Table, names: tuple[str, ...]) -> Inputs:
    """Inputs of a network: the one place where columns become float32, in training and in scoring.

    Parameters
    ----------
    table
        The feature table.
    names
        The columns, in the order in which the network knows them.

    Returns
    -------
    numpy.ndarray
        float32, shape (events, inputs), C order.

    Raises
    ------
    InputError
        If a column is missing, not numeric, not finite in float32, or of another length than the first.
    """
    columns = [column(table, name) for name in names]
    for name, values in zip(names, columns, strict=True):
        if len(values) != len(columns[0]):
            msg = (
                f"column '{name}' has {len(values)} rows, column '{names[0]}' {len(columns[0])}; give each one entry an "
                "event"
            )
            raise InputError(msg)
    return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.float32))


def refuse_constant(x: Inputs, names: tuple[str, ...]) -> None:
    """Refuse inputs that are the same in every training event.

    Parameters
    ----------
    x
        float32, shape (events, inputs).
    names
        The inputs.

    Raises
    ------
    TrainingError
        Naming the columns.
    """
    constant = [name for name, values in zip(names, x.T, strict=True) if np.all(values == values[0])]
    if constant:
        msg = (
            f"column{'s' if len(constant) > 1 else ''} {', '.join(constant)}: the same value in all {len(x)} "
            "training events; leave it out of `features`, or check how it was filled"
        )
        raise TrainingError(msg)


def standardisation(x: Inputs) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and standard deviation of each input.

    Parameters
    ----------
    x
        float32, shape (events, inputs).

    Returns
    -------
    mean, deviation
        float32, shape (inputs,); the deviation is 1 where an input does not vary.
    """
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1.0).astype(np.float32)


@dataclass(frozen=True)
class RankTransform:
    """Strictly monotonic map from a network's output to its rank in [0, 1] within a reference sample.

    Parameters
    ----------
    knots
        Distinct outputs, ascending.
    ranks
        Their ranks, above 0 and below 1; linear in between. Beyond the last knot ranks approach 1 (below the first, 0)
        hyperbolically, so that the order of events more extreme than all of the reference is kept.
    """

    knots: FloatArray
    ranks: FloatArray

    def __call__(self, output: FloatArray) -> FloatArray:
        """Ranks of outputs."""
        rank = np.interp(output, self.knots, self.ranks)
        span = self.knots[-1] - self.knots[0]
        scale = span / 100.0 if span > 0 else max(abs(self.knots[0]), 1.0)
        above = np.maximum(output - self.knots[-1], 0.0) / scale
        below = np.maximum(self.knots[0] - output, 0.0) / scale
        rank = np.where(above > 0, 1.0 - (1.0 - self.ranks[-1]) / (1.0 + above), rank)
        return np.where(below > 0, self.ranks[0] / (1.0 + below), rank)

    def arrays(self) -> dict[str, FloatArray]:
        """What a bundle keeps.

        Returns
        -------
        dict
            ``knots`` and ``ranks``, float64, shape (knots,).
        """
        return {"knots": self.knots, "ranks": self.ranks}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], what: str) -> "RankTransform":
        """From the arrays of a bundle.

        Parameters
        ----------
        arrays
            As `arrays` gives them.
        what
            Names the transform in messages.

        Returns
        -------
        RankTransform
            As it was saved.

        Raises
        ------
        ValueError
            If they could not have been saved.
        """
        knots = take(arrays, "knots", "float64", None)
        steps = take(arrays, "ranks", "float64", len(knots))
        ascending = len(knots) > 0 and np.all(np.diff(knots) > 0) and np.all(np.diff(steps) > 0)
        if not ascending or not np.isfinite(knots).all() or steps[0] < 0 or steps[-1] > 1:
            msg = f"the rank transform {what} does not ascend from 0 to 1"
            raise ValueError(msg)
        return cls(knots, steps)


def fit_ranks(output: FloatArray, weight: FloatArray | None = None) -> RankTransform:
    """Rank transform of a reference sample: the middle of the steps of its distribution function.

    Parameters
    ----------
    output
        Outputs of the reference events, shape (events,), at least one. Above 10,001 distinct values,
        evenly spaced ones are kept.
    weight
        Weights of the events, positive, shape (events,); by default all equal.

    Returns
    -------
    RankTransform
        Equal outputs get equal ranks, whatever the order of the events.
    """
    knots, place = np.unique(output, return_inverse=True)
    counts = np.bincount(place, weight, len(knots))
    ranks = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
    # A weight that is lost in rounding beside the others makes no step of its own.
    rising = np.append(True, np.diff(np.maximum.accumulate(ranks)) > 0)
    knots, ranks = knots[rising], ranks[rising]
    if len(knots) > MAX_KNOTS:
        kept = np.linspace(0, len(knots) - 1, MAX_KNOTS).round().astype(np.int64)
        knots, ranks = knots[kept], ranks[kept]
    return RankTransform(knots.astype(np.float64), ranks.astype(np.float64))
