"""Upper limits on the signal yield: CLs with the test statistic q̃_μ, by asymptotic formulae or by toys.

Formulae and names: Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727; CLs: Read, J. Phys. G 28 (2002) 2693.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm

from analysis.batched import BatchedFits
from analysis.function_model import FunctionModel
from analysis.minimiser import Minimum
from analysis.profile_likelihood import SignalTest
from data.errors import FitError
from data.types import FloatArray

BANDS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Standard deviations of the expected limits, in the order of the results."""
_PRECISION = 1e-5
"""Relative precision of asymptotic limits."""
_MAX_STEPS = 60


@dataclasses.dataclass(frozen=True)
class Limit:
    """Upper limit on the signal yield in events inside the fit range.

    Attributes
    ----------
    observed
        Observed limit.
    expected
        Expected limits without signal at −2, −1, 0, +1, +2 standard deviations.
    calculator
        ``"asymptotic"`` or ``"toys"``.
    n_toys
        Toys a hypothesis, 0 for the asymptotic formulae.
    """

    observed: float
    expected: tuple[float, float, float, float, float]
    calculator: str
    n_toys: int = 0


QTilde = Callable[[FloatArray], FloatArray]
"""q̃_μ at several yields, shape (yields,)."""


class Profile(Protocol):
    """A profile likelihood in the yield: `SignalTest`, or the envelope over functions."""

    @property
    def best(self) -> Minimum:
        """Fit with a free yield."""
        ...

    @property
    def yield_error(self) -> float:
        """Standard error of the yield."""
        ...

    def q_tilde(self, signal_yield: float) -> float:
        """Test statistic q̃_μ.

        Parameters
        ----------
        signal_yield
            Tested, in events inside the fit range.

        Returns
        -------
        float
            ≥ 0.
        """
        ...


def asymptotic_limit(test: SignalTest, *, confidence: float = 0.95, settle: bool = False) -> Limit:
    """CLs limit by the asymptotic formulae; the Asimov set is the background-only fit.

    Parameters
    ----------
    test
        Test on the observed counts; the nuisance parameters of its signal are profiled.
    confidence
        Confidence level.
    settle
        As for `BatchedFits`: a first guess for toys, not to be quoted.

    Returns
    -------
    Limit
        Observed and expected limits.

    Raises
    ------
    FitError
        If a fit on the way does not converge or no limit can be bracketed.
    """
    background, theta = test.likelihood.background, test.null.theta
    asimov_counts = background.expected(theta)
    if isinstance(background, FunctionModel) and not background.log_linear:
        return profile_limit(
            test, SignalTest(asimov_counts, background, test.signal, theta), confidence=confidence
        )

    def q_tilde_of(counts: FloatArray) -> QTilde:
        fits = BatchedFits(counts[None], background, theta, settle=settle)

        def q_tilde(signal_yield: FloatArray) -> FloatArray:
            found = fits.tested(test.signal, signal_yield)
            if not found.converged.all():
                at = signal_yield[int(np.argmin(found.converged[0]))]
                msg = f"the fit with {at:.4g} signal events did not converge; use fewer shape parameters"
                raise FitError(msg)
            return np.asarray(found.q_tilde[0])

        return q_tilde

    observed, asimov = q_tilde_of(test.likelihood.counts), q_tilde_of(asimov_counts)
    return _solve(observed, asimov, max(test.best.signal_yield, 0.0), test.yield_error, confidence)


def profile_limit(test: Profile, asimov: Profile, *, confidence: float = 0.95) -> Limit:
    """CLs limit by the asymptotic formulae, every fit exact and made by itself.

    Slower than `asymptotic_limit`; for backgrounds that are not log-linear and for the envelope over functions.

    Parameters
    ----------
    test
        Profile likelihood of the observed counts.
    asimov
        That of the expectation of the background-only fit.
    confidence
        Confidence level.

    Returns
    -------
    Limit
        Observed and expected limits.

    Raises
    ------
    FitError
        If a fit on the way does not converge or no limit can be bracketed.
    """

    def q_tilde_of(profile: Profile) -> QTilde:
        return lambda signal_yield: np.array([profile.q_tilde(float(value)) for value in signal_yield])

    best = max(test.best.signal_yield, 0.0)
    return _solve(q_tilde_of(test), q_tilde_of(asimov), best, asimov.yield_error, confidence)


def _solve(observed: QTilde, asimov: QTilde, best: float, error: float, confidence: float) -> Limit:
    """Limits from q̃_μ of the observed counts and of the Asimov set; ``error`` is a rough one of the yield."""
    alpha = 1 - confidence
    wanted = norm.isf(alpha * norm.cdf(BANDS)) + np.asarray(BANDS)

    def excess(signal_yield: FloatArray) -> FloatArray:
        """Bands first: √q_A − wanted; then ln α − ln CLs of the observed counts. All rise with the yield."""
        q_asimov, q_observed = asimov(signal_yield), observed(signal_yield[-1:])
        log_cls = asymptotic_log_cls(q_observed[0], q_asimov[-1])
        return np.append(np.sqrt(q_asimov[:-1]) - wanted, math.log(alpha) - log_cls)

    # Rough bands from one fit: √q_A is nearly proportional to the yield.
    near = max(best, 2 * error, 1e-9)
    scale = near / max(float(np.sqrt(asimov(np.array([near]))[0])), 1e-9)
    rough = np.append(wanted * scale, best + wanted[2] * scale)
    limits = _crossings(excess, np.append(np.zeros(wanted.size), best), rough)
    bands = (float(limits[0]), float(limits[1]), float(limits[2]), float(limits[3]), float(limits[4]))
    return Limit(float(limits[-1]), bands, "asymptotic")


def asymptotic_log_cls(q_observed: float, q_asimov: float) -> float:
    """CLs of q̃_μ from the asymptotic formulae.

    Parameters
    ----------
    q_observed
        Observed q̃_μ.
    q_asimov
        q̃_μ of the background's Asimov set, σ_A = μ/√q_asimov.

    Returns
    -------
    float
        Natural logarithm of CLs, ≤ 0.
    """
    root, root_asimov = math.sqrt(q_observed), math.sqrt(q_asimov)
    if root <= root_asimov or root_asimov == 0:
        distance = root - root_asimov
    else:
        distance = (q_observed - q_asimov) / (2 * root_asimov)
    return float(log_ndtr(-distance - root_asimov) - log_ndtr(-distance))


def _crossings(
    function: Callable[[FloatArray], FloatArray], low: FloatArray, guess: FloatArray
) -> FloatArray:
    """Zeros of rising functions, all at once: brackets grow upwards from ``low``, then regula falsi (Illinois)."""
    low, high = low.astype(np.float64), np.maximum(guess, low * 1.01 + 1e-9)
    f_low = function(low)
    if (f_low > 0).any():
        at = low[int(np.argmax(f_low > 0))]
        msg = f"the limit cannot be found, {at:g} signal events are excluded already; use fewer shape parameters"
        raise FitError(msg)
    f_high = function(high)
    for _ in range(_MAX_STEPS):
        below = f_high <= 0
        if not below.any():
            break
        low, f_low = np.where(below, high, low), np.where(below, f_high, f_low)
        high = np.where(below, 1.3 * high + 1e-9, high)
        f_high = function(high)
    else:
        msg = f"no limit found below {high.max():.3g} signal events; check that the signal lies in the fit range"
        raise FitError(msg)
    side = np.zeros(low.size)
    for _ in range(_MAX_STEPS):
        middle = np.clip((low * f_high - high * f_low) / (f_high - f_low), low, high)
        value = function(middle)
        done = np.abs(value) * (high - low) <= _PRECISION * middle * (f_high - f_low)
        above = value > 0
        # Halving the value of an end that stays makes the other end move, too.
        f_low = np.where(above, np.where(side > 0, 0.5 * f_low, f_low), value)
        f_high = np.where(above, value, np.where(side < 0, 0.5 * f_high, f_high))
        low, high = np.where(above, low, middle), np.where(above, middle, high)
        side = np.where(above, 1.0, -1.0)
        if done.all():
            return middle
    msg = f"no limit found near {guess.max():.3g} signal events: no finite likelihood; use fewer shape parameters"
    raise FitError(msg)
