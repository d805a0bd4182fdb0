"""Local p-values and limits against the resonance mass."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from analysis.plots.style import (
    CYCLE,
    INNER_BAND,
    OUTER_BAND,
    RESONANCE_LABEL,
    PlotLabel,
    draw_label,
    new_figure,
    plot_style,
)
from data.types import BoolArray, FloatArray

_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class WindowSpan:
    """Masses tested in one window.

    Attributes
    ----------
    name
        Window name, e.g. ``B3``.
    low, high
        First and last mass in GeV that are tested in it.
    """

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class LimitCurve:
    """Upper limits at 95 % confidence level against the resonance mass.

    Attributes
    ----------
    masses
        GeV, shape (n,), ascending.
    observed
        Events or fb, shape (n,); not-a-number where the fit is not valid.
    expected
        The −2σ, −1σ, median, +1σ, +2σ expected limits, shape (n, 5).
    """

    masses: FloatArray
    observed: FloatArray
    expected: FloatArray


def p_value_figure(
    masses: FloatArray,
    p_values: Mapping[str, FloatArray],
    label: PlotLabel,
    windows: Sequence[WindowSpan] = (),
    bounds: Mapping[str, BoolArray] | None = None,
) -> Figure:
    """Local p-value against mass for each selection, with lines at 1 … 5 standard deviations.

    Parameters
    ----------
    masses
        Resonance masses in GeV, shape (n,), ascending.
    p_values
        Name of each selection to its local p-values, shape (n,); not-a-number leaves a gap.
    label
        What stands above the plot.
    windows
        Which masses are tested in which window.
    bounds
        Name of a selection to where its p-values are upper limits at 95 % CL, shape (n,): the points are open there.

    Returns
    -------
    matplotlib.figure.Figure
        One panel, logarithmic.
    """
    with plot_style():
        figure = new_figure(height=8.0)
        figure.subplots_adjust(right=0.93)  # the lines are named outside, where no point can hide them
        axes = figure.add_subplot()
        axes.set_yscale("log")
        _mass_axis(axes, masses, windows)
        open_points = {name: there for name, there in (bounds or {}).items() if there.any()}
        entries = len(p_values) + bool(open_points)
        _draw_sigma_lines(axes, list(p_values.values()), entries)
        for i, (name, values) in enumerate(p_values.items()):
            colour = "black" if i == 0 else CYCLE[(i - 1) % len(CYCLE)]
            style = "--" if i == 0 else "-"
            marker = _MARKERS[i % len(_MARKERS)]
            axes.plot(masses, values, color=colour, linestyle=style, marker=marker, markersize=8, label=name)
            if name in open_points:
                limits = np.where(open_points[name], values, np.nan)
                axes.plot(masses, limits, marker, color=colour, markersize=8, markerfacecolor="white")
        if open_points:
            axes.plot(
                [], [], "o", color="black", markersize=8, markerfacecolor="white", label="95 % CL limit"
            )
        axes.set_xlabel(RESONANCE_LABEL)
        axes.set_ylabel(r"Local $\mathit{p}$-value")
        axes.legend(loc="lower center", ncols=min(entries, 3), columnspacing=1.5)
        draw_label(axes, label)
    return figure


def _draw_sigma_lines(axes: Axes, curves: Sequence[FloatArray], entries: int) -> None:
    """Lines at whole standard deviations, and an axis that holds them and a legend of so many entries below the curves."""
    values = np.concatenate([*curves, np.array([1.0])])
    smallest = float(np.nanmin(values[values > 0], initial=1.0))
    rows = 1 + (entries - 1) // 3
    bottom = smallest * 10 ** min(0.13 * rows * np.log10(smallest), -1.0)
    axes.set_ylim(min(bottom, float(stats.norm.sf(4.1))), 8.0)
    for sigma in range(1, 6):
        p_value = float(stats.norm.sf(sigma))
        if p_value < axes.get_ylim()[0]:
            break
        axes.axhline(p_value, color="#6b6b72", linewidth=1.2, linestyle=":")
        axes.annotate(
            rf"{sigma}$\sigma$",
            (1.0, p_value),
            xycoords=("axes fraction", "data"),
            xytext=(7, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=19,
            color="#4b4b52",
        )


def _mass_axis(axes: Axes, masses: FloatArray, windows: Sequence[WindowSpan]) -> None:
    """Limits half a step beyond the masses; windows as alternating bands with their names at the top."""
    step = float(np.diff(masses).min()) if len(masses) > 1 else 100.0
    axes.set_xlim(masses[0] - step / 2, masses[-1] + step / 2)
    borders = [masses[0] - step / 2]
    borders += [(left.high + right.low) / 2 for left, right in itertools.pairwise(windows)]
    borders.append(masses[-1] + step / 2)
    for i, window in enumerate(windows):
        low, high = borders[i], borders[i + 1]
        if i % 2 == 0:
            axes.axvspan(low, high, color="#f1f1f4", linewidth=0, zorder=0)
        axes.text(
            (low + high) / 2,
            0.97,
            window.name,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=19,
            color="#4b4b52",
        )


def limit_figure(
    curve: LimitCurve,
    label: PlotLabel,
    *,
    unit: str,
    notes: tuple[str, ...] = (),
    reference: tuple[str, LimitCurve] | None = None,
    windows: Sequence[WindowSpan] = (),
) -> Figure:
    """Observed and expected limits with ±1σ and ±2σ bands.

    Parameters
    ----------
    curve
        The limits; at least one of them is a positive number.
    label
        What stands above the plot.
    unit
        ``events`` or ``fb``: what the limits count.
    notes
        Lines of text for the corner.
    reference
        Name and limits of another selection, whose median expected limit is drawn for comparison.
    windows
        Which masses are tested in which window.

    Returns
    -------
    matplotlib.figure.Figure
        One panel, logarithmic.
    """
    with plot_style():
        figure = new_figure(height=8.5)
        axes = figure.add_subplot()
        axes.set_yscale("log")
        _mass_axis(axes, curve.masses, windows)
        _draw_bands(axes, curve)
        drawn = [curve.expected.ravel(), curve.observed]
        if reference is not None:
            name, other = reference
            text = f"Median expected, {name}"
            _draw_median(axes, other, "#7a21dd", "-.", text)
            drawn.append(other.expected[:, 2])
        _draw_median(axes, curve, "black", "--", "Median expected")
        axes.plot(curve.masses, curve.observed, color="black", marker="o", markersize=8, label="Observed")
        values = np.concatenate(drawn)
        values = values[np.isfinite(values) & (values > 0)]
        bottom, top = float(values.min()) / 1.6, float(values.max())
        axes.set_ylim(bottom, top * max((top / bottom) ** 0.75, 6.0))
        axes.set_xlabel(RESONANCE_LABEL)
        axes.set_ylabel(_LIMIT_LABELS[unit])
        handles, texts = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], texts[::-1], loc="upper right", bbox_to_anchor=(1.0, 0.93))
        text = "\n".join(("95% CL upper limits", *notes))
        axes.text(0.04, 0.9, text, transform=axes.transAxes, ha="left", va="top", fontsize=20)
        draw_label(axes, label)
    return figure


_LIMIT_LABELS = {"events": "Signal events", "fb": r"Cross section $\times$ $\mathit{B}$ [fb]"}


def _draw_bands(axes: Axes, curve: LimitCurve) -> None:
    """Both bands; a valid mass between two that are not has no width, and is drawn as a bar."""
    for low, high, colour, text in (
        (0, 4, OUTER_BAND, r"Expected $\pm 2\sigma$"),
        (1, 3, INNER_BAND, r"Expected $\pm 1\sigma$"),
    ):
        below, above = curve.expected[:, low], curve.expected[:, high]
        axes.fill_between(curve.masses, below, above, color=colour, linewidth=0, label=text)
        alone = _isolated(np.isfinite(below) & np.isfinite(above))
        axes.vlines(curve.masses[alone], below[alone], above[alone], color=colour, linewidth=10)


def _draw_median(axes: Axes, curve: LimitCurve, colour: str, line: str, text: str) -> None:
    """The median; a valid mass between two that are not is no line, and is drawn as a dash."""
    median = curve.expected[:, 2]
    axes.plot(curve.masses, median, color=colour, linestyle=line, label=text)
    alone = _isolated(np.isfinite(median))
    axes.plot(
        curve.masses[alone], median[alone], color=colour, linestyle="none", marker="_", markersize=20, markeredgewidth=2.5
    )  # fmt: skip


def _isolated(valid: BoolArray) -> BoolArray:
    padded = np.concatenate([[False], valid, [False]])
    neighbours: BoolArray = padded[:-2] | padded[2:]
    return valid & ~neighbours
