"""The page's charts of the scan: p-values, limits and spectra, each bin with its numbers to point at."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from analysis.plots.scan import WindowSpan
from analysis.plots.spectrum import SignalOverlay, poisson_interval
from analysis.report.charts import reach
from analysis.report.look_elsewhere import level, local_p, local_z, signed
from analysis.report.marks import CYCLE, Band, Chart, Colour, Line, Panel, Points, Steps
from analysis.report.numbers import between, fixed, interval, significant, with_error
from analysis.report.record import BackgroundFit, ScanPoint
from data.types import BoolArray, FloatArray

MASS, RESONANCE = "Dijet mass [GeV]", "Resonance mass [GeV]"
_PER = 100.0  # GeV; densities of unequal bins are given per this
_SIGMAS = (5, 3, 1, 2, 4, 10, 20, 7, 15, 30)
"""Standard deviations that have a line among the p-values, those first whose words matter most."""


def colours(names: Sequence[str]) -> dict[str, Colour]:
    """A colour for each selection: the first, which is the search without any, has that of the text."""
    return {name: "ink" if k == 0 else CYCLE[(k - 1) % len(CYCLE)] for k, name in enumerate(names)}


def sigma_levels() -> tuple[tuple[float, str], ...]:
    """P-values of whole numbers of standard deviations, as levels of a panel.

    Returns
    -------
    tuple of (float, str)
        p-value and its word.
    """
    return tuple((float(norm.sf(size)), f"{size}σ") for size in _SIGMAS)


def p_value_chart(
    selections: Mapping[str, tuple[ScanPoint, ...]], masses: Sequence[float], spans: Sequence[WindowSpan]
) -> Chart:
    """Local p-values of all selections against the mass (GeV).

    Parameters
    ----------
    selections
        Selection to its points.
    masses
        Tested masses, GeV.
    spans
        Windows, GeV.

    Returns
    -------
    Chart
        p-values downwards on a logarithmic axis.
    """
    x = np.asarray(masses, dtype=np.float64)
    curves = {
        name: np.array([_number(point.told_p0, valid=point.valid) for point in points])
        for name, points in selections.items()
    }
    smallest = np.nanmin(np.concatenate([*curves.values(), [float(norm.sf(4))]]))
    by_colour = colours(list(curves))
    drawn = [
        Line(x, curve, name, by_colour[name], dashed=k == 0, marked=True)
        for k, (name, curve) in enumerate(curves.items())
    ]
    limits = [
        Points(
            x, np.where(bounds, curves[name], np.nan), f"{name}: 95 % CL limit", by_colour[name], hollow=True
        )
        for name, bounds in bound_masses(selections).items()
        if bounds.any()
    ]
    panel = Panel(
        marks=(*drawn, *limits),
        title="Local p-value",
        range=(float(max(smallest, 1e-300)) / 5, 1.5),
        log=True,
        height=260.0,
        levels=sigma_levels(),
    )
    borders = _borders(x)
    tips = []
    for k, mass in enumerate(masses):
        lines = [f"{mass:g} GeV"]
        for name, points in selections.items():
            used = f" in {points[k].window}" if points[k].window else ""
            found = (
                f"Z {signed(local_z(points[k]))}, p₀ {signed(local_p(points[k]))}{level(points[k])}"
                if points[k].valid
                else "no valid fit"
            )
            lines.append(f"{name}{used}: {found}")
        tips.append((borders[k], borders[k + 1], "\n".join(lines)))
    return Chart((panel,), RESONANCE, (borders[0], borders[-1]), _spans(spans, borders, x), tuple(tips))


def bound_masses(selections: Mapping[str, tuple[ScanPoint, ...]]) -> dict[str, BoolArray]:
    """Of each selection, at which masses p₀ is known to be below a limit only: no toy was as extreme as the data.

    Parameters
    ----------
    selections
        Selection to its n points.

    Returns
    -------
    dict of str to array
        Shape (n,).
    """
    return {
        name: np.array([point.valid and point.is_bound for point in points], dtype=np.bool_)
        for name, points in selections.items()
    }


def limit_chart(
    points: Sequence[ScanPoint],
    unit: str,
    spans: Sequence[WindowSpan],
    reference: tuple[str, Sequence[ScanPoint]] | None = None,
) -> Chart:
    """Observed and expected upper limits in ``events`` or ``fb`` against the mass (GeV)."""
    suffix = "" if unit == "events" else "_fb"
    masses = np.array([point.mass for point in points])
    borders = _borders(masses)
    observed, expected = limit_columns(points, suffix)
    # What is known at one mass only is drawn over the whole axis: a band of no width could not be seen.
    x = masses if len(masses) > 1 else borders
    lines = expected if len(masses) > 1 else np.repeat(expected, 2, axis=0)
    marks: list[Band | Line] = [
        Band(x, lines[:, 0], lines[:, 4], "Expected ± 2σ", "outer"),
        Band(x, lines[:, 1], lines[:, 3], "Expected ± 1σ", "inner"),
        Line(x, lines[:, 2], "Median expected", "ink", dashed=True),
    ]
    drawn = [expected, observed]
    if reference is not None:
        other = limit_columns(reference[1], suffix)[1][:, 2]
        marks.append(
            Line(x, np.resize(other, len(x)), f"Median expected, {reference[0]}", "violet", dashed=True)
        )
        drawn.append(other)
    marks.append(Line(masses, observed, "Observed", "ink", marked=True))
    title = "Signal events" if unit == "events" else "Cross section × B [fb]"
    panel = Panel(tuple(marks), title, reach(drawn, log=True, head=0.1), log=True, height=250.0)
    tips = []
    for k, point in enumerate(points):
        found = (
            f"observed {significant(finite(observed[k]))} {unit}\nexpected {significant(finite(expected[k, 2]))} {unit}\n"
            f"±1σ {between(expected[k, 1], expected[k, 3])}, ±2σ {between(expected[k, 0], expected[k, 4])}"
        )
        tips.append(
            (borders[k], borders[k + 1], f"{point.mass:g} GeV\n{found if point.valid else 'no valid fit'}")
        )
    return Chart((panel,), RESONANCE, (borders[0], borders[-1]), _spans(spans, borders, masses), tuple(tips))


def limit_columns(points: Sequence[ScanPoint], suffix: str) -> tuple[FloatArray, FloatArray]:
    """Observed limits (n,) and the five expected ones (n, 5), in events or with the suffix ``_fb`` in fb.

    Parameters
    ----------
    points
        n tested masses.
    suffix
        Empty, or ``_fb``.

    Returns
    -------
    observed, expected
        Shapes (n,) and (n, 5); not-a-number where there is none.
    """
    observed = np.array(
        [_number(getattr(point, f"limit_observed{suffix}"), valid=point.valid) for point in points]
    )
    expected = np.full((len(points), 5), np.nan)
    for k, point in enumerate(points):
        values = getattr(point, f"limit_expected{suffix}")
        if point.valid and values is not None and None not in values:
            expected[k] = values
    return observed, expected


def spectrum_chart(
    fit: BackgroundFit, overlay: SignalOverlay | None, window: tuple[float, float] | None
) -> Chart:
    """A spectrum with its fit, its pulls, and the fit with a signal.

    Parameters
    ----------
    fit
        Background-only fit, events a bin.
    overlay
        Fit with a signal; None without one.
    window
        Signal region, GeV; None where the whole spectrum is tested.

    Returns
    -------
    Chart
        Events per 100 GeV, and pulls.
    """
    edges, observed = np.array(fit.edges), np.array(fit.observed)
    background, error = np.array(fit.background), np.array(fit.background_error)
    scale = _PER / np.diff(edges)
    centres = (edges[1:] + edges[:-1]) / 2
    down, up = poisson_interval(observed)
    marks: list[Steps | Points] = [
        Steps(edges, background * scale, f"Background fit, {fit.function}", "blue",
              low=(background - error) * scale, high=(background + error) * scale),
    ]  # fmt: skip
    if overlay is not None:
        total = (overlay.background + overlay.signal) * scale
        marks.append(Steps(edges, total, f"With a signal at {overlay.mass:g} GeV", "red", dashed=True))
    marks.append(
        Points(
            centres, np.where(observed > 0, observed * scale, np.nan), "Data", "ink",
            (observed - down) * scale, (observed + up) * scale,
        )
    )  # fmt: skip
    low = max(float((background * scale).min()) / 2, 1e-3)
    high = 2.5 * float(max(((observed + up) * scale).max(), (background * scale).max()))
    pull = np.array([np.nan if value is None else value for value in fit.pull])
    most = float(np.nanmax(np.abs(pull), initial=2.0)) * 1.15
    lower: list[Steps] = [Steps(edges, pull, "", "grey")]
    if overlay is not None:
        lower.append(
            Steps(
                edges,
                (overlay.background + overlay.signal - background) / np.sqrt(background),
                "",
                "red",
                dashed=True,
            )
        )
    panels = (
        Panel(tuple(marks), f"Events / {_PER:g} GeV", (low, high), log=True, height=240.0),
        Panel(tuple(lower), "Pull", (-most, most), height=80.0, levels=((0.0, ""),)),
    )
    spans = () if window is None else ((*window, "signal region"),)
    return Chart(panels, MASS, (float(edges[0]), float(edges[-1])), spans, _bin_tips(fit, overlay))


def _bin_tips(fit: BackgroundFit, overlay: SignalOverlay | None) -> tuple[tuple[float, float, str], ...]:
    """What a reader is told of each bin of a spectrum."""
    bins = zip(
        itertools.pairwise(fit.edges),
        fit.observed,
        fit.background,
        fit.background_error,
        fit.pull,
        strict=True,
    )
    return tuple(
        (
            low,
            high,
            f"{interval(low, high)} GeV\n{observed:.0f} observed, {with_error(background, error)} expected\n"
            f"pull {fixed(pull, 1)}"
            + ("" if overlay is None else f"\nfitted signal {significant(overlay.signal[k], 2)}"),
        )
        for k, ((low, high), observed, background, error, pull) in enumerate(bins)
    )


def selection_chart(edges: FloatArray, before: FloatArray, after: Mapping[str, FloatArray]) -> Chart:
    """Spectra before and after selections, and the fraction that each keeps.

    Parameters
    ----------
    edges
        Of n bins, shape (n + 1,), GeV.
    before
        Events, shape (n,).
    after
        Selection to its events, shape (n,).

    Returns
    -------
    Chart
        Spectra, and fractions.
    """
    by_colour = colours(["", *after])
    marks = [Steps(edges, before, "Before selection", "ink")]
    lower = []
    for name, values in after.items():
        marks.append(Steps(edges, values, name, by_colour[name]))
        kept = np.divide(values, before, out=np.full(len(before), np.nan), where=before > 0)
        error = np.sqrt(np.divide(kept * (1 - kept), before, out=np.zeros(len(before)), where=before > 0))
        low = np.maximum(kept - error, kept / 10)  # on a logarithmic axis
        lower.append(Steps(edges, kept, "", by_colour[name], low=low, high=kept + error))
    tips = [
        (
            edges[k],
            edges[k + 1],
            "\n".join(
                [f"{interval(edges[k], edges[k + 1])} GeV: {before[k]:.0f} events"]
                + [f"{name}: {values[k]:.0f}" for name, values in after.items()]
            ),
        )
        for k in range(len(before))
    ]
    shown = [mark.values for mark in marks]
    panels = (
        Panel(tuple(marks), "Events / bin", reach(shown, log=True), log=True, height=220.0),
        Panel(tuple(lower), "Kept", reach([m.values for m in lower], log=True), log=True, height=100.0),
    )
    return Chart(panels, MASS, (float(edges[0]), float(edges[-1])), (), tuple(tips))


def _spans(
    spans: Sequence[WindowSpan], borders: FloatArray, masses: FloatArray
) -> tuple[tuple[float, float, str], ...]:
    """Windows from the border below their first mass to that above their last."""
    return tuple(
        (
            float(borders[int(np.flatnonzero(masses == span.low)[0])]),
            float(borders[int(np.flatnonzero(masses == span.high)[0]) + 1]),
            span.name,
        )
        for span in spans
    )


def _borders(masses: FloatArray) -> FloatArray:
    """Borders half-way between masses, and as far beyond the ends; 50 GeV about a single one."""
    if len(masses) == 1:
        return np.array([masses[0] - 50.0, masses[0] + 50.0])
    middle = (masses[1:] + masses[:-1]) / 2
    return np.concatenate([[2 * masses[0] - middle[0]], middle, [2 * masses[-1] - middle[-1]]])


def _number(value: float | None, *, valid: bool) -> float:
    return float("nan") if value is None or not valid else value


def finite(value: float) -> float | None:
    """A number for words: None where it is none.

    Parameters
    ----------
    value
        Any number.

    Returns
    -------
    float or None
        None for infinities and what is not a number.
    """
    return float(value) if np.isfinite(value) else None
