"""Fits with signal repeated by iminuit, as a check of our own minimiser."""

import dataclasses

import iminuit
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
    # In θ, the yield in units of its error, and the nuisance parameters.
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
    minuit = iminuit.Minuit(cost, start, grad=gradient)
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.strategy = 0
    minuit.migrad()
    if not minuit.valid:
        msg = f"MIGRAD did not converge on the fit with signal ({scale.size} parameters); look at the plot of this fit"
        raise FitError(msg)
    return MinuitCheck(
        improvement=2 * (test.best.value - float(minuit.fval)),
        signal_yield=float(minuit.values[size]) * test.yield_error,
    )
