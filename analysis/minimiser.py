"""Newton's method with damping and step halving, checked for convergence."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from analysis.function_model import FunctionModel
from analysis.likelihood import Likelihood
from data.errors import FitError
from data.types import FloatArray

_TOLERANCE = 1e-9
"""Estimated distance to the minimum in −ln L at which a fit counts as converged."""
_SETTLED = 1e-6
_MAX_ITERATIONS = 60
_REMEDY = "use fewer shape parameters, a wider range or more events"
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
    theta, signal_yield
        Start of the background parameters, shape (p,), and of the yield, or its fixed value, in events.
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
    profiled = likelihood.n_nuisances if free_yield or signal_yield != 0 else 0
    fit = _Fit(likelihood, theta.size, signal_yield, free_yield, profiled)
    point = np.concatenate([theta, [signal_yield] if free_yield else [], np.zeros(profiled)])
    value = fit.value(point)
    if point.size == 0:  # a background that is known exactly
        return Minimum(point, signal_yield, value, np.empty((0, 0)))
    for _ in range(_MAX_ITERATIONS):
        if not math.isfinite(value):
            break
        gradient, hessian = fit.derivatives(point)
        step, damped = _newton_step(gradient, hessian)
        distance = -0.5 * float(gradient @ step)
        if not damped and distance < _TOLERANCE:
            if not settle and np.diag(hessian)[: theta.size].min(initial=1.0) < MIN_CURVATURE:
                break  # −ln L has become flat on the way to infinity: there is no minimum
            found = _information(fit, point, hessian) if exact_errors else hessian
            return fit.minimum(point, value, _inverse(found))
        point, new_value = _line_search(fit.value, point, step, value, 2 * distance)
        gain, value = value - new_value, new_value
        if (gain <= 0 and distance > 1e-6) or (settle and gain < _SETTLED):
            break
    if settle and math.isfinite(value):
        return fit.minimum(point, value, np.full((point.size, point.size), np.nan))
    msg = f"the fit did not converge within {_MAX_ITERATIONS} steps ({fit}); {_REMEDY}"
    raise FitError(msg)


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A likelihood of one vector: the background parameters, the yield where it is free, the nuisances that are fitted."""

    likelihood: Likelihood
    size: int
    signal_yield: float
    free_yield: bool
    profiled: int

    def __str__(self) -> str:
        return f"{self.size} background parameters, {self.likelihood.counts.sum():g} events"

    def _split(self, point: FloatArray) -> tuple[FloatArray, float, FloatArray | None]:
        signal_yield = float(point[self.size]) if self.free_yield else self.signal_yield
        return point[: self.size], signal_yield, self._nuisances(point) if self.profiled else None

    def _nuisances(self, point: FloatArray) -> FloatArray:
        return point[self.size + int(self.free_yield) :]

    def value(self, point: FloatArray) -> float:
        return self.likelihood.value(*self._split(point))

    def derivatives(self, point: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.likelihood.derivatives(*self._split(point), with_yield=self.free_yield)

    def minimum(self, point: FloatArray, value: float, covariance: FloatArray) -> Minimum:
        theta, signal_yield, _ = self._split(point)
        return Minimum(theta, signal_yield, value, covariance, nuisances=self._nuisances(point))


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


def _information(fit: _Fit, point: FloatArray, hessian: FloatArray) -> FloatArray:
    """Second derivatives at a minimum, from differences of the exact gradient where the background is not log-linear.

    Those of the likelihood hold for log-linear functions; for others they lead to the minimum but miss a part.
    """
    background = fit.likelihood.background
    if not isinstance(background, FunctionModel) or background.log_linear:
        return hessian

    def slope_at(z: FloatArray) -> FloatArray:
        return fit.derivatives(z)[0]

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
