"""Limits on a Gaussian of any width, from which limits on models that nobody simulated can be worked out.

A reader smears the mass spectrum of a model by the detector's resolution, compares it with a Gaussian, and divides the
limit by the acceptance and efficiency of that model (as ATLAS, arXiv:1910.08447, appendix A, recommends). The limits
are on events inside the fit range and, divided by the luminosity, on cross section times acceptance times efficiency.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from scipy.special import ndtr

from analysis.scan import scan
from analysis.scan_config import ScanConfig
from analysis.signal_template import SignalTemplate, template_of
from analysis.spectrum import Spectrum
from data.errors import InputError
from data.types import FloatArray

WIDTHS = (0.03, 0.05, 0.07, 0.10, 0.15)
"""Relative widths σ/m: about the resolution of the dijet mass, and up to where a falling background can absorb it."""


@dataclasses.dataclass(frozen=True)
class GaussianSignal:
    """A Gaussian in the mass, its width a fixed share of its mean.

    Attributes
    ----------
    relative_width
        σ/m, above 0 and at most 0.5.

    Raises
    ------
    InputError
        If the width is outside that range.
    """

    relative_width: float

    def __post_init__(self) -> None:
        if not 0 < self.relative_width <= 0.5:
            msg = f"Gaussian signal: relative width {self.relative_width:g}; give σ/m above 0 and at most 0.5"
            raise InputError(msg)

    def width(self, mass: float) -> float:
        """Standard deviation σ of the Gaussian.

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        float
            In GeV.
        """
        return self.relative_width * mass

    def template(self, mass: float, edges: FloatArray, *, nuisances: bool = False) -> SignalTemplate:
        """Fractions of the signal in bins.

        Parameters
        ----------
        mass
            In GeV.
        edges
            Of the bins in GeV, shape (n + 1,).
        nuisances
            Must be False: a shape that belongs to no simulation has none.

        Returns
        -------
        SignalTemplate
            Unit sum inside the edges.

        Raises
        ------
        InputError
            If nuisance parameters are asked for: a shape that belongs to no simulation has none.
        FitError
            If less than a tenth of the signal lies inside the edges.
        """
        what = f"Gaussian of {mass:g} GeV, σ/m = {self.relative_width:g}"
        if nuisances:
            msg = f"{what}: it has no uncertainties of simulation; set scan.nuisances to false"
            raise InputError(msg)
        return template_of(lambda values: ndtr((values - mass) / self.width(mass)), edges, what=what)

    def fraction_inside(self, mass: float, lo: float, hi: float) -> float:
        """Fraction of the signal between two masses.

        Parameters
        ----------
        mass
            Of the signal, GeV.
        lo, hi
            The two masses, GeV.

        Returns
        -------
        float
            0 … 1.
        """
        sigma = self.width(mass)
        return float(ndtr((hi - mass) / sigma) - ndtr((lo - mass) / sigma))


def model_independent_limits(
    spectrum: Spectrum,
    masses: Sequence[float],
    *,
    widths: Sequence[float] = WIDTHS,
    config: ScanConfig | None = None,
    luminosity_ifb: float | None = None,
) -> list[dict[str, Any]]:
    """95 % CLs limits on Gaussians.

    Parameters
    ----------
    spectrum
        Counts in fine bins.
    masses
        In GeV.
    widths
        Relative widths σ/m.
    config
        How to fit; defaults if None. Limits are computed and nuisance parameters left out whatever it says.
    luminosity_ifb
        In fb⁻¹; None leaves the limits in fb out.

    Returns
    -------
    list of dict
        One a mass and width: ``mass`` (GeV), ``relative_width``, ``limit_observed`` and ``limit_expected`` (at −2 … +2
        standard deviations) in events inside the fit range, ``limit_observed_fb`` and ``limit_expected_fb`` = those per
        luminosity, on cross section × acceptance × efficiency, ``fraction_in_range`` (of the Gaussian in the fit
        range; the limits on all of it are the ones given divided by this), ``z``, ``function``, ``calculator``,
        ``valid`` and ``message``. Numbers are None where the mass is not valid.

    Raises
    ------
    InputError
        If a width is outside its range, a mass outside the spectrum, the luminosity is not positive, or there are too
        few events for any fit.
    """
    if not widths or not masses:
        msg = f"model-independent limits: {len(masses)} masses and {len(widths)} relative widths; give one of each at least"
        raise InputError(msg)
    if luminosity_ifb is not None and not luminosity_ifb > 0:
        msg = f"model-independent limits: luminosity_ifb = {luminosity_ifb:g}; it must be positive"
        raise InputError(msg)
    settings = (config or ScanConfig()).model_copy(update={"limits": True, "nuisances": False})
    rows = []
    for width in widths:
        signal = GaussianSignal(float(width))
        for point in scan(spectrum, masses, signal, settings).points:
            row = point.row(efficiency=1.0, luminosity_ifb=luminosity_ifb)
            fit = point.background
            inside = None
            if fit is not None:
                inside = signal.fraction_inside(point.mass, fit.spectrum.lo, fit.spectrum.hi)
            kept = {key: row[key] for key in _KEPT}
            rows.append(
                {"mass": point.mass, "relative_width": float(width), "fraction_in_range": inside} | kept
            )
    return sorted(rows, key=lambda row: (row["mass"], row["relative_width"]))


_KEPT = (
    "z",
    "limit_observed",
    "limit_expected",
    "limit_observed_fb",
    "limit_expected_fb",
    "function",
    "calculator",
    "valid",
    "message",
)
