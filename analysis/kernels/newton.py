"""Newton's method for the likelihoods of `analysis.kernels.profile`."""

import math

import numpy as np

from analysis.kernels.profile import evaluate
from analysis.kernels.vector_math import dot, elementwise, multiply
from data.types import FloatArray

_TOLERANCE = 1e-6
"""Distance to the minimum in −ln L from which the last Newton step lands within 1e-9 of it."""
_MAX_ITERATIONS = 60
_MAX_HALVINGS = 24
_MIN_CURVATURE = 1e-5
_TOWARDS_BOUND = 0.9
_AT_BOUND = 0.999
"""Share of the lowest yield from which the search leaves the rest to a fit at this yield."""


@elementwise
def _factorise(hessian: FloatArray, damping: float, scale: FloatArray, factor: FloatArray) -> bool:
    """Cholesky factor of the scaled second derivatives plus damping; whether they are positive."""
    size = scale.size
    for k in range(size):
        for j in range(k + 1):
            total = hessian[k, j] * scale[k] * scale[j]
            if k == j:
                total += damping
            for m in range(j):
                total -= factor[k, m] * factor[j, m]
            if k == j:
                if not total > 1e-11:
                    return False
                factor[k, k] = math.sqrt(total)
            else:
                factor[k, j] = total / factor[j, j]
    return True


@elementwise
def _newton_step(
    gradient: FloatArray, hessian: FloatArray, scale: FloatArray, factor: FloatArray, step: FloatArray
) -> float:
    """Newton step; the damping that it needed, or −1 where there is none."""
    size = gradient.size
    for k in range(size):
        diagonal = abs(hessian[k, k])
        if not (0.0 < diagonal < np.inf):
            return -1.0
        scale[k] = 1.0 / math.sqrt(diagonal)
    damping = 0.0
    while not _factorise(hessian, damping, scale, factor):
        damping = max(10.0 * damping, 1e-3)
        if damping > 1e4:
            return -1.0
    for k in range(size):
        total = gradient[k] * scale[k]
        for j in range(k):
            total -= factor[k, j] * step[j]
        step[k] = total / factor[k, k]
    for k in range(size - 1, -1, -1):
        total = step[k]
        for j in range(k + 1, size):
            total -= factor[j, k] * step[j]
        step[k] = total / factor[k, k]
    for k in range(size):
        step[k] *= -scale[k]
    return damping


@elementwise
def _is_flat(hessian: FloatArray, p: int) -> bool:
    """Whether −ln L is flat in a background parameter: it then falls for ever, on the way to infinity."""
    flat = False
    for k in range(p):
        flat = flat or hessian[k, k] < _MIN_CURVATURE
    return flat


@elementwise
def _line_search(
    counts: FloatArray, base: FloatArray, design: FloatArray, template: FloatArray,
    start: FloatArray, step: FloatArray, value: float, distance: float, noise: float,
    point: FloatArray, centre: FloatArray, fixed_yield: float, kappa: float,
    gradient: FloatArray, hessian: FloatArray, work: FloatArray,
) -> tuple[float, bool]:  # fmt: skip
    """Halve the step until −ln L falls by a ten-thousandth of what the gradient promises; ``point`` ends there."""
    length = 1.0
    for _ in range(_MAX_HALVINGS):
        for k in range(point.size):
            point[k] = start[k] + length * step[k]
        found = evaluate(
            counts, base, design, template, point, centre, fixed_yield, kappa, gradient, hessian, work
        )
        if found <= value - 2e-4 * length * distance + noise:
            return found, True
        length *= 0.5
    return value, False


@elementwise
def _shorten(step: FloatArray, share: float) -> float:
    """Leave a share of a step; the share."""
    for k in range(step.size):
        step[k] *= share
    return share


@elementwise
def minimise(
    counts: FloatArray, base: FloatArray, design: FloatArray, template: FloatArray,
    point: FloatArray, centre: FloatArray, fixed_yield: float, kappa: float, lowest: float, noise: float,
    settle: bool, gradient: FloatArray, hessian: FloatArray, work: FloatArray,
) -> tuple[float, bool]:  # fmt: skip
    """Minimise `evaluate` from ``point``, in place.

    Newton's method with step halving, as `analysis.minimiser.minimise`; the last step, below 1e-6 in −ln L, is made
    without looking again. ``gradient`` and ``hessian`` are left as they were before it. A free yield goes at most nine
    tenths of the way to ``lowest`` in a step; the search ends when it has arrived there.

    Parameters
    ----------
    counts, base, design, template, point, centre, fixed_yield, kappa, gradient, hessian, work
        As for `evaluate`.
    lowest
        Yield < 0, in events, at which a free one stops.
    noise
        Rounding error of −ln L: what a step may lose.
    settle
        Take a limit for a minimum: where few events leave a direction of the background undetermined, −ln L may fall for
        ever towards one, as a rule by a factor e less in every step. The search then ends well as soon as a step gains
        less than 1e-6 or the steps are used up.

    Returns
    -------
    value, converged
        −ln L relative to the point of expansion; whether an interior minimum (or with ``settle`` a limit) was reached.
    """
    size, p = point.size, design.shape[1]
    scale, step, start = np.empty(size), np.empty(size), np.empty(size)
    factor = np.empty((size, size))
    value = evaluate(
        counts, base, design, template, point, centre, fixed_yield, kappa, gradient, hessian, work
    )
    moving, arrived, steps = size > 0, False, 0
    while moving and steps < _MAX_ITERATIONS:
        steps += 1
        damping = _newton_step(gradient, hessian, scale, factor, step)
        distance = -0.5 * dot(gradient, step, size)
        if damping == 0.0 and distance < _TOLERANCE:
            for k in range(size):
                point[k] += step[k]
            return value - distance, settle or not _is_flat(hessian, p)
        if damping >= 0.0 and math.isfinite(value):
            start[:] = point
            if math.isnan(fixed_yield) and size > p and point[p] + step[p] < lowest:
                distance *= _shorten(step, float(_TOWARDS_BOUND * (lowest - point[p]) / step[p]))
            before = value
            value, moving = _line_search(
                counts, base, design, template, start, step, value, distance, noise,
                point, centre, fixed_yield, kappa, gradient, hessian, work,
            )  # fmt: skip
            settled = not moving or before - value < _TOLERANCE
        else:
            moving, settled = False, damping < 0.0
        arrived = bool(size > p and math.isnan(fixed_yield) and point[p] < _AT_BOUND * lowest)
        moving = moving and not arrived and not (settle and settled)
    return value, (size == 0 or (settle and not arrived)) and math.isfinite(value)


@elementwise
def variance_of_yield(hessian: FloatArray, p: int) -> float:
    """Variance of the parameter after the p of the background.

    Parameters
    ----------
    hessian
        Second derivatives of −ln L, shape (P, P), lower half.
    p
        Parameters of the background.

    Returns
    -------
    float
        In events² for a yield; NaN where the second derivatives are not positive.
    """
    size = hessian.shape[0]
    scale, step = np.empty(size), np.empty(size)
    unit = np.zeros(size)
    unit[p] = 1.0
    if _newton_step(unit, hessian, scale, np.empty((size, size)), step) != 0.0:
        return np.nan
    return float(-step[p])


@elementwise
def score_step(
    design: FloatArray, template: FloatArray, null: FloatArray, inner: FloatArray, lowest: float,
    point: FloatArray, hessian: FloatArray, work: FloatArray,
) -> None:  # fmt: skip
    """First Newton step of a free yield from the background-only fit, added to ``point``.

    Parameters
    ----------
    design, template
        As for `evaluate`.
    null
        From `null_weights`.
    inner
        Second derivatives of the background-only fit, shape (p, p), lower half.
    lowest
        The step ends at half of this yield.
    point
        Background-only fit, yield 0, shape (p + 1,); moved.
    hessian, work
        Scratch, shapes (p + 1, p + 1) and (1, size).
    """
    p, size = design.shape[1], design.shape[2]
    gradient, scale, step = np.zeros(p + 1), np.empty(p + 1), np.empty(p + 1)
    hessian[:] = 0.0
    hessian[:p, :p] = inner
    scratch = work[0]
    for block in range(len(design)):
        signal = template[block, 0]
        gradient[p] += dot(signal, null[block, 0], size)
        multiply(signal, null[block, 1], scratch, size)
        hessian[p, p] += dot(signal, scratch, size)
        multiply(signal, null[block, 2], scratch, size)
        for k in range(p):
            hessian[p, k] += dot(design[block, k], scratch, size)
    if _newton_step(gradient, hessian, scale, np.empty((p + 1, p + 1)), step) != 0.0:
        return
    length = min(1.0, 0.5 * lowest / step[p]) if step[p] < 0.0 else 1.0
    for k in range(p + 1):
        point[k] += length * step[k]
