"""Many fits at once: pseudo-experiments of one spectrum, vectorised over the toys."""

import dataclasses

import numpy as np
from scipy.special import xlogy

from analysis.dijet import BackgroundModel
from data.types import BoolArray, FloatArray, IntArray

_TOLERANCE = 1e-8
_MAX_ITERATIONS = 60
_MAX_HALVINGS = 24
_MIN_CURVATURE = 1e-5
_TINY = 1e-200


@dataclasses.dataclass(eq=False)
class Minima:
    """Minima of many likelihoods.

    Attributes
    ----------
    theta
        Background parameters, shape (toys, p).
    signal_yield
        Signal events, shape (toys,).
    value
        −ln L relative to the saturated model, shape (toys,).
    converged
        Shape (toys,); the other entries of a toy that did not converge mean nothing.
    """

    theta: FloatArray
    signal_yield: FloatArray
    value: FloatArray
    converged: BoolArray


class ToyFits:
    """Profile likelihoods of many sets of counts, with the test statistic q̃_μ.

    The same likelihood and the same Newton's method as for data (`analysis.fit`), but all toys step together;
    a toy leaves when it has converged. Negative yields are never fitted: q̃_μ needs only their sign, which
    the slope at zero yield tells.

    Parameters
    ----------
    counts
        Shape (toys, n).
    background
        Background model.
    template
        Fractions of the signal a bin, sum one, shape (n,).
    theta
        Start of the background parameters, shape (p,).
    """

    def __init__(
        self, counts: FloatArray, background: BackgroundModel, template: FloatArray, theta: FloatArray
    ) -> None:
        self._counts = np.asarray(counts, dtype=np.float64)
        self._saturated = (xlogy(self._counts, self._counts) - self._counts).sum(axis=1)
        self._background = background
        self._template = template
        start = np.broadcast_to(theta, (len(counts), theta.size))
        self.null = self._minimise(start, np.zeros(len(counts)), free_yield=False)
        self._last = self.null.theta
        everything = np.arange(len(counts))
        slope = self._derivatives(everything, self.null.theta, self.null.signal_yield)[0][:, -1]
        self._positive = np.flatnonzero(self.null.converged & (slope < 0))
        self.reference = self.null.value.copy()
        self.best_yield = np.zeros(len(counts))
        self.converged = self.null.converged.copy()
        if self._positive.size:
            best = self._minimise(
                self.null.theta[self._positive],
                np.zeros(self._positive.size),
                free_yield=True,
                toys=self._positive,
            )
            self.reference[self._positive] = best.value
            self.best_yield[self._positive] = best.signal_yield
            self.converged[self._positive] = best.converged

    def q_tilde(self, signal_yield: float) -> FloatArray:
        """Test statistic q̃_μ of every toy, shape (toys,); toys that fail are marked in `converged`.

        Parameters
        ----------
        signal_yield
            Tested yield > 0 in events.
        """
        tested = np.full(len(self._counts), signal_yield)
        fixed = self._minimise(self._last, tested, free_yield=False)
        self._last = np.where(fixed.converged[:, None], fixed.theta, self._last)
        above = self.best_yield > signal_yield
        self.converged &= fixed.converged | above
        return np.where(above, 0.0, np.maximum(2 * (fixed.value - self.reference), 0.0))

    def _value(self, toys: IntArray, theta: FloatArray, signal_yield: FloatArray) -> FloatArray:
        total = self._background.expected(theta) + signal_yield[:, None] * self._template
        counts = self._counts[toys]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = total.sum(axis=1) - xlogy(counts, total).sum(axis=1) + self._saturated[toys]
        positive = np.all(total >= 0, axis=1) & np.isfinite(value)
        return np.where(positive, value, np.inf)

    def _derivatives(
        self, toys: IntArray, theta: FloatArray, signal_yield: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients (toys, p + 1) and second derivatives (toys, p + 1, p + 1), the yield last."""
        background, jacobian = self._background.expected_and_jacobian(theta)
        background = np.maximum(background, _TINY)
        total = background + signal_yield[:, None] * self._template
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = self._counts[toys] / total
            curvature = ratio / total + (1 - ratio) / background
        size = theta.shape[1]
        gradient = np.empty((len(toys), size + 1))
        hessian = np.empty((len(toys), size + 1, size + 1))
        transposed = jacobian.transpose(0, 2, 1)
        gradient[:, :size] = (transposed @ (1 - ratio)[:, :, None])[:, :, 0]
        gradient[:, size] = (1 - ratio) @ self._template
        hessian[:, :size, :size] = transposed @ (curvature[:, :, None] * jacobian)
        weighted = self._template * ratio / total
        hessian[:, :size, size] = hessian[:, size, :size] = (transposed @ weighted[:, :, None])[:, :, 0]
        hessian[:, size, size] = weighted @ self._template
        return gradient, hessian

    def _minimise(
        self, theta: FloatArray, signal_yield: FloatArray, *, free_yield: bool, toys: IntArray | None = None
    ) -> Minima:
        chosen = np.arange(len(self._counts)) if toys is None else toys
        size = theta.shape[1]
        z = np.column_stack([theta, signal_yield]).astype(np.float64)
        value = self._value(chosen, z[:, :size], z[:, size])
        converged = np.zeros(len(chosen), dtype=np.bool_)
        free = size + int(free_yield)
        if free == 0:
            return Minima(z[:, :size], z[:, size], value, np.isfinite(value))
        active = np.flatnonzero(np.isfinite(value))
        for _ in range(_MAX_ITERATIONS):
            if not active.size:
                break
            gradient, hessian = self._derivatives(chosen[active], z[active, :size], z[active, size])
            step, distance, damped = _newton_steps(gradient[:, :free], hessian[:, :free, :free])
            done = ~damped & (distance < _TOLERANCE)
            # Flat in a background parameter: −ln L falls for ever, on the way to infinity.
            flat = np.diagonal(hessian, axis1=1, axis2=2)[:, :size].min(axis=1, initial=1.0) < _MIN_CURVATURE
            converged[active[done & ~flat]] = True
            going = ~done & np.isfinite(distance)
            active, step, distance = active[going], step[going], distance[going]
            moved = self._line_search(chosen[active], z, value, active, step, distance)
            active = active[moved]
        return Minima(z[:, :size], z[:, size], value, converged)

    def _line_search(
        self,
        toys: IntArray,
        z: FloatArray,
        value: FloatArray,
        active: IntArray,
        step: FloatArray,
        gain: FloatArray,
    ) -> BoolArray:
        """Move the active rows of z and value in place; which of them found a lower value."""
        size, free = z.shape[1] - 1, step.shape[1]
        moved = np.zeros(len(active), dtype=np.bool_)
        length = 1.0
        for _ in range(_MAX_HALVINGS):
            left = np.flatnonzero(~moved)
            if not left.size:
                break
            rows = active[left]
            candidate = z[rows].copy()
            candidate[:, :free] += length * step[left]
            found = self._value(toys[left], candidate[:, :size], candidate[:, size])
            wanted = value[rows] - 2e-4 * length * gain[left] + 1e-11 * (1 + np.abs(value[rows]))
            good = np.flatnonzero(found <= wanted)
            z[rows[good]] = candidate[good]
            value[rows[good]] = found[good]
            moved[left[good]] = True
            length *= 0.5
        return moved


def _newton_steps(gradient: FloatArray, hessian: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Newton steps, estimated distances to the minima (infinite where there is no step), and where damped."""
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    usable: BoolArray = np.asarray(np.isfinite(hessian).all(axis=(1, 2)), dtype=np.bool_)
    usable &= np.all(diagonal > 0, axis=1)
    scale = 1 / np.sqrt(np.where(usable[:, None], diagonal, 1.0))
    unit = np.eye(diagonal.shape[1])
    scaled = np.where(usable[:, None, None], hessian * scale[:, :, None] * scale[:, None, :], unit)
    lowest = np.linalg.eigvalsh(scaled)[:, 0]
    damped = lowest <= 1e-10
    damping = np.where(damped, 1e-3 + 2 * np.abs(lowest), 0.0)
    scaled_gradient = np.where(usable[:, None], gradient * scale, 0.0)
    solved = np.linalg.solve(scaled + damping[:, None, None] * unit, scaled_gradient[:, :, None])[:, :, 0]
    distance = np.where(usable, 0.5 * np.sum(scaled_gradient * solved, axis=1), np.inf)
    return -scale * solved, distance, damped
