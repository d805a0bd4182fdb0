"""Fits of many sets of counts, one after the other, without returning to Python in between.

Common to all: ``counts`` of shape (sets, blocks, size), ``base`` and ``design`` as for `profile.evaluate`, ``theta`` the
background-only fits as distances from the point of expansion, shape (sets, p), ``centres`` the centres of the constraints,
shape (sets, 1 + shapes), ``settle`` as for `newton.minimise`. −ln L is relative to the point of expansion.
"""

import math

import numpy as np

from analysis.kernels.newton import minimise, score_step, variance_of_yield
from analysis.kernels.profile import FREE, evaluate, lowest_yield, null_weights
from analysis.kernels.vector_math import elementwise
from data.types import BoolArray, FloatArray, IntArray

_WORK_ROWS = 10
"""Rows of scratch space of a fit without shape nuisances; each nuisance needs one more."""


@elementwise
def _noise(counts: FloatArray) -> float:
    """Rounding error of −ln L: it must not stop a line search."""
    return 1e-11 + 1e-14 * float(counts.sum())


@elementwise
def fit_nulls(
    counts: FloatArray, base: FloatArray, design: FloatArray,
    theta: FloatArray, value: FloatArray, converged: BoolArray, settle: bool,
) -> None:  # fmt: skip
    """Background-only fits.

    Parameters
    ----------
    counts, base, design
        See above.
    theta
        The start, overwritten by the minimum, shape (sets, p).
    value, converged
        Filled, shape (sets,).
    settle
        See above.
    """
    blocks, p, size = design.shape
    work = np.empty((_WORK_ROWS, size))
    gradient, hessian, centre = np.empty(p), np.empty((p, p)), np.zeros(1)
    template = np.zeros((blocks, 1, size))
    for row in range(len(counts)):
        value[row], converged[row] = minimise(
            counts[row], base, design, template, theta[row], centre, 0.0, 0.0, 0.0, _noise(counts[row]),
            settle, gradient, hessian, work,
        )  # fmt: skip


@elementwise
def _fit_free(
    counts: FloatArray, base: FloatArray, design: FloatArray, template: FloatArray, centre: FloatArray,
    start: FloatArray, null_value: float, lowest: float, noise: float, settle: bool,
    point: FloatArray, gradient: FloatArray, hessian: FloatArray, work: FloatArray,
) -> tuple[float, int]:  # fmt: skip
    """Minimum with a free yield from ``point`` (a first guess), ``start`` (no signal) or the lower bound of the yield.

    Returns −ln L and 1 for a minimum, 2 for a yield at its bound, 0 where there is neither.
    """
    p = design.shape[1]
    value, found = minimise(
        counts, base, design, template, point, centre, FREE, 0.0, lowest, noise, settle, gradient, hessian, work,
    )  # fmt: skip
    if found and value <= null_value + noise and point[p] > lowest:
        return value, 1
    point[:p] = start
    point[p:] = centre
    point[p] = 0.0
    value, found = minimise(
        counts, base, design, template, point, centre, lowest, 0.0, 0.0, noise, settle, gradient, hessian, work,
    )  # fmt: skip
    if found:
        point[p] = lowest
        evaluate(counts, base, design, template, point, centre, FREE, 0.0, gradient, hessian, work)
        if gradient[p] >= 0.0 and value <= null_value + noise:
            return value, 2
    # The first guess led astray: from the background-only fit every step goes down.
    point[:p] = start
    point[p:] = centre
    point[p] = 0.0
    value, found = minimise(
        counts, base, design, template, point, centre, FREE, 0.0, -np.inf, noise, settle, gradient, hessian, work,
    )  # fmt: skip
    return value, 1 if found and point[p] > lowest else 0


@elementwise
def fit_best(
    counts: FloatArray, base: FloatArray, design: FloatArray, templates: FloatArray, cores: FloatArray,
    theta: FloatArray, null_value: FloatArray, usable: BoolArray, settle: bool,
    points: FloatArray, value: FloatArray, error: FloatArray, status: IntArray,
) -> None:  # fmt: skip
    """Fits with a free yield, from the background-only fits; constraints are centred at 0.

    Parameters
    ----------
    counts, base, design, theta, settle
        See above.
    templates, cores
        Shape (masses, blocks, 1 + 2 shapes, size), see `profile.evaluate`; 1 in the bins of the core of each signal,
        shape (masses, blocks, size).
    null_value, usable
        −ln L of the background-only fits and whether they converged, shape (sets,).
    points
        Filled, shape (sets, masses, p + 1 + shapes): minimum, the yield after the background parameters.
    value, error
        Filled, shape (sets, masses): −ln L, standard error of the yield.
    status
        Filled with 1 for a minimum, 2 for a yield at its lower bound, 0 where there is neither; (sets, masses).
    """
    blocks, p, size = design.shape
    shapes = (templates.shape[2] - 1) // 2
    total = p + 1 + shapes
    work = np.empty((_WORK_ROWS + shapes, size))
    null, background = np.empty((blocks, 4, size)), np.empty((blocks, size))
    gradient, hessian = np.empty(total), np.empty((total, total))
    inner_gradient, inner, score = np.empty(p), np.empty((p, p)), np.empty((p + 1, p + 1))
    centre = np.zeros(1 + shapes)
    for row in range(len(counts)):
        status[row] = 0
        if not usable[row]:
            continue
        noise = _noise(counts[row])
        evaluate(
            counts[row], base, design, templates[0], theta[row], centre, 0.0, 0.0,
            inner_gradient, inner, work,
        )  # fmt: skip
        null_weights(counts[row], base, design, theta[row], null, work)
        background[:] = null[:, 3]
        for mass in range(len(templates)):
            template, point = templates[mass], points[row, mass]
            lowest = lowest_yield(background, template, cores[mass])
            point[:] = 0.0
            point[:p] = theta[row]
            score_step(design, template, null, inner, lowest, point, score, work)
            value[row, mass], status[row, mass] = _fit_free(
                counts[row], base, design, template, centre, theta[row], null_value[row], lowest, noise, settle,
                point, gradient, hessian, work,
            )  # fmt: skip
            error[row, mass] = math.sqrt(variance_of_yield(hessian, p)) if status[row, mass] == 1 else np.nan


@elementwise
def _fit_fixed(
    counts: FloatArray, base: FloatArray, design: FloatArray, template: FloatArray, centre: FloatArray,
    signal_yield: float, kappa: float, noise: float, settle: bool, starts: FloatArray, usable: BoolArray,
    point: FloatArray, gradient: FloatArray, hessian: FloatArray, work: FloatArray,
) -> float:  # fmt: skip
    """Lowest −ln L with a fixed yield from the usable starts, NaN if none converges; ``point`` is set to the minimum."""
    lowest = np.nan
    trial = np.empty(starts.shape[1])
    for number in range(len(starts)):
        if not usable[number]:
            continue
        trial[:] = starts[number]
        value, found = minimise(
            counts, base, design, template, trial, centre, signal_yield, kappa, 0.0, noise,
            settle, gradient, hessian, work,
        )  # fmt: skip
        if found and not value >= lowest:
            lowest = value
            point[:] = trial
    return lowest


@elementwise
def _fit_best_tested(
    counts: FloatArray, base: FloatArray, design: FloatArray, template: FloatArray, core: FloatArray,
    centre: FloatArray, kappa: float, theta: FloatArray, null_value: float, noise: float, settle: bool,
    point: FloatArray, gradient: FloatArray, hessian: FloatArray, work: FloatArray,
) -> tuple[float, float, bool]:  # fmt: skip
    """Best yield ≥ 0 of one set of counts, −ln L there, and whether the yield is above 0; ``point`` is set to the fit."""
    blocks, p, size = design.shape
    point[:p] = theta
    point[p:] = centre
    point[p] = 0.0
    evaluate(counts, base, design, template, point, centre, FREE, 0.0, gradient, hessian, work)
    if not gradient[p] < 0.0:
        return 0.0, null_value, False
    null, background = np.empty((blocks, 4, size)), np.empty((blocks, size))
    inner_gradient, inner, score = np.empty(p), np.empty((p, p)), np.empty((p + 1, p + 1))
    evaluate(counts, base, design, template, theta, centre, 0.0, 0.0, inner_gradient, inner, work)
    null_weights(counts, base, design, theta, null, work)
    background[:] = null[:, 3]
    lowest = lowest_yield(background, template, core)
    score_step(design, template, null, inner, lowest, point, score, work)
    value, status = _fit_free(
        counts, base, design, template, centre, theta, null_value, lowest, noise, settle,
        point, gradient, hessian, work,
    )  # fmt: skip
    if status == 0:
        return np.nan, np.nan, False
    return float(point[p] * math.exp(-kappa * centre[0])), value, True


@elementwise
def fit_tested(
    counts: FloatArray, base: FloatArray, design: FloatArray, template: FloatArray, core: FloatArray,
    kappa: float, theta: FloatArray, null_value: FloatArray, usable: BoolArray, settle: bool, centres: FloatArray,
    tested: FloatArray, best: FloatArray, best_value: FloatArray, value: FloatArray, points: FloatArray,
) -> None:  # fmt: skip
    """Fits for q̃_μ: the best yield ≥ 0, and fixed yields above it.

    A fixed yield is fitted from the background-only fit, the best one and the last yield below it: the profile of few
    events may have two minima, and the lowest counts.

    Parameters
    ----------
    counts, base, design, theta, settle, centres
        See above.
    template, core, kappa
        Of one signal: shapes (blocks, 1 + 2 shapes, size) and (blocks, size), and the logarithm of one plus the
        uncertainty of its normalisation.
    null_value, usable
        −ln L of the background-only fits and whether they converged, shape (sets,).
    tested
        Yields > 0, ascending, shape (sets, tested).
    best, best_value
        Filled, shape (sets,): yield of the best fit, and −ln L there; 0 and that of the background-only fit where the
        best yield is negative; NaN where nothing converges.
    value
        Filled, shape (sets, tested): −ln L; that of the best fit for smaller yields, NaN without convergence.
    points
        Filled, shape (sets, 1 + tested, p + 1 + shapes): the best fit, then those with fixed yields, η in the place of
        the yield there.
    """
    _, p, size = design.shape
    shapes = (template.shape[1] - 1) // 2
    total = p + 1 + shapes
    work, gradient, hessian = np.empty((_WORK_ROWS + shapes, size)), np.empty(total), np.empty((total, total))
    starts, known = np.empty((3, total)), np.zeros(3, dtype=np.bool_)
    for row in range(len(counts)):
        best[row], best_value[row], value[row] = np.nan, np.nan, np.nan
        if not usable[row]:
            continue
        noise, centre, point = _noise(counts[row]), centres[row], points[row, 0]
        best[row], best_value[row], above = _fit_best_tested(
            counts[row], base, design, template, core, centre, kappa, theta[row], null_value[row], noise, settle,
            point, gradient, hessian, work,
        )  # fmt: skip
        starts[0, :p] = theta[row]
        starts[0, p:] = centre
        starts[1] = point
        starts[1, p] = centre[0]
        known[0], known[1], known[2] = True, above, False
        for number in range(tested.shape[1]):
            points[row, 1 + number] = point
            if tested[row, number] < best[row]:
                value[row, number] = best_value[row]
                continue
            value[row, number] = _fit_fixed(
                counts[row], base, design, template, centre, tested[row, number], kappa, noise, settle,
                starts, known, starts[2], gradient, hessian, work,
            )  # fmt: skip
            known[2] = known[2] or not math.isnan(value[row, number])
            points[row, 1 + number] = starts[2]
