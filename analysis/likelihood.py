"""Binned Poisson likelihood of a falling background plus a signal with nuisance parameters, with derivatives."""

import math

import numpy as np

from analysis.expectation_floor import FLOOR, TINY
from analysis.function_model import BackgroundModel
from analysis.signal_template import SignalTemplate
from data.types import BoolArray, FloatArray


def template_rows(signal: SignalTemplate) -> FloatArray:
    """Coefficients of the template as a polynomial in its shape nuisances a_k.

    Parameters
    ----------
    signal
        The signal.

    Returns
    -------
    FloatArray
        Shape (1 + 2 shapes, n): T₀, then A_k and B_k of each nuisance, T(a) = T₀ + Σ a_k (A_k + a_k B_k).
    """
    rows = [signal.nominal]
    for shift in signal.shifts:
        rows += [0.5 * (shift.up - shift.down), 0.5 * (shift.up + shift.down) - signal.nominal]
    return np.asarray(rows, dtype=np.float64)


class Likelihood:
    """−ln L of counts given background(θ) + signal, relative to the saturated model, constraints included.

    The signal is yield · (1 + norm_uncertainty)^η · T(a), see `SignalTemplate`; its nuisance parameters are the a
    of the shapes and, where there is an uncertainty of the normalisation, η.

    Parameters
    ----------
    counts
        Observed counts, or an Asimov expectation; shape (n,), ≥ 0.
    background
        Its expectation and derivatives.
    signal
        Fractions of the signal a bin and their uncertainties; None for a background-only likelihood.
    centres
        Auxiliary measurements of the nuisance parameters, about which they are constrained, shape (n_nuisances,):
        random in toys. All 0 if None.
    """

    def __init__(
        self,
        counts: FloatArray,
        background: BackgroundModel,
        signal: SignalTemplate | None = None,
        centres: FloatArray | None = None,
    ) -> None:
        self.counts = np.asarray(counts, dtype=np.float64)
        self.background = background
        self.signal = signal
        rows = np.zeros((1, self.counts.size)) if signal is None else template_rows(signal)
        self._nominal, self._linear, self._square = rows[0], rows[1::2], rows[2::2]
        self._kappa = 0.0 if signal is None else math.log1p(signal.norm_uncertainty)
        self._centres = np.zeros(self.n_nuisances) if centres is None else centres
        self._filled = np.flatnonzero(self.counts)
        self._empty = np.flatnonzero(self.counts == 0)
        self._filled_counts = self.counts[self._filled]

    @property
    def n_nuisances(self) -> int:
        """Number of nuisance parameters of the signal."""
        return 0 if self.signal is None else len(self.signal.nuisances)

    def signal_at(self, signal_yield: float, nuisances: FloatArray | None = None) -> FloatArray:
        """Expected signal.

        Parameters
        ----------
        signal_yield
            Nominal signal events inside the fit range.
        nuisances
            Nuisance parameters, shape (n_nuisances,); all 0 if None.

        Returns
        -------
        FloatArray
            Events a bin, shape (n,).
        """
        shapes = len(self._linear)
        if nuisances is None:
            return np.asarray(signal_yield * self._nominal)
        a = nuisances[:shapes]
        scale = signal_yield * math.exp(self._kappa * float(nuisances[shapes:].sum()))
        return np.asarray(scale * (self._nominal + a @ self._linear + a**2 @ self._square))

    def _total(self, background: FloatArray, signal: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Expectation with its floor, and where it stands on it."""
        total = background + signal
        floored = total < FLOOR * background
        return np.where(floored, FLOOR * background, total), np.asarray(floored, dtype=np.bool_)

    def _value(self, total: FloatArray) -> float:
        # Relative to the saturated model the value is of the order of the number of bins, so that
        # differences of 1e-9 survive a million events.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = total[self._filled] / self._filled_counts
            value = float(self._filled_counts @ (ratio - 1 - np.log(ratio)) + total[self._empty].sum())
        return value if np.isfinite(value) else np.inf

    def value(
        self, theta: FloatArray, signal_yield: float = 0.0, nuisances: FloatArray | None = None
    ) -> float:
        """−ln L / L_saturated.

        Parameters
        ----------
        theta
            Background parameters, shape (K + 1,).
        signal_yield
            Nominal signal events inside the fit range.
        nuisances
            Nuisance parameters of the signal, shape (n_nuisances,); all 0 if None.

        Returns
        -------
        float
            ≥ 0; infinite where the expectation overflows or vanishes.
        """
        background = self.background.expected(theta)
        if self.signal is None or signal_yield == 0:
            total = background
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                total = self._total(background, self.signal_at(signal_yield, nuisances))[0]
        pulls = np.zeros(0) if nuisances is None else nuisances - self._centres
        return self._value(total) + 0.5 * float(pulls @ pulls)

    def derivatives(
        self,
        theta: FloatArray,
        signal_yield: float,
        nuisances: FloatArray | None = None,
        *,
        with_yield: bool,
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient and second derivatives with respect to (θ, yield, nuisances).

        The gradient is exact. The second derivatives take ∂²b/∂θ∂θ′ = (∂b/∂θ)(∂b/∂θ′)/b, which holds for
        log-linear functions up to their change inside one bin.

        Parameters
        ----------
        theta
            Background parameters, shape (p,).
        signal_yield
            Nominal signal events inside the fit range.
        nuisances
            Nuisance parameters of the signal, shape (n_nuisances,); left out of the derivatives if None.
        with_yield
            Put the yield after the background parameters.

        Returns
        -------
        gradient, hessian : FloatArray
            Shapes (P,) and (P, P), P = p, + 1 with the yield, + n_nuisances with nuisances.
        """
        background, jacobian = self.background.expected_and_jacobian(theta)
        background = np.maximum(background, TINY)
        total, floored = self._total(background, self.signal_at(signal_yield, nuisances))
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = self.counts / total
            curvature = ratio / total + (1 - ratio) / background
        slope = 1 - ratio
        # In floored bins the total is a fixed fraction of the background.
        curvature[floored] = FLOOR / background[floored]
        gradient = jacobian.T @ np.where(floored, FLOOR * slope, slope)
        hessian = jacobian.T @ (curvature[:, None] * jacobian)
        if not with_yield and nuisances is None:
            return gradient, hessian
        above = ~floored
        signal = self._signal_derivatives(
            jacobian, above * slope, above * ratio / total, signal_yield, nuisances
        )
        wanted = np.arange(0 if with_yield else 1, signal[0].size)
        return _joined(
            (gradient, hessian), (signal[0][wanted], signal[1][wanted], signal[2][np.ix_(wanted, wanted)])
        )

    def _signal_derivatives(
        self,
        jacobian: FloatArray,
        slope: FloatArray,
        weight: FloatArray,
        signal_yield: float,
        nuisances: FloatArray | None,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Gradient, mixed and own second derivatives in the yield and the nuisances."""
        shapes = len(self._linear) if nuisances is not None else 0
        known = np.zeros(0) if nuisances is None else nuisances
        a, eta = known[:shapes], known[shapes:]
        factor = math.exp(self._kappa * float(eta.sum()))
        full = signal_yield * factor
        template = self.signal_at(1.0, nuisances) / factor
        rows = np.vstack([template[None], self._linear[:shapes] + 2 * a[:, None] * self._square[:shapes]])
        # Each parameter multiplies one of the rows: the yield and η the template, a nuisance its own slope.
        index = np.concatenate([np.arange(1 + shapes), np.zeros(eta.size, dtype=np.int64)])
        inner = np.concatenate([[factor], np.full(shapes, full), self._kappa * full * np.ones(eta.size)])
        sums = rows @ slope
        gradient = inner * sums[index]
        own = (rows @ (weight[:, None] * rows.T))[np.ix_(index, index)] * np.outer(inner, inner)
        mixed = inner[:, None] * (rows @ (weight[:, None] * jacobian))[index]
        shape = slice(1, 1 + shapes)
        own[0, shape] += factor * sums[1:]
        own[shape, 0] += factor * sums[1:]
        own[shape, shape] += np.diag(2 * full * (self._square[:shapes] @ slope))
        if eta.size:
            own[-1, 0] += self._kappa * factor * sums[0]
            own[0, -1] += self._kappa * factor * sums[0]
            own[-1, shape] += self._kappa * full * sums[1:]
            own[shape, -1] += self._kappa * full * sums[1:]
            own[-1, -1] += self._kappa**2 * full * sums[0]
        gradient[1:] += known - self._centres if known.size else known
        own[1:, 1:] += np.eye(known.size)
        return gradient, mixed, own


def _joined(
    background: tuple[FloatArray, FloatArray], signal: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """One gradient and one matrix from those of the background and of the signal."""
    gradient, mixed, own = signal
    hessian = np.block([[background[1], mixed.T], [mixed, own]])
    return np.concatenate([background[0], gradient]), hessian
