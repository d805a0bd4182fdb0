"""What batched fits give."""

import dataclasses

import numpy as np
from scipy.stats import norm

from data.types import BoolArray, FloatArray


@dataclasses.dataclass(frozen=True, eq=False)
class BatchedSignal:
    """Fits with a free yield, each array of shape (sets, masses).

    Attributes
    ----------
    signal_yield
        Signal events inside the fit range; may be negative.
    error
        Its standard error, from the second derivatives; NaN where the yield stands at its lower bound.
    q0
        Discovery test statistic (arXiv:1007.1727, eq. 12): −2 ln L(0)/L(best), 0 where the yield is not positive.
    value
        −ln L at the minimum, relative to the saturated model.
    converged
        Where False, the other entries are NaN.
    at_bound
        The yield stands at its lower bound, where the total would vanish in the core of the signal.
    """

    signal_yield: FloatArray
    error: FloatArray
    q0: FloatArray
    value: FloatArray
    converged: BoolArray
    at_bound: BoolArray

    @property
    def z(self) -> FloatArray:
        """Local significances √q0."""
        return np.asarray(np.sqrt(self.q0))

    @property
    def p0(self) -> FloatArray:
        """Asymptotic local p-values 1 − Φ(√q0)."""
        return np.asarray(norm.sf(self.z), dtype=np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class TestedYields:
    """Fits with fixed yields, arrays of shape (sets, tested) but for the first.

    Attributes
    ----------
    best_yield
        Yield of the best fit, 0 where it is negative; shape (sets,).
    q0
        Discovery test statistic, shape (sets,); see `BatchedSignal`.
    value
        −ln L relative to the saturated model, constraints included; that of the best fit for yields below the best.
    q_tilde
        Test statistic q̃_μ (arXiv:1007.1727, eq. 16): 0 for yields below the best.
    converged
        Where False, the other entries are NaN.
    """

    best_yield: FloatArray
    q0: FloatArray
    value: FloatArray
    q_tilde: FloatArray
    converged: BoolArray
