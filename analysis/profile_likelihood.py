"""Profile likelihood in the yield of one signal template: discovery and limit test statistics."""

import abc
import dataclasses
import math
from functools import cached_property

from scipy.optimize import brentq
from scipy.stats import norm

from analysis.expectation_floor import LOWEST_SHARE
from analysis.function_model import BackgroundModel
from analysis.likelihood import Likelihood
from analysis.minimiser import Minimum, minimise
from analysis.signal_template import SignalTemplate
from data.errors import FitError
from data.types import FloatArray


class ProfiledYield(abc.ABC):
    """Test statistics of a curve −ln L(yield), all other parameters profiled."""

    @property
    @abc.abstractmethod
    def null(self) -> Minimum:
        """Fit of the background alone."""

    @property
    @abc.abstractmethod
    def best(self) -> Minimum:
        """Fit with a free yield."""

    @abc.abstractmethod
    def at(self, signal_yield: float) -> Minimum:
        """Fit with the yield fixed.

        Parameters
        ----------
        signal_yield
            In events inside the fit range.

        Returns
        -------
        Minimum
            Of all other parameters.
        """

    @property
    def q0(self) -> float:
        """Discovery test statistic: −2 ln L(0)/L(best) where the best yield is positive, else 0."""
        if self.best.signal_yield <= 0:
            return 0.0
        return max(2 * (self.null.value - self.best.value), 0.0)

    @property
    def z(self) -> float:
        """Local significance √q0 (Cowan et al., arXiv:1007.1727)."""
        return math.sqrt(self.q0)

    @property
    def p0(self) -> float:
        """Local p-value 1 − Φ(Z); 0.5 where the best yield is not positive."""
        return float(norm.sf(self.z))

    def q_tilde(self, signal_yield: float) -> float:
        """Test statistic q̃_μ for limits (arXiv:1007.1727): zero below the best yield, best yield ≥ 0.

        Parameters
        ----------
        signal_yield
            Tested, in events inside the fit range.

        Returns
        -------
        float
            ≥ 0.
        """
        best = self.best
        if best.signal_yield > signal_yield:
            return 0.0
        reference = self.null.value if best.signal_yield < 0 else best.value
        return max(2 * (self.at(signal_yield).value - reference), 0.0)


class SignalTest(ProfiledYield):
    """Test of one signal template on one set of counts: profile likelihood in the yield.

    Parameters
    ----------
    counts
        Observed counts or an Asimov expectation, shape (n,).
    background
        Background model.
    signal
        Fractions of the signal a bin, with its nuisance parameters, which every fit with signal profiles.
    theta
        Start of the background parameters, best those of the background-only fit.
    centres
        Auxiliary measurements of the signal's nuisance parameters; see `Likelihood`.

    Raises
    ------
    FitError
        If the background-only fit or the fit with signal does not converge.
    """

    def __init__(
        self,
        counts: FloatArray,
        background: BackgroundModel,
        signal: SignalTemplate,
        theta: FloatArray,
        centres: FloatArray | None = None,
    ) -> None:
        self.likelihood = Likelihood(counts, background, signal, centres)
        self.signal = signal
        self.template = template = signal.nominal
        self._null = self._last = minimise(self.likelihood, theta, free_yield=False)
        expected = background.expected(self.null.theta)
        core = template >= 0.1 * template.max()
        self.expected_in_core = float(expected[core].sum())
        self._lower = -LOWEST_SHARE * float((expected[core] / template[core]).min())

    @property
    def null(self) -> Minimum:
        """Fit of the background alone."""
        return self._null

    @cached_property
    def fitted_signal(self) -> FloatArray:
        """Signal events a bin of the fit with a free yield, shape (n,)."""
        nuisances = self.best.nuisances if self.best.nuisances.size else None
        return self.likelihood.signal_at(self.best.signal_yield, nuisances)

    @cached_property
    def best(self) -> Minimum:
        """Fit with a free yield, which may be negative down to where the total would nearly vanish in the core."""
        try:
            found = minimise(self.likelihood, self.null.theta, free_yield=True)
        except FitError:
            found = None
        if found is not None and found.signal_yield > self._lower:
            return found
        bound = minimise(self.likelihood, self.null.theta, self._lower, free_yield=False)
        nuisances = bound.nuisances if bound.nuisances.size else None
        gradient, _ = self.likelihood.derivatives(bound.theta, self._lower, nuisances, with_yield=True)
        if gradient[bound.theta.size] < 0:
            events, parameters = self.likelihood.counts.sum(), bound.theta.size
            msg = (
                f"the fit of background and signal did not converge ({parameters} background parameters, {events:g} events); "
                "use fewer shape parameters"
            )
            raise FitError(msg)
        return dataclasses.replace(bound, at_bound=True)

    def at(self, signal_yield: float, *, settle: bool = False) -> Minimum:
        """Fit of the background with the yield fixed.

        The profile of few events may have two minima: the lowest found from the last fit, the background-only fit and
        the best one counts, so that the value depends little on which yields were asked for before.

        Raises
        ------
        FitError
            If none of them converges.
        """
        if signal_yield == 0:
            return self.null
        found: list[Minimum] = []
        for start in (self._last, self.null, self.best):
            try:
                found.append(
                    minimise(
                        self.likelihood, start.theta, signal_yield,
                        free_yield=False, exact_errors=False, settle=settle,
                    )
                )  # fmt: skip
            except FitError as error:
                failure = error
        if not found:
            raise failure
        self._last = min(found, key=lambda minimum: minimum.value)
        return self._last

    @cached_property
    def yield_error(self) -> float:
        """Standard error of the yield.

        From the second derivatives at the minimum; where the yield stands at its lower bound, the distance up
        to where −ln L has risen by ½.
        """
        best = self.best
        if not best.at_bound:
            return math.sqrt(float(best.covariance[best.theta.size, best.theta.size]))

        def rise(distance: float) -> float:
            return self.at(best.signal_yield + distance).value - best.value - 0.5

        high = max(abs(self._lower), 1.0)
        while rise(high) < 0:
            high *= 2
        return float(brentq(rise, 0.0, high, rtol=1e-4))
