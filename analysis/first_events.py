"""What the first events of a sample suggest for its search: where the spectrum falls, and which masses it reaches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.windows import window_of
from data.eventid import N_FOLDS
from data.types import FloatArray

TESTED = tuple(float(mass) for mass in range(1800, 5801, 100))
"""Masses in GeV that have a window, as the published search tests them."""
LEAST_IN_BAND = 100
"""Events that signal region and side bands hold each, where a method is to be trained in them."""
SPARE = 1.5
"""The side bands together hold so many times the events without which no threshold can be set."""
LEAST_FOR_FIT = 30
"""Events above the fit's start; with fewer, one mass in their midst is tested."""
_START = 1460.0
_GRID, _FIRST = 4.0, 1200.0
_BIN = 1.02
_MARGIN = 1.15


@dataclass(frozen=True)
class Suggestion:
    """What to search for.

    Attributes
    ----------
    expected
        Selected events of the whole sample, as the first ones tell.
    fit_start
        GeV, on the grid of the fit; None where no event tells.
    masses
        GeV, ascending.
    trainable
        Whether methods can be trained in the windows of all these masses.
    """

    expected: float
    fit_start: float | None
    masses: tuple[float, ...]
    trainable: bool


def suggest(mjj: FloatArray, scale: float, signals: Sequence[float] = ()) -> Suggestion:
    """Choose fit range and masses.

    Parameters
    ----------
    mjj
        Dijet masses (GeV) of the selected events among those looked at, shape (n,).
    scale
        Entries of the sample, over those looked at.
    signals
        Masses (GeV) of the simulated signals; the shape is known between them only, if there are several.

    Returns
    -------
    Suggestion
        The masses around which signal region and both side bands hold enough events for a training, at least half of
        the lower one where the spectrum falls; if there are none, those in the upper part of the spectrum; if there are
        few events at all, one mass in their midst.
    """
    if not len(mjj):
        return Suggestion(0.0, None, (3000.0,), trainable=False)
    start = fit_start(mjj)
    above = mjj[mjj >= start]
    if len(above) * scale < LEAST_FOR_FIT:
        middle = float(np.median(mjj))
        nearest = min(TESTED, key=lambda mass: abs(mass - middle))
        low = max(_FIRST, _GRID * np.floor(min(mjj.min(), 0.8 * nearest) / _GRID))
        return Suggestion(len(mjj) * scale, float(low), (nearest,), trainable=False)
    between = (min(signals), max(signals)) if len(signals) > 1 else (TESTED[0], TESTED[-1])
    known = [mass for mass in TESTED if between[0] <= mass <= between[1]]
    reached = [mass for mass in known if mass >= _MARGIN * start]
    falling = [mass for mass in reached if sum(window_of(mass).low_band) / 2 >= start]
    trainable = tuple(mass for mass in falling if can_train(mjj, mass, scale))
    if trainable:
        return Suggestion(len(mjj) * scale, start, trainable, trainable=True)
    inside = tuple(mass for mass in reached if mass <= above.max())
    return Suggestion(len(mjj) * scale, start, inside or tuple(known[-1:]) or TESTED[-1:], trainable=False)


def fit_start(mjj: Sequence[float] | FloatArray) -> float:
    """Where the spectrum begins to fall, snapped up to the grid of the fit; 1460 GeV or more.

    The turn-on of triggers and of skims lies below: 1460 GeV is the start of the published search.

    Parameters
    ----------
    mjj
        Dijet masses (GeV), shape (n,), n ≥ 1.

    Returns
    -------
    float
        GeV.
    """
    values = np.asarray(mjj, dtype=np.float64)
    count = int(np.ceil(np.log(values.max() / _FIRST) / np.log(_BIN))) + 1
    edges = _FIRST * _BIN ** np.arange(max(count, 1) + 1)
    counts = np.histogram(values, edges)[0] / np.diff(edges)
    top = float(edges[int(np.argmax(counts)) + 1])
    return max(_START, _FIRST + _GRID * float(np.ceil((top - _FIRST) / _GRID)))


def can_train(mjj: FloatArray, mass: float, scale: float) -> bool:
    """Whether the window of a mass holds enough events for a method: in each interval, and for a threshold.

    Each fold sets its threshold among its own side-band events, of which the working point's share must be one or more.

    Parameters
    ----------
    mjj
        Dijet masses (GeV), shape (n,).
    mass
        Centre of the signal region (GeV).
    scale
        Events of the sample for each of ``mjj``.

    Returns
    -------
    bool
        True if so.
    """
    window = window_of(mass)
    low, signal, high = (
        scale * int(np.count_nonzero((mjj >= first) & (mjj < last)))
        for first, last in (window.low_band, window.signal_region, window.high_band)
    )
    needed = SPARE * N_FOLDS / window.working_point
    return min(low, signal, high) >= LEAST_IN_BAND and low + high >= needed
