r"""The look-elsewhere effect from up-crossings of a low level, after Gross and Vitells.

The probability that q₀(m) exceeds c anywhere in a range of masses is bounded by that at its first mass plus the
mean number of times that q₀(m) crosses c upwards (Davies, Biometrika 74 (1987) 33). For one degree of freedom that
number falls as exp(−c/2), so that it can be counted at a low level c₀, where a few toys suffice (E. Gross, O. Vitells,
arXiv:1005.1891, eqs. 3 and 5)::

    p_global ≤ p_local + ⟨N(c₀)⟩ exp(−(c − c₀)/2),   c = Z²

Masses tested in windows with selections of their own give one such process a window: the up-crossings inside windows
add up, and so do the first terms, one p_local a window. Between neighbouring masses q₀(m) must be smooth, their distance
well below the width of the signal: on a coarser grid fewer of the high up-crossings are seen than of the low ones, and
the bound overestimates.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from data.errors import InputError
from data.types import FloatArray, IntArray

LEVEL = 0.5
"""Default level c₀ of q₀: low enough to be crossed often, above the noise of the fits."""
RELIABLE_Z = 2.5
"""Local significance below which the bound overestimates: several up-crossings happen in one scan."""


@dataclasses.dataclass(frozen=True)
class GrossVitells:
    """Global p-value from up-crossings.

    Attributes
    ----------
    p_global, p_global_error
        The bound, at most one, and its error from that of the mean number of up-crossings.
    z_local, p_local
        Largest significance of the scan and its p-value 1 − Φ(Z).
    level
        c₀.
    crossings, crossings_error
        ⟨N(c₀)⟩, summed over windows, and its error.
    n_scans
        Scans in which they were counted.
    n_windows
        Windows with a selection of their own.
    message
        Why the number is an overestimate; None where it is a fair one.
    """

    p_global: float
    p_global_error: float
    z_local: float
    p_local: float
    level: float
    crossings: float
    crossings_error: float
    n_scans: int
    n_windows: int
    message: str | None


def up_crossings(q0: FloatArray, level: float = LEVEL) -> IntArray:
    """How often q₀ crosses a level upwards.

    Parameters
    ----------
    q0
        Test statistic on ascending masses, shape (…, masses).
    level
        c₀.

    Returns
    -------
    IntArray
        Neighbouring masses of which the first is at or below the level and the second above; shape (…,).
    """
    values = np.asarray(q0, dtype=np.float64)
    crossings = (values[..., :-1] <= level) & (values[..., 1:] > level)
    return np.asarray(np.count_nonzero(crossings, axis=-1), dtype=np.int64)


def window_crossings(q0: FloatArray, windows: Sequence[int] | IntArray, level: float = LEVEL) -> IntArray:
    """Up-crossings inside windows, summed: a step from one window's selection to the next one's is none.

    Parameters
    ----------
    q0
        Shape (…, masses).
    windows
        Number of the window of each mass; the masses of a window ascend.
    level
        c₀.

    Returns
    -------
    IntArray
        Shape (…,).

    Raises
    ------
    InputError
        If the windows are not one a mass, or q₀ is negative or not finite.
    """
    values, number = np.asarray(q0, dtype=np.float64), np.asarray(windows)
    if number.shape != values.shape[-1:]:
        msg = f"up-crossings: {values.shape[-1]} masses, but {number.size} windows; give the window of each mass"
        raise InputError(msg)
    if not np.isfinite(values).all() or (values < 0).any():
        msg = "up-crossings: q0 must be finite and not negative; leave out scans whose fits failed"
        raise InputError(msg)
    counted = [up_crossings(values[..., number == window], level) for window in np.unique(number)]
    return np.asarray(np.sum(counted, axis=0), dtype=np.int64)


def gross_vitells(
    z_local: float, crossings: IntArray, *, level: float = LEVEL, n_windows: int = 1
) -> GrossVitells:
    """Global p-value from up-crossings counted in background toys, or in one scan of the data.

    Parameters
    ----------
    z_local
        Largest local significance √q₀ of the scan.
    crossings
        Up-crossings of the level a scan (`window_crossings`), shape (scans,). The error of their mean comes from their
        scatter; that of a single scan is √max(N, 1).
    level
        c₀ at which they were counted.
    n_windows
        Windows with a selection of their own.

    Returns
    -------
    GrossVitells
        The bound, at most 1, and its error; its message says where it is no use.

    Raises
    ------
    InputError
        If there is no scan, or the level or the significance is no number ≥ 0.

    References
    ----------
    E. Gross, O. Vitells, Eur. Phys. J. C 70 (2010) 525, arXiv:1005.1891.
    """
    counted = np.atleast_1d(np.asarray(crossings, dtype=np.float64))
    if counted.size == 0 or not counted.min() >= 0:
        msg = "Gross–Vitells: give the up-crossings of at least one scan"
        raise InputError(msg)
    for name, value in (("z_local", z_local), ("level", level)):
        if not (math.isfinite(value) and value >= 0):
            msg = f"Gross–Vitells: {name} = {value:g}; give a finite number of 0 or more"
            raise InputError(msg)
    mean = float(counted.mean())
    scatter = float(counted.std(ddof=1)) if counted.size > 1 else math.sqrt(max(mean, 1.0))
    error = max(scatter / math.sqrt(counted.size), 1 / counted.size)
    p_local = float(norm.sf(z_local))
    # Below the level the number of up-crossings is not known, only that it is not larger.
    fall = math.exp(-0.5 * (z_local**2 - level)) if z_local**2 > level else 1.0
    bound = n_windows * p_local + mean * fall
    message = None
    if bound > 1:
        message = f"the bound of Gross and Vitells is {bound:.2g}, above one; it says nothing here"
    elif z_local < RELIABLE_Z:
        message = f"the bound of Gross and Vitells overestimates below a local significance of {RELIABLE_Z:g}"
    return GrossVitells(
        min(bound, 1.0), error * fall, z_local, p_local, level, mean, error, counted.size, n_windows, message
    )
