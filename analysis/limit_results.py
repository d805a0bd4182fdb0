"""From the spectra of trainings with injected signals to limits and discovery cross sections."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from analysis.efficiency_curve import CENTRAL, EfficiencyCurve
from analysis.exclusion import Crossing
from analysis.limit_efficiencies import (
    BestInjection,
    Efficiencies,
    efficiencies,
    spectra_of,
    tested,
    without_nuisances,
)
from analysis.limit_record import (
    Curve,
    DiscoveryPoint,
    InjectionPoint,
    LimitPoint,
    LimitRecord,
    SelectionLimits,
    SignalLimits,
)
from analysis.limit_study import StudyRecord
from analysis.limit_uncertainty import (
    KnownUncertainties,
    background_check,
    total_downward,
    yield_uncertainties,
)
from analysis.limits import Limit
from analysis.plots.style import PlotLabel, save_figure
from analysis.profile_likelihood import SignalTest
from analysis.report.retraining import draw_retraining
from analysis.retraining_limits import Discovery, discovery_cross_section, reach
from analysis.retraining_run import RetrainingRecord
from analysis.run import Run
from analysis.run_systematics import UncertainSignal, common_shifts, selection_systematics
from analysis.scan import MassResult, ScanConfig
from analysis.signal_shape import SignalModel
from analysis.spectra import Spectra, signal_model
from analysis.systematics import RANDOM, STATISTICS, SourceShift
from data.errors import FitError
from data.files import read_json, write_json
from data.samples import year
from processors.scorers import INCLUSIVE

DISCOVERY = (3.0, 5.0)
_CURVE_POINTS = 101
_REPLICAS = 1000
_MEDIAN = 2
_NOT_ASKED = "limits.systematics is not set"


def write_limits(run: Run) -> list[Path]:
    """Limits from what `limit_study.study` left of every signal and selection.

    Parameters
    ----------
    run
        A run whose trainings with injected signals are done.

    Returns
    -------
    list of Path
        ``limits.json`` and its plots.
    """
    spectra = spectra_of(run)
    model = signal_model(spectra, [run.samples[name] for name in run.config.search.signals])
    found = LimitRecord(
        sample=run.data.name,
        region=run.config.selection.region,
        luminosity_ifb=run.data.luminosity(),
        sqrt_s=year(run.data.year).sqrt_s,
        study=run.limits.study,
        published=run.limits.published if run.limits.study else None,
        signals={name: _signal_limits(run, name, spectra, model) for name in run.limits.signals},
    )
    path = run.root / "limits.json"
    write_json(path, found.model_dump(mode="json"))
    label = PlotLabel(run.config.run.status, found.luminosity_ifb, found.sqrt_s)
    plots = [
        save_figure(drawn.figure, run.root / "plots", drawn.name) for drawn in draw_retraining(found, label)
    ]
    return [path, *itertools.chain.from_iterable(plots)]


def _signal_limits(run: Run, name: str, spectra: Spectra, model: SignalModel) -> SignalLimits:
    folder = run.root / "limits" / name
    records = {
        selection: StudyRecord.read(folder / f"{selection}.json") for selection in run.limit_selections()
    }
    inclusive = records[INCLUSIVE]
    options = run.config.systematics
    signal = UncertainSignal(model, options.jes, options.jer)
    before = _before(run, name, inclusive.mass, spectra)
    produced = run.data.luminosity() * inclusive.acceptance
    return SignalLimits(
        mass=inclusive.mass,
        window=inclusive.window,
        acceptance=inclusive.acceptance,
        selections={
            selection: selection_limits(
                record, signal, run.config.scan, produced, _known(run, name, selection, before)
            )
            for selection, record in records.items()
        },
    )


def _before(run: Run, name: str, mass: float, spectra: Spectra) -> tuple[SourceShift, ...]:
    """Uncertainties of a signal's yield before any method; its statistics, and the trainings' spread, are found later."""
    spectrum = spectra.spectrum(run.data, INCLUSIVE)
    found = selection_systematics(
        spectra, [run.samples[name]], INCLUSIVE, [mass], spectrum, run.config, run.data
    )
    common = {shift.name for shift in common_shifts(run.config.systematics, run.data)}
    return tuple(
        shift for one in found.masses for shift in one.shifts if shift.name not in {STATISTICS, *common}
    )


def _known(run: Run, signal: str, selection: str, before: tuple[SourceShift, ...]) -> KnownUncertainties:
    common = common_shifts(run.config.systematics, run.data)
    plain = KnownUncertainties(tuple(shift for shift in common if shift.name != RANDOM), before)
    if selection == INCLUSIVE or not run.limits.systematics:
        return dataclasses.replace(plain, message=None if selection == INCLUSIVE else _NOT_ASKED)
    folder = run.root / "limits" / signal
    best = BestInjection.parse(read_json(path := folder / f"{selection}.injection.json"), str(path))
    if best.cross_section_fb is None:
        return dataclasses.replace(plain, message=best.message)
    path = folder / f"{selection}.retraining.json"
    return dataclasses.replace(plain, retraining=RetrainingRecord.parse(read_json(path), str(path)))


def selection_limits(
    record: StudyRecord,
    signal: UncertainSignal,
    config: ScanConfig,
    produced: float,
    known: KnownUncertainties,
) -> SelectionLimits:
    """Limits of a selection on a signal, from its injections.

    The data without an injection are fitted for the events that can be excluded, first without uncertainties of the
    signal, then with those of its peak and of its yield. Efficiencies count signal inside that fit's range.

    Parameters
    ----------
    record
        Spectra of the injections.
    signal
        Its shape and the uncertainties of its peak.
    config
        How to fit.
    produced
        Signal events after the event selection for 1 fb: luminosity times acceptance.
    known
        Uncertainties of its yield.

    Returns
    -------
    SelectionLimits
        Without limits, and with a message, where the data cannot be fitted.
    """
    found = efficiencies(record, config)
    plain = without_nuisances(config)
    curve = found.curve() if record.retrained else None
    nominal = tested(record.spectrum(), record.mass, signal, plain)
    message, uncertainties, size, final = nominal.message, None, None, None
    if nominal.limit is not None:
        rough = _limit_point(found, curve, produced, nominal.limit.expected[_MEDIAN])
        again = known.retraining
        check = background_check(None if again is None else again.background, record.mass, signal, config)
        uncertainties = yield_uncertainties(known, record, found, rough, check)
        size = total_downward(uncertainties.sources)
        wide = dataclasses.replace(signal, norm={record.mass: size})
        result = tested(record.spectrum(), record.mass, wide, plain.model_copy(update={"nuisances": True}))
        message, final = result.message, result.limit
    limits = [_limit_point(found, curve, produced, value) for value in _events(final)]
    points = _points(record, found, signal, config, produced)
    return SelectionLimits(
        retrained=record.retrained,
        message=message,
        points=points,
        curve=None if curve is None else _drawn(curve),
        chi2=None if curve is None else curve.chi2,
        fb_per_event=1 / produced,
        signal_uncertainty=size,
        uncertainties=uncertainties,
        n_excluded_without=_events(nominal.limit),
        observed=limits[0] if limits else None,
        expected=tuple(limits[1:]),
        discovery=tuple(_discovery(points, wanted) for wanted in DISCOVERY),
    )


def _events(limit: Limit | None) -> tuple[float, ...]:
    """Excluded events, observed and the expected five; none without a limit."""
    return () if limit is None else (limit.observed, *limit.expected)


def _limit_point(
    found: Efficiencies, curve: EfficiencyCurve | None, produced: float, n_excluded: float
) -> LimitPoint:
    """Both rules for a number of excluded events; a fixed selection needs no injections, and so no rule on them."""
    reach_fb = reach(n_excluded, produced, 1.0)
    if curve is not None:
        crossing = curve.crossing(reach_fb)
        low, high = curve.crossing_interval(reach_fb)
    else:
        efficiency, error = float(found.mean.mean()), float(found.error.mean())
        crossing = Crossing("ok", reach_fb / efficiency) if efficiency > 0 else Crossing("not_excluded")
        low = reach_fb / (efficiency + error)
        high = reach_fb / (efficiency - error) if efficiency > error else None
    grid = None if curve is None else found.grid(reach_fb)
    return LimitPoint(
        n_excluded=n_excluded,
        status=crossing.status,
        crossing_fb=crossing.value,
        crossing_low_fb=low,
        crossing_high_fb=high,
        grid_fb=None if grid is None else grid.smallest,
        grid_tie_fb=None if grid is None else grid.tie,
    )


def _points(
    record: StudyRecord, found: Efficiencies, signal: UncertainSignal, config: ScanConfig, produced: float
) -> tuple[InjectionPoint, ...]:
    quick = config.model_copy(update={"limits": False, "minuit": False})
    tests = [tested(injection.spectrum(), record.mass, signal, quick) for injection in record.injections]
    yields = [injection.cross_section_fb * produced for injection in record.injections]
    expected = [
        _asimov(test, events * share)
        for test, events, share in zip(tests, yields, found.each.ravel(), strict=True)
    ]
    points = []
    for k, cross_section in enumerate(found.cross_sections):
        own = slice(k * found.each.shape[1], (k + 1) * found.each.shape[1])
        known = [z for z in expected[own] if z is not None]
        points.append(
            InjectionPoint(
                cross_section_fb=float(cross_section),
                injected=record.injections[own.start].injected,
                efficiency=float(found.mean[k]),
                error=float(found.error[k]),
                spread=float(found.spread[k]),
                efficiencies=tuple(float(value) for value in found.each[k]),
                z=tuple(test.z for test in tests[own]),
                asimov_z=float(np.mean(known)) if known else None,
                asimov_z_error=float(np.std(known, ddof=1) / len(known) ** 0.5) if len(known) > 1 else None,
            )
        )
    return tuple(points)


def _asimov(point: MassResult, signal_yield: float) -> float | None:
    """Significance expected for a signal on the background that was fitted together with it."""
    if point.test is None or point.background is None:
        return None
    test, theta = point.test, point.test.best.theta
    counts = point.background.model.expected(theta) + signal_yield * test.template
    try:
        return SignalTest(counts, point.background.model, test.signal, theta).z
    except FitError:
        return None


def _drawn(curve: EfficiencyCurve) -> Curve:
    first, last = (float(curve.cross_sections[place]) for place in (0, -1))
    grid = np.linspace(first, last, _CURVE_POINTS)
    low, high = curve.band(grid)
    columns = [tuple(float(value) for value in values) for values in (grid, curve.at(grid), low, high)]
    return Curve(cross_section_fb=columns[0], efficiency=columns[1], low=columns[2], high=columns[3])


def _discovery(points: tuple[InjectionPoint, ...], wanted: float) -> DiscoveryPoint:
    """Where a significance is expected, from the injections whose fits are valid, with replicas of the significances."""
    known = [
        (point.cross_section_fb, point.asimov_z, point.asimov_z_error)
        for point in points
        if point.asimov_z is not None and point.asimov_z_error is not None
    ]
    if len(known) < 2:
        return DiscoveryPoint(z=wanted, status="weak", cross_section_fb=None, low_fb=None, high_fb=None)
    sigma, centre, width = np.array(known).T
    rng = np.random.default_rng(0)
    drawn = np.maximum(centre + width * rng.standard_normal((_REPLICAS, len(known))), 0.0)
    places = [_place(discovery_cross_section(sigma, row, wanted)) for row in drawn]
    low, high = (
        float(end) if np.isfinite(end) else None for end in np.quantile(places, CENTRAL, method="nearest")
    )
    best = discovery_cross_section(sigma, centre, wanted)
    return DiscoveryPoint(z=wanted, status=best.status, cross_section_fb=best.value, low_fb=low, high_fb=high)


def _place(found: Discovery) -> float:
    """A discovery cross section as a number that can be ordered."""
    if found.value is not None:
        return found.value
    return -np.inf if found.status == "below_smallest" else np.inf
