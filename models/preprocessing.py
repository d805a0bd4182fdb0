"""From columns to network inputs, and from network outputs to ranks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.errors import InputError, TrainingError
from data.types import FloatArray, Table

Inputs = npt.NDArray[np.float32]
MAX_KNOTS = 10_001


def column(table: Table, name: str) -> FloatArray:
    """One column as float64, checked.

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
            msg = f"column '{name}' has {len(values)} rows, column '{names[0]}' {len(columns[0])}"
            raise InputError(msg)
    return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.float32))


def refuse_constant(x: Inputs, names: tuple[str, ...]) -> None:
    """Refuse inputs that are the same in every training event.

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
    """Mean and standard deviation of each input, float32, shape (inputs,); 1 where an input does not vary."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1.0).astype(np.float32)


@dataclass(frozen=True)
class RankTransform:
    """Monotonic map from a network's output to its rank in [0, 1] within a reference sample.

    Parameters
    ----------
    knots
        Distinct outputs, ascending.
    ranks
        Their ranks; linear in between, constant outside.
    """

    knots: FloatArray
    ranks: FloatArray

    def __call__(self, output: FloatArray) -> FloatArray:
        """Ranks of outputs."""
        return np.interp(output, self.knots, self.ranks)


def fit_ranks(output: FloatArray) -> RankTransform:
    """Rank transform of a reference sample: the middle of the steps of its distribution function.

    Parameters
    ----------
    output
        Outputs of the reference events, at least one. Above 10,001 distinct values, evenly spaced ones are kept.

    Returns
    -------
    RankTransform
        Equal outputs get equal ranks, whatever the order of the events.
    """
    knots, counts = np.unique(output, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * counts) / len(output)
    if len(knots) > MAX_KNOTS:
        kept = np.linspace(0, len(knots) - 1, MAX_KNOTS).round().astype(np.int64)
        knots, ranks = knots[kept], ranks[kept]
    return RankTransform(knots.astype(np.float64), ranks.astype(np.float64))
