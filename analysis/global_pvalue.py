"""A global p-value counted over pseudo-experiments, with its binomial interval."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from analysis.toy_bounds import limit_of_none
from data.errors import FitError, InputError
from data.types import FloatArray
from models.intervals import clopper_pearson

MAX_FAILED = 0.02
"""Fraction of pseudo-experiments without a converged fit above which no p-value is given: fits fail where the
fluctuations are large, so that leaving them out would bias it."""


@dataclass(frozen=True)
class GlobalPValue:
    """The fraction of pseudo-experiments at least as extreme as the data.

    Attributes
    ----------
    n_above
        Pseudo-experiments at least as extreme as the data.
    n_toys
        Pseudo-experiments with converged fits.
    n_failed
        Pseudo-experiments left out because a fit did not converge.
    """

    n_above: int
    n_toys: int
    n_failed: int = 0

    @property
    def p(self) -> float:
        """n_above / n_toys."""
        return self.n_above / self.n_toys

    @property
    def interval(self) -> tuple[float, float]:
        """Central 68 % interval of Clopper and Pearson (Biometrika 26 (1934) 404)."""
        low, high = clopper_pearson(self.n_above, self.n_toys)
        return float(low), float(high)

    @property
    def error(self) -> float:
        """The larger distance from p to an end of the interval; not zero where p is."""
        low, high = self.interval
        return max(high - self.p, self.p - low)

    @property
    def z(self) -> float:
        """Global significance Φ⁻¹(1 − p); a bound at 95 % CL where no toy reaches the data, or all do."""
        if not self.z_is_bound:
            return float(norm.isf(self.p))
        least = float(norm.isf(limit_of_none(self.n_toys)))
        return least if self.n_above == 0 else -least

    @property
    def z_is_bound(self) -> bool:
        """No pseudo-experiment is as extreme as the data, or all are: `z` is a bound."""
        return self.n_above in {0, self.n_toys}


def count_above(observed: float, toys: FloatArray, n_failed: int, what: str) -> GlobalPValue:
    """Global p-value of an observed test statistic.

    Parameters
    ----------
    observed
        Test statistic of the data, larger is more extreme.
    toys
        Those of the pseudo-experiments with converged fits, shape (toys,).
    n_failed
        Pseudo-experiments without.
    what
        Of what, for messages.

    Returns
    -------
    GlobalPValue
        Share of the pseudo-experiments that are as extreme as the data.

    Raises
    ------
    InputError
        If there is no pseudo-experiment.
    FitError
        If more than `MAX_FAILED` of them failed.
    """
    total = toys.size + n_failed
    if total == 0:
        msg = f"{what}: no pseudo-experiments; ask for at least one toy"
        raise InputError(msg)
    if n_failed > MAX_FAILED * total:
        msg = (
            f"{what}: the fits of {n_failed} of {total} pseudo-experiments did not converge, more than "
            f"{MAX_FAILED:.0%}; use fewer shape parameters or a wider fit range"
        )
        raise FitError(msg)
    return GlobalPValue(int(np.count_nonzero(toys >= observed)), toys.size, n_failed)
