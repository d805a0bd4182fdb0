"""Fits of the background alone, from robust starts, checked for runaways."""

import dataclasses
import math
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2 as chi2_distribution

from analysis import functions
from analysis.function_kinds import Function
from analysis.function_model import FunctionModel
from analysis.functions import SQRT_S
from analysis.likelihood import Likelihood
from analysis.log_linear import LogLinear
from analysis.minimiser import MIN_CURVATURE, Minimum, minimise
from analysis.spectrum import Spectrum, sum_between
from analysis.starts import rough_expectation, start_parameters
from data.errors import FitError
from data.types import FloatArray, IntArray

_MAX_SLOPE = 100.0
"""|d ln f / d ln m| above which a background is a spike, not a smooth function: a runaway. Dijet
spectra have 5 to 30."""

_MIN_RISE = 0.1
"""Least rise of −ln L at two standard deviations, where a parabola rises by 2."""


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundFit:
    """A background-only fit of one function to one spectrum.

    Attributes
    ----------
    spectrum
        The fit range.
    model
        Function and basis.
    minimum
        Fitted parameters.
    minimum_count
        Events that each merged coarse bin holds.
    """

    spectrum: Spectrum
    model: FunctionModel
    minimum: Minimum
    minimum_count: int = 5

    @property
    def n_shape(self) -> int:
        """Number of shape parameters K."""
        return self.model.n_shape

    @property
    def function(self) -> str:
        """Name of the function."""
        return self.model.function.name

    @cached_property
    def expected(self) -> FloatArray:
        """Expected background events a fine bin, shape (n,)."""
        return self.model.expected(self.minimum.theta)

    def relative_uncertainty(self, mass: float) -> float:
        """Standard error of the fitted density, relative to it.

        Parameters
        ----------
        mass
            Where, GeV.

        Returns
        -------
        float
            0.1 for 10 %.
        """
        design = self.model.design(np.array([mass]), self.minimum.theta)[0]
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
        Positions of the merged bins' edges among the fine edges, ascending, shape (m + 1,).
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
    spectrum: Spectrum, function: str | Function, *, sqrt_s: float = SQRT_S, minimum_count: int = 5
) -> BackgroundFit:
    """Fit a background function to a spectrum, by the Poisson likelihood in its own (fine) bins.

    Parameters
    ----------
    spectrum
        The fit range.
    function
        Name of a published function (`functions.available`), or a function.
    sqrt_s
        Centre-of-mass energy in GeV.
    minimum_count
        Events that each merged coarse bin holds.

    Returns
    -------
    BackgroundFit
        The converged fit; the lowest minimum from several starts where the function is not log-linear.

    Raises
    ------
    ConfigError
        If there is no function of that name.
    InputError
        If the spectrum is empty or nearly so.
    FitError
        If the fit does not converge or runs away.
    """
    wanted = functions.get(function)
    rough = rough_expectation(spectrum)
    name = f"{wanted.name}, {spectrum.n_events} events in {spectrum.lo:g}–{spectrum.hi:g} GeV"
    try:
        first, theta = _lowest(spectrum, wanted, sqrt_s, rough)
        # Orthonormal on the fitted spectrum itself: unit curvature there says that the fit is healthy.
        model = first.rebinned(spectrum.edges, theta)
        likelihood = Likelihood(spectrum.counts.astype(np.float64), model)
        minimum = minimise(likelihood, model.start, free_yield=False)
        check_healthy(model, minimum)
        if not model.log_linear:
            _check_rises(likelihood, minimum)
        if wanted.limit is not None:
            _check_needed(functions.get(wanted.limit), minimum, spectrum, sqrt_s, rough)
    except FitError as error:
        msg = f"{name}: {error}"
        raise FitError(msg) from None
    return BackgroundFit(spectrum, model, minimum, minimum_count)


def _lowest(
    spectrum: Spectrum, function: Function, sqrt_s: float, rough: FloatArray
) -> tuple[FunctionModel, FloatArray]:
    """The lowest of the minima from all starts."""
    counts = spectrum.counts.astype(np.float64)
    starts: list[FloatArray | None] = [None]
    if not isinstance(function, LogLinear):
        function.check(spectrum.edges, sqrt_s)
        starts = [*start_parameters(function, spectrum, sqrt_s)]
    found: list[tuple[float, FunctionModel, FloatArray]] = []
    for start in starts:
        try:
            weights = rough if start is None else None
            model = FunctionModel(spectrum.edges, function, weights, sqrt_s=sqrt_s, reference=start)
            likelihood = Likelihood(counts, model)
            first = minimise(likelihood, model.start, free_yield=False, exact_errors=False)
        except FitError as error:
            failure = error
            continue
        found.append((first.value, model, first.theta))
    if not found:
        raise failure
    _, model, theta = min(found, key=lambda entry: entry[0])
    return model, theta


def _check_needed(
    limit: Function, minimum: Minimum, spectrum: Spectrum, sqrt_s: float, rough: FloatArray
) -> None:
    """Refuse a local minimum above the plateau where the function has turned into a smaller one, its limit."""
    try:
        model, theta = _lowest(spectrum, limit, sqrt_s, rough)
    except FitError:
        return  # no plateau to compare with
    if minimum.value > Likelihood(spectrum.counts.astype(np.float64), model).value(theta):
        msg = f"{limit.name}, which it turns into, fits better; use {limit.name}"
        raise FitError(msg)


def _check_rises(likelihood: Likelihood, minimum: Minimum) -> None:
    """Refuse a minimum whose curvature is that of a point only: −ln L must rise at two standard deviations."""
    for k, error in enumerate(np.sqrt(np.diag(minimum.covariance))):
        for sign in (-2, 2):
            shifted = minimum.theta.copy()
            shifted[k] += sign * error
            if likelihood.value(shifted) - minimum.value < _MIN_RISE:
                msg = "the likelihood is flat in a direction of the parameters; use fewer shape parameters"
                raise FitError(msg)


def check_healthy(model: FunctionModel, minimum: Minimum) -> None:
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
    if not slope <= _MAX_SLOPE:
        msg = f"the function ran away to a spike (d ln f / d ln m = {slope:.0f}); use fewer shape parameters"
        raise FitError(msg)
    size = model.n_parameters
    curvature = 1 / float(np.linalg.eigvalsh(minimum.covariance[:size, :size])[-1])
    if curvature < MIN_CURVATURE:
        msg = f"the likelihood is flat in a direction of the {size} parameters; use fewer shape parameters"
        raise FitError(msg)
