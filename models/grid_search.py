"""Random grid search: the best of many rectangular cuts whose faces are values of signal events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.types import BoolArray, FloatArray
from models.complementarity import weighted_ranks

Shape = Literal["one_sided", "box"]


@dataclass(frozen=True)
class Expected:
    """Events expected after each of many cuts.

    Parameters
    ----------
    signal, background
        Weights that pass, shape (cuts,).
    background_count
        Background events that pass, unweighted.
    """

    signal: FloatArray
    background: FloatArray
    background_count: FloatArray


def directions(
    signal: FloatArray, background: FloatArray, signal_weight: FloatArray, background_weight: FloatArray
) -> BoolArray:
    """Whether signal lies above background in each column: a random pair of events is more often in that order.

    Parameters
    ----------
    signal, background
        Values, shape (events, columns).
    signal_weight, background_weight
        Event weights, shape (events,).

    Returns
    -------
    numpy.ndarray
        bool, shape (columns,).
    """
    above = []
    weights = np.append(np.zeros(len(signal)), background_weight)
    for own, other in zip(signal.T, background.T, strict=True):
        share_below = weighted_ranks(np.append(own, other), weights)[: len(own)]
        above.append(bool(np.average(share_below, weights=signal_weight) > 0.5))
    return np.array(above)


def random_cuts(
    signal: FloatArray, above: BoolArray, shape: Shape, trials: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Faces of rectangular cuts, taken from signal events so that they lie where signal is.

    Parameters
    ----------
    signal
        Values of the signal events, shape (events, columns).
    above
        As `directions` gives.
    shape
        ``one_sided``: one event gives a face in each column, towards the signal's side. ``box``: two events give two.
    trials
        Number of cuts; one_sided: at most one an event.
    rng
        Source of the choice.

    Returns
    -------
    lower, upper
        Faces, shape (cuts, columns); −∞ and ∞ where there is none.

    References
    ----------
    P. C. Bhat, H. B. Prosper, S. Sekmen, C. Stewart, "Optimizing event selection with the random grid search",
    Comput. Phys. Commun. 228 (2018) 245, arXiv:1706.09907.
    """
    if shape == "one_sided":
        faces = signal[rng.choice(len(signal), min(trials, len(signal)), replace=False)]
        return np.where(above, faces, -np.inf), np.where(above, np.inf, faces)
    first, second = signal[rng.integers(len(signal), size=(2, trials))]
    return np.minimum(first, second), np.maximum(first, second)


def expected_events(
    lower: FloatArray,
    upper: FloatArray,
    signal: FloatArray,
    background: FloatArray,
    signal_weight: FloatArray,
    background_weight: FloatArray,
) -> Expected:
    """What passes lower < value < upper in every column, for many cuts.

    Parameters
    ----------
    lower, upper
        Faces, shape (cuts, columns).
    signal, background
        Values, shape (events, columns).
    signal_weight, background_weight
        Event weights, shape (events,).

    Returns
    -------
    Expected
        Sums of the weights of one sample each, all of shape (cuts,).
    """
    passed = np.zeros((3, len(lower)))
    samples = [np.ascontiguousarray(values.T) for values in (signal, background)]
    for number, (low, high) in enumerate(zip(lower, upper, strict=True)):
        inside = [_inside(values, low, high) for values in samples]
        passed[0, number] = signal_weight[inside[0]].sum()
        passed[1, number] = background_weight[inside[1]].sum()
        passed[2, number] = np.count_nonzero(inside[1])
    return Expected(*passed)


def _inside(columns: FloatArray, lower: FloatArray, upper: FloatArray) -> BoolArray:
    inside = np.ones(columns.shape[1], dtype=bool)
    for values, low, high in zip(columns, lower, upper, strict=True):
        if np.isfinite(low):
            inside &= values > low
        if np.isfinite(high):
            inside &= values < high
    return inside


def best_cut(
    expected: Expected,
    merit: Callable[[FloatArray, FloatArray, FloatArray], FloatArray],
    background_uncertainty: float,
    least_background: float,
) -> tuple[int, float]:
    """Number of the cut with the largest figure of merit, and its figure of merit.

    Parameters
    ----------
    expected
        Events after each cut.
    merit
        Takes signal, background and the background's standard deviation.
    background_uncertainty
        The latter, relative.
    least_background
        A cut that keeps less background counts as one that keeps this much: so few events do not say how much is left,
        and the best of many cuts would be the one that happens to miss them.

    Returns
    -------
    number, value
        −1 and 0 where no cut keeps signal.
    """
    allowed = np.flatnonzero(expected.signal > 0)
    if len(allowed) == 0:
        return -1, 0.0
    background = np.maximum(expected.background[allowed], least_background)
    values = merit(expected.signal[allowed], background, background_uncertainty * background)
    best = int(np.argmax(values))
    return int(allowed[best]), float(values[best])
