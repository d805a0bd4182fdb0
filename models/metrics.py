"""How well a score tells signal from background: ROC, significance improvement, and how far both can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import BoolArray, FloatArray
from models.intervals import LEVEL

MIN_BACKGROUND = 25
"""Background events that must pass a cut before its significance improvement counts."""


@dataclass(frozen=True)
class Roc:
    """Efficiencies of all cuts ``score > threshold``, from none kept to all kept.

    Parameters
    ----------
    thresholds
        Descending, each a score that occurs, the last −∞; shape (cuts,).
    signal_efficiency, background_efficiency
        Share of the weight that passes.
    signal_count, background_count
        Events that pass; of weighted events their effective number (Σw)²/Σw².
    signal_error, background_error
        Standard deviation of the efficiencies: binomial, with the sum of squared weights.
    signal_total, background_total
        All events, effective number.
    """

    thresholds: FloatArray
    signal_efficiency: FloatArray
    background_efficiency: FloatArray
    signal_count: FloatArray
    background_count: FloatArray
    signal_error: FloatArray
    background_error: FloatArray
    signal_total: float
    background_total: float

    def at(self, background_efficiency: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Signal efficiency and its error at background efficiencies.

        Linear between two cuts, as if one of them were drawn by lot for each event; of cuts that keep the same
        background the loosest counts.

        Parameters
        ----------
        background_efficiency
            0 … 1, any shape.

        Returns
        -------
        efficiency, error
            float64, the same shape.

        Raises
        ------
        InputError
            If a background efficiency is not within 0 … 1.
        """
        wanted = np.asarray(background_efficiency, dtype=np.float64)
        if np.any(~(wanted >= 0) | (wanted > 1)):
            msg = f"background_efficiency must be within 0 … 1, found {wanted}"
            raise InputError(msg)
        last = np.append(np.diff(self.background_efficiency) > 0, True)
        x = self.background_efficiency[last]
        return np.interp(wanted, x, self.signal_efficiency[last]), np.interp(
            wanted, x, self.signal_error[last]
        )


@dataclass(frozen=True)
class SignificanceImprovement:
    """ε_S/√ε_B of all cuts that keep background, loosest last.

    Parameters
    ----------
    signal_efficiency, background_efficiency
        Of each cut, shape (cuts,).
    background_count
        Background events that pass, effective number.
    value, error
        The significance improvement and its binomial standard deviation.
    """

    signal_efficiency: FloatArray
    background_efficiency: FloatArray
    background_count: FloatArray
    value: FloatArray
    error: FloatArray


@dataclass(frozen=True)
class Peak:
    """The best cut of a curve.

    Parameters
    ----------
    value, error
        What is maximal there, and its binomial standard deviation (the choice of the cut not included).
    threshold
        Select ``score > threshold``.
    signal_efficiency, background_efficiency
        Of the cut.
    background_count
        Background events that pass, effective number.
    """

    value: float
    error: float
    threshold: float
    signal_efficiency: float
    background_efficiency: float
    background_count: float


@dataclass(frozen=True)
class Band:
    """Significance improvement of several trainings at common background efficiencies.

    Parameters
    ----------
    background_efficiency
        Ascending, shape (points,).
    median, low, high
        Of ε_S/√ε_B over the trainings; ``low`` to ``high`` holds the central 68 %.
    """

    background_efficiency: FloatArray
    median: FloatArray
    low: FloatArray
    high: FloatArray


def roc(score: FloatArray, label: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> Roc:
    """Signal and background efficiency of every cut on a score.

    Parameters
    ----------
    score
        Larger is more anomalous, finite; shape (events,).
    label
        True or 1 for signal.
    weight
        Event weights, not negative; 1 without.

    Returns
    -------
    Roc
        One cut more than there are distinct scores.

    Raises
    ------
    InputError
        If lengths differ, a value is not finite, a weight negative, or signal or background is missing.
    """
    values, signal, weights = _checked_events(score, label, weight)
    order = np.argsort(-values, kind="stable")
    values = values[order]
    # Equal scores pass together: a cut ends where the next score differs.
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    thresholds = np.append(values[np.append(0, ends[:-1] + 1)], -np.inf)
    curves = [_passing(np.where(mask, weights, 0.0)[order], ends) for mask in (signal, ~signal)]
    (eff_s, n_s, err_s), (eff_b, n_b, err_b) = curves
    return Roc(thresholds, eff_s, eff_b, n_s, n_b, err_s, err_b, float(n_s[-1]), float(n_b[-1]))


def _checked_events(
    score: FloatArray, label: npt.ArrayLike, weight: npt.ArrayLike | None
) -> tuple[FloatArray, BoolArray, FloatArray]:
    """Scores, signal mask and weights of a labelled sample.

    Raises
    ------
    InputError
        As `roc`.
    """
    values, labels = np.asarray(score, dtype=np.float64), np.asarray(label)
    weights = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=np.float64)
    if values.ndim != 1 or labels.shape != values.shape or weights.shape != values.shape:
        msg = f"score {values.shape}, label {labels.shape} and weight {weights.shape}: expected one of each an event"
        raise InputError(msg)
    if not np.all(np.isfinite(values)):
        msg = f"score: {np.count_nonzero(~np.isfinite(values))} of {len(values)} values are NaN or infinite; leave these out"
        raise InputError(msg)
    if not np.all(known := np.isin(labels, (0, 1))):
        msg = f"label: expected 1 for signal and 0 for background only, found {labels[~known][0]}"
        raise InputError(msg)
    if not np.all(fine := np.isfinite(weights) & (weights >= 0)):
        msg = (
            f"weight: {np.count_nonzero(~fine)} of {len(values)} are negative, NaN or infinite; efficiencies need weights "
            "that are not: leave these events out"
        )
        raise InputError(msg)
    signal = labels.astype(bool)
    for name, mask in (("signal", signal), ("background", ~signal)):
        if not np.sum(weights[mask]) > 0:
            msg = f"no {name} event with a weight above 0 among {len(values)} events; check label and weight"
            raise InputError(msg)
    return values, signal, weights


def _passing(weight: FloatArray, ends: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Efficiency, effective number and error after each end of equal scores, nothing passing first."""
    passed, squares = (np.append(0.0, np.cumsum(weight**power)[ends]) for power in (1, 2))
    # Adding zeros in between must not leave the last efficiency beside 1.
    efficiency = np.minimum(passed / passed[-1], 1.0)
    count = np.divide(passed**2, squares, out=np.zeros_like(passed), where=squares > 0)
    variance = (1.0 - efficiency) ** 2 * squares + efficiency**2 * np.maximum(squares[-1] - squares, 0.0)
    return efficiency, count, np.sqrt(variance) / passed[-1]


def area_under_curve(curve: Roc) -> float:
    """Area under a ROC curve: the probability that a signal event has the larger score, ties counting half.

    Parameters
    ----------
    curve
        The ROC.

    Returns
    -------
    float
        0 … 1; 0.5 for a score that tells nothing.
    """
    return float(np.trapezoid(curve.signal_efficiency, curve.background_efficiency))


def significance_improvement(curve: Roc) -> SignificanceImprovement:
    """ε_S/√ε_B, the factor by which a cut changes S/√B, with binomial errors.

    Cuts that no background event passes are left out: nothing is known of their ε_B.

    Parameters
    ----------
    curve
        The ROC.

    Returns
    -------
    SignificanceImprovement
        Shape (cuts,), without the cuts left out.
    """
    kept = curve.background_count > 0
    eff_s, eff_b = curve.signal_efficiency[kept], curve.background_efficiency[kept]
    value = eff_s / np.sqrt(eff_b)
    error = np.hypot(
        curve.signal_error[kept], eff_s * curve.background_error[kept] / (2.0 * eff_b)
    ) / np.sqrt(eff_b)
    return SignificanceImprovement(eff_s, eff_b, curve.background_count[kept], value, error)


def max_sic(curve: Roc, min_background: float = MIN_BACKGROUND) -> Peak:
    """The largest significance improvement of the cuts that enough background events pass.

    Parameters
    ----------
    curve
        The ROC.
    min_background
        Background events that must pass: without a minimum the largest value is a fluctuation of the last few.

    Returns
    -------
    Peak
        The cut and its significance improvement.

    Raises
    ------
    InputError
        If there are fewer background events at all.
    """
    if curve.background_total < min_background or not min_background > 0:
        msg = (
            f"min_background={min_background:g}: the sample holds {curve.background_total:g} background events "
            "(effective number); it must be positive and no more than these"
        )
        raise InputError(msg)
    sic = significance_improvement(curve)
    # Effective numbers come from quotients of float sums.
    allowed = np.flatnonzero(sic.background_count >= min_background * (1.0 - 1e-12))
    best = int(allowed[np.argmax(sic.value[allowed])])
    thresholds = curve.thresholds[curve.background_count > 0]
    return Peak(
        float(sic.value[best]),
        float(sic.error[best]),
        float(thresholds[best]),
        float(sic.signal_efficiency[best]),
        float(sic.background_efficiency[best]),
        float(sic.background_count[best]),
    )


def sic_at(curve: Roc, background_efficiency: float) -> tuple[float, float]:
    """Significance improvement at a background efficiency, and its binomial standard deviation.

    Parameters
    ----------
    curve
        The ROC.
    background_efficiency
        Above 0, at most 1.

    Returns
    -------
    value, error
        ε_S/√ε_B and its standard deviation.

    Raises
    ------
    InputError
        If it is outside these limits.
    """
    if not 0 < background_efficiency <= 1:
        msg = f"background_efficiency must be above 0 and at most 1, found {background_efficiency}"
        raise InputError(msg)
    eff_s, error_s = (float(value) for value in curve.at(background_efficiency))
    error_b = np.sqrt(background_efficiency * (1.0 - background_efficiency) / curve.background_total)
    error = np.hypot(error_s, eff_s * error_b / (2.0 * background_efficiency))
    root = np.sqrt(background_efficiency)
    return float(eff_s / root), float(error / root)


def maximum_significance(
    curve: Roc, signal: float, background: float, min_background: float = MIN_BACKGROUND
) -> Peak:
    """The largest significance that a cut achieves: S/√B times the largest significance improvement.

    Parameters
    ----------
    curve
        The ROC.
    signal, background
        Events expected before the cut.
    min_background
        As in `max_sic`.

    Returns
    -------
    Peak
        ``value`` and ``error`` are those of S/√B.

    Raises
    ------
    InputError
        If a number of events is out of range.
    """
    if not (signal >= 0 and background > 0):
        msg = f"signal must not be negative and background positive, found {signal} and {background} events"
        raise InputError(msg)
    peak, before = max_sic(curve, min_background), signal / np.sqrt(background)
    return replace(peak, value=float(before * peak.value), error=float(before * peak.error))


def band(
    curves: Sequence[Roc], background_efficiency: FloatArray | None = None, level: float = LEVEL
) -> Band:
    """Median and spread of the significance improvement over retrainings.

    Parameters
    ----------
    curves
        One a training, at least one.
    background_efficiency
        Where to compare, shape (points,); by default 200, evenly spaced in the logarithm, from the one that 25
        background events of the smallest sample pass to 1.
    level
        Share of the trainings between ``low`` and ``high``.

    Returns
    -------
    Band
        At these background efficiencies, shape (points,).

    Raises
    ------
    InputError
        If there is no curve, or a background efficiency is not within 0 … 1, 0 excluded.
    """
    if not curves:
        msg = "curves: expected at least one; give one a training"
        raise InputError(msg)
    if background_efficiency is None:
        fewest = min(curve.background_total for curve in curves)
        background_efficiency = np.geomspace(min(MIN_BACKGROUND / fewest, 0.5), 1.0, 200)
    grid = np.asarray(background_efficiency, dtype=np.float64)
    if np.any(~(grid > 0)):
        msg = f"background_efficiency must be above 0 and at most 1, found {grid.min():g}"
        raise InputError(msg)
    values = np.stack([curve.at(grid)[0] for curve in curves]) / np.sqrt(grid)
    low, median, high = np.quantile(values, [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0], axis=0)
    return Band(grid, median, low, high)
