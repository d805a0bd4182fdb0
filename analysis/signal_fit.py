"""Fit of the double Crystal Ball to the spectrum of simulated signal."""

import dataclasses
import math
from collections.abc import Callable

import iminuit
import numpy as np

from analysis.crystal_ball import SHAPE_NAMES, DoubleCrystalBall
from data.errors import FitError
from data.types import FloatArray

_MIN_EXPONENT = 1.01


@dataclasses.dataclass(frozen=True)
class ShapeFit:
    """A double Crystal Ball fitted to simulated signal.

    Attributes
    ----------
    mass
        Resonance mass of the simulated sample in GeV.
    shape
        Best fit.
    errors
        Standard errors by parameter name, from the weighted likelihood (0 for a parameter at its bound).
    chi2, ndf
        Pearson χ² of the fit with the variances of the weights, in bins of at least 10 effective events.
    effective_events
        (Σw)²/Σw² inside the fit range.
    """

    mass: float
    shape: DoubleCrystalBall
    errors: dict[str, float]
    chi2: float
    ndf: int
    effective_events: float


def fit_signal_shape(
    edges: FloatArray, values: FloatArray, variances: FloatArray, mass: float, *, half_range: float = 0.4
) -> ShapeFit:
    """Fit a double Crystal Ball to the dijet mass histogram of simulated signal.

    The binned weighted likelihood −Σ w ln p, unbiased for any weights, with the sandwich covariance that is
    right for weighted events (Langenbruch, arXiv:1911.01303). Starts of CMS (arXiv:2412.03747): mean = mass,
    within ±20 %; σ = 5 % of the mass.

    Parameters
    ----------
    edges
        In GeV, shape (n + 1,).
    values, variances
        Σw and Σw² a bin, shape (n,).
    mass
        Resonance mass in GeV.
    half_range
        The fit uses mass·(1 ± half_range).

    Returns
    -------
    ShapeFit
        Best fit with its errors.

    Raises
    ------
    FitError
        If fewer than 50 effective events are in the range or the fit does not converge.
    """
    fine, content = _prepare(edges, values, variances, mass, half_range)
    effective = float(content[:, 0].sum() ** 2 / max(content[:, 1].sum(), 1e-300))
    if not effective >= 50:
        msg = (
            f"signal of {mass:g} GeV: {effective:.0f} effective events within ±{half_range:.0%} of the mass, 50 are needed; "
            "give a larger sample"
        )
        raise FitError(msg)

    scale = effective / float(content[:, 0].sum())

    def cost(*parameters: float) -> float:
        return float(-scale * np.sum(content[:, 0] * _log_fractions(fine, parameters)))

    minuit = _migrad(cost, (mass, 0.05 * mass, 1.3, 5.0, 1.5, 8.0), mass)
    best = tuple(float(value) for value in minuit.values)
    errors = _sandwich_errors(fine, content, best, _free(minuit))
    chi2, ndf = _chi2(
        content, np.exp(_log_fractions(fine, best)), sum(error > 0 for error in errors.values())
    )
    return ShapeFit(mass, DoubleCrystalBall(*best), errors, chi2, ndf, effective)


def _log_fractions(edges: FloatArray, parameters: tuple[float, ...]) -> FloatArray:
    """Logarithm of the fraction in each bin of what lies inside the edges."""
    fractions = np.diff(DoubleCrystalBall(*parameters).cdf(edges))
    return np.asarray(np.log(np.maximum(fractions, 1e-300) / max(float(fractions.sum()), 1e-300)))


def _sandwich_errors(
    edges: FloatArray, content: FloatArray, best: tuple[float, ...], free: list[int]
) -> dict[str, float]:
    """Standard errors H⁻¹ H₂ H⁻¹, H from Σw and H₂ from Σw², with numerical derivatives of ln p."""
    slopes = np.empty((len(content), len(free)))
    for column, index in enumerate(free):
        step = 1e-4 * best[index]
        up, down = list(best), list(best)
        up[index] += step
        down[index] -= step
        change = _log_fractions(edges, tuple(up)) - _log_fractions(edges, tuple(down))
        slopes[:, column] = change * best[index] / (2 * step)  # relative changes: well scaled
    information = slopes.T @ (content[:, :1] * slopes)
    spread = slopes.T @ (content[:, 1:] * slopes)
    inverse = np.linalg.pinv(information, rcond=1e-12, hermitian=True)
    covariance = inverse @ spread @ inverse
    errors = dict.fromkeys(SHAPE_NAMES, 0.0)
    for column, index in enumerate(free):
        errors[SHAPE_NAMES[index]] = math.sqrt(max(float(covariance[column, column]), 0.0)) * best[index]
    return errors


def _migrad(cost: Callable[..., float], start: tuple[float, ...], mass: float) -> iminuit.Minuit:
    """Minimum of the cost within the bounds of the parameters."""
    minuit = iminuit.Minuit(cost, *start, name=SHAPE_NAMES)
    minuit.limits = [
        (0.8 * mass, 1.2 * mass), (0.005 * mass, 0.25 * mass),
        (0.1, 5.0), (_MIN_EXPONENT, 150.0), (0.1, 5.0), (_MIN_EXPONENT, 150.0),
    ]  # fmt: skip
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    for _ in range(3):
        minuit.migrad(ncall=20000)
        if minuit.valid:
            break
    if not minuit.valid:
        msg = f"signal of {mass:g} GeV: the fit of the double Crystal Ball did not converge; check the simulated spectrum"
        raise FitError(msg)
    return minuit


def _prepare(
    edges: FloatArray, values: FloatArray, variances: FloatArray, mass: float, half_range: float
) -> tuple[FloatArray, FloatArray]:
    """Histogram around the mass in bins of about 0.7 % of it, as edges and (Σw, Σw²)."""
    width = float(edges[1] - edges[0])
    group = max(1, round(0.007 * mass / width))
    first = int(np.searchsorted(edges, mass * (1 - half_range)))
    last = int(np.searchsorted(edges, mass * (1 + half_range)))
    n_bins = max(0, min(last, edges.size - 1) - first) // group
    if n_bins < 10:
        msg = f"signal of {mass:g} GeV: the histogram covers {n_bins} bins around the mass; extend it to ±{half_range:.0%}"
        raise FitError(msg)
    inside = slice(first, first + n_bins * group)
    fine = np.asarray(edges[first : first + n_bins * group + 1 : group], dtype=np.float64)
    sums = [
        np.asarray(a, dtype=np.float64)[inside].reshape(n_bins, group).sum(axis=1)
        for a in (values, variances)
    ]
    if not np.isfinite(sums).all():
        msg = (
            f"signal of {mass:g} GeV: the histogram holds a value that is not finite; check the event weights"
        )
        raise FitError(msg)
    return fine, np.stack(sums, axis=1)


def _free(minuit: iminuit.Minuit) -> list[int]:
    """Parameters that did not run to a bound; a Gaussian tail has no finite exponent."""
    free = []
    for index, (low, high) in enumerate(minuit.limits):
        if min(minuit.values[index] - low, high - minuit.values[index]) > 1e-3 * (high - low):
            free.append(index)
    return free


def _chi2(content: FloatArray, fractions: FloatArray, n_fitted: int) -> tuple[float, int]:
    effective = np.divide(
        content[:, 0] ** 2, content[:, 1], out=np.zeros(len(content)), where=content[:, 1] > 0
    )
    use = effective >= 10
    expected = fractions * content[:, 0].sum()
    chi2 = float(np.sum((content[use, 0] - expected[use]) ** 2 / content[use, 1]))
    return chi2, max(int(use.sum()) - n_fitted - 1, 0)
