"""How alike methods are: correlation of their scores, overlap of their selections."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import BoolArray, FloatArray


@dataclass(frozen=True)
class Complementarity:
    """Matrices of all pairs of methods, on one class of events.

    Parameters
    ----------
    names
        The methods, in the order of rows and columns.
    correlation
        Spearman's rank correlation of the scores, shape (methods, methods); NaN with a constant score.
    overlap
        Weight of the events that both select over that of the events that either selects (Jaccard), same shape; NaN
        where neither selects any.
    """

    names: tuple[str, ...]
    correlation: FloatArray
    overlap: FloatArray


def complementarity(
    scores: Mapping[str, FloatArray],
    selections: Mapping[str, BoolArray],
    weight: npt.ArrayLike | None = None,
) -> Complementarity:
    """Score correlations and selection overlaps of methods on the same events.

    Parameters
    ----------
    scores
        Method to its scores of the events, at least two methods.
    selections
        Method to whether it selects each event, for the same methods.
    weight
        Event weights, not negative; 1 without.

    Returns
    -------
    Complementarity
        Of these events; `complementarity_by_class` gives signal and background apart, as they should be looked at.

    Raises
    ------
    InputError
        If there are fewer than two methods, their names differ, lengths differ, or a value is out of range.

    References
    ----------
    C. Spearman, Am. J. Psychol. 15 (1904) 72; P. Jaccard, New Phytol. 11 (1912) 37. Correlations between the methods
    of a search: CMS-EXO-22-026, arXiv:2412.03747.
    """
    names, values, chosen, weights = _checked(scores, selections, weight)
    ranks = np.stack([weighted_ranks(row, weights) for row in values])
    centred = ranks - np.average(ranks, axis=1, weights=weights)[:, None]
    covariance = (centred * weights) @ centred.T
    deviation = np.sqrt(np.diag(covariance))
    flat = np.array([np.all(row == row[0]) for row in values])
    known = ~(flat[:, None] | flat[None, :])
    shape = covariance.shape
    correlation = np.divide(
        covariance, np.outer(deviation, deviation), out=np.full(shape, np.nan), where=known
    )
    np.fill_diagonal(correlation, np.where(flat, np.nan, 1.0))
    both = (chosen * weights) @ chosen.T
    own = np.diag(both)
    either = own[:, None] + own[None, :] - both
    overlap = np.divide(both, either, out=np.full(shape, np.nan), where=either > 0)
    return Complementarity(names, np.clip(correlation, -1.0, 1.0), overlap)


def complementarity_by_class(
    scores: Mapping[str, FloatArray],
    selections: Mapping[str, BoolArray],
    label: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> dict[str, Complementarity]:
    """The matrices on background and on signal.

    Parameters
    ----------
    scores, selections, weight
        As `complementarity`.
    label
        True or 1 for signal.

    Returns
    -------
    dict
        ``"background"`` and ``"signal"``.

    Raises
    ------
    InputError
        As `complementarity`, and if a class has no event.
    """
    signal = np.asarray(label).astype(bool)
    weights = np.ones(len(signal)) if weight is None else np.asarray(weight, dtype=np.float64)
    if any(len(values) != len(signal) for values in (*scores.values(), *selections.values(), weights)):
        msg = f"label: {len(signal)} events, but scores, selections or weight hold another number"
        raise InputError(msg)
    return {
        name: complementarity(
            {method: np.asarray(values)[mask] for method, values in scores.items()},
            {method: np.asarray(values)[mask] for method, values in selections.items()},
            weights[mask],
        )
        for name, mask in (("background", ~signal), ("signal", signal))
    }


def weighted_ranks(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Share of the weight below each value, that of equal values counting half.

    Parameters
    ----------
    values
        Shape (n,), at least one.
    weights
        Shape (n,), not negative, the sum positive.

    Returns
    -------
    numpy.ndarray
        float64 in 0 … 1; with equal weights (mean rank − 1/2)/n.
    """
    _, place = np.unique(values, return_inverse=True)
    here = np.bincount(place, weights)
    ranks: FloatArray = (np.cumsum(here) - 0.5 * here) / here.sum()
    return ranks[place]


def _checked(
    scores: Mapping[str, FloatArray], selections: Mapping[str, BoolArray], weight: npt.ArrayLike | None
) -> tuple[tuple[str, ...], FloatArray, FloatArray, FloatArray]:
    names = tuple(scores)
    if len(names) < 2 or set(names) != set(selections):
        msg = (
            "complementarity compares two methods or more by scores and selections of the same names; found scores "
            f"of {', '.join(names) or 'none'} and selections of {', '.join(selections) or 'none'}; give both of each"
        )
        raise InputError(msg)
    rows = len(scores[names[0]])
    weights = np.ones(rows) if weight is None else np.asarray(weight, dtype=np.float64)
    for name in names:
        if np.shape(scores[name]) != (rows,) or np.shape(selections[name]) != (rows,):
            msg = f"'{name}': expected {rows} scores and selections, as '{names[0]}' has"
            raise InputError(msg)
        if bad := int(np.count_nonzero(~np.isfinite(scores[name]))):
            msg = f"'{name}': {bad} of {rows} scores are NaN or infinite; leave these events out"
            raise InputError(msg)
        if np.asarray(selections[name]).dtype != np.bool_:
            msg = f"'{name}': selections must be bool; compare the votes with a number of folds first"
            raise InputError(msg)
    if (
        weights.shape != (rows,)
        or not np.all(np.isfinite(weights))
        or np.any(weights < 0)
        or not weights.sum() > 0
    ):
        msg = f"weight: expected {rows} values, finite and not negative, some above 0"
        raise InputError(msg)
    values = np.stack([np.asarray(scores[name], dtype=np.float64) for name in names])
    return (
        names,
        values,
        np.stack([np.asarray(selections[name]) for name in names]).astype(np.float64),
        weights,
    )
