"""Upper limits on the signal yield: CLs with the test statistic q̃_μ, by asymptotic formulae or by toys.

Formulae and names: Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727; CLs: Read, J. Phys. G 28 (2002) 2693.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import norm

from analysis.profile_likelihood import SignalTest
from analysis.toys import ToyFits
from data.errors import FitError
from data.types import FloatArray

BANDS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Standard deviations of the expected limits, in the order of the results."""
_GRID_POINTS = 10
_MAX_FAILED = 0.02
"""Fraction of toys whose fit may fail before the limit is refused."""


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


def asymptotic_limit(test: SignalTest, *, confidence: float = 0.95) -> Limit:
    """CLs limit by the asymptotic formulae; the Asimov set is the background-only fit.

    Parameters
    ----------
    test
        Test on the observed counts.
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
    alpha = 1 - confidence
    background = test.likelihood.background
    expected_counts = background.expected(test.null.theta)
    asimov = SignalTest(expected_counts, background, test.template, test.null.theta)

    def root_q_asimov(signal_yield: float) -> float:
        return math.sqrt(max(2 * (asimov.at(signal_yield).value - asimov.null.value), 0.0))

    bands = []
    start = 2 * _asimov_error(asimov)
    for n_sigma in BANDS:
        wanted = float(norm.isf(alpha * norm.cdf(n_sigma)) + n_sigma)

        def excess(signal_yield: float, wanted: float = wanted) -> float:
            return root_q_asimov(signal_yield) - wanted

        bands.append(_crossing(excess, 0.0, start))
        start = bands[-1] * 1.5

    def log_cls(signal_yield: float) -> float:
        return math.log(alpha) - asymptotic_log_cls(
            test.q_tilde(signal_yield), root_q_asimov(signal_yield) ** 2
        )

    low = max(test.best.signal_yield, 0.0)
    observed = _crossing(log_cls, low, low + bands[2])
    return Limit(observed, (bands[0], bands[1], bands[2], bands[3], bands[4]), "asymptotic")


def asymptotic_log_cls(q_observed: float, q_asimov: float) -> float:
    """Logarithm of CLs of q̃_μ from the asymptotic formulae.

    Parameters
    ----------
    q_observed
        Observed q̃_μ.
    q_asimov
        q̃_μ of the background's Asimov set, σ_A = μ/√q_asimov.
    """
    root, root_asimov = math.sqrt(q_observed), math.sqrt(q_asimov)
    if root <= root_asimov or root_asimov == 0:
        distance = root - root_asimov
    else:
        distance = (q_observed - q_asimov) / (2 * root_asimov)
    return float(log_ndtr(-distance - root_asimov) - log_ndtr(-distance))


def _asimov_error(asimov: SignalTest) -> float:
    """Standard error of the yield on the Asimov set, from the curvature at zero yield."""
    _, hessian = asimov.likelihood.derivatives(asimov.null.theta, 0.0, with_yield=True)
    free = hessian[-1, -1]
    if hessian.shape[0] > 1:
        free -= hessian[-1, :-1] @ np.linalg.solve(hessian[:-1, :-1], hessian[:-1, -1])
    return 1 / math.sqrt(max(float(free), 1e-12))


def _crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """Zero of a rising function that is negative at ``low``; the bracket is widened upwards."""
    if function(low) > 0:
        msg = f"the limit cannot be found, {low:g} signal events are excluded already; use fewer shape parameters"
        raise FitError(msg)
    for _ in range(40):
        if function(high) > 0:
            return float(brentq(function, low, high, rtol=1e-5, xtol=1e-9))
        low, high = high, 2 * high - low if high > low else high + 1.0
    msg = f"no limit found below {high:.3g} signal events; check that the signal lies in the fit range"
    raise FitError(msg)


def toy_limit(test: SignalTest, *, n_toys: int = 1000, seed: int = 0, confidence: float = 0.95) -> Limit:
    """CLs limit by pseudo-experiments, for backgrounds too small for the asymptotic formulae.

    Toys are drawn from the background profiled on the observed counts, at zero yield and at each tested
    yield, and every toy is fitted as the data are. Between tested yields ln CLs is interpolated linearly.

    Parameters
    ----------
    test
        Test on the observed counts.
    n_toys
        Toys a hypothesis.
    seed
        Of the random generator; the same seed gives the same limit.
    confidence
        Confidence level.

    Returns
    -------
    Limit
        Observed and expected limits; their statistical error is about 10 % at 1000 toys.

    Raises
    ------
    FitError
        If more than 2 % of the toys cannot be fitted or no limit can be bracketed.
    """
    rng = np.random.default_rng(seed)
    rough = asymptotic_limit(test, confidence=confidence)
    background = test.likelihood.background
    low = 0.6 * min(rough.observed, rough.expected[0])
    # With no background and no events the asymptotic limit is 2.0 events where the true one is 3.0.
    grid = np.geomspace(max(low, 0.5), max(2 * max(rough.observed, rough.expected[4]), 6.0), _GRID_POINTS)
    null = background.expected(test.null.theta)
    without = _toy_statistics(test, null, test.null.theta, grid, n_toys, rng)
    log_cls = np.empty((len(without) + 1, grid.size))
    for column, signal_yield in enumerate(grid):
        profiled = test.at(float(signal_yield))
        total = background.expected(profiled.theta) + signal_yield * test.template
        with_signal = _toy_statistics(test, total, profiled.theta, grid[column : column + 1], n_toys, rng)[
            :, 0
        ]
        statistics = np.append(without[:, column], test.q_tilde(float(signal_yield)))
        log_cls[:, column] = _log_cls(statistics, with_signal, without[:, column])
    limits = np.asarray([_interpolate(grid, row, math.log(1 - confidence)) for row in log_cls])
    bands = np.quantile(limits[:-1], norm.cdf(BANDS))
    if max(limits[-1], bands[4]) >= grid[-1] or min(limits[-1], bands[0]) <= grid[0]:
        msg = (
            f"the {n_toys} toys resolve no CLs of {1 - confidence:.2g} between {grid[0]:.3g} and {grid[-1]:.3g} "
            "signal events; make more toys"
        )
        raise FitError(msg)
    expected = (float(bands[0]), float(bands[1]), float(bands[2]), float(bands[3]), float(bands[4]))
    return Limit(float(limits[-1]), expected, "toys", n_toys)


def _toy_statistics(
    test: SignalTest,
    expected: FloatArray,
    theta: FloatArray,
    grid: FloatArray,
    n_toys: int,
    rng: np.random.Generator,
) -> FloatArray:
    """q̃_μ of toys for every yield of the grid, shape (toys fitted, grid)."""
    counts = rng.poisson(expected, (n_toys, expected.size)).astype(np.float64)
    toys = ToyFits(counts, test.likelihood.background, test.template, theta)
    statistics = np.stack([toys.q_tilde(float(signal_yield)) for signal_yield in grid], axis=1)
    failed = n_toys - int(toys.converged.sum())
    if failed > _MAX_FAILED * n_toys:
        msg = f"{failed} of {n_toys} toys could not be fitted; use fewer shape parameters or the asymptotic calculator"
        raise FitError(msg)
    return np.asarray(statistics[toys.converged])


def _log_cls(statistics: FloatArray, with_signal: FloatArray, without: FloatArray) -> FloatArray:
    """Logarithm of CLs of each statistic; a tail that holds no toy counts as half a toy."""
    tails = []
    for toys in (with_signal, without):
        above = toys.size - np.searchsorted(np.sort(toys), statistics - 1e-7, side="left")
        tails.append(np.maximum(above, 0.5) / toys.size)
    return np.asarray(np.log(np.minimum(tails[0] / tails[1], 1.0)))


def _interpolate(grid: FloatArray, log_cls: FloatArray, wanted: float) -> float:
    """Yield where ln CLs, made falling, passes ``wanted``."""
    falling = np.minimum.accumulate(log_cls)
    after = int(np.searchsorted(-falling, -wanted))
    if after == 0:
        return float(grid[0])
    if after == grid.size:
        return float(grid[-1])
    high, low = falling[after - 1], falling[after]
    fraction = (high - wanted) / (high - low) if high > low else 0.0
    return float(grid[after - 1] + fraction * (grid[after] - grid[after - 1]))
