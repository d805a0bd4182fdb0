"""Fits with signal repeated by iminuit, as a check of our own minimiser."""

import dataclasses

import iminuit  # type: ignore[import-untyped]
import numpy as np

from analysis.profile_likelihood import SignalTest
from data.errors import FitError
from data.types import FloatArray


@dataclasses.dataclass(frozen=True)
class MinuitCheck:
    """The fit with signal, made once more by MIGRAD, HESSE and MINOS.

    Attributes
    ----------
    improvement
        2Δ ln L by which MIGRAD found a better minimum (negative: a worse one).
    signal_yield, error, error_low, error_high
        Yield, its HESSE error and its MINOS errors, in events.
    """

    improvement: float
    signal_yield: float
    error: float
    error_low: float
    error_high: float


def minuit_check(test: SignalTest) -> MinuitCheck:
    """Repeat a fit with signal by iminuit, from the background-only fit, with numerical derivatives.

    Parameters
    ----------
    test
        A test whose best yield is not at its bound.

    Returns
    -------
    MinuitCheck
        Minimum and errors for comparison with `SignalTest.best`.

    Raises
    ------
    FitError
        If MIGRAD does not converge.
    """
    best = test.best
    scale = test.yield_error
    size = test.null.theta.size

    def cost(z: FloatArray) -> float:
        return test.likelihood.value(z[:size], float(z[size]) * scale)

    minuit = iminuit.Minuit(cost, np.append(test.null.theta, 0.0))
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.migrad()
    if not minuit.valid:
        msg = "MIGRAD did not converge on the fit with signal"
        raise FitError(msg)
    minuit.hesse()
    name = f"x{size}"
    minuit.minos(name)
    errors = minuit.merrors[name]
    return MinuitCheck(
        improvement=2 * (best.value - float(minuit.fval or 0.0)),
        signal_yield=float(minuit.values[name]) * scale,
        error=float(minuit.errors[name]) * scale,
        error_low=float(errors.lower) * scale,
        error_high=float(errors.upper) * scale,
    )
