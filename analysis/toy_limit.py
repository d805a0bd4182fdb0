"""Upper limits by pseudo-experiments: CLs of q̃_μ, for backgrounds too small for asymptotic formulae."""

import math

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import expit
from scipy.stats import norm

from analysis.batched import BatchedFits
from analysis.limits import BANDS, Limit, asymptotic_limit
from analysis.minimiser import Minimum
from analysis.profile_likelihood import SignalTest
from analysis.toys import Toys, draw_toys, log_ratio
from data.errors import FitError
from data.types import FloatArray

_GRID_POINTS = 10
_ROUNDING = 1e-7


def toy_limit(
    test: SignalTest, *, n_toys: int = 1000, seed: int = 0, confidence: float = 0.95, workers: int = 1
) -> Limit:
    """CLs limit by pseudo-experiments, for backgrounds too small for the asymptotic formulae.

    Toys are drawn from the background and the nuisances profiled on the observed counts, at zero yield and at each
    tested yield, their auxiliary measurements too; every toy is fitted as the data are. Toys of both hypotheses count
    for both tails, weighted by their likelihood ratio (the balance heuristic of importance sampling, Veach and Guibas,
    SIGGRAPH 1995): the toys without signal fill the tail of those with signal, which by themselves would leave a handful
    there. ln CLs is made falling in the yield by isotonic regression and interpolated linearly.

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
    workers
        Threads; results do not depend on them.

    Returns
    -------
    Limit
        Observed and expected limits; their statistical error is some per cent at 1000 toys.

    Raises
    ------
    FitError
        If more than 2 % of the toys cannot be fitted or no limit can be bracketed.
    """
    rng = np.random.default_rng(seed)
    grid = _tested_yields(asymptotic_limit(test, confidence=confidence, settle=True))
    data = BatchedFits(test.likelihood.counts[None], test.likelihood.background, test.null.theta, settle=True)
    observed = data.tested(test.signal, grid).q_tilde[0]
    if not np.isfinite(observed).all():
        events = test.likelihood.counts.sum()
        msg = f"the {events:g} events cannot be fitted with every tested yield; use fewer shape parameters"
        raise FitError(msg)
    without, q_without = _toys(test, test.null, grid, n_toys, rng, workers)
    # Bands are limits of the quantiles of the statistic.
    statistics = np.vstack([np.quantile(q_without, norm.sf(BANDS), axis=0, method="inverted_cdf"), observed])
    log_cls = np.empty(statistics.shape)
    for column, signal_yield in enumerate(grid):
        truth = test.at(float(signal_yield), settle=True)
        toys, q_with = _toys(test, truth, grid[column : column + 1], n_toys, rng, workers)
        ratio = [log_ratio(test, drawn, truth, test.null) for drawn in (toys, without)]
        log_cls[:, column] = _log_cls(statistics[:, column], (q_with[:, 0], q_without[:, column]), ratio)
    limits = [_crossing(grid, row, math.log(1 - confidence)) for row in log_cls]
    if max(limits) >= grid[-1] or min(limits) <= grid[0]:
        msg = (
            f"the {n_toys} toys resolve no CLs of {1 - confidence:.2g} between {grid[0]:.3g} and {grid[-1]:.3g} "
            "signal events; make more toys"
        )
        raise FitError(msg)
    return Limit(limits[-1], _in_order(limits[:-1]), "toys", n_toys)


def _in_order(expected: list[float]) -> tuple[float, float, float, float, float]:
    """Expected limits without the swaps of random errors: in order they are nearer to the truth (arXiv:0704.3649)."""
    minus2, minus1, median, plus1, plus2 = sorted(expected)
    return minus2, minus1, median, plus1, plus2


def _tested_yields(rough: Limit) -> FloatArray:
    """Signal events from half the lowest asymptotic limit to twice the highest."""
    low = 0.5 * min(rough.observed, rough.expected[0])
    # With no background and no events the asymptotic limit is 2.0 events where the true one is 3.0.
    return np.geomspace(max(low, 0.5), max(2 * max(rough.observed, rough.expected[4]), 6.0), _GRID_POINTS)


def _toys(
    test: SignalTest, truth: Minimum, grid: FloatArray, n_toys: int, rng: np.random.Generator, workers: int
) -> tuple[Toys, FloatArray]:
    """Toys that could be fitted, and their q̃_μ for every yield of the grid, shape (toys, grid)."""
    toys = draw_toys(test, truth, n_toys, rng)
    fits = BatchedFits(toys.counts, test.likelihood.background, test.null.theta, workers=workers, settle=True)
    found = fits.tested(test.signal, grid, toys.centres)
    good = np.asarray(found.converged.all(axis=1), dtype=np.bool_)
    return toys.fitted(good), np.asarray(found.q_tilde[good])


def _log_cls(
    statistics: FloatArray, q_tilde: tuple[FloatArray, FloatArray], ratio: list[FloatArray]
) -> FloatArray:
    """Logarithm of CLs of each statistic; 0 where no toy lies beyond it.

    Parameters
    ----------
    statistics
        q̃_μ, shape (statistics,).
    q_tilde, ratio
        q̃_μ of the toys with the signal and of those without, and the logarithms of L(signal)/L(no signal) of both.
    """
    sizes = [q.size for q in q_tilde]
    q, odds = np.concatenate(q_tilde), np.concatenate(ratio) + math.log(sizes[0] / sizes[1])
    order = np.argsort(q)
    first = np.searchsorted(q[order], statistics - _ROUNDING, side="left")
    tails = []
    for weight in (expit(odds) / sizes[0], expit(-odds) / sizes[1]):
        beyond = np.append(np.cumsum(weight[order][::-1])[::-1], 0.0)
        tails.append(beyond[first])
    with_signal, without = tails
    cls = np.divide(with_signal, without, out=np.ones_like(without), where=without > 0)
    return np.asarray(np.log(np.clip(cls, 1e-300, 1.0)))


def _crossing(grid: FloatArray, log_cls: FloatArray, wanted: float) -> float:
    """Yield where ln CLs, made falling, passes ``wanted``; an end of the grid where it does not."""
    falling = isotonic_regression(log_cls, increasing=False).x
    after = int(np.searchsorted(-falling, -wanted))
    if after == 0:
        return float(grid[0])
    if after == grid.size:
        return float(grid[-1])
    high, low = falling[after - 1], falling[after]
    return float(grid[after - 1] + (high - wanted) / (high - low) * (grid[after] - grid[after - 1]))
