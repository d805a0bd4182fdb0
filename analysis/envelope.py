"""Discrete profiling: the choice of the background function as a nuisance parameter of the fit.

Dauncey, Kenzie, Wardle, Davies, "Handling uncertainties in background shapes: the discrete profiling method",
arXiv:1408.6865. With Λ_k(s) = −2 ln L_k(s) + c·n_k of function k with n_k parameters, profiled at the yield s, the
envelope is Λ(s) = min_k Λ_k(s). It takes the place of −2 ln L in every test statistic.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from scipy.optimize import brentq

from analysis.f_test import FailedFit
from analysis.fit import BackgroundFit, check_healthy
from analysis.minimiser import Minimum
from analysis.profile_likelihood import ProfiledYield, SignalTest
from analysis.signal_template import SignalTemplate
from data.errors import FitError, InputError

CORRECTION = 1.0
"""Penalty a parameter in −2 ln L (arXiv:1408.6865, section 4); 2 is Akaike's, 0 favours many parameters."""


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The test of a signal on top of one function.

    Attributes
    ----------
    function
        Name of the function.
    n_parameters
        Its parameters, the normalisation included.
    test
        Test of the signal.
    """

    function: str
    n_parameters: int
    test: SignalTest


class Envelope(ProfiledYield):
    """Test of one signal on one set of counts, the background function profiled too.

    It answers what `SignalTest` does, with Λ in place of −2 ln L: best fit, error, q0, q̃.

    Parameters
    ----------
    curves
        One a function, all with the same counts and template.
    correction
        c, the penalty a parameter in −2 ln L.

    Raises
    ------
    InputError
        If there is no function, or the correction is negative.
    """

    def __init__(self, curves: Sequence[Curve], *, correction: float = CORRECTION) -> None:
        if not curves:
            msg = "envelope: there is no background function; add candidates"
            raise InputError(msg)
        if not (math.isfinite(correction) and correction >= 0):
            msg = f"envelope: correction = {correction}; give 0 or more (1 in arXiv:1408.6865)"
            raise InputError(msg)
        self.curves = tuple(curves)
        self.correction = correction

    def penalty(self, curve: Curve) -> float:
        """What is added to the −ln L of a function for its parameters.

        Parameters
        ----------
        curve
            The function.

        Returns
        -------
        float
            Half the correction times their number.
        """
        return 0.5 * self.correction * curve.n_parameters

    def _lowest(self, minima: Sequence[tuple[Curve, Minimum]]) -> tuple[Curve, Minimum]:
        curve, found = min(minima, key=lambda pair: pair[1].value + self.penalty(pair[0]))
        return curve, dataclasses.replace(found, value=found.value + self.penalty(curve))

    @cached_property
    def _null(self) -> tuple[Curve, Minimum]:
        return self._lowest([(curve, curve.test.null) for curve in self.curves])

    @cached_property
    def _best(self) -> tuple[Curve, Minimum]:
        return self._lowest([(curve, curve.test.best) for curve in self.curves])

    @property
    def null(self) -> Minimum:
        """Lowest background-only fit, Λ(0)/2 its value."""
        return self._null[1]

    @property
    def best(self) -> Minimum:
        """Lowest fit with a free yield, the minimum of Λ/2 its value."""
        return self._best[1]

    @property
    def null_curve(self) -> Curve:
        """Function of the lowest background-only fit."""
        return self._null[0]

    @property
    def best_curve(self) -> Curve:
        """Function of the lowest fit with a free yield."""
        return self._best[0]

    def at(self, signal_yield: float) -> Minimum:
        """Lowest fit with the yield fixed, Λ/2 its value; the envelope as a function of the yield.

        Parameters
        ----------
        signal_yield
            Signal events inside the fit range.

        Raises
        ------
        FitError
            If no function converges.
        """
        minima: list[tuple[Curve, Minimum]] = []
        for curve in self.curves:
            try:
                minima.append((curve, curve.test.at(signal_yield)))
            except FitError as error:
                failure = error
        if not minima:
            raise failure
        return self._lowest(minima)[1]

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Yields between which Λ lies within 1 of its minimum: the outermost crossings of all functions."""
        wanted = self.best.value + 0.5
        ends = [self._crossings(curve, wanted) for curve in self.curves]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _crossings(self, curve: Curve, wanted: float) -> tuple[float, float]:
        """Where a function's curve reaches a value on both sides; the envelope's best yield if it lies above."""
        test, middle = curve.test, curve.test.best
        level = wanted - self.penalty(curve)
        here = self.best.signal_yield
        if middle.value >= level:
            return here, here

        def rise(signal_yield: float) -> float:
            return test.at(signal_yield).value - level

        ends = [middle.signal_yield, middle.signal_yield]
        for side, sign in enumerate((-1.0, 1.0)):
            if middle.at_bound and sign < 0:
                continue
            near, far = middle.signal_yield, middle.signal_yield + sign * test.yield_error
            for _ in range(20):
                if rise(far) > 0:
                    break
                near, far = far, far + 2 * (far - near)
            else:
                msg = (
                    f"envelope: the likelihood of {curve.function} does not rise with the yield; leave it out"
                )
                raise FitError(msg)
            ends[side] = float(brentq(rise, near, far, rtol=1e-4, xtol=1e-6))
        return ends[0], ends[1]

    @property
    def yield_error(self) -> float:
        """Half the width of `interval`: the choice of the function is part of it."""
        low, high = self.interval
        return 0.5 * (high - low)

    def asimov(self) -> "Envelope":
        """The same test on the expectation of the lowest background-only fit (arXiv:1007.1727, section 3.2)."""
        likelihood = self.null_curve.test.likelihood
        counts = likelihood.background.expected(self.null.theta)
        tests = [
            SignalTest(counts, curve.test.likelihood.background, curve.test.signal, curve.test.null.theta)
            for curve in self.curves
        ]
        curves = [
            dataclasses.replace(curve, test=test) for curve, test in zip(self.curves, tests, strict=True)
        ]
        return Envelope(curves, correction=self.correction)


def envelope(
    fits: Iterable[BackgroundFit | FailedFit], signal: SignalTemplate, *, correction: float = CORRECTION
) -> tuple[Envelope, tuple[str, ...]]:
    """Test of a signal over all functions that could be fitted.

    Parameters
    ----------
    fits
        Background-only fits of one spectrum, from `f_test.fit_candidates`.
    signal
        Signal in the bins of the fit range.
    correction
        c, the penalty a parameter in −2 ln L.

    Returns
    -------
    Envelope
        The test.
    failed : tuple of str
        Why functions are left out.

    Raises
    ------
    FitError
        If no function is left.
    InputError
        If the correction is negative.
    """
    curves: list[Curve] = []
    failed: list[str] = []
    for fit in fits:
        if isinstance(fit, FailedFit):
            failed.append(fit.message)
            continue
        try:
            test = SignalTest(fit.spectrum.counts.astype(np.float64), fit.model, signal, fit.minimum.theta)
            check_healthy(fit.model, test.best)
        except FitError as error:
            failed.append(f"{fit.function}: {error}")
            continue
        curves.append(Curve(fit.function, fit.n_shape + 1, test))
    if not curves:
        msg = f"envelope: no background function could be fitted; add candidates or change the fit range: {'; '.join(failed)}"
        raise FitError(msg)
    return Envelope(curves, correction=correction), tuple(failed)
