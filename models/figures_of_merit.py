"""Figures of merit of a cut: what a search gains from signal and background that pass it."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from data.errors import InputError
from data.types import FloatArray

Merit = Literal["s/sqrt(b)", "s/sqrt(s+b+db2)", "punzi", "asimov"]


def signal_over_root_background(signal: FloatArray, background: FloatArray) -> FloatArray:
    """S/√B, the significance of many events without systematic uncertainty.

    Parameters
    ----------
    signal, background
        Expected events; shapes that broadcast.

    Returns
    -------
    numpy.ndarray
        Infinite where signal but no background is expected, 0 where there is no signal.

    Raises
    ------
    InputError
        If a number of events is negative or not finite.
    """
    s, b = _counts(signal, background)
    return _ratio(s, np.sqrt(b))


def signal_over_root_total(
    signal: FloatArray, background: FloatArray, uncertainty: FloatArray | float = 0.0
) -> FloatArray:
    """S/√(S + B + (δB)²), the significance of a measured signal.

    Parameters
    ----------
    signal, background
        Expected events; shapes that broadcast.
    uncertainty
        Standard deviation of the background, events; a shape that broadcasts.

    Returns
    -------
    numpy.ndarray
        0 where there is no signal.

    Raises
    ------
    InputError
        If a number of events is negative or not finite.
    """
    s, b = _counts(signal, background)
    deviation = _not_negative("uncertainty", uncertainty)
    return _ratio(s, np.sqrt(s + b + deviation**2))


def punzi(efficiency: FloatArray, background: FloatArray, sigmas: float = 5.0) -> FloatArray:
    """ε/(a/2 + √B), Punzi's sensitivity to a signal of unknown cross section.

    Parameters
    ----------
    efficiency
        Of the signal, 0 … 1 (or any quantity in proportion), any shape.
    background
        Expected events, a shape that broadcasts.
    sigmas
        a, number of standard deviations of the discovery wanted.

    Returns
    -------
    numpy.ndarray
        Finite also without background.

    Raises
    ------
    InputError
        If a number is negative or not finite, or ``sigmas`` is not positive.

    References
    ----------
    G. Punzi, "Sensitivity of searches for new signals and its optimization", PHYSTAT 2003, physics/0308063, eq. 7.
    """
    if not sigmas > 0:
        msg = f"sigmas must be positive, found {sigmas}"
        raise InputError(msg)
    s, b = _counts(efficiency, background)
    return np.asarray(s / (sigmas / 2.0 + np.sqrt(b)), dtype=np.float64)


def asimov(signal: FloatArray, background: FloatArray, uncertainty: FloatArray | float = 0.0) -> FloatArray:
    """Median significance of a counting experiment, from the likelihood ratio of the Asimov data set.

    √(2((s + b) ln(1 + s/b) − s)) where the background is known; with a standard deviation δb it is measured in a
    control region of b²/δb² events, and profiled.

    Parameters
    ----------
    signal, background
        Expected events; shapes that broadcast.
    uncertainty
        Standard deviation of the background, events; a shape that broadcasts.

    Returns
    -------
    numpy.ndarray
        Infinite where signal but no background is expected, 0 where there is no signal.

    Raises
    ------
    InputError
        If a number of events is negative or not finite.

    References
    ----------
    G. Cowan, K. Cranmer, E. Gross, O. Vitells, Eur. Phys. J. C 71 (2011) 1554, arXiv:1007.1727, eq. 97. With
    uncertainty: T.-P. Li, Y.-Q. Ma, Astrophys. J. 272 (1983) 317, eq. 17, with the Asimov counts in it.
    """
    s, b, deviation = np.broadcast_arrays(
        *_counts(signal, background), _not_negative("uncertainty", uncertainty)
    )
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = s / b
        # The leading terms of (1 + x) ln(1 + x) - x cancel: below 10⁻³ its series is exact to 10⁻¹³.
        series = share**2 * (0.5 - share / 6.0 + share**2 / 12.0 - share**3 / 20.0)
        known = 2.0 * b * np.where(share < 1e-3, series, (1.0 + share) * np.log1p(share) - share)
        # In logarithms of one plus something small: differences of large numbers would lose everything else.
        variance = deviation**2
        on = (s + b) * np.log1p(s * b / (b**2 + (s + b) * variance))
        off = b * (b / variance) * np.log1p(variance * s / (b * (b + variance)))
        profiled = 2.0 * (on - off)
        # Below 10⁻⁵ √b an uncertainty changes Z² by less than float64 resolves in the difference above.
        squared = np.where(deviation > 1e-5 * np.sqrt(b), profiled, known)
    squared = np.where(s == 0, 0.0, np.where(b == 0, np.inf, squared))
    return np.sqrt(np.maximum(squared, 0.0))


def figure_of_merit(
    kind: Merit, sigmas: float = 5.0
) -> Callable[[FloatArray, FloatArray, FloatArray], FloatArray]:
    """The figure of merit of a name, as a function of signal, background and the background's uncertainty.

    Parameters
    ----------
    kind
        ``"s/sqrt(b)"``, ``"s/sqrt(s+b+db2)"``, ``"punzi"`` or ``"asimov"``.
    sigmas
        For ``punzi``.

    Returns
    -------
    callable
        Takes (signal, background, uncertainty), of which it uses what it needs.
    """
    functions: dict[Merit, Callable[[FloatArray, FloatArray, FloatArray], FloatArray]] = {
        "s/sqrt(b)": lambda s, b, _: signal_over_root_background(s, b),
        "s/sqrt(s+b+db2)": signal_over_root_total,
        "punzi": lambda s, b, _: punzi(s, b, sigmas),
        "asimov": asimov,
    }
    return functions[kind]


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    empty = np.where(numerator > 0, np.inf, 0.0)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def _counts(signal: FloatArray, background: FloatArray) -> tuple[FloatArray, FloatArray]:
    return _not_negative("signal", signal), _not_negative("background", background)


def _not_negative(name: str, values: FloatArray | float) -> FloatArray:
    numbers = np.asarray(values, dtype=np.float64)
    if np.any(~np.isfinite(numbers)) or np.any(numbers < 0):
        msg = f"{name}: expected numbers of events that are finite and not negative; check weights and cross sections"
        raise InputError(msg)
    return numbers
