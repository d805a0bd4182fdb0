"""Local p-values by pseudo-experiments, where there are too few events for asymptotic formulae."""

import dataclasses

import numpy as np
from scipy.stats import norm

from analysis.batched import BatchedFits
from analysis.profile_likelihood import SignalTest
from analysis.toys import check_failures, draw_toys
from data.errors import FitError

_ENOUGH = 25
"""Toys above the observed q0 that end the search: a relative error of 20 %."""
_MOST_BATCHES = 20
_ROUNDING = 1e-7


@dataclasses.dataclass(frozen=True)
class ToyP0:
    """A local p-value from toys.

    Attributes
    ----------
    p0
        (above + 1)/(toys + 1), at most ½: a test that rejects where p0 ≤ α errs in at most a fraction α of experiments.
    n_toys
        Toys fitted; 0 where the best yield is not positive, which needs none.
    n_above
        Toys whose q0 reaches the observed one; without any `analysis.toy_bounds.limit_of_none` is what is known of p0.
    """

    p0: float
    n_toys: int
    n_above: int

    @property
    def z(self) -> float:
        """Significance Φ⁻¹(1 − p0)."""
        return float(norm.isf(self.p0))


def toy_p0(test: SignalTest, *, n_toys: int = 1000, seed: int = 0, workers: int = 1) -> ToyP0:
    """Local p-value of a test by toys of the background-only fit, all fitted as the data are.

    Parameters
    ----------
    test
        Test on the observed counts.
    n_toys
        Toys a batch: batches go on until 25 toys reach the observed q0, 20 at most.
    seed
        Of the random generator; the same seed gives the same p-value.
    workers
        Threads; results do not depend on them.

    Raises
    ------
    FitError
        If more than 2 % of the toys cannot be fitted.
    """
    if test.q0 <= 0:
        return ToyP0(0.5, 0, 0)
    rng = np.random.default_rng([seed, 0])
    background, theta = test.likelihood.background, test.null.theta
    data = BatchedFits(test.likelihood.counts[None], background, theta, settle=True)
    observed = float(data.tested(test.signal, np.empty(0)).q0[0])
    if not np.isfinite(observed):
        events = test.likelihood.counts.sum()
        msg = f"the {events:g} events cannot be fitted as toys are; use fewer shape parameters"
        raise FitError(msg)
    fitted = above = 0
    for batch in range(1, _MOST_BATCHES + 1):
        toys = draw_toys(test, test.null, n_toys, rng)
        fits = BatchedFits(toys.counts, background, theta, workers=workers, settle=True)
        q0 = fits.tested(test.signal, np.empty(0), toys.centres).q0
        good = np.isfinite(q0)
        fitted += int(good.sum())
        above += int((q0[good] >= observed - _ROUNDING).sum())
        check_failures(batch * n_toys - fitted, batch * n_toys)
        if above >= _ENOUGH:
            break
    return ToyP0(min((above + 1) / (fitted + 1), 0.5), fitted, above)
