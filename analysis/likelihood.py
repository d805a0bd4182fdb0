"""Binned Poisson likelihood of a falling background plus a signal template, with derivatives."""

import numpy as np

from analysis.dijet import BackgroundModel
from data.types import FloatArray

_FLOOR = 1e-3
"""Least expectation of a bin, in units of its background. Only a negative signal yield can touch it, in the
far tail of the signal where the background is smaller still."""
_TINY = 1e-200
"""Background that stands for one that underflows, so that derivatives stay finite in empty bins."""


class Likelihood:
    """−ln L of counts given background(θ) + yield · template, relative to the saturated model.

    Parameters
    ----------
    counts
        Observed counts, or an Asimov expectation; shape (n,), ≥ 0.
    background
        Its expectation and derivatives.
    template
        Fractions of the signal a bin, shape (n,); None for a background-only likelihood.
    """

    def __init__(
        self, counts: FloatArray, background: BackgroundModel, template: FloatArray | None = None
    ) -> None:
        self.counts = np.asarray(counts, dtype=np.float64)
        self.background = background
        self.template = template
        self._filled = np.flatnonzero(self.counts)
        self._empty = np.flatnonzero(self.counts == 0)
        self._filled_counts = self.counts[self._filled]

    def _total(self, background: FloatArray, signal_yield: float) -> FloatArray:
        if self.template is None or signal_yield == 0:
            return background
        total = background + signal_yield * self.template
        return total if signal_yield > 0 else np.maximum(total, _FLOOR * background)

    def _value(self, total: FloatArray) -> float:
        # Relative to the saturated model the value is of the order of the number of bins, so that
        # differences of 1e-9 survive a million events.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = total[self._filled] / self._filled_counts
            value = float(self._filled_counts @ (ratio - 1 - np.log(ratio)) + total[self._empty].sum())
        return value if np.isfinite(value) else np.inf

    def value(self, theta: FloatArray, signal_yield: float = 0.0) -> float:
        """−ln L / L_saturated ≥ 0; infinite where the expectation overflows or vanishes.

        Parameters
        ----------
        theta
            Background parameters.
        signal_yield
            Signal events inside the fit range.
        """
        return self._value(self._total(self.background.expected(theta), signal_yield))

    def derivatives(
        self, theta: FloatArray, signal_yield: float, *, with_yield: bool
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient and second derivatives with respect to (θ, yield).

        The gradient is exact. The second derivatives take ∂²b/∂θ∂θ′ = (∂b/∂θ)(∂b/∂θ′)/b, which holds for
        log-linear functions up to their change inside one bin.

        Parameters
        ----------
        theta
            Background parameters, shape (p,).
        signal_yield
            Signal events inside the fit range.
        with_yield
            Append the yield as last parameter.

        Returns
        -------
        gradient, hessian : FloatArray
            Shapes (p,) and (p, p), or (p + 1,) and (p + 1, p + 1).
        """
        background, jacobian = self.background.expected_and_jacobian(theta)
        background = np.maximum(background, _TINY)
        total = self._total(background, signal_yield)
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = self.counts / total
            curvature = ratio / total + (1 - ratio) / background
        slope = 1 - ratio
        template = self.template if self.template is not None else np.zeros_like(total)
        if signal_yield < 0:
            # In floored bins the total is a fixed fraction of the background.
            floored = total > background + signal_yield * template
            curvature[floored] = _FLOOR / background[floored]
            slope[floored] *= _FLOOR
            template = np.where(floored, 0.0, template)
        gradient = jacobian.T @ slope
        hessian = jacobian.T @ (curvature[:, None] * jacobian)
        if not with_yield:
            return gradient, hessian
        weighted = template * ratio / total
        size = gradient.size
        full = np.empty((size + 1, size + 1))
        full[:size, :size] = hessian
        full[size, :size] = full[:size, size] = jacobian.T @ weighted
        full[size, size] = float(weighted @ template)
        return np.append(gradient, float(template @ (1 - ratio))), full
