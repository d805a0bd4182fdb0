"""Fits with signal repeated by iminuit, as a check of our own minimiser."""

import dataclasses

import iminuit  # type: ignore[import-untyped]
import numpy as np

from analysis.profile_likelihood import SignalTest
from data.errors import FitError
from data.types import FloatArray


@dataclasses.dataclass(frozen=True)
class MinuitCheck:
    """The fit with signal, made once more by MIGRAD.

    Attributes
    ----------
    improvement
        2Δ ln L by which MIGRAD found a better minimum (negative: a worse one).
    signal_yield
        In events.
    """

    improvement: float
    signal_yield: float


@dataclasses.dataclass(frozen=True)
class MinuitErrors:
    """Errors of the yield by HESSE and MINOS, in events.

    Attributes
    ----------
    hesse
        From the second derivatives.
    low, high
        From where −2 ln L has risen by one; ``low`` is negative.
    """

    hesse: float
    low: float
    high: float


def minuit_check(test: SignalTest) -> MinuitCheck:
    """Repeat a fit with signal by MIGRAD with analytic gradients, from the background-only fit.

    Parameters
    ----------
    test
        A test whose best yield is not at its bound.

    Returns
    -------
    MinuitCheck
        Minimum for comparison with `SignalTest.best`.

    Raises
    ------
    FitError
        If MIGRAD does not converge.
    """
    minuit = _migrad(test)
    return MinuitCheck(
        improvement=2 * (test.best.value - float(minuit.fval)),
        signal_yield=float(minuit.values[_yield_name(test)]) * test.yield_error,
    )


def minuit_errors(test: SignalTest) -> MinuitErrors:
    """Errors of the yield for a quote; MINOS makes many fits and is no part of `minuit_check`.

    Parameters
    ----------
    test
        A test whose best yield is not at its bound.

    Raises
    ------
    FitError
        If MIGRAD does not converge.
    """
    minuit = _migrad(
        test, with_gradient=False
    )  # HESSE complains about gradients that differ in the last digits
    minuit.hesse()
    name = _yield_name(test)
    minuit.minos(name)
    both = minuit.merrors[name]
    scale = test.yield_error
    return MinuitErrors(
        float(minuit.errors[name]) * scale, float(both.lower) * scale, float(both.upper) * scale
    )


def _yield_name(test: SignalTest) -> str:
    return f"x{test.null.theta.size}"


def _migrad(test: SignalTest, *, with_gradient: bool = True) -> "iminuit.Minuit":
    """MIGRAD in θ, the yield in units of its error, and the nuisance parameters."""
    likelihood, size = test.likelihood, test.null.theta.size
    scale = np.ones(size + 1 + likelihood.n_nuisances)
    scale[size] = test.yield_error

    def split(z: FloatArray) -> tuple[FloatArray, float, FloatArray | None]:
        return z[:size], float(z[size]), z[size + 1 :] if likelihood.n_nuisances else None

    def cost(z: FloatArray) -> float:
        return likelihood.value(*split(z * scale))

    def gradient(z: FloatArray) -> FloatArray:
        return likelihood.derivatives(*split(z * scale), with_yield=True)[0] * scale

    start = np.zeros(scale.size)
    start[:size] = test.null.theta
    minuit = iminuit.Minuit(cost, start, grad=gradient if with_gradient else None)
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.strategy = 0 if with_gradient else 1
    minuit.migrad()
    if not minuit.valid:
        msg = "MIGRAD did not converge on the fit with signal"
        raise FitError(msg)
    return minuit
