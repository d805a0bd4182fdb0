"""The page's charts of limits with retraining: significances of injected signals, and where a cross section is excluded."""

import itertools
from collections.abc import Mapping

import numpy as np
from scipy.stats import norm

from analysis.limit_plots import INJECTED_LABEL, reach_fb
from analysis.limit_record import InjectionPoint, SelectionLimits, SignalLimits
from analysis.published_significances import PublishedSignificances
from analysis.report.marks import Band, Chart, Colour, Line, Mark, Panel, Points
from analysis.report.numbers import fixed, significant, with_error
from analysis.report.scan_charts import colours, sigma_levels
from analysis.retraining_limits import excluded_cross_sections
from data.types import FloatArray

_LARGEST_Z = 9.0
"""Significances beyond are drawn here: their p-values say no more."""
_MEDIAN = 2


def significance_chart(limits: SignalLimits, published: PublishedSignificances | None) -> Chart:
    """Local p-values that each selection finds for injected signals, against their cross section.

    Parameters
    ----------
    limits
        Of one signal, with at least one valid fit.
    published
        Significances that another analysis found with the same selections on its own data, drawn dashed.
    """
    by_colour = colours(list(limits.selections))
    marks: list[Mark] = []
    for name, found in limits.selections.items():
        marks += _significances(name, found.points, by_colour[name])
    for name, z in (published.z if published is not None else {}).items():
        if published is not None and name in by_colour:
            x, y = np.array(published.cross_sections), _p_values(np.array(z))
            marks.append(Line(x, y, f"{name}, published", by_colour[name], dashed=True))
    sigma = _injected(limits.selections)
    every = [
        z for one in limits.selections.values() for point in one.points for z in point.z if z is not None
    ]
    lowest = float(norm.sf(1.12 * min(max(*every, 4.0), _LARGEST_Z) + 0.4))
    panel = Panel(tuple(marks), "Local p-value", (lowest, 2.0), log=True, height=260.0, levels=sigma_levels())
    tips = tuple((low, high, _told(limits.selections, value)) for value, low, high in _stretches(sigma))
    return Chart((panel,), INJECTED_LABEL, (0.0, 1.05 * sigma[-1]), (), tips)


def _injected(selections: Mapping[str, SelectionLimits]) -> list[float]:
    return sorted({point.cross_section_fb for one in selections.values() for point in one.points})


def _stretches(sigma: list[float]) -> list[tuple[float, float, float]]:
    """Each cross section with the ends of what is nearest to it on the axis."""
    middles = [(a + b) / 2 for a, b in itertools.pairwise(sigma)]
    ends = [0.0, *middles, 1.05 * sigma[-1]]
    return [(value, *pair) for value, pair in zip(sigma, itertools.pairwise(ends), strict=True)]


def _significances(name: str, points: tuple[InjectionPoint, ...], colour: Colour) -> list[Mark]:
    """Median of the trainings as a line, and bars from the lowest to the highest."""
    known = [(point.cross_section_fb, [z for z in point.z if z is not None]) for point in points]
    known = [(x, z) for x, z in known if z]
    x = np.array([x for x, _ in known])
    low, middle, high = (_p_values(np.array([end(z) for _, z in known])) for end in (max, np.median, min))
    return [Line(x, middle, name, colour), Points(x, middle, "", colour, low, high)]


def _p_values(z: FloatArray) -> FloatArray:
    return np.asarray(norm.sf(np.minimum(z, _LARGEST_Z)), dtype=np.float64)


def _told(selections: Mapping[str, SelectionLimits], sigma: float) -> str:
    found = [
        f"{name}: Z = {', '.join(fixed(z) for z in point.z)}"
        for name, one in selections.items()
        for point in one.points
        if point.cross_section_fb == sigma
    ]
    return "\n".join([f"{sigma:g} fb injected", *found])


def exclusion_chart(limits: SelectionLimits) -> Chart:
    """Efficiency against the injected cross section, and the cross section that it excludes.

    Parameters
    ----------
    limits
        Of a method that is trained again, with limits.
    """
    sigma = [point.cross_section_fb for point in limits.points]
    end, top = 1.05 * sigma[-1], 1.6 * sigma[-1]
    most = max(max(point.efficiencies) for point in limits.points)
    panels = (
        Panel(tuple(_efficiency(limits)), "Signal efficiency", (0.0, 1.15 * max(most, 1e-3)), height=150.0),
        Panel(tuple(_excluded(limits, top, end)), "Excluded [fb]", (0.0, top), height=220.0),
    )
    tips = tuple(
        (low, high, _excluded_words(limits, point))
        for point, (_, low, high) in zip(limits.points, _stretches(sigma), strict=True)
    )
    return Chart(panels, INJECTED_LABEL, (0.0, end), (), tips)


def _efficiency(limits: SelectionLimits) -> list[Mark]:
    x = np.array([point.cross_section_fb for point in limits.points])
    mean, error = (
        np.array([getattr(point, name) for point in limits.points]) for name in ("efficiency", "error")
    )
    each = [(point.cross_section_fb, one) for point in limits.points for one in point.efficiencies]
    marks: list[Mark] = []
    if limits.curve is not None:
        grid, middle, low, high = (np.array(column) for column in (
            limits.curve.cross_section_fb, limits.curve.efficiency, limits.curve.low, limits.curve.high,
        ))  # fmt: skip
        marks += [Band(grid, low, high, "68 % of it", "blue"), Line(grid, middle, "Monotone curve", "blue")]
    all_x, all_y = (np.array(column) for column in zip(*each, strict=True))
    return [
        *marks,
        Points(all_x, all_y, "Each training", "grey"),
        Points(x, mean, "Their mean", "ink", mean - error, mean + error),
    ]


def _excluded(limits: SelectionLimits, top: float, end: float) -> list[Mark]:
    """What the efficiencies exclude, the line of what was injected, and the limit where they cross."""
    grid = np.array([point.cross_section_fb for point in limits.points])
    curve = np.array([point.efficiency for point in limits.points])
    if limits.curve is not None:
        grid, curve = np.array(limits.curve.cross_section_fb), np.array(limits.curve.efficiency)
    reaches = [reach_fb(limits, limit) for limit in limits.expected]
    expected = [np.minimum(excluded_cross_sections(curve, reach), 10 * top) for reach in reaches]
    marks: list[Mark] = [
        Band(grid, expected[0], expected[4], "Expected ± 2σ", "outer"),
        Band(grid, expected[1], expected[3], "Expected ± 1σ", "inner"),
        Line(grid, expected[_MEDIAN], "Median expected", "ink", dashed=True),
        Line(np.array([0.0, end]), np.array([0.0, end]), "Excluded = injected", "grey", dashed=True),
    ]
    observed = limits.observed
    if observed is not None:
        own = np.minimum(excluded_cross_sections(curve, reach_fb(limits, observed)), 10 * top)
        marks.append(Line(grid, own, "Observed", "ink"))
        if observed.status == "ok" and observed.crossing_fb is not None:
            place = np.array([observed.crossing_fb])
            marks.append(
                Points(place, place, f"Observed limit, {significant(observed.crossing_fb)} fb", "red")
            )
    return marks


def _excluded_words(limits: SelectionLimits, point: InjectionPoint) -> str:
    lines = [
        f"{point.cross_section_fb:g} fb injected",
        f"efficiency {with_error(point.efficiency, point.error)}",
    ]
    for words, limit in (("observed", limits.observed), ("expected", limits.expected[_MEDIAN])):
        if limit is not None:
            (excluded,) = excluded_cross_sections(
                np.array([point.efficiency]), reach_fb(limits, limit)
            ).tolist()
            told = significant(excluded) if np.isfinite(excluded) else "nothing"
            lines.append(f"excludes {told} fb ({words})")
    return "\n".join(lines)
