"""The report's figures: what a run left in its folder, turned into plots with captions and alternative text."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from analysis.plots.scan import LimitCurve, WindowSpan, limit_figure, p_value_figure
from analysis.plots.score import score_figure
from analysis.plots.spectrum import SignalOverlay, SpectrumData, selection_figure, spectrum_figure
from analysis.plots.style import PlotLabel, scientific
from analysis.report.bars import Bars
from analysis.report.histograms import mass_spectrum, score_shapes, side_band_share
from analysis.report.labels import fit_label, readable
from analysis.report.look_elsewhere import level, local_p, local_z, signed
from analysis.report.marks import Chart
from analysis.report.numbers import percent, significant
from analysis.report.record import (
    BackgroundFit,
    RunRecord,
    Scan,
    ScanPoint,
    largest_excess,
)
from analysis.report.scan_charts import (
    bound_masses,
    limit_chart,
    limit_columns,
    p_value_chart,
    selection_chart,
    spectrum_chart,
)
from analysis.report.shape_charts import score_chart
from analysis.windows import window
from data.types import BoolArray, FloatArray
from processors.scorers import INCLUSIVE

_OVERVIEW_WIDTH = 100.0  # GeV


@dataclass(frozen=True)
class Drawn:
    """A figure with its words.

    Attributes
    ----------
    section
        The report's section that shows it: ``spectra``, ``scores``, ``scan``, ``systematics``, ``limits`` or ``retraining``.
    name
        File name without suffix.
    figure
        The matplotlib figure.
    caption, alt
        What stands below it, and what a reader who cannot see it is told.
    chart
        The same for the page, to point at.
    owner
        The selection whose part of the page shows it.
    """

    section: str
    name: str
    figure: Figure
    caption: str
    alt: str
    chart: Chart | Bars
    owner: str = ""


def draw_figures(record: RunRecord, label: PlotLabel) -> Iterator[Drawn]:
    """Draw every figure of a run, one at a time.

    Parameters
    ----------
    record
        The run.
    label
        What stands above each plot.

    Yields
    ------
    Drawn
        In the order of the report.
    """
    yield from _selections(record, label)
    for name in record.fits:
        yield _spectrum(record, name, label)
    if "score" in record.searched:
        order = list(record.fits)  # windows by mass, as the spectra
        labels = record.searched["score"].axes["selection"]
        for name in sorted(labels, key=lambda label: order.index(label) if label in order else len(order)):
            yield _score(record, name, label)
    if any(largest_excess(points) for points in record.scan.selections.values()):
        yield _p_values(record, label)
    for name, points in record.scan.selections.items():
        yield from _limits(record, name, points, label)


def _selections(record: RunRecord, label: PlotLabel) -> Iterator[Drawn]:
    """Spectra before and after the selections of each method, over the mass range of the inclusive fit."""
    if INCLUSIVE not in record.fits:
        return
    low, high = record.fits[INCLUSIVE].range
    histogram, region = record.searched["mjj"], record.scan.region
    edges, before = mass_spectrum(histogram, region, INCLUSIVE, low, high, _OVERVIEW_WIDTH)
    owners = {name: owner_of(record.scan, name) for name in record.fits if name != INCLUSIVE}
    for owner in dict.fromkeys(owners.values()):
        after = {
            readable(name): mass_spectrum(histogram, region, name, low, high, _OVERVIEW_WIDTH)[1]
            for name, own in owners.items()
            if own == owner
        }
        kept = ", ".join(f"{name} {percent(float(v.sum() / before.sum()))}" for name, v in after.items())
        yield Drawn(
            "spectra",
            f"mjj_before_after_{owner}",
            selection_figure(edges, before, after, label),
            f"Dijet mass before and after the selections ({kept} of the events shown). Below: the fraction kept, "
            "which is flat in mass where a selection does not sculpt the background.",
            f"Dijet mass spectra before and after selection, falling over {low:g} to {high:g} GeV; kept: {kept}.",
            chart=selection_chart(edges, before, after),
            owner=owner,
        )


def _points_of(record: RunRecord, name: str) -> tuple[ScanPoint, ...]:
    """Scan points that were tested on the spectrum of a fit label."""
    return tuple(
        point
        for selection, points in record.scan.selections.items()
        for point in points
        if name == fit_label(selection, point.window)
    )


def side_bands_kept(record: RunRecord) -> dict[str, float | None]:
    """Share of the data that each selection keeps in the side bands of its window.

    Parameters
    ----------
    record
        The run.

    Returns
    -------
    dict
        Label of a selection to the share, 0 … 1; None where the side bands hold no event.
    """
    histogram, region = record.searched["mjj"], record.scan.region
    found: dict[str, float | None] = {}
    for name, points in record.scan.selections.items():
        for used in {point.window for point in points if point.window is not None and name != INCLUSIVE}:
            label = fit_label(name, used)
            found[label] = side_band_share(histogram, region, label, window(used))
    return found


def owner_of(scan: Scan, label: str) -> str:
    """The selection of the scan that a label belongs to; the label itself where none does."""
    labels = {
        fit_label(name, point.window): name for name, points in scan.selections.items() for point in points
    }
    return labels.get(label, label)


def _overlay(fit: BackgroundFit, best: ScanPoint | None) -> SignalOverlay | None:
    """The signal-plus-background fit at the most significant mass, where there is an excess at all."""
    if best is None or best.z is None or best.z <= 0:
        return None
    found = fit.signal_fits.get(f"{best.mass:g}")
    if found is None:
        return None
    return SignalOverlay(best.mass, np.array(found.signal), np.array(found.background))


def _spectrum(record: RunRecord, name: str, label: PlotLabel) -> Drawn:
    fit = record.fits[name]
    points = _points_of(record, name)
    best = largest_excess(points)
    overlay = _overlay(fit, best)
    used = None if name == INCLUSIVE or not points else points[0].window
    quality = f"χ²/ndf = {fit.chi2:.1f}/{fit.ndf}, p = {significant(fit.fit_p, 2)}"
    data = SpectrumData(
        edges=np.array(fit.edges),
        observed=np.array(fit.observed),
        background=np.array(fit.background),
        background_error=np.array(fit.background_error),
        pull=np.array([np.nan if value is None else value for value in fit.pull]),
        window=None if used is None else window(used).signal_region,
        overlay=overlay,
        notes=(
            readable(name),
            fit.function,
            rf"$\chi^2$/ndf = {fit.chi2:.1f}/{fit.ndf}",
            "background-only fit"
            if fit.fit_p is None
            else rf"background-only $\mathit{{p}} = {scientific(fit.fit_p)}$",
        ),
    )
    excess = ""
    if best is not None and overlay is not None:
        excess = f" Dashed: signal plus background at {best.mass:g} GeV (local Z {signed(local_z(best))}{level(best)})."
    title = "Dijet mass before selection" if name == INCLUSIVE else f"Dijet mass after {readable(name)}"
    return Drawn(
        "spectra",
        f"mjj_{name}",
        spectrum_figure(data, label),
        f"{title} with the background-only fit ({fit.function}, {quality}) and pulls, "
        f"(observed − background) / √background.{excess}",
        f"{title}: {sum(fit.observed):.0f} events falling from {fit.range[0]:g} to {fit.range[1]:g} GeV with "
        f"the fit and pulls; {quality}.{excess}",
        chart=spectrum_chart(fit, overlay, data.window),
        owner=owner_of(record.scan, name),
    )


def _score(record: RunRecord, name: str, label: PlotLabel) -> Drawn:
    shapes = score_shapes(
        {sample: histograms["score"] for sample, histograms in record.histograms.items()},
        record.scan.sample,
        name,
    )
    figure = score_figure(
        shapes.edges,
        shapes.signal_region,
        shapes.side_bands,
        label,
        signals=shapes.signals,
        notes=(readable(name),),
    )
    signals = (
        f"; dashed: signal simulation ({', '.join(shapes.signals)}), which, where no fold was trained on it, has the mean of "
        "all folds' scores, while each event of the data has that of the one fold that never saw it: the shapes do not "
        "compare in their tails"
        if shapes.signals
        else ""
    )
    return Drawn(
        "scores",
        f"score_{name}",
        figure,
        f"Score of {readable(name)} in the signal region and in the side bands, each normalised to one{signals}. "
        "Larger is more anomalous. Below: signal region over side bands.",
        f"Score distributions of {readable(name)} in the signal region and in the side bands, with their ratio.",
        chart=score_chart(shapes),
        owner=owner_of(record.scan, name),
    )


def window_spans(points: Sequence[ScanPoint]) -> tuple[WindowSpan, ...]:
    """Neighbouring masses that share a window."""
    spans = []
    for name, group in itertools.groupby(points, key=lambda point: point.window):
        masses = [point.mass for point in group]
        if name is not None:
            spans.append(WindowSpan(name, masses[0], masses[-1]))
    return tuple(spans)


def _all_spans(record: RunRecord) -> tuple[WindowSpan, ...]:
    return next(filter(None, map(window_spans, record.scan.selections.values())), ())


def _column(points: tuple[ScanPoint, ...], key: str) -> FloatArray:
    """One number a mass, not-a-number where the fit is not valid."""
    values = [getattr(point, key) if point.valid else None for point in points]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _p_values(record: RunRecord, label: PlotLabel) -> Drawn:
    curves = {name: _column(points, "told_p0") for name, points in record.scan.selections.items()}
    bounds = bound_masses(record.scan.selections)
    figure = p_value_figure(np.array(record.scan.masses), curves, label, _all_spans(record), bounds)
    words = []
    for name, points in record.scan.selections.items():
        best = largest_excess(points)
        if best is not None:
            words.append(
                f"{name}: smallest p₀ {signed(local_p(best))} (Z {signed(local_z(best))}){level(best)}, at {best.mass:g} GeV"
            )
    return Drawn(
        "scan",
        "p_values",
        figure,
        "Local p-value of the background-only hypothesis against resonance mass. Letters above: the window in "
        "which each mass is tested. A gap: no valid fit. No look-elsewhere correction is applied."
        + _open_points(record.scan.masses, bounds),
        f"Local p-value against resonance mass. {'; '.join(words)}.",
        chart=p_value_chart(record.scan.selections, record.scan.masses, _all_spans(record)),
    )


def _open_points(masses: Sequence[float], bounds: Mapping[str, BoolArray]) -> str:
    """What open points are, and at which masses they stand."""
    told = [
        f"{name} at {', '.join(f'{mass:g}' for mass, is_bound in zip(masses, there, strict=True) if is_bound)} GeV"
        for name, there in bounds.items()
        if there.any()
    ]
    if not told:
        return ""
    return f" Open points are upper limits at 95 % CL, where no toy is as extreme as the data: {'; '.join(told)}."


def _curve(points: tuple[ScanPoint, ...], suffix: str) -> LimitCurve | None:
    """Limits in events (suffix empty) or fb; None where no mass has them."""
    observed, expected = limit_columns(points, suffix)
    if not (np.isfinite(observed).any() or np.isfinite(expected).any()):
        return None
    return LimitCurve(np.array([point.mass for point in points]), observed, expected)


def _limits(record: RunRecord, name: str, points: tuple[ScanPoint, ...], label: PlotLabel) -> Iterator[Drawn]:
    for suffix, unit, words in (("", "events", "signal events"), ("_fb", "fb", "cross section × B in fb")):
        curve = _curve(points, suffix)
        if curve is None:
            continue
        inclusive = record.scan.selections.get(INCLUSIVE)
        # Events before and after a selection are not the same thing; only cross sections compare.
        other = _curve(inclusive, suffix) if inclusive and name != INCLUSIVE and unit == "fb" else None
        figure = limit_figure(
            curve,
            label,
            unit=unit,
            notes=(name,),
            reference=None if other is None else (INCLUSIVE, other),
            windows=window_spans(points),
        )
        comparison = f" Also shown: the median expected limit of {INCLUSIVE}." if other is not None else ""
        yield Drawn(
            "limits",
            f"limits_{name}_{unit}",
            figure,
            f"{name}: upper limits on the {words} at 95 % confidence level, observed and expected.{comparison}",
            f"{name}: upper limits on the {words} against resonance mass, observed with points and expected "
            "with one and two standard deviation bands.",
            chart=limit_chart(
                points,
                unit,
                window_spans(points),
                None if other is None or not inclusive else (INCLUSIVE, inclusive),
            ),
            owner=name,
        )
