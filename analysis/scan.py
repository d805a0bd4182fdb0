"""The scan: at every mass a choice of background, a test of the signal and its limits."""

from collections.abc import Iterable, Mapping

import numpy as np

from analysis.dijet import DijetModel
from analysis.f_test import FTest, Step, f_test, fit_candidates
from analysis.fit import BackgroundFit, check_healthy
from analysis.limits import Limit, asymptotic_limit, toy_limit
from analysis.minuit import minuit_check
from analysis.profile_likelihood import SignalTest
from analysis.results import MassResult, ScanResult, SelectionResult, fits_entry
from analysis.scan_config import ScanConfig
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum, sum_between
from data.errors import FitError, InputError
from data.types import FloatArray

__all__ = [
    "MassResult",
    "ScanConfig",
    "ScanResult",
    "SelectionResult",
    "analyse",
    "expected_significance",
    "fit_range",
    "fits_entry",
    "scan",
    "signal_test",
]

_MAX_IMPROVEMENT = 1e-3
"""2Δ ln L by which MIGRAD may undercut Newton before the fit is refused."""


def fit_range(spectrum: Spectrum, mass: float, config: ScanConfig) -> Spectrum:
    """Part of a spectrum that is fitted for a mass (see `ScanConfig`).

    Parameters
    ----------
    spectrum
        The whole spectrum.
    mass
        Tested mass in GeV.
    config
        Range and √s.

    Raises
    ------
    InputError
        If the spectrum is empty there or the mass lies outside.
    """
    lo = spectrum.lo if config.fit_start is None else spectrum.snap(config.fit_start)
    stop = max(1.2 * mass, spectrum.last_filled + 5) if config.fit_stop is None else config.fit_stop
    hi = spectrum.snap(stop, up=True)
    if not lo < mass < hi:
        msg = f"mass {mass:g} GeV lies outside the fit range {lo:g}–{hi:g} GeV; choose masses inside or another range"
        raise InputError(msg)
    part = spectrum.between(lo, hi)
    if part.n_events == 0:
        msg = f"spectrum: no events between {lo:g} and {hi:g} GeV; check the selection and fit_start"
        raise InputError(msg)
    return part


def scan(
    spectrum: Spectrum,
    masses: Iterable[float],
    signal: SignalModel | None = None,
    config: ScanConfig | None = None,
) -> ScanResult:
    """Test a resonance at every mass.

    Parameters
    ----------
    spectrum
        Counts in fine bins.
    masses
        Tested masses in GeV.
    signal
        Shape of the signal; `SignalModel.generic` if None.
    config
        How to fit; defaults if None.

    Returns
    -------
    ScanResult
        Masses whose fit failed are in it too, marked as not valid, with the reason.

    Raises
    ------
    InputError
        If a mass lies outside the spectrum, or there are too few events for any fit.
    """
    signal = signal or SignalModel.generic()
    config = config or ScanConfig()
    cache: dict[float, dict[int, BackgroundFit | str]] = {}
    return ScanResult(tuple(_test_mass(spectrum, float(mass), signal, config, cache) for mass in masses))


def _test_mass(
    spectrum: Spectrum,
    mass: float,
    signal: SignalModel,
    config: ScanConfig,
    cache: dict[float, dict[int, BackgroundFit | str]],
) -> MassResult:
    part = fit_range(spectrum, mass, config)
    wanted = {*config.candidates} | ({int(config.function[-1])} if config.function != "auto" else set())
    if part.hi not in cache:
        cache[part.hi] = fit_candidates(
            part, wanted, sqrt_s=config.sqrt_s, minimum_count=config.minimum_count
        )
    fits = cache[part.hi]
    steps: tuple[Step, ...] = ()
    try:
        choice = _f_test(fits, mass, config)
        steps = choice.steps
        background, test, message = _fit_signal(fits, choice, mass, signal, config)
        limit = _limit(background, test, mass, signal, config) if config.limits else None
    except FitError as error:
        return MassResult(mass, None, steps, None, None, f"mass {mass:g} GeV: {error}")
    return MassResult(mass, background, steps, test, limit, message)


def _f_test(fits: Mapping[int, BackgroundFit | str], mass: float, config: ScanConfig) -> FTest:
    candidates = {n_shape: fits[n_shape] for n_shape in config.candidates}
    options = {"uncertainty_veto": config.uncertainty_veto, "max_uncertainty": config.max_uncertainty}
    choice = f_test(candidates, mass, p_accept=config.f_test_p, **options)  # type: ignore[arg-type]
    if config.function == "auto":
        return choice
    fit = fits[int(config.function[-1])]
    if isinstance(fit, str):
        raise FitError(fit)
    return FTest(fit, choice.steps)


def _fit_signal(
    fits: Mapping[int, BackgroundFit | str],
    choice: FTest,
    mass: float,
    signal: SignalModel,
    config: ScanConfig,
) -> tuple[BackgroundFit, SignalTest, str | None]:
    """Fit background and signal; a function chosen by the F-test that fails here gives way to a smaller one."""
    usable = [choice.chosen]
    if config.function == "auto":
        smaller = [
            fit for n_shape, fit in sorted(fits.items(), reverse=True) if n_shape < choice.chosen.n_shape
        ]
        usable += [fit for fit in smaller if not isinstance(fit, str)]
    problems: list[str] = []
    for fit in usable:
        try:
            template = signal.at(mass).template(fit.spectrum.edges)
            test = signal_test(fit, template)
            remark = _cross_check(test) if config.minuit else None
        except FitError as error:
            problems.append(f"{fit.function}: {error}")
            continue
        remarks = [f"gave way to {fit.function}: {text}" for text in problems] + ([remark] if remark else [])
        return fit, test, "; ".join(remarks) or None
    raise FitError("; ".join(problems))


def signal_test(fit: BackgroundFit, template: FloatArray) -> SignalTest:
    """Test a signal template on top of a background fit, all fits made.

    Parameters
    ----------
    fit
        Background-only fit.
    template
        Fractions of the signal in the bins of the fit range, sum one.

    Raises
    ------
    FitError
        If a fit does not converge.
    """
    counts = fit.spectrum.counts.astype(np.float64)
    test = SignalTest(counts, fit.model, template, fit.minimum.theta)
    check_healthy(fit.model, test.best)
    if not np.isfinite([test.best.signal_yield, test.yield_error]).all():
        msg = "the signal yield or its error is not finite"
        raise FitError(msg)
    return test


def _cross_check(test: SignalTest) -> str | None:
    """Compare with MIGRAD; its own failure is only a remark, a better minimum is an error."""
    if test.best.at_bound:
        return "the signal yield stands at its lower bound, where the expectation would vanish"
    try:
        check = minuit_check(test)
    except FitError as error:
        return f"not cross-checked: {error}"
    if check.improvement > _MAX_IMPROVEMENT:
        msg = f"MIGRAD found a minimum lower by {check.improvement:.2g} in −2 ln L; the fit has not converged"
        raise FitError(msg)
    return None


def _limit(
    fit: BackgroundFit, test: SignalTest, mass: float, signal: SignalModel, config: ScanConfig
) -> Limit:
    few = config.calculator == "auto" and test.expected_in_core < config.toys_below
    if config.calculator != "toys" and not few:
        return asymptotic_limit(test)
    return toy_limit(_wider_bins(fit, mass, signal), n_toys=config.toys, seed=config.seed)


def _wider_bins(fit: BackgroundFit, mass: float, signal: SignalModel) -> SignalTest:
    """The same test in bins of a tenth of the signal's σ: toys are three times as fast, limits the same."""
    shape = signal.at(mass)
    edges = fit.spectrum.edges
    group = max(1, int(shape.sigma / 10 / (edges[1] - edges[0])))
    index = np.unique(np.append(np.arange(0, edges.size, group), edges.size - 1))
    wide = Spectrum(edges[index], sum_between(fit.spectrum.counts, index))
    model = DijetModel(wide.edges, fit.n_shape, sum_between(fit.expected, index), fit.model.sqrt_s)
    return SignalTest(wide.counts.astype(np.float64), model, shape.template(wide.edges), model.start)


def expected_significance(
    fit: BackgroundFit, signal_yield: float, mass: float, signal: SignalModel | None = None
) -> float:
    """Median significance expected for a signal: Z of the Asimov set (arXiv:1007.1727).

    Parameters
    ----------
    fit
        Background-only fit; its expectation is the background, its function is refitted.
    signal_yield
        Signal events inside the fit range.
    mass
        In GeV.
    signal
        Shape of the signal; `SignalModel.generic` if None.

    Raises
    ------
    FitError
        If a fit does not converge.
    """
    template = (signal or SignalModel.generic()).at(mass).template(fit.spectrum.edges)
    counts = fit.expected + signal_yield * template
    return SignalTest(counts, fit.model, template, fit.minimum.theta).z


def analyse(
    spectrum: Spectrum,
    label: str,
    masses: Iterable[float],
    signal: SignalModel | None = None,
    config: ScanConfig | None = None,
    *,
    window: str | None = None,
    efficiencies: Mapping[float, float] | None = None,
    luminosity_ifb: float | None = None,
) -> SelectionResult:
    """Scan one selection and give its entries for ``scan.json`` and ``fits.json``.

    Parameters
    ----------
    spectrum, masses, signal, config
        As for `scan`.
    label
        Name of the selection, for messages.
    window
        Name of its mass window, for the rows.
    efficiencies
        Signal efficiency by mass in GeV (selected and inside the fit range); masses may be missing.
    luminosity_ifb
        In fb⁻¹.

    Raises
    ------
    InputError
        As `scan`, with the label.
    """
    try:
        result = scan(spectrum, masses, signal, config)
    except InputError as error:
        msg = f"selection '{label}': {error}"
        raise InputError(msg) from None
    known = efficiencies or {}
    rows = [
        point.row(window=window, efficiency=known.get(point.mass), luminosity_ifb=luminosity_ifb)
        for point in result.points
    ]
    return SelectionResult(rows, fits_entry(result), result)
