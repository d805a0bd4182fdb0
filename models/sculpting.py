"""Whether a selection is flat in mjj: a cut that follows the mass makes bumps of its own."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from data.errors import InputError
from data.types import BoolArray, FloatArray, IntArray

BINS = 20
MIN_EXPECTED = 10.0


@dataclass(frozen=True)
class Sculpting:
    """Result of the test that the selected fraction does not depend on mjj.

    Parameters
    ----------
    edges
        Edges of the bins compared, GeV, shape (bins + 1,).
    fraction, error
        Selected fraction of each bin, and its standard deviation if the fraction is flat; shape (bins,).
    mean
        The flat fraction that fits best.
    chi2, dof, p_value
        χ² of the bins against that fraction, its degrees of freedom, and the probability of a larger one.
    slope, slope_error
        Relative change of the fraction from the first edge to the last, from a straight line through all events, and
        its standard deviation if the fraction is flat.
    slope_p_value
        Two-sided probability of such a slope if the fraction is flat.
    """

    edges: FloatArray
    fraction: FloatArray
    error: FloatArray
    mean: float
    chi2: float
    dof: int
    p_value: float
    slope: float
    slope_error: float
    slope_p_value: float


def sculpting(
    mjj: FloatArray,
    selected: BoolArray,
    edges: FloatArray | None = None,
    weight: npt.ArrayLike | None = None,
    min_expected: float = MIN_EXPECTED,
) -> Sculpting:
    """Test that a selection keeps the same fraction of background at every mjj.

    χ² of the selected fraction in bins against one fraction, and the straight line's slope (the trend test of
    Cochran and Armitage), which sees a slow change that hides in many bins. Weighted events count by their effective
    number in each bin; the result is Pearson's test of homogeneity where all weights are equal.

    Parameters
    ----------
    mjj
        GeV, shape (events,).
    selected
        bool; all events of one selection, each with the probability that the test is about.
    edges
        Shape (n + 1,), ascending, GeV; events outside are left out. By default 20 bins of equal numbers of events,
        their outer edges the first and the last event.
    weight
        Event weights, not negative; 1 without.
    min_expected
        Neighbouring bins are merged until this many selected (and as many rejected) events are expected in each:
        with fewer the probability of χ² does not hold.

    Returns
    -------
    Sculpting
        What was found.

    Raises
    ------
    InputError
        If lengths differ, a value is out of range, or fewer than two bins would be left.

    References
    ----------
    W. G. Cochran, Biometrics 10 (1954) 417; P. Armitage, Biometrics 11 (1955) 375.
    """
    masses, chosen, weights = _checked(mjj, selected, weight)
    bounds = _bounds(masses, edges)
    inside = (masses >= bounds[0]) & (masses <= bounds[-1]) & (weights > 0)
    masses, chosen, weights = masses[inside], chosen[inside], weights[inside]
    number = np.minimum(np.searchsorted(bounds, masses, side="right") - 1, len(bounds) - 2)
    return _compared(masses, chosen, weights, *_merged(bounds, number, chosen, weights, min_expected))


def _bounds(masses: FloatArray, edges: FloatArray | None) -> FloatArray:
    """The edges given, checked; else those of bins of equal numbers of events."""
    if edges is None:
        edges = (
            np.unique(np.quantile(masses, np.linspace(0.0, 1.0, BINS + 1))) if len(masses) else np.zeros(0)
        )
    bounds = np.asarray(edges, dtype=np.float64)
    if bounds.ndim != 1 or len(bounds) < 3 or not np.all(np.diff(bounds) > 0):
        msg = f"edges: expected at least three, ascending (GeV), found {bounds}"
        raise InputError(msg)
    return bounds


def _compared(
    masses: FloatArray, chosen: BoolArray, weights: FloatArray, bounds: FloatArray, number: IntArray
) -> Sculpting:
    """Both tests of events whose bins are known."""
    fraction, effective = _fractions(number, chosen, weights, len(bounds) - 1)
    mean = float(np.average(fraction, weights=effective))
    variance = mean * (1.0 - mean)
    chi2, dof = float(np.sum(effective * (fraction - mean) ** 2) / variance), len(fraction) - 1
    slope, slope_error = _trend(masses, chosen, weights, bounds)
    return Sculpting(
        bounds,
        fraction,
        np.sqrt(variance / effective),
        mean,
        chi2,
        dof,
        float(special.chdtrc(dof, chi2)),
        slope,
        slope_error,
        float(special.erfc(abs(slope) / slope_error / np.sqrt(2.0))),
    )


def _checked(
    mjj: FloatArray, selected: BoolArray, weight: npt.ArrayLike | None
) -> tuple[FloatArray, BoolArray, FloatArray]:
    masses, chosen = np.asarray(mjj, dtype=np.float64), np.asarray(selected)
    weights = np.ones(len(masses)) if weight is None else np.asarray(weight, dtype=np.float64)
    if masses.ndim != 1 or chosen.shape != masses.shape or weights.shape != masses.shape:
        msg = f"mjj {masses.shape}, selected {chosen.shape} and weight {weights.shape}: expected one of each an event"
        raise InputError(msg)
    if chosen.dtype != np.bool_:
        msg = f"selected: expected bool, found {chosen.dtype}; compare the votes with a number of folds first"
        raise InputError(msg)
    for name, fine, fault in (
        ("mjj", np.isfinite(masses), "NaN or infinite"),
        ("weight", np.isfinite(weights) & (weights >= 0), "negative, NaN or infinite"),
    ):
        if not np.all(fine):
            msg = (
                f"{name}: {np.count_nonzero(~fine)} of {len(fine)} values are {fault}; leave these events out"
            )
            raise InputError(msg)
    return masses, chosen, weights


def _fractions(
    number: IntArray, chosen: BoolArray, weights: FloatArray, bins: int
) -> tuple[FloatArray, FloatArray]:
    """Selected fraction and effective number of events of each bin."""
    total, squares, passed = (
        np.bincount(number, values, bins) for values in (weights, weights**2, weights * chosen)
    )
    return passed / total, total**2 / squares


def _merged(
    bounds: FloatArray, number: IntArray, chosen: BoolArray, weights: FloatArray, min_expected: float
) -> tuple[FloatArray, IntArray]:
    """Bins in which enough events are expected: each takes its upper neighbours in until it has them."""
    bins = len(bounds) - 1
    total, squares = (np.bincount(number, weights**power, bins) for power in (1, 2))
    share = float(np.sum(weights * chosen) / total.sum()) if len(number) else 0.0
    needed = min_expected / min(share, 1.0 - share) if 0.0 < share < 1.0 else np.inf
    group, kept, sums = np.zeros(bins, dtype=np.int64), [0], [0.0, 0.0]
    for index in range(bins):
        sums = [sums[0] + total[index], sums[1] + squares[index]]
        group[index] = len(kept) - 1
        # What is left above must be enough for a bin of its own, or it joins this one.
        rest = [float(np.sum(values[index + 1 :])) for values in (total, squares)]
        if all(second > 0 and first**2 >= needed * second for first, second in (sums, rest)):
            kept.append(index + 1)
            sums = [0.0, 0.0]
    if len(kept) < 2:
        msg = (
            f"{np.count_nonzero(chosen)} of {len(number)} events are selected: fewer than two bins would hold the "
            f"{min_expected:g} selected and rejected ones that the test needs; use more events or a looser selection"
        )
        raise InputError(msg)
    return bounds[[*kept, bins]], group[number]


def _trend(
    masses: FloatArray, chosen: BoolArray, weights: FloatArray, bounds: FloatArray
) -> tuple[float, float]:
    """Relative change of the fraction over the whole range, and its error if it is flat."""
    total = weights.sum()
    share = float(np.sum(weights * chosen) / total)
    distance = masses - np.sum(weights * masses) / total
    spread = np.sum(weights * distance**2)
    scale = (bounds[-1] - bounds[0]) / share
    slope = np.sum(weights * distance * (chosen - share)) / spread
    error = np.sqrt(share * (1.0 - share) * np.sum((weights * distance) ** 2)) / spread
    return float(slope * scale), float(error * scale)
