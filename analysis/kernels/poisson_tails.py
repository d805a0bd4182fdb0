"""Logarithms of Poisson tail probabilities, exact where the probabilities themselves underflow."""

import math

from processors.kernels.compiled import compiled

_HALF_LOG_TWO_PI = 0.9189385332046727
_PRECISION = 1e-17


@compiled
def rate_function(n: float, mean: float) -> float:
    """What the logarithms of all Poisson tails go as: n ln(n/mean) − (n − mean).

    Parameters
    ----------
    n
        Events ≥ 0.
    mean
        Poisson mean > 0.

    Returns
    -------
    float
        0 where both are equal, else positive.
    """
    return n * math.log(n / mean) - (n - mean) if n > 0 else mean


@compiled
def _log_probability(n: float, mean: float) -> float:
    """Logarithm of P(N = n) for a mean > 0."""
    if n < 16:
        return n * math.log(mean) - mean - math.lgamma(n + 1)
    # Saddle-point form: the difference of huge terms in the line above would cost digits.
    inverse = 1 / (n * n)
    stirling = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / n
    return -rate_function(n, mean) - stirling - 0.5 * math.log(n) - _HALF_LOG_TWO_PI


@compiled
def _log_above(n: float, mean: float) -> float:
    """Logarithm of P(N ≥ n) for n ≥ mean, by the series of the lower incomplete gamma function."""
    term, total, k = 1.0, 1.0, n
    while term > _PRECISION * total:
        k += 1
        term *= mean / k
        total += term
    return _log_probability(n, mean) + math.log(total)


@compiled
def _log_below(n: float, mean: float) -> float:
    """Logarithm of P(N ≤ n) for n ≤ mean."""
    term, total, k = 1.0, 1.0, n
    while k > 0 and term > _PRECISION * total:
        term *= k / mean
        total += term
        k -= 1
    return _log_probability(n, mean) + math.log(total)


@compiled
def log_upper_tail(n: float, mean: float) -> float:
    """Logarithm of the probability to observe n or more: ln Γ(n, mean), the regularised incomplete gamma function.

    Parameters
    ----------
    n
        Whole number ≥ 0.
    mean
        Poisson mean > 0.

    Returns
    -------
    float
        Natural logarithm, ≤ 0.
    """
    if n <= 0:
        return 0.0
    if n >= mean:
        return _log_above(n, mean)
    return math.log1p(-math.exp(_log_below(n - 1, mean)))


@compiled
def log_lower_tail(n: float, mean: float) -> float:
    """Logarithm of the probability to observe n or less.

    Parameters
    ----------
    n
        Whole number ≥ 0.
    mean
        Poisson mean > 0.

    Returns
    -------
    float
        Natural logarithm, ≤ 0.
    """
    if n <= mean:
        return _log_below(n, mean)
    return math.log1p(-math.exp(_log_above(n + 1, mean)))
