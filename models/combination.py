"""Combination of methods: what several of them select together, and the price of having tried several."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import BoolArray, FloatArray

Trials = Literal["bonferroni", "sidak"]


def union(selections: Sequence[BoolArray]) -> BoolArray:
    """Events that at least one selection keeps.

    Parameters
    ----------
    selections
        bool, shape (events,), one a method.

    Returns
    -------
    numpy.ndarray
        bool, shape (events,).

    Raises
    ------
    InputError
        If there is no selection, or they are not bool and of one length.
    """
    types = [str(np.asarray(kept).dtype) for kept in selections]
    if set(types) != {"bool"}:
        found = ", ".join(types) or "none"
        msg = f"selections: expected one or more, bool, found {found}; compare the votes with a number of folds first"
        raise InputError(msg)
    return np.asarray(np.any(_rows(selections), axis=0), dtype=np.bool_)


def mean_rank(scores: Sequence[FloatArray]) -> FloatArray:
    """Mean of the methods' ranks: an event that all find a little odd.

    Parameters
    ----------
    scores
        Ranks in [0, 1], shape (events,), one a method.

    Returns
    -------
    numpy.ndarray
        float64, shape (events,).

    Raises
    ------
    InputError
        If there is no score, or they are of different lengths.
    """
    # One method after the other: numpy's own sum may add in another order for a single event.
    return np.asarray(functools.reduce(np.add, _rows(scores)) / len(scores), dtype=np.float64)


def maximum_rank(scores: Sequence[FloatArray]) -> FloatArray:
    """Largest of the methods' ranks: an event that one finds very odd.

    Parameters
    ----------
    scores
        Ranks in [0, 1], shape (events,), one a method.

    Returns
    -------
    numpy.ndarray
        float64, shape (events,).

    Raises
    ------
    InputError
        If there is no score, or they are of different lengths.
    """
    return np.asarray(np.max(_rows(scores), axis=0), dtype=np.float64)


def _rows(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if not values or any(np.shape(row) != (len(values[0]),) for row in values):
        shapes = [np.shape(row) for row in values]
        msg = f"a combination needs the same events of each method, found shapes {shapes}; give one value an event"
        raise InputError(msg)
    return np.stack([np.asarray(row) for row in values])


def working_point_of_each(working_point: float, methods: int, trials: Trials = "bonferroni") -> float:
    """Working point of each of several methods whose union keeps no more than a given fraction of the background.

    Parameters
    ----------
    working_point
        Of the union.
    methods
        Their number.
    trials
        ``bonferroni``: ε/n, whatever the correlations. ``sidak``: 1 − (1 − ε)^(1/n), exact for independent methods, and
        enough for positively correlated ones.

    Returns
    -------
    float
        Fraction of the background that each method keeps.

    Raises
    ------
    InputError
        If the working point is not between 0 and 1, or there is no method.

    References
    ----------
    Z. Šidák, J. Am. Stat. Assoc. 62 (1967) 626.
    """
    if not 0 < working_point < 1 or methods < 1:
        msg = f"working_point {working_point} of {methods} methods: expected one between 0 and 1, and one method or more"
        raise InputError(msg)
    if trials == "bonferroni":
        return working_point / methods
    return float(-np.expm1(np.log1p(-working_point) / methods))


def global_p_value(p_values: Sequence[float], trials: Trials = "bonferroni") -> float:
    """p-value of the smallest of several p-values: the price of having looked with several methods.

    Parameters
    ----------
    p_values
        One a method.
    trials
        ``bonferroni``: n·p_min, whatever the correlations; ``sidak``: 1 − (1 − p_min)^n.

    Returns
    -------
    float
        Within 0 … 1.

    Raises
    ------
    InputError
        If there is none, or one is not within 0 … 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if len(values) == 0 or np.any(~((values >= 0) & (values <= 1))):
        msg = f"p_values: expected at least one, each within 0 … 1, found {list(p_values)}"
        raise InputError(msg)
    smallest, count = float(values.min()), len(values)
    if trials == "bonferroni":
        return min(count * smallest, 1.0)
    return float(-np.expm1(count * np.log1p(-smallest))) if smallest < 1 else 1.0


def trial_factor(
    selections: Sequence[BoolArray], background: BoolArray, weight: FloatArray | None = None
) -> float:
    """How many independent selections several are worth: background of their union over their mean background.

    Parameters
    ----------
    selections
        bool, one an event each.
    background
        Events that count, shape (events,): those of the side bands, or simulated background.
    weight
        Event weights, shape (events,).

    Returns
    -------
    float
        1 where all select the same events, their number where no event is selected twice.

    Raises
    ------
    InputError
        As `union`, or if none of the background is selected.
    """
    together = union(selections)
    weights = np.where(background, 1.0 if weight is None else weight, 0.0)
    single = float(np.mean([weights[kept].sum() for kept in selections]))
    if single == 0:
        msg = (
            "trial_factor: none of the background events is selected; use more of them or a looser selection"
        )
        raise InputError(msg)
    return float(weights[together].sum() / single)
