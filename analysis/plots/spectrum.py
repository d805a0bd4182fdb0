"""The mjj spectrum with its background fit and pulls, and the spectra before and after a selection."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from scipy import stats

from analysis.plots.style import (
    BLUE,
    CYCLE,
    MASS_LABEL,
    RED,
    PlotLabel,
    draw_label,
    new_figure,
    plot_style,
)
from data.types import BoolArray, FloatArray

_ONE_SIGMA = 0.158655253931457  # tail probability beyond one standard deviation
_LEAST_EXPECTED = 4.0
_REFERENCE_WIDTH = 100.0  # GeV; densities of unequal bins are given per this


@dataclass(frozen=True)
class SignalOverlay:
    """A signal-plus-background fit to draw over a spectrum.

    Attributes
    ----------
    mass
        Resonance mass in GeV.
    signal, background
        Fitted events per bin, shape (n,).
    """

    mass: float
    signal: FloatArray
    background: FloatArray


@dataclass(frozen=True)
class SpectrumData:
    """A binned spectrum with its background-only fit.

    Attributes
    ----------
    edges
        Bin edges in GeV, shape (n + 1,).
    observed, background, background_error
        Events per bin, and the fit's uncertainty on them, shape (n,).
    pull
        (observed − background) / √background per bin, shape (n,); not-a-number where undefined.
    window
        Signal region (lo, hi) in GeV to shade, or None.
    overlay
        Signal-plus-background fit to draw, or None.
    notes
        Lines of text for the corner: selection, function, fit quality.
    """

    edges: FloatArray
    observed: FloatArray
    background: FloatArray
    background_error: FloatArray
    pull: FloatArray
    window: tuple[float, float] | None = None
    overlay: SignalOverlay | None = None
    notes: tuple[str, ...] = field(default=())


def poisson_interval(counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance to the lower and upper end of the central 68.27 % interval of a Poisson mean.

    Parameters
    ----------
    counts
        Observed events, shape (n,).

    Returns
    -------
    down, up
        Events, shape (n,); ``down`` is 0 for no events.

    References
    ----------
    F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936) 437.
    """
    counts = np.asarray(counts, dtype=np.float64)
    lower = np.where(counts > 0, stats.chi2.ppf(_ONE_SIGMA, 2 * np.maximum(counts, 1e-9)) / 2, 0.0)
    upper = stats.chi2.isf(_ONE_SIGMA, 2 * counts + 2) / 2
    return counts - lower, upper - counts


def spectrum_figure(data: SpectrumData, label: PlotLabel) -> Figure:
    """Spectrum, background fit with uncertainty band, signal-plus-background fit and pulls.

    Parameters
    ----------
    data
        Bins, fit and what to draw over them.
    label
        What stands above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels on one mass axis: events (logarithmic) and pulls.
    """
    scale, unit = _density(data.edges)
    with plot_style():
        figure = new_figure(height=10.0)
        grid = figure.add_gridspec(2, 1, height_ratios=(3.0, 1.0), hspace=0.07)
        main, lower = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        _shade(main, data.window, f"Signal region {_interval(data.window)}" if data.window else None)
        _shade(lower, data.window, None)
        _draw_fit(main, data, scale)
        main.set_yscale("log")
        main.set_xlim(data.edges[0], data.edges[-1])
        main.set_ylim(*_log_range(data, scale))
        main.set_ylabel(unit)
        main.tick_params(labelbottom=False)
        _legend(main, data.notes)
        draw_label(main, label)
        _draw_pulls(lower, data)
        figure.align_ylabels([main, lower])
    return figure


def _density(edges: FloatArray) -> tuple[FloatArray, str]:
    """Factor per bin from events to what is drawn, and the axis label that says so."""
    widths = np.diff(edges)
    if np.allclose(widths, widths[0]):
        return np.ones(len(widths)), f"Events / {widths[0]:g} GeV"
    return _REFERENCE_WIDTH / widths, f"Events / {_REFERENCE_WIDTH:g} GeV"


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:g}–{interval[1]:g} GeV"


def _shade(axes: Axes, window: tuple[float, float] | None, text: str | None) -> None:
    if window is not None:
        axes.axvspan(*window, color="#ececf0", linewidth=0, zorder=0, label=text)


def _draw_fit(axes: Axes, data: SpectrumData, scale: FloatArray) -> None:
    centres = (data.edges[1:] + data.edges[:-1]) / 2
    low = np.maximum(data.background - data.background_error, 1e-9) * scale
    high = (data.background + data.background_error) * scale
    axes.stairs(high, data.edges, baseline=low, fill=True, color=BLUE, alpha=0.4, label="Fit uncertainty")
    axes.stairs(data.background * scale, data.edges, color=BLUE, linewidth=2.5, label="Background fit")
    if data.overlay is not None:
        total = (data.overlay.signal + data.overlay.background) * scale
        text = f"Signal + background, {data.overlay.mass:g} GeV"
        axes.stairs(total, data.edges, color=RED, linewidth=2.5, linestyle=(0, (4, 1.5)), label=text)
    last = int(np.flatnonzero(data.observed)[-1]) + 1 if data.observed.any() else 0
    shown = slice(0, last)  # bars of the empty bins beyond the last event would hide everything else
    down, up = poisson_interval(data.observed[shown])
    axes.errorbar(
        centres[shown],
        (data.observed * scale)[shown],
        yerr=np.stack([down, up]) * scale[shown],
        fmt="o",
        color="black",
        markersize=6,
        elinewidth=1.6,
        label="Observed",
        zorder=5,
    )


def _log_range(data: SpectrumData, scale: FloatArray) -> tuple[float, float]:
    """From below the least populated bin, or the least expectation if that is larger, to the legend's top."""
    expected, seen = data.background * scale, (data.observed * scale)[data.observed > 0]
    top = float(max(expected.max(), seen.max(initial=0.0)))
    bottom = max(float(expected.min()) / 2, float(seen.min(initial=top)) / 8, top * 1e-7)
    return bottom, top * (top / bottom) ** 0.45


def _legend(axes: Axes, notes: tuple[str, ...]) -> None:
    handles, texts = axes.get_legend_handles_labels()
    first = ("Observed", "Background fit", "Fit uncertainty")
    order = sorted(
        range(len(texts)), key=lambda i: first.index(texts[i]) if texts[i] in first else len(first)
    )
    axes.legend([handles[i] for i in order], [texts[i] for i in order], loc="upper right")
    if notes:
        axes.text(0.04, 0.05, "\n".join(notes), transform=axes.transAxes, ha="left", va="bottom", fontsize=20)


def _draw_pulls(axes: Axes, data: SpectrumData) -> None:
    axes.stairs(np.nan_to_num(data.pull), data.edges, fill=True, color="#8a8a90")
    if data.overlay is not None:
        shift = data.overlay.signal + data.overlay.background - data.background
        expected = shift / np.sqrt(np.maximum(data.background, 1e-9))
        axes.stairs(expected, data.edges, color=RED, linewidth=2.5, linestyle=(0, (4, 1.5)))
    for level in (-2.0, 0.0, 2.0):
        axes.axhline(level, color="black", linewidth=1.0, linestyle="-" if level == 0 else ":")
    finite = data.pull[np.isfinite(data.pull)]
    reach = max(3.4, 1.1 * float(np.abs(finite).max(initial=0.0)))
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_locator(MultipleLocator(2 if reach < 5 else 2 * np.ceil(reach / 6)))
    axes.set_xlim(data.edges[0], data.edges[-1])
    axes.set_xlabel(MASS_LABEL)
    axes.set_ylabel("Pull", loc="center")


def data_figure(
    edges: FloatArray, observed: FloatArray, label: PlotLabel, notes: tuple[str, ...] = ()
) -> Figure:
    """A spectrum without a fit.

    Parameters
    ----------
    edges
        Bin edges in GeV, shape (n + 1,).
    observed
        Events per bin, shape (n,).
    label
        What stands above the plot.
    notes
        Lines of text for the corner.

    Returns
    -------
    matplotlib.figure.Figure
        Events against mass, on a linear axis.
    """
    scale, unit = _density(edges)
    down, up = poisson_interval(observed)
    there = observed > 0
    with plot_style():
        figure = new_figure(height=8.0)
        axes = figure.add_subplot()
        axes.stairs(observed * scale, edges, color="black", linewidth=2.5, label="Observed")
        axes.errorbar(
            ((edges[1:] + edges[:-1]) / 2)[there],
            (observed * scale)[there],
            yerr=(np.stack([down, up]) * scale)[:, there],
            fmt="none",
            ecolor="black",
            elinewidth=1.6,
        )
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0.0, 1.4 * float(((observed + up) * scale).max(initial=1.0)))
        axes.set_xlabel(MASS_LABEL)
        axes.set_ylabel(unit)
        axes.legend(loc="upper right")
        axes.text(0.04, 0.95, "\n".join(notes), transform=axes.transAxes, va="top", fontsize=20)
        draw_label(axes, label)
    return figure


def selection_figure(
    edges: FloatArray,
    before: FloatArray,
    after: Mapping[str, FloatArray],
    label: PlotLabel,
) -> Figure:
    """Spectra before and after each selection, and the fraction that each selection keeps.

    Parameters
    ----------
    edges
        Bin edges in GeV, shape (n + 1,).
    before
        Events per bin before any selection, shape (n,).
    after
        Name of each selection to the events per bin that pass it, shape (n,).
    label
        What stands above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels on one mass axis: events (logarithmic) and selected percentage.
    """
    scale, unit = _density(edges)
    with plot_style():
        figure = new_figure(height=10.0)
        grid = figure.add_gridspec(2, 1, height_ratios=(2.0, 1.0), hspace=0.07)
        main, lower = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        main.stairs(before * scale, edges, color="black", linewidth=2.5, label="Before selection")
        for (name, counts), colour in zip(after.items(), _colours(len(after)), strict=True):
            main.stairs(counts * scale, edges, color=colour, linewidth=2.5, label=name)
            _draw_fraction(lower, edges, counts, before, colour)
        main.set_yscale("log")
        main.set_xlim(edges[0], edges[-1])
        positive = np.concatenate([before * scale, *(counts * scale for counts in after.values())])
        positive = positive[positive > 0]
        bottom, top = float(positive.min(initial=1.0)) / 2, float(positive.max(initial=1.0))
        main.set_ylim(bottom, top * (top / bottom) ** 0.3)
        main.set_ylabel(unit)
        main.tick_params(labelbottom=False)
        main.legend(loc="upper right", ncols=1 + len(after) // 4)
        draw_label(main, label)
        lower.set_ylim(0.0, _fraction_top(before, after))
        lower.set_xlim(edges[0], edges[-1])
        lower.set_xlabel(MASS_LABEL)
        lower.set_ylabel("Selected [%]", loc="center")
        figure.align_ylabels([main, lower])
    return figure


def _colours(number: int) -> list[str]:
    return [CYCLE[i % len(CYCLE)] for i in range(number)]


def _draw_fraction(axes: Axes, edges: FloatArray, passed: FloatArray, total: FloatArray, colour: str) -> None:
    """Percentage that passes with its uncertainty, in the bins where enough events are expected to."""
    used = _populated(passed, total)
    down, up = poisson_interval(passed[used])
    centres = ((edges[1:] + edges[:-1]) / 2)[used]
    percentage = 100 * passed[used] / total[used]
    errors = 100 * np.stack([down, up]) / total[used]
    axes.errorbar(centres, percentage, yerr=errors, fmt="o", color=colour, markersize=6, elinewidth=1.6)


def _populated(passed: FloatArray, total: FloatArray) -> BoolArray:
    """Bins where at least four events should pass at the average rate: chosen without looking at them."""
    share = float(passed.sum()) / max(float(total.sum()), 1e-9)
    expected: FloatArray = total * share
    return (total > 0) & (expected >= min(_LEAST_EXPECTED, float(expected.max(initial=0.0))))


def _fraction_top(before: FloatArray, after: Mapping[str, FloatArray]) -> float:
    """Upper end of the percentage axis: room for every point and most of its error bar."""
    largest = 0.0
    for passed in after.values():
        used = _populated(passed, before)
        largest = max(largest, float((passed[used] / before[used]).max(initial=0.0)))
    return 150.0 * largest if largest > 0 else 1.0
