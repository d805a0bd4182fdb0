"""Confidence intervals of efficiencies."""

import numpy as np
import numpy.typing as npt
from scipy import special

from data.errors import InputError
from data.types import FloatArray

LEVEL = 0.6826894921370859
"""Probability content of one standard deviation."""


def clopper_pearson(
    passed: npt.ArrayLike, total: npt.ArrayLike, level: float = LEVEL
) -> tuple[FloatArray, FloatArray]:
    """Exact central interval of an efficiency: it never covers less than ``level``.

    Parameters
    ----------
    passed, total
        Events; effective numbers of weighted events are allowed. Scalars or arrays that broadcast.
    level
        Confidence level, between 0 and 1.

    Returns
    -------
    low, high
        float64.

    Raises
    ------
    InputError
        If more passed than there are, or there is none.

    References
    ----------
    C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404.
    """
    k, n = _trials(passed, total)
    tail = (1.0 - level) / 2.0
    # Arguments of a beta distribution must be positive; where k is 0 or n its quantile is not used.
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1e-12), n - k + 1.0, tail), 0.0)
    high = np.where(k < n, special.betaincinv(k + 1.0, np.maximum(n - k, 1e-12), 1.0 - tail), 1.0)
    return low, high


def _trials(passed: npt.ArrayLike, total: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    k, n = np.asarray(passed, dtype=np.float64), np.asarray(total, dtype=np.float64)
    if np.any(~(n > 0)) or np.any(~(k >= 0)) or np.any(k > n):
        k, n = np.broadcast_arrays(k, n)
        bad = np.flatnonzero(~(n > 0) | ~(k >= 0) | (k > n))
        msg = (
            f"passed {k.flat[bad[0]]:g} of total {n.flat[bad[0]]:g}: an efficiency needs 0 ≤ passed ≤ total and "
            "total > 0; leave out what holds no event"
        )
        raise InputError(msg)
    return k, n
