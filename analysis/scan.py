"""The scan: at every mass a choice of background, a test of the signal and its limits."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

from analysis.envelope import envelope
from analysis.f_test import FailedFit, Fits, FTest, f_test, fit_candidates
from analysis.fit import BackgroundFit, check_healthy
from analysis.fit_ranges import fit_ends, fit_range
from analysis.limits import Limit, Profile, asymptotic_limit, profile_limit
from analysis.minuit import minuit_check
from analysis.profile_likelihood import SignalTest
from analysis.range_search import RangeQuality, search_range
from analysis.results import MassResult, ScanResult, SelectionResult, fits_entry
from analysis.scan_config import P0_IS_BOUND, ScanConfig
from analysis.signal_shape import SignalModel
from analysis.signal_template import Signal, SignalTemplate
from analysis.spectrum import Spectrum
from analysis.toy_limit import toy_limit
from analysis.toy_p0 import ToyP0, toy_p0
from data.errors import FewEventsError, FitError, InputError

__all__ = [
    "MassResult",
    "ScanConfig",
    "ScanResult",
    "SelectionResult",
    "analyse",
    "fits_entry",
    "scan",
    "signal_test",
]

Cache = dict[tuple[float, float], Fits]
"""Background fits by fit range."""
_MAX_IMPROVEMENT = 1e-3
"""2Δ ln L by which MIGRAD may undercut Newton before the fit is refused."""


def scan(
    spectrum: Spectrum,
    masses: Iterable[float],
    signal: Signal | None = None,
    config: ScanConfig | None = None,
    *,
    workers: int = 1,
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
    workers
        Threads for toys; results do not depend on them.

    Returns
    -------
    ScanResult
        Masses whose fit failed, or whose range holds too few events for one, are in it too, marked as not valid, with
        the reason.

    Raises
    ------
    InputError
        If a mass lies outside the spectrum.
    """
    signal = signal or SignalModel.generic()
    config = config or ScanConfig()
    cache: Cache = {}
    test = _search_mass if config.range_search else _test_mass
    return ScanResult(tuple(test(spectrum, float(mass), signal, config, cache, workers) for mass in masses))


def _search_mass(
    spectrum: Spectrum, mass: float, signal: Signal, config: ScanConfig, cache: Cache, workers: int
) -> MassResult:
    """Test a mass in the first range in which the fits describe the data."""
    quick = config.model_copy(update={"limits": False, "minuit": False, "calculator": "asymptotic"})

    def judge(lo: float, hi: float) -> RangeQuality:
        point = _test_mass(spectrum, mass, signal, _within(quick, lo, hi), cache, workers)
        if point.background is None:
            raise FitError(str(point.message))
        uncertainty = point.background.relative_uncertainty(mass)
        return RangeQuality(point.background.goodness[2], point.signal_goodness, uncertainty)

    found = search_range(*fit_ends(spectrum, mass, config), mass, judge)
    point = _test_mass(spectrum, mass, signal, _within(config, found.lo, found.hi), cache, workers)
    remarks = [] if found.good else ["no fit range describes the data; this is the last one tried"]
    message = "; ".join(remarks + ([point.message] if point.message else [])) or None
    return dataclasses.replace(point, range_steps=found.steps, message=message)


def _within(config: ScanConfig, lo: float, hi: float) -> ScanConfig:
    return config.model_copy(update={"fit_start": lo, "fit_stop": hi})


def _test_mass(
    spectrum: Spectrum,
    mass: float,
    signal: Signal,
    config: ScanConfig,
    cache: Cache,
    workers: int,
) -> MassResult:
    try:
        fits = _fits(spectrum, mass, config, cache)
    except FewEventsError as error:
        return MassResult(mass, None, (), None, None, f"mass {mass:g} GeV: {error}")
    candidates = {name: fits[name] for name in config.candidates}
    choice = f_test(
        candidates, mass, p_accept=config.f_test_p, uncertainty_veto=config.uncertainty_veto,
        max_uncertainty=config.max_uncertainty,
    )  # fmt: skip
    steps = choice.steps
    try:
        if config.function == "envelope":
            return _test_envelope(fits, choice, mass, signal, config)
        background, test, remarks = _fit_signal(fits, _wanted(fits, choice, config), mass, signal, config)
        limit, p_value, remark = _quote(test, config, workers)
    except FitError as error:
        return MassResult(mass, None, steps, None, None, f"mass {mass:g} GeV: {error}")
    remarks += [text for text in (remark, _no_chi2(background)) if text]
    return MassResult(mass, background, steps, test, limit, "; ".join(remarks) or None, p_value)


def _fits(spectrum: Spectrum, mass: float, config: ScanConfig, cache: Cache) -> Fits:
    """The background fits in the range of a mass."""
    part = fit_range(spectrum, mass, config)
    if (part.lo, part.hi) not in cache:
        wanted = map(config.background, config.fitted)
        cache[part.lo, part.hi] = fit_candidates(
            part, wanted, sqrt_s=config.sqrt_s, minimum_count=config.minimum_count
        )
    return cache[part.lo, part.hi]


def _no_chi2(fit: BackgroundFit) -> str | None:
    """A remark where coarse bins of the user's own leave no degree of freedom."""
    if fit.spectrum.coarse_edges is None or fit.goodness[1] > 0:
        return None
    bins = fit.coarse_index.size - 1
    return (
        f"no χ² and no F-test: coarse_edges leave {bins} merged bin{'s' * (bins != 1)} in the fit range for "
        f"{fit.n_shape + 1} parameters; give more"
    )


def _test_envelope(fits: Fits, choice: FTest, mass: float, signal: Signal, config: ScanConfig) -> MassResult:
    """Test a mass with the function of the background profiled over the candidates."""
    tried = [fits[name] for name in config.candidates]
    edges = choice.chosen.spectrum.edges
    found, failed = envelope(tried, signal.template(mass, edges, nuisances=config.nuisances))
    remarks = [f"left out of the envelope: {text}" for text in failed]
    for curve in found.curves if config.minuit else ():
        remark = _cross_check(curve.test)
        remarks += [f"{curve.function}: {remark}"] if remark else []
    if few := _few_events(found.null_curve.test, config):
        remarks.append(f"few events ({few}): asymptotic formulae are rough")
    limit = profile_limit(found, found.asimov()) if config.limits else None
    fitted = {name: fit for name, fit in fits.items() if not isinstance(fit, FailedFit)}
    best = fitted[found.best_curve.function]
    _check_finite(found)
    message = "; ".join(remarks) or None
    return MassResult(mass, best, choice.steps, found.best_curve.test, limit, message, envelope=found)


def _wanted(fits: Fits, choice: FTest, config: ScanConfig) -> BackgroundFit:
    """The fit of the function asked for, or the choice of the F-test."""
    if config.function == "auto":
        return choice.chosen
    fit = fits[config.function]
    if isinstance(fit, FailedFit):
        raise FitError(fit.message)
    return fit


def _fit_signal(
    fits: Fits,
    wanted: BackgroundFit,
    mass: float,
    signal: Signal,
    config: ScanConfig,
) -> tuple[BackgroundFit, SignalTest, list[str]]:
    """Fit background and signal; a function chosen by the F-test that fails here gives way to a smaller one."""
    usable = [wanted]
    if config.function == "auto":
        smaller = [fit for fit in fits.values() if not isinstance(fit, FailedFit)]
        smaller = [fit for fit in smaller if fit.n_shape < wanted.n_shape]
        usable += sorted(smaller, key=lambda fit: fit.n_shape, reverse=True)
    problems: list[str] = []
    for fit in usable:
        try:
            template = signal.template(mass, fit.spectrum.edges, nuisances=config.nuisances)
            test = signal_test(fit, template, smooth=False)
            found = [_spike(fit, test, config), _cross_check(test) if config.minuit else None]
        except FitError as error:
            problems.append(f"{fit.function}: {error}")
            continue
        gave_way = [f"gave way to {fit.function}: {text}" for text in problems]
        return fit, test, gave_way + [remark for remark in found if remark]
    raise FitError("; ".join(problems))


def signal_test(fit: BackgroundFit, template: SignalTemplate, *, smooth: bool = True) -> SignalTest:
    """Test a signal template on top of a background fit, all fits made.

    Parameters
    ----------
    fit
        Background-only fit.
    template
        Signal in the bins of the fit range, with its nuisance parameters.
    smooth
        Refuse a fit with signal whose background is a spike (`fit.check_healthy`).

    Raises
    ------
    FitError
        If a fit does not converge.
    """
    counts = fit.spectrum.counts.astype(np.float64)
    test = SignalTest(counts, fit.model, template, fit.minimum.theta)
    if smooth:
        check_healthy(fit.model, test.best)
    _check_finite(test)
    return test


def _check_finite(test: Profile) -> None:
    found, error = test.best.signal_yield, test.yield_error
    if not (math.isfinite(found) and math.isfinite(error)):
        msg = f"the signal yield is {found:g} ± {error:g}; use fewer shape parameters or a wider fit range"
        raise FitError(msg)


def _spike(fit: BackgroundFit, test: SignalTest, config: ScanConfig) -> str | None:
    """Refuse a fit with signal whose background is a spike; for toys, which are fitted so too, it is a remark."""
    try:
        check_healthy(fit.model, test.best)
    except FitError as error:
        if not _by_toys(test, config):
            raise
        return f"the yield is rough: in the fit with signal, {error}"
    return None


def _by_toys(test: SignalTest, config: ScanConfig) -> bool:
    if config.calculator == "auto":
        return _few_events(test, config) is not None
    return config.calculator == "toys"


def _cross_check(test: SignalTest) -> str | None:
    """Compare with MIGRAD; its own failure is only a remark, a better minimum is an error."""
    if test.best.at_bound:
        return "the signal yield stands at its lower bound, where the expectation would vanish"
    try:
        check = minuit_check(test)
    except FitError as error:
        return f"not cross-checked: {error}"
    if check.improvement > _MAX_IMPROVEMENT:
        msg = (
            f"MIGRAD found a minimum lower by {check.improvement:.2g} in −2 ln L, so the fit has not converged; use fewer "
            "shape parameters"
        )
        raise FitError(msg)
    if check.improvement < -_MAX_IMPROVEMENT:
        return f"not confirmed: MIGRAD stopped {-check.improvement:.2g} above the minimum in −2 ln L"
    return None


def _quote(
    test: SignalTest, config: ScanConfig, workers: int
) -> tuple[Limit | None, ToyP0 | None, str | None]:
    """Limit and p-value by the calculator that serves, and a remark where it was chosen for want of events."""
    if not _by_toys(test, config):
        return asymptotic_limit(test) if config.limits else None, None, None
    few = _few_events(test, config) if config.calculator == "auto" else None
    p_value = toy_p0(test, n_toys=config.toys, seed=config.seed, workers=workers)
    limit = toy_limit(test, n_toys=config.toys, seed=config.seed, workers=workers) if config.limits else None
    remarks = []
    if few:
        remarks.append(f"few events ({few}): p0{' and limit' if limit else ''} by toys")
    if p_value.n_toys and not p_value.n_above:
        remarks.append(f"{P0_IS_BOUND}: none of {p_value.n_toys} toys reaches the observed q0")
    return limit, p_value, "; ".join(remarks) or None


def _few_events(test: SignalTest, config: ScanConfig) -> str | None:
    """Where asymptotic formulae do not serve, which events are few."""
    if test.expected_in_core < config.toys_below:
        return f"{test.expected_in_core:.2g} background events expected under the peak"
    total = test.likelihood.counts.sum()
    return f"{total:g} in the fit range" if total < config.toys_below_total else None


def analyse(
    spectrum: Spectrum,
    label: str,
    masses: Iterable[float],
    signal: Signal | None = None,
    config: ScanConfig | None = None,
    *,
    window: str | None = None,
    efficiencies: Mapping[float, float] | None = None,
    luminosity_ifb: float | None = None,
    workers: int = 1,
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
    workers
        Threads for toys; results do not depend on them.

    Returns
    -------
    SelectionResult
        Its entries, and the tests behind them.

    Raises
    ------
    InputError
        As `scan`, with the label.
    """
    try:
        result = scan(spectrum, masses, signal, config, workers=workers)
    except InputError as error:
        msg = f"selection '{label}': {error}"
        raise InputError(msg) from None
    known = efficiencies or {}
    rows = [
        point.row(window=window, efficiency=known.get(point.mass), luminosity_ifb=luminosity_ifb)
        for point in result.points
    ]
    return SelectionResult(rows, fits_entry(result), result)
