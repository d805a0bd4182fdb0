"""Where fits of the background start."""

import math

import numpy as np
from scipy.optimize import least_squares
from scipy.special import log_expit

from analysis import functions
from analysis.function_kinds import Function, UserFunction
from analysis.functions import TurnOn
from analysis.spectrum import Spectrum, merge_from_right, sum_between
from data.errors import FewEventsError, FitError
from data.types import FloatArray, IntArray

_POINTS = 300
"""Bins, of about equal counts, of the least-squares fits that give start values."""
_LEAST_COUNT = 5
_ROUGH_BINS = 40
_FEW_BINS = 6
_KEPT = 3
"""Start points from which the likelihood is minimised."""
_SCALES = (1.0, 0.5, 2.0, -1.0)
"""Factors on a user's start values."""


def start_parameters(function: Function, spectrum: Spectrum, sqrt_s: float) -> list[FloatArray]:
    """Start points of a function that is not log-linear: ln p0, p1 … pK, the best first.

    They are least-squares fits to the logarithm of the counts in merged bins: for dijet6 on a grid of
    positions and widths of the turn-on (the rest is linear), for a user's function from multiples of the start
    values.

    Parameters
    ----------
    function
        What will be fitted.
    spectrum
        The fit range.
    sqrt_s
        Centre-of-mass energy in GeV.

    Returns
    -------
    list of array
        Each of shape (K + 1,).

    Raises
    ------
    FitError
        If there is none at which the function is positive.
    """
    minimum = max(_LEAST_COUNT, spectrum.n_events // _POINTS)
    edges, counts = _merged(spectrum, np.arange(spectrum.edges.size), minimum)
    filled = counts > 0
    mass = (0.5 * (edges[1:] + edges[:-1]))[filled]
    log_density = np.log(counts[filled] / np.diff(edges)[filled])
    if isinstance(function, TurnOn):
        found = _turn_ons(mass, log_density, np.sqrt(counts[filled]), sqrt_s)
    elif isinstance(function, UserFunction):
        found = _refined(function, mass, log_density, np.sqrt(counts[filled]), sqrt_s)
    else:
        kind = type(function).__name__
        msg = f"function {function.name}: there are no start values for a {kind}; give it as an expression"
        raise FitError(msg)
    return [point for _, point in sorted(found, key=lambda pair: pair[0])[:_KEPT]]


def _merged(spectrum: Spectrum, index: IntArray, minimum: int) -> tuple[FloatArray, FloatArray]:
    """Edges in GeV and counts of bins merged to a least count."""
    kept = merge_from_right(spectrum.counts, index, minimum)
    return spectrum.edges[kept], np.asarray(sum_between(spectrum.counts, kept), dtype=np.float64)


def _turn_ons(
    mass: FloatArray, log_density: FloatArray, root: FloatArray, sqrt_s: float
) -> list[tuple[float, FloatArray]]:
    """Squared distances and parameters on a grid of positions, each with the best of some widths."""
    falling = functions.get("dijet4").gradient(mass, np.zeros(5), sqrt_s)
    low, span = float(mass[0]), float(mass[-1] - mass[0])
    found = []
    for position in low + span * np.array([-0.05, 0.0, 0.05, 0.1, 0.2, 0.35]):
        at_position = []
        for width in span * np.array([0.01, 0.03, 0.1]):
            rising = log_expit(2 * (mass - position) / width)
            wanted = root * (log_density - rising)
            solution = np.linalg.lstsq(root[:, None] * falling, wanted, rcond=None)[0]
            distance = float(np.sum((root[:, None] * falling @ solution - wanted) ** 2))
            at_position.append((distance, np.concatenate([solution, [width, position]])))
        found.append(min(at_position, key=lambda pair: pair[0]))
    return found


def _refined(
    function: UserFunction, mass: FloatArray, log_density: FloatArray, root: FloatArray, sqrt_s: float
) -> list[tuple[float, FloatArray]]:
    """Squared distances and parameters of the least-squares fits from multiples of the start values."""

    def residuals(point: FloatArray) -> FloatArray:
        return root * (function.log_density(mass, point, sqrt_s) - log_density)

    def slopes(point: FloatArray) -> FloatArray:
        return root[:, None] * function.gradient(mass, point, sqrt_s)

    found = []
    for scale in _SCALES:
        shape = scale * np.asarray(function.start)
        level = log_density - function.log_density(mass, np.append(0.0, shape), sqrt_s)
        point = np.append(np.average(level, weights=root**2), shape)
        if not (np.isfinite(point).all() and np.isfinite(slopes(point)).all()):
            continue
        try:
            # Steps out of the domain are rejected, as their residuals are infinite.
            with np.errstate(all="ignore"):
                fit = least_squares(residuals, point, jac=slopes, x_scale="jac", max_nfev=300)
        except ValueError:  # it went to where derivatives overflow
            continue
        found.append((float(fit.cost), np.asarray(fit.x, dtype=np.float64)))
    if not found:
        msg = (
            f"function {function.name}: {function.formula} is not positive and finite in the whole fit range for "
            "its start values; change them, the expression or the range"
        )
        raise FitError(msg)
    return found


def rough_expectation(spectrum: Spectrum) -> FloatArray:
    """A smooth falling expectation, good enough to start a fit and to weight its basis.

    From bins of its own, equal in ln m or, where these are too few, of about equal counts: whether a fit runs must not
    depend on the coarse bins that are wanted for χ².

    Parameters
    ----------
    spectrum
        The fit range.

    Returns
    -------
    FloatArray
        Expected events a fine bin, shape (n,), positive.

    Raises
    ------
    FewEventsError
        If there are fewer than two bins of five events.
    """
    edges = spectrum.edges
    wanted = np.searchsorted(edges, np.geomspace(edges[0], edges[-1], _ROUGH_BINS + 1)[1:-1])
    index = np.unique(np.concatenate([[0], wanted, [edges.size - 1]]))
    coarse, counts = _merged(spectrum, index, _LEAST_COUNT)
    if counts.size < _FEW_BINS:
        minimum = max(_LEAST_COUNT, spectrum.n_events // _ROUGH_BINS)
        coarse, counts = _merged(spectrum, np.arange(edges.size), minimum)
    if counts.size < 2:
        msg = (
            f"spectrum: {spectrum.n_events} events between {edges[0]:g} and {edges[-1]:g} GeV are too few for a fit, "
            f"which needs two bins of {_LEAST_COUNT} or more; widen the range or loosen the selection"
        )
        raise FewEventsError(msg)
    centre = math.log(edges[0])
    log_density = np.log(counts / np.diff(coarse))
    at = np.log(0.5 * (coarse[1:] + coarse[:-1])) - centre
    # The last bin is widened by merging; its centre says little, so it is used only where it must be.
    use = slice(None, -1) if counts.size > 3 else slice(None)
    degree = 2 if counts.size > 5 else 1
    fine = np.log(0.5 * (edges[1:] + edges[:-1])) - centre
    for order in range(degree, 0, -1):
        curve = np.polynomial.Polynomial.fit(at[use], log_density[use], order, w=np.sqrt(counts[use]))
        slope = curve.deriv()(fine)
        if order == 1 or slope.max() < 0:
            break
    values = np.exp(np.clip(curve(fine), -60.0, 60.0)) * np.diff(edges)
    return np.asarray(values * counts.sum() / values.sum())
