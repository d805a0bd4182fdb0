"""Newton's method with damping and step halving, checked for convergence."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from analysis.function_model import BackgroundModel, FunctionModel
from analysis.likelihood import Likelihood
from data.errors import FitError
from data.types import FloatArray

_TOLERANCE = 1e-9
"""Estimated distance to the minimum in −ln L at which a fit counts as converged."""
_SETTLED = 1e-6
_MAX_ITERATIONS = 60
MIN_CURVATURE = 1e-5
"""Smallest eigenvalue of the second derivatives in the orthonormal basis, where a healthy fit has about 1."""


@dataclasses.dataclass(frozen=True, eq=False)
class Minimum:
    """A converged minimum of −ln L.

    Attributes
    ----------
    theta
        Background parameters, shape (p,).
    signal_yield
        Signal events inside the fit range.
    value
        −ln L relative to the saturated model.
    covariance
        Inverse second derivatives in the background parameters, the yield where it was free, and the nuisance
        parameters of the signal, in this order.
    at_bound
        The yield stands at its lower bound.
    nuisances
        Of the signal; empty where there are none, or no signal.
    """

    theta: FloatArray
    signal_yield: float
    value: float
    covariance: FloatArray
    at_bound: bool = False
    nuisances: FloatArray = dataclasses.field(default_factory=lambda: np.empty(0))


def minimise(
    likelihood: Likelihood,
    theta: FloatArray,
    signal_yield: float = 0.0,
    *,
    free_yield: bool,
    exact_errors: bool = True,
    settle: bool = False,
) -> Minimum:
    """Find the minimum of −ln L by Newton's method with damping and step halving.

    Parameters
    ----------
    likelihood
        What to minimise; the nuisance parameters of its signal are fitted too, unless the yield is fixed at 0.
    theta
        Start of the background parameters.
    signal_yield
        Start of the yield, or its fixed value.
    free_yield
        Fit the yield too.
    exact_errors
        Take exact second derivatives for the covariance of functions that are not log-linear; False is faster.
    settle
        Where there is no minimum, −ln L falling for ever towards a limit, stop as soon as a step gains less than 1e-6 or
        the steps are used up; no covariance is given then (NaN).

    Returns
    -------
    Minimum
        With an estimated distance to the true minimum below 1e-9 in −ln L.

    Raises
    ------
    FitError
        If no interior minimum is reached.
    """
    size = theta.size
    after = size + int(free_yield)
    profiled = likelihood.n_nuisances if free_yield or signal_yield != 0 else 0
    point = np.concatenate([theta, [signal_yield] if free_yield else [], np.zeros(profiled)])

    def split(z: FloatArray) -> tuple[FloatArray, float, FloatArray | None]:
        return z[:size], float(z[size]) if free_yield else signal_yield, z[after:] if profiled else None

    def value_at(z: FloatArray) -> float:
        return likelihood.value(*split(z))

    value = value_at(point)
    if point.size == 0:  # a background that is known exactly
        return Minimum(point, signal_yield, value, np.empty((0, 0)))
    for _ in range(_MAX_ITERATIONS):
        at = split(point)
        if not math.isfinite(value):
            break
        gradient, hessian = likelihood.derivatives(*at, with_yield=free_yield)
        step, damped = _newton_step(gradient, hessian)
        distance = -0.5 * float(gradient @ step)
        if not damped and distance < _TOLERANCE:
            if not settle and np.diag(hessian)[:size].min(initial=1.0) < MIN_CURVATURE:
                break  # −ln L has become flat on the way to infinity: there is no minimum
            hessian = _information(
                likelihood.background if exact_errors else None,
                lambda z: likelihood.derivatives(*split(z), with_yield=free_yield)[0],
                point,
                hessian,
            )
            return Minimum(at[0], at[1], value, _inverse(hessian), nuisances=point[after:])
        point, new_value = _line_search(value_at, point, step, value, 2 * distance)
        gain, value = value - new_value, new_value
        if (gain <= 0 and distance > 1e-6) or (settle and gain < _SETTLED):
            break
    if settle and math.isfinite(value):
        at, unknown = split(point), np.full((point.size, point.size), np.nan)
        return Minimum(at[0], at[1], value, unknown, nuisances=point[after:])
    msg = (
        f"the fit did not converge within {_MAX_ITERATIONS} steps; "
        "use fewer shape parameters, a wider range or more events"
    )
    raise FitError(msg)


def _newton_step(gradient: FloatArray, hessian: FloatArray) -> tuple[FloatArray, bool]:
    """Newton step in parameters scaled to unit curvature; damped where the curvature is not positive."""
    diagonal = np.abs(np.diag(hessian))
    if not np.isfinite(hessian).all() or diagonal.min() <= 0:
        msg = "the fit ran to where the likelihood does not depend on a parameter; use fewer shape parameters"
        raise FitError(msg)
    scale = 1 / np.sqrt(diagonal)
    scaled = hessian * scale[:, None] * scale[None, :]
    damping = 0.0
    try:
        np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        damping = 1e-3 + 2 * abs(float(np.linalg.eigvalsh(scaled)[0]))
    try:
        step = -scale * np.linalg.solve(scaled + damping * np.eye(scale.size), scale * gradient)
    except np.linalg.LinAlgError:
        msg = "the fit ran to where the likelihood does not tell two parameters apart; use fewer shape parameters"
        raise FitError(msg) from None
    return step, damping > 0


def _line_search(
    value_at: Callable[[FloatArray], float], point: FloatArray, step: FloatArray, value: float, gain: float
) -> tuple[FloatArray, float]:
    """Halve the step until −ln L falls by a ten-thousandth of what the gradient promises."""
    length = 1.0
    noise = 1e-11 * (1 + abs(value))
    while length > 1e-8:
        candidate = point + length * step
        found = value_at(candidate)
        if found <= value - 1e-4 * length * gain + noise:
            return candidate, found
        length *= 0.5
    return point, value


def _information(
    background: BackgroundModel | None,
    slope_at: Callable[[FloatArray], FloatArray],
    point: FloatArray,
    hessian: FloatArray,
) -> FloatArray:
    """Second derivatives at a minimum, from differences of the exact gradient where the background is not log-linear.

    Those of the likelihood hold for log-linear functions; for others they lead to the minimum but miss a part.
    """
    if not isinstance(background, FunctionModel) or background.log_linear:
        return hessian
    steps = np.diag(1e-4 / np.sqrt(np.diag(hessian)))
    found = np.array([(slope_at(point + step) - slope_at(point - step)) / (2 * step.sum()) for step in steps])
    found = 0.5 * (found + found.T)
    if not np.isfinite(found).all() or np.linalg.eigvalsh(found)[0] <= 0:
        msg = "the likelihood does not rise in every direction; use fewer shape parameters"
        raise FitError(msg)
    return np.asarray(found)


def _inverse(hessian: FloatArray) -> FloatArray:
    scale = 1 / np.sqrt(np.diag(hessian))
    return np.asarray(np.linalg.inv(hessian * scale[:, None] * scale) * scale[:, None] * scale)
