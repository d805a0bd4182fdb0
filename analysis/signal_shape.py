"""Signal shape: the double Crystal Ball, its fit to simulation and its interpolation in mass.

The core is Gaussian; below −α_low and above α_high (in units of σ) it goes over into power laws with the
exponents n_low and n_high (Gaiser, SLAC-R-255 (1982), for one side; both sides as in arXiv:2412.03747).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import iminuit  # type: ignore[import-untyped]
import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.special import ndtr

from data.errors import FitError, InputError
from data.types import FloatArray

SHAPE_NAMES = ("mean", "sigma", "alpha_low", "n_low", "alpha_high", "n_high")
_MIN_EXPONENT = 1.01


@dataclasses.dataclass(frozen=True)
class DoubleCrystalBall:
    """Parameters of the shape.

    Parameters
    ----------
    mean, sigma
        Of the Gaussian core, in GeV.
    alpha_low, alpha_high
        Where the tails begin, in units of sigma from the mean, positive.
    n_low, n_high
        Exponents of the tails, > 1.

    Raises
    ------
    InputError
        If a parameter is not finite or outside its domain.
    """

    mean: float
    sigma: float
    alpha_low: float
    n_low: float
    alpha_high: float
    n_high: float

    def __post_init__(self) -> None:
        for name in SHAPE_NAMES:
            value = getattr(self, name)
            least = 1.0 if name.startswith("n_") else 0.0
            if not math.isfinite(value) or value <= least:
                msg = f"double Crystal Ball: {name} = {value:g}; it must be a finite number above {least:g}"
                raise InputError(msg)

    def pdf(self, mass: FloatArray) -> FloatArray:
        """Density in 1/GeV at masses in GeV, normalised on the whole real line."""
        t = (np.asarray(mass, dtype=np.float64) - self.mean) / self.sigma
        log = -0.5 * np.clip(t, -self.alpha_low, self.alpha_high) ** 2
        low = -self.n_low * np.log1p(
            (np.maximum(-t, self.alpha_low) - self.alpha_low) * self.alpha_low / self.n_low
        )
        high = -self.n_high * np.log1p(
            (np.maximum(t, self.alpha_high) - self.alpha_high) * self.alpha_high / self.n_high
        )
        return np.asarray(np.exp(log + low + high) / (self.sigma * sum(self._areas())))

    def cdf(self, mass: FloatArray) -> FloatArray:
        """Integral of the density from −∞ to masses in GeV."""
        t = (np.asarray(mass, dtype=np.float64) - self.mean) / self.sigma
        low, core, high = self._areas()
        below = low * (
            1 + (np.maximum(-t, self.alpha_low) - self.alpha_low) * self.alpha_low / self.n_low
        ) ** (1 - self.n_low)
        inside = math.sqrt(2 * math.pi) * (
            ndtr(np.clip(t, -self.alpha_low, self.alpha_high)) - ndtr(-self.alpha_low)
        )
        above = high * (
            1
            - (1 + (np.maximum(t, self.alpha_high) - self.alpha_high) * self.alpha_high / self.n_high)
            ** (1 - self.n_high)
        )
        return np.asarray((below + inside + above) / (low + core + high))

    def _areas(self) -> tuple[float, float, float]:
        """Areas of the low tail, the core and the high tail, in units of sigma times the peak height."""
        core = math.sqrt(2 * math.pi) * (ndtr(self.alpha_high) - ndtr(-self.alpha_low))
        low = self.n_low / self.alpha_low / (self.n_low - 1) * math.exp(-0.5 * self.alpha_low**2)
        high = self.n_high / self.alpha_high / (self.n_high - 1) * math.exp(-0.5 * self.alpha_high**2)
        return low, float(core), high

    def template(self, edges: FloatArray) -> FloatArray:
        """Fractions of the signal in bins, their sum one inside the edges.

        Parameters
        ----------
        edges
            In GeV, shape (n + 1,).

        Returns
        -------
        FloatArray
            Shape (n,).

        Raises
        ------
        FitError
            If less than a tenth of the signal lies inside the edges.
        """
        fractions = np.diff(self.cdf(edges))
        inside = float(fractions.sum())
        if inside < 0.1:
            msg = (
                f"signal of mean {self.mean:g} GeV: only {inside:.1%} of it lies in the fit range "
                f"{edges[0]:g}–{edges[-1]:g} GeV; choose a mass inside the range"
            )
            raise FitError(msg)
        return np.asarray(np.maximum(fractions, 0.0) / inside)


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
        msg = f"signal of {mass:g} GeV: {effective:.0f} effective events within ±{half_range:.0%} of the mass; 50 are needed"
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


class SignalModel:
    """Shape of the signal at any mass, from fits at one or several simulated masses.

    With one shape the mean and σ scale with the mass and the tails stay. With several, mean/mass and
    σ/mass follow a spline through the points (cubic from four points on, of degree points − 1 below) and the
    tail parameters a straight line fitted to them (arXiv:2412.03747); outside the simulated masses they keep
    their values at the nearest end.

    Parameters
    ----------
    shapes
        Shape by simulated mass in GeV.

    Raises
    ------
    InputError
        If there is no shape or a mass is not positive.
    """

    def __init__(self, shapes: Mapping[float, DoubleCrystalBall]) -> None:
        if not shapes or min(shapes) <= 0:
            msg = "signal model: give the shape of at least one mass (GeV, positive)"
            raise InputError(msg)
        self.shapes = dict(sorted((float(mass), shape) for mass, shape in shapes.items()))
        self._masses = np.asarray(list(self.shapes))
        table = np.asarray([dataclasses.astuple(shape) for shape in self.shapes.values()])
        table[:, :2] /= self._masses[:, None]
        self._table = table
        if self._masses.size > 1:
            self._core = make_interp_spline(self._masses, table[:, :2], k=min(3, self._masses.size - 1))
            self._tails = np.polyfit(self._masses, table[:, 2:], 1)

    @classmethod
    def generic(
        cls,
        mean_over_mass: float = 1.0,
        sigma_over_mass: float = 0.05,
        alpha_low: float = 1.2,
        n_low: float = 5.0,
        alpha_high: float = 1.5,
        n_high: float = 10.0,
    ) -> "SignalModel":
        """Narrow resonance without simulation: a core of 5 % width with tails as of gluon radiation."""
        mass = 1000.0
        core = (mean_over_mass * mass, sigma_over_mass * mass)
        return cls({mass: DoubleCrystalBall(*core, alpha_low, n_low, alpha_high, n_high)})

    def at(self, mass: float) -> DoubleCrystalBall:
        """Shape at a mass in GeV."""
        if self._masses.size == 1:
            row = self._table[0]
        else:
            inside = float(np.clip(mass, self._masses[0], self._masses[-1]))
            row = np.concatenate([self._core(inside), self._tails[0] * inside + self._tails[1]])
        mean, sigma, *tails = (float(value) for value in row)
        return DoubleCrystalBall(mean * mass, sigma * mass, *tails)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Shapes by mass, as plain values for JSON."""
        return {f"{mass:g}": dataclasses.asdict(shape) for mass, shape in self.shapes.items()}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], source: str = "signal") -> "SignalModel":
        """Read what `to_dict` gave, or the one-shape form with ``mean_over_mass`` and ``sigma_over_mass``.

        Parameters
        ----------
        mapping
            ``{"2000": {"mean": …, "sigma": …, "alpha_low": …, …}, …}`` in GeV, or
            ``{"shape": "double_crystal_ball", "mean_over_mass": 1.0, "sigma_over_mass": 0.05, …}``.
        source
            Where the mapping comes from, for messages.

        Raises
        ------
        InputError
            If a key is missing, unknown or not a number.
        """
        try:
            if "shape" in mapping:
                if mapping["shape"] != "double_crystal_ball":
                    msg = f"{source}: shape '{mapping['shape']}' is unknown; there is 'double_crystal_ball'"
                    raise InputError(msg)
                return cls.generic(**{key: float(value) for key, value in mapping.items() if key != "shape"})
            shapes = {
                float(mass): DoubleCrystalBall(**{key: float(value) for key, value in row.items()})
                for mass, row in mapping.items()
            }
        except (TypeError, ValueError, AttributeError) as error:
            msg = f"{source}: not a signal shape ({error}); give {', '.join(SHAPE_NAMES)} for every mass"
            raise InputError(msg) from None
        return cls(shapes)
