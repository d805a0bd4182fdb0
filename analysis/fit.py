"""Fits of the background alone and of background plus signal: damped Newton, checked for convergence."""

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2 as chi2_distribution

from analysis.dijet import SQRT_S, DijetModel, function_name, rough_expectation
from analysis.likelihood import Likelihood
from analysis.spectrum import Spectrum, sum_between
from data.errors import FitError
from data.types import FloatArray, IntArray

_TOLERANCE = 1e-9
"""Estimated distance to the minimum in −ln L at which a fit counts as converged."""
_MAX_ITERATIONS = 60
_MAX_SLOPE = 100.0
"""|d ln f / d ln m| above which a background is a spike, not a smooth function: a runaway. Dijet
spectra have 5 to 30."""
_MIN_CURVATURE = 1e-5
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
        Inverse second derivatives, shape (p, p), or (p + 1, p + 1) with the yield last where it was free.
    at_bound
        The yield stands at its lower bound.
    """

    theta: FloatArray
    signal_yield: float
    value: float
    covariance: FloatArray
    at_bound: bool = False


def minimise(
    likelihood: Likelihood, theta: FloatArray, signal_yield: float = 0.0, *, free_yield: bool
) -> Minimum:
    """Find the minimum of −ln L by Newton's method with damping and step halving.

    Parameters
    ----------
    likelihood
        What to minimise.
    theta
        Start of the background parameters.
    signal_yield
        Start of the yield, or its fixed value.
    free_yield
        Fit the yield too.

    Returns
    -------
    Minimum
        With an estimated distance to the true minimum below 1e-9 in −ln L.

    Raises
    ------
    FitError
        If no interior minimum is reached.
    """
    point = np.append(theta, signal_yield) if free_yield else np.array(theta)

    if point.size == 0:  # a background that is known exactly
        return Minimum(point, signal_yield, likelihood.value(point, signal_yield), np.empty((0, 0)))

    def value_at(z: FloatArray) -> float:
        return likelihood.value(z[:-1], float(z[-1])) if free_yield else likelihood.value(z, signal_yield)

    value = value_at(point)
    for _ in range(_MAX_ITERATIONS):
        at = (point[:-1], float(point[-1])) if free_yield else (point, signal_yield)
        if not math.isfinite(value):
            break
        gradient, hessian = likelihood.derivatives(*at, with_yield=free_yield)
        step, damped = _newton_step(gradient, hessian)
        distance = -0.5 * float(gradient @ step)
        if not damped and distance < _TOLERANCE:
            if np.diag(hessian)[: theta.size].min(initial=1.0) < _MIN_CURVATURE:
                break  # −ln L has become flat on the way to infinity: there is no minimum
            return Minimum(at[0], at[1], value, _inverse(hessian))
        point, new_value = _line_search(value_at, point, step, value, 2 * distance)
        if new_value >= value and distance > 1e-6:
            break
        value = new_value
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
    step = -scale * np.linalg.solve(scaled + damping * np.eye(scale.size), scale * gradient)
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


def _inverse(hessian: FloatArray) -> FloatArray:
    scale = 1 / np.sqrt(np.diag(hessian))
    return np.asarray(np.linalg.inv(hessian * scale[:, None] * scale) * scale[:, None] * scale)


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundFit:
    """A background-only fit of one dijet function to one spectrum.

    Attributes
    ----------
    spectrum
        The fit range.
    model
        Function and basis.
    minimum
        Fitted parameters.
    """

    spectrum: Spectrum
    model: DijetModel
    minimum: Minimum
    minimum_count: int = 5

    @property
    def n_shape(self) -> int:
        """Number of shape parameters K."""
        return self.model.n_shape

    @property
    def function(self) -> str:
        """Name of the function, ``dijetK``."""
        return function_name(self.n_shape)

    @cached_property
    def expected(self) -> FloatArray:
        """Expected background events a fine bin, shape (n,)."""
        return self.model.expected(self.minimum.theta)

    def relative_uncertainty(self, mass: float) -> float:
        """Standard error of the fitted density at a mass in GeV, relative to it."""
        design = self.model.design(np.array([mass]))[0]
        return math.sqrt(float(design @ self.minimum.covariance @ design))

    @cached_property
    def coarse_index(self) -> IntArray:
        """Coarse bins as indices of fine edges, merged to the least count."""
        return self.spectrum.merged_edges(self.minimum_count)

    @cached_property
    def goodness(self) -> tuple[float, int, float | None]:
        """Pearson χ² in the merged coarse bins, ndf = bins − K − 1, and its p-value (None without ndf)."""
        return pearson(self.spectrum.counts, self.expected, self.coarse_index, self.n_shape + 1)


def pearson(
    counts: npt.NDArray[Any], expected: FloatArray, index: IntArray, n_fitted: int
) -> tuple[float, int, float | None]:
    """Pearson's χ² of counts and expectation in merged bins.

    Parameters
    ----------
    counts, expected
        Events a fine bin, shape (n,).
    index
        Positions of the merged bins' edges among the fine edges, ascending.
    n_fitted
        Fitted parameters.

    Returns
    -------
    chi2, ndf, p
        p is None where no degree of freedom is left.
    """
    observed, predicted = sum_between(counts, index), sum_between(expected, index)
    chi2 = float(np.sum((observed - predicted) ** 2 / predicted))
    ndf = observed.size - n_fitted
    return chi2, ndf, float(chi2_distribution.sf(chi2, ndf)) if ndf > 0 else None


def fit_background(
    spectrum: Spectrum, n_shape: int, *, sqrt_s: float = SQRT_S, minimum_count: int = 5
) -> BackgroundFit:
    """Fit a dijet function to a spectrum, by the Poisson likelihood in its own (fine) bins.

    Parameters
    ----------
    spectrum
        The fit range.
    n_shape
        Shape parameters K, 2 to 5.
    sqrt_s
        Centre-of-mass energy in GeV.
    minimum_count
        Events that each merged coarse bin holds.

    Returns
    -------
    BackgroundFit
        The converged fit.

    Raises
    ------
    InputError
        If the spectrum is empty or nearly so.
    FitError
        If the fit does not converge or runs away.
    """
    index = spectrum.merged_edges(minimum_count)
    coarse_counts = np.asarray(sum_between(spectrum.counts, index), dtype=np.float64)
    rough = rough_expectation(spectrum.edges, coarse_counts, spectrum.edges[index])
    name = f"{function_name(n_shape)}, {spectrum.n_events} events in {spectrum.lo:g}–{spectrum.hi:g} GeV"
    try:
        model = DijetModel(spectrum.edges, n_shape, rough, sqrt_s)
        likelihood = Likelihood(spectrum.counts.astype(np.float64), model)
        first = minimise(likelihood, model.start, free_yield=False)
        # Orthonormal on the fitted spectrum itself: unit curvature there says that the fit is healthy.
        model = DijetModel(spectrum.edges, n_shape, model.expected(first.theta), sqrt_s)
        minimum = minimise(Likelihood(likelihood.counts, model), model.start, free_yield=False)
        check_healthy(model, minimum)
    except FitError as error:
        msg = f"{name}: {error}"
        raise FitError(msg) from None
    return BackgroundFit(spectrum, model, minimum, minimum_count)


def check_healthy(model: DijetModel, minimum: Minimum) -> None:
    """Refuse a fit that ran away along a nearly flat direction.

    Parameters
    ----------
    model
        The function.
    minimum
        What the fit returned.

    Raises
    ------
    FitError
        If the function turns sharper than any smooth spectrum, or the likelihood is flat in a direction.
    """
    slope = model.max_slope(minimum.theta)
    if slope > _MAX_SLOPE:
        msg = f"the function ran away to a spike (d ln f / d ln m = {slope:.0f}); use fewer shape parameters"
        raise FitError(msg)
    size = model.n_parameters
    curvature = 1 / float(np.linalg.eigvalsh(minimum.covariance[:size, :size])[-1])
    if curvature < _MIN_CURVATURE:
        msg = "the likelihood is flat in a direction of the parameters; use fewer shape parameters"
        raise FitError(msg)
