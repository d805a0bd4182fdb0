"""Efficiency of a method against the cross section of the signal in its training data: smooth, monotone, with errors.

A method learns the better the more signal there is, so its efficiency does not fall: the points are made monotone by
isotonic regression (Barlow, Bartholomew, Bremner, Brunk, 1972), weighted by their errors, and joined by monotone cubics
(Fritsch, Butland, SIAM J. Sci. Comput. 5 (1984) 300). σ·ε(σ) then rises, and there is one crossing at most: a
fluctuation of one training cannot make an isolated limit. No form of the rise is assumed; uncertainties come from
replicas of the points, drawn within their errors and treated alike.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq, isotonic_regression

from analysis.exclusion import Crossing
from data.errors import InputError
from data.types import FloatArray

CENTRAL = (0.158655, 0.841345)
"""Quantiles of the central 68 %."""
_REPLICAS = 1000
_STEPS = 4001
_NONE = 1e-15
"""An efficiency below is none."""


@dataclass(frozen=True, eq=False)
class EfficiencyCurve:
    """A monotone curve through efficiencies with errors.

    Attributes
    ----------
    cross_sections
        Injected, fb, shape (n,).
    values
        Monotone efficiencies there, shape (n,).
    replicas
        The same of replicas drawn within the errors, shape (replicas, n).
    chi2
        Of the points against the curve: large compared with n where the efficiency is not monotone.
    """

    cross_sections: FloatArray
    values: FloatArray
    replicas: FloatArray
    chi2: float

    @classmethod
    def fit(
        cls,
        cross_sections: FloatArray,
        efficiencies: FloatArray,
        errors: FloatArray,
        *,
        replicas: int = _REPLICAS,
        seed: int = 0,
    ) -> "EfficiencyCurve":
        """Make efficiencies monotone.

        Parameters
        ----------
        cross_sections
            Injected, fb, increasing, shape (n,), n ≥ 2.
        efficiencies, errors
            Found with them, and their standard errors, shape (n,).
        replicas
            Draws for the uncertainty.
        seed
            Of the draws.

        Returns
        -------
        EfficiencyCurve
            Through the points, with its replicas.

        Raises
        ------
        InputError
            If the shapes differ, the cross sections do not increase, or an error is not positive.
        """
        sigma, eff, error = (
            np.asarray(values, dtype=np.float64) for values in (cross_sections, efficiencies, errors)
        )
        if sigma.ndim != 1 or sigma.size < 2 or not sigma.shape == eff.shape == error.shape:
            msg = (
                "efficiency curve: expected two points or more, each with an efficiency and its error, found shapes "
                f"{sigma.shape}, {eff.shape}, {error.shape}"
            )
            raise InputError(msg)
        if not np.isfinite([sigma, eff]).all() or np.any(np.diff(sigma) <= 0):
            msg = "efficiency curve: cross sections must increase, and they and the efficiencies be finite"
            raise InputError(msg)
        if not (np.isfinite(error).all() and (error > 0).all()):
            row = int(np.flatnonzero(~(np.isfinite(error) & (error > 0)))[0])
            msg = f"row {row + 1} ({sigma[row]:g} fb): error {error[row]:g} of the efficiency; give a positive number"
            raise InputError(msg)
        rng = np.random.default_rng(seed)
        drawn = np.clip(eff + error * rng.standard_normal((replicas, sigma.size)), 0.0, 1.0)
        weights = 1 / error**2
        values = _monotone(eff, weights)
        smooth = np.stack([_monotone(row, weights) for row in drawn])
        return cls(sigma, values, smooth, float(np.sum(((eff - values) / error) ** 2)))

    def at(self, cross_sections: FloatArray) -> FloatArray:
        """Efficiencies at cross sections between the first and the last injection.

        Parameters
        ----------
        cross_sections
            fb, any shape.

        Returns
        -------
        array
            Of the same shape.

        Raises
        ------
        InputError
            If one lies outside: the curve says nothing there.
        """
        return self._join(self.values, cross_sections)

    def band(self, cross_sections: FloatArray) -> FloatArray:
        """Central 68 % of the efficiency.

        Parameters
        ----------
        cross_sections
            Between the first and the last injection, fb, shape (n,).

        Returns
        -------
        array (2, n)
            Lower and upper end.

        Raises
        ------
        InputError
            If one lies outside.
        """
        curves = self._join(self.replicas.T, cross_sections)
        return np.asarray(np.quantile(curves, CENTRAL, axis=1))

    def _join(self, values: FloatArray, cross_sections: FloatArray) -> FloatArray:
        sigma = np.asarray(cross_sections, dtype=np.float64)
        first, last = self.cross_sections[[0, -1]]
        if np.any((sigma < first) | (sigma > last)):
            msg = f"the efficiency is known from {first:g} to {last:g} fb only; inject further cross sections"
            raise InputError(msg)
        return np.asarray(PchipInterpolator(self.cross_sections, values, axis=0)(sigma))

    def crossing(self, reach_fb: float) -> Crossing:
        """Where σ ε(σ) reaches what is excluded; see `analysis.retraining_limits.reach`.

        Parameters
        ----------
        reach_fb
            Cross section in fb that would be excluded at an efficiency of one.

        Returns
        -------
        Crossing
            In fb.
        """
        first, last = self.cross_sections[[0, -1]]
        if first * self.values[0] >= reach_fb:
            return Crossing("all_excluded")
        if last * self.values[-1] < reach_fb:
            return Crossing("not_excluded")

        def excess(sigma: float) -> float:
            return sigma * float(self.at(np.array(sigma))) - reach_fb

        return Crossing("ok", float(brentq(excess, first, last, xtol=1e-9 * last)))

    def crossing_interval(self, reach_fb: float) -> tuple[float | None, float | None]:
        """Central 68 % of the crossing over the replicas; None for an end that lies beyond the injections.

        Parameters
        ----------
        reach_fb
            As for `crossing`.

        Returns
        -------
        low, high
            fb.
        """
        grid = np.linspace(self.cross_sections[0], self.cross_sections[-1], _STEPS)
        product = grid[:, None] * self._join(self.replicas.T, grid)
        after = np.count_nonzero(product < reach_fb, axis=0)
        # What lies below or above the injections is as far as it can be, so that it counts on its side.
        places = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])[after]
        ends = np.quantile(places, CENTRAL, method="nearest")
        low, high = (float(end) if np.isfinite(end) else None for end in ends)
        return low, high


def _monotone(values: FloatArray, weights: FloatArray) -> FloatArray:
    found = np.asarray(isotonic_regression(values, weights=weights).x)
    # slopes between numbers next to nothing would overflow where the curve takes their inverse
    return np.where(found < _NONE, 0.0, found)
