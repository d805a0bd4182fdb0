"""Pseudo-experiments of one test: counts and the auxiliary measurements of the signal's nuisances."""

import dataclasses

import numpy as np

from analysis.expectation_floor import TINY
from analysis.global_pvalue import MAX_FAILED
from analysis.minimiser import Minimum
from analysis.profile_likelihood import SignalTest
from data.errors import FitError
from data.types import BoolArray, FloatArray, IntArray


@dataclasses.dataclass(frozen=True, eq=False)
class Toys:
    """Pseudo-experiments of one hypothesis.

    Attributes
    ----------
    counts
        Shape (toys, n).
    centres
        Auxiliary measurements of the signal's nuisances, shape (toys, nuisances).
    """

    counts: IntArray
    centres: FloatArray

    def fitted(self, good: BoolArray) -> "Toys":
        """Those that could be fitted.

        Parameters
        ----------
        good
            Whether each was fitted, shape (toys,).

        Returns
        -------
        Toys
            Only these.

        Raises
        ------
        FitError
            If more than 2 % could not.
        """
        check_failures(good.size - int(good.sum()), good.size)
        return Toys(self.counts[good], self.centres[good])


def draw_toys(test: SignalTest, truth: Minimum, n_toys: int, rng: np.random.Generator) -> Toys:
    """Draw pseudo-experiments of one hypothesis.

    Parameters
    ----------
    test
        Test on the observed counts.
    truth
        Fit to them from which toys are drawn.
    n_toys
        How many.
    rng
        Random generator.
    """
    expected, known = _hypothesis(test, truth)
    counts = rng.poisson(expected, (n_toys, expected.size))
    return Toys(counts, known + rng.standard_normal((n_toys, known.size)))


def log_ratio(test: SignalTest, toys: Toys, one: Minimum, other: Minimum) -> FloatArray:
    """Logarithms of the ratios of the densities from which two hypotheses draw toys.

    Parameters
    ----------
    test
        Test on the observed counts.
    toys
        Of any hypothesis.
    one, other
        Fits to the observed counts; the second is the denominator.

    Returns
    -------
    FloatArray
        Shape (toys,).
    """
    (first, near), (second, far) = _hypothesis(test, one), _hypothesis(test, other)
    first, second = np.maximum(first, TINY), np.maximum(second, TINY)
    poisson = toys.counts @ np.log(first / second) - (first - second).sum()
    auxiliary = ((toys.centres - far) ** 2 - (toys.centres - near) ** 2).sum(axis=1)
    return np.asarray(poisson + 0.5 * auxiliary)


def _hypothesis(test: SignalTest, truth: Minimum) -> tuple[FloatArray, FloatArray]:
    """Expected counts, and the nuisances of the signal."""
    likelihood = test.likelihood
    known = truth.nuisances if truth.nuisances.size else np.zeros(likelihood.n_nuisances)
    expected = likelihood.background.expected(truth.theta) + likelihood.signal_at(truth.signal_yield, known)
    return np.maximum(expected, 0.0), known


def check_failures(failed: int, n_toys: int) -> None:
    """Refuse toys of which more than 2 % could not be fitted.

    Raises
    ------
    FitError
        If so.
    """
    if failed > MAX_FAILED * n_toys:
        msg = f"{failed} of {n_toys} toys could not be fitted; use fewer shape parameters or the asymptotic calculator"
        raise FitError(msg)
