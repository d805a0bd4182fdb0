"""The part of a spectrum that is fitted for a mass."""

from analysis.scan_config import ScanConfig
from analysis.spectrum import Spectrum
from data.errors import FewEventsError, InputError


def fit_ends(spectrum: Spectrum, mass: float, config: ScanConfig) -> tuple[float, float]:
    """Ends of the range that is fitted for a mass (see `ScanConfig`).

    Parameters
    ----------
    spectrum
        The whole spectrum.
    mass
        Tested mass in GeV.
    config
        Range and √s.

    Returns
    -------
    tuple of float
        Lower and upper end in GeV, edges of bins.

    Raises
    ------
    InputError
        If the mass lies outside.
    """
    lo = spectrum.lo if config.fit_start is None else spectrum.snap(config.fit_start)
    stop = max(1.2 * mass, spectrum.last_filled + 5) if config.fit_stop is None else config.fit_stop
    hi = spectrum.snap(stop, up=True)
    if not lo < mass < hi:
        msg = f"mass {mass:g} GeV lies outside the fit range {lo:g}–{hi:g} GeV; choose masses inside or another range"
        raise InputError(msg)
    return lo, hi


def fit_range(spectrum: Spectrum, mass: float, config: ScanConfig) -> Spectrum:
    """Part of a spectrum that is fitted for a mass.

    Parameters
    ----------
    spectrum, mass, config
        As for `fit_ends`.

    Returns
    -------
    Spectrum
        The part.

    Raises
    ------
    FewEventsError
        If the spectrum is empty there.
    InputError
        If the mass lies outside.
    """
    lo, hi = fit_ends(spectrum, mass, config)
    part = spectrum.between(lo, hi)
    if part.n_events == 0:
        msg = f"spectrum: no events between {lo:g} and {hi:g} GeV; check the selection and fit_start"
        raise FewEventsError(msg)
    return part
