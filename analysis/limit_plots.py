"""Plots of limits with retraining: efficiency and excluded cross section against the injected one, and significances."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from analysis.limit_record import InjectionPoint, LimitPoint, SelectionLimits, SignalLimits
from analysis.plots.style import (
    BLUE,
    CYCLE,
    GREY,
    INNER_BAND,
    OUTER_BAND,
    RED,
    PlotLabel,
    draw_label,
    new_figure,
    plot_style,
)
from analysis.published_significances import CITATION, PublishedSignificances
from analysis.retraining_limits import excluded_cross_sections
from data.types import FloatArray
from processors.scorers import INCLUSIVE

INJECTED_LABEL = "Injected cross section [fb]"
_MARKERS = "osD^vP"
_LARGEST_Z = 9.0
"""Significances beyond are drawn here: their p-values say no more."""
_MEDIAN = 2
_LEGEND_COLUMNS = 4


def retraining_figure(limits: SelectionLimits, label: PlotLabel, notes: tuple[str, ...]) -> Figure:
    """Efficiency against the injected cross section, and the cross section that it excludes.

    Parameters
    ----------
    limits
        Of a method that is trained again, with limits and a curve.
    label
        What stands above the plot.
    notes
        Lines of text for the corner.

    Returns
    -------
    matplotlib.figure.Figure
        Above ε(σ): trainings, their mean, the monotone curve with its central 68 %. Below σ_excl(σ), observed and
        median expected with its bands, the line where both are equal, and the limits of both rules.
    """
    with plot_style():
        figure = new_figure(height=12.5)
        upper, lower = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"hspace": 0.06, "height_ratios": (1, 1.35)}
        )
        _draw_efficiency(upper, limits, notes)
        _draw_excluded(lower, limits)
        draw_label(upper, label)
    return figure


def _draw_efficiency(axes: Axes, limits: SelectionLimits, notes: tuple[str, ...]) -> None:
    if limits.curve is not None:
        grid = limits.curve.cross_section_fb
        axes.fill_between(grid, limits.curve.low, limits.curve.high, color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(grid, limits.curve.efficiency, color=BLUE, label="Monotone curve, 68%")
    for number, point in enumerate(limits.points):
        each = point.efficiencies
        text = "Trainings" if number == 0 else None
        axes.plot([point.cross_section_fb] * len(each), each, "x", color=GREY, markersize=8, label=text)
    axes.errorbar(
        [point.cross_section_fb for point in limits.points],
        [point.efficiency for point in limits.points],
        [point.error for point in limits.points],
        fmt="o", color="black", markersize=8, label="Mean",
    )  # fmt: skip
    top = max(max(point.efficiencies) for point in limits.points)
    axes.set_ylim(0, 1.45 * max(top, 1e-3))
    axes.set_ylabel(r"Signal efficiency $\varepsilon$")
    axes.legend(loc="upper left")
    axes.text(0.97, 0.94, "\n".join(notes), transform=axes.transAxes, ha="right", va="top", fontsize=19)


def _draw_excluded(axes: Axes, limits: SelectionLimits) -> None:
    sigma = np.array([point.cross_section_fb for point in limits.points])
    points = np.array([point.efficiency for point in limits.points])
    grid, curve = sigma, points
    if limits.curve is not None:
        grid, curve = np.array(limits.curve.cross_section_fb), np.array(limits.curve.efficiency)
    reaches = [reach_fb(limits, limit) for limit in limits.expected]
    top = 1.6 * float(sigma[-1])
    for low, high, colour, text in (
        (0, 4, OUTER_BAND, r"Expected $\pm 2\sigma$"),
        (1, 3, INNER_BAND, r"Expected $\pm 1\sigma$"),
    ):
        below, above = (np.minimum(excluded_cross_sections(curve, reaches[k]), 10 * top) for k in (low, high))
        axes.fill_between(grid, below, above, color=colour, linewidth=0, label=text)
    axes.plot(grid, excluded_cross_sections(curve, reaches[_MEDIAN]), "k--", label="Median expected")
    if limits.observed is not None:
        own = reach_fb(limits, limits.observed)
        axes.plot(grid, excluded_cross_sections(curve, own), "k-", label="Observed")
        axes.plot(sigma, excluded_cross_sections(points, own), "ko", markersize=8)
        _draw_rules(axes, limits.observed)
    axes.plot([0, top], [0, top], color=GREY, linestyle=":", label=r"$\sigma_{\mathrm{excl}} = \sigma$")
    axes.set_xlim(0, 1.05 * float(sigma[-1]))
    axes.set_ylim(0, top)
    axes.set_xlabel(INJECTED_LABEL)
    axes.set_ylabel(r"Excluded $\sigma_{\mathrm{excl}}$ [fb]")
    axes.legend(loc="upper right", ncols=2, fontsize=17, columnspacing=1.0)


def reach_fb(limits: SelectionLimits, limit: LimitPoint) -> float:
    """Cross section excluded at an efficiency of one: the same events over luminosity and acceptance for all limits.

    Parameters
    ----------
    limits
        Limits of the selection.
    limit
        One of them.

    Returns
    -------
    float
        In fb.
    """
    return limit.n_excluded * limits.fb_per_event


def _draw_rules(axes: Axes, limit: LimitPoint) -> None:
    """The crossing with its interval, and the grid's limits, as marks on the diagonal."""
    if limit.status == "ok" and limit.crossing_fb is not None:
        ends = [
            abs((end if end is not None else limit.crossing_fb) - limit.crossing_fb)
            for end in (limit.crossing_low_fb, limit.crossing_high_fb)
        ]
        axes.errorbar(
            limit.crossing_fb, limit.crossing_fb, xerr=np.array(ends)[:, None], fmt="*", color=RED, markersize=20,
            capsize=5, zorder=5, label=f"Crossing {limit.crossing_fb:.3g} fb",
        )  # fmt: skip
    for value, marker, text in ((limit.grid_fb, "s", "min–max"), (limit.grid_tie_fb, "D", "with ties")):
        if value is not None:
            axes.plot(
                value, value, marker, color=RED, markerfacecolor="none", markersize=14 if marker == "s" else 9,
                markeredgewidth=2, linestyle="none", label=f"{text} {value:.3g} fb",
            )  # fmt: skip


def significance_figure(
    limits: SignalLimits,
    label: PlotLabel,
    notes: tuple[str, ...] = (),
    published: PublishedSignificances | None = None,
) -> Figure:
    """Local p-value that each selection finds for injected signals, against their cross section.

    Parameters
    ----------
    limits
        Of one signal, with at least one valid fit.
    label
        What stands above the plot.
    notes
        Lines of text for the corner.
    published
        Significances that another analysis found with the same selections on its own data, drawn dotted.

    Returns
    -------
    matplotlib.figure.Figure
        Points are medians of the trainings, bars reach from the lowest to the highest.
    """
    with plot_style():
        figure = new_figure(height=9.8)
        rows = math.ceil(len(limits.selections) / _LEGEND_COLUMNS)
        figure.subplots_adjust(right=0.93, bottom=0.13 + 0.035 * rows)
        axes = figure.add_subplot()
        axes.set_yscale("log")
        looks = _looks(limits.selections)
        for name, found in limits.selections.items():
            _draw_significances(axes, name, found.points, *looks[name])
        largest = _largest_z(limits)
        if published is not None and _draw_published(axes, published, looks):
            title = published.title.replace("′", r"$^{\prime}$")  # which the font lacks
            notes = (*notes, f"Dotted: {title}, {published.luminosity_ifb:.3g} fb$^{{-1}}$,", CITATION)
        if largest > _LARGEST_Z:
            notes = (*notes, rf"Beyond {_LARGEST_Z:g}$\sigma$: drawn at {_LARGEST_Z:g}$\sigma$")
        _draw_sigma(axes, min(max(largest, 4.0), _LARGEST_Z))
        axes.set_xlim(
            0,
            1.05
            * max(point.cross_section_fb for found in limits.selections.values() for point in found.points),
        )
        axes.set_xlabel(INJECTED_LABEL)
        axes.set_ylabel(r"Local $\mathit{p}$-value")
        axes.text(0.04, 0.05, "\n".join(notes), transform=axes.transAxes, ha="left", va="bottom", fontsize=17,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 3},
        )  # fmt: skip
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="lower center",
            ncols=_LEGEND_COLUMNS,
            frameon=False,
            fontsize=18,
            columnspacing=1.2,
        )
        draw_label(axes, label)
    return figure


def _draw_published(
    axes: Axes, published: PublishedSignificances, looks: Mapping[str, tuple[str, str]]
) -> bool:
    """Dotted lines in the colours of the selections; whether there were any."""
    shared = [name for name in published.z if name in looks]
    for name in shared:
        p_values = _p_values(np.array(published.z[name]))
        axes.plot(published.cross_sections, p_values, ":", color=looks[name][0], linewidth=2.0)
    return bool(shared)


def _looks(selections: Mapping[str, SelectionLimits]) -> dict[str, tuple[str, str]]:
    """Colour and line: black for all events, dashes for fixed selections."""
    found, place = {}, 0
    for name, limits in selections.items():
        if name == INCLUSIVE:
            found[name] = ("black", "--")
            continue
        found[name] = (CYCLE[place % len(CYCLE)], "-" if limits.retrained else "-.")
        place += 1
    return found


def _draw_significances(
    axes: Axes, name: str, points: tuple[InjectionPoint, ...], colour: str, line: str
) -> None:
    known = [
        (point.cross_section_fb, np.array([z for z in point.z if z is not None]))
        for point in points
        if any(z is not None for z in point.z)
    ]
    if not known:
        return
    sigma = [cross_section for cross_section, _ in known]
    middle = _p_values(np.array([np.median(z) for _, z in known]))
    ends = [_p_values(np.array([end(z) for _, z in known])) for end in (np.max, np.min)]
    bars = np.abs(np.stack(ends) - middle)
    marker = _MARKERS[CYCLE.index(colour) % len(_MARKERS) if colour in CYCLE else 0]
    axes.errorbar(
        sigma, middle, bars, color=colour, linestyle=line, marker=marker, markersize=8, elinewidth=1.5, label=name
    )  # fmt: skip


def _p_values(z: FloatArray) -> FloatArray:
    return np.asarray(stats.norm.sf(np.minimum(z, _LARGEST_Z)))


def _largest_z(limits: SignalLimits) -> float:
    found = [
        z for one in limits.selections.values() for point in one.points for z in point.z if z is not None
    ]
    return max(found, default=0.0)


def _draw_sigma(axes: Axes, largest: float) -> None:
    """Lines at whole standard deviations, from the top down."""
    axes.set_ylim(float(stats.norm.sf(1.12 * largest + 0.4)), 2.0)
    for sigma in range(1, int(largest) + 2):
        p_value = float(stats.norm.sf(sigma))
        if p_value < axes.get_ylim()[0]:
            break
        axes.axhline(p_value, color="#6b6b72", linewidth=1.0, linestyle=":")
        axes.annotate(
            rf"{sigma}$\sigma$", (1.0, p_value), xycoords=("axes fraction", "data"), xytext=(7, 0),
            textcoords="offset points", ha="left", va="center", fontsize=18, color="#4b4b52",
        )  # fmt: skip
