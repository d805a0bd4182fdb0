"""The double Crystal Ball, the shape of a resonance in the dijet mass.

The core is Gaussian; below −α_low and above α_high (in units of σ) it goes over into power laws with the
exponents n_low and n_high (Gaiser, SLAC-R-255 (1982), for one side; both sides as in arXiv:2412.03747).
"""

import dataclasses
import math

import numpy as np
from scipy.special import ndtr

from analysis.signal_template import template_of
from data.errors import InputError
from data.types import FloatArray

SHAPE_NAMES = ("mean", "sigma", "alpha_low", "n_low", "alpha_high", "n_high")


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
        """Density, normalised on the whole real line.

        Parameters
        ----------
        mass
            GeV, any shape.

        Returns
        -------
        array
            1/GeV, of the same shape.
        """
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
        """Integral of the density from −∞.

        Parameters
        ----------
        mass
            GeV, any shape.

        Returns
        -------
        array
            In [0, 1], of the same shape.
        """
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
        return template_of(self.cdf, edges, what=f"signal of mean {self.mean:g} GeV").nominal
