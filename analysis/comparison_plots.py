"""Plots of a comparison of methods: figures in, matplotlib figures out."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.comparison import Comparison, MethodResult
from analysis.plots.style import (
    CYCLE,
    GREY,
    MASS_LABEL,
    PlotLabel,
    draw_label,
    new_figure,
    plot_style,
)
from models.complementarity import Complementarity
from models.sculpting import Sculpting

_LINES = ("-", "--", ":", "-.")
_LEGEND_LINE = 0.42
"""Inches of a legend's line below the axes."""
_PANEL = 1.9
"""Inches of a method's panel."""
_MOST_NUMBERS = 9
"""Methods up to which a matrix shows its numbers."""


def comparison_figures(comparison: Comparison, label: PlotLabel) -> dict[str, Figure]:
    """All plots of a comparison: file name to figure.

    Parameters
    ----------
    comparison
        The figures of the methods.
    label
        What stands above every plot.
    """
    drawn = {
        "sic": sic_figure(comparison.methods, label),
        "roc": roc_figure(comparison.methods, label),
    }
    tests = {name: result.sculpting for name, result in comparison.methods.items()}
    if any(tests.values()):
        drawn["selected_fraction"] = fraction_figure(tests, comparison.window, label)
    for events, matrix in comparison.complementarity.items():
        drawn[f"complementarity_{events}"] = matrix_figure(matrix, label, f"{events} of the test")
    return drawn


def sic_figure(methods: Mapping[str, MethodResult], label: PlotLabel) -> Figure:
    """Significance improvement against background efficiency.

    Parameters
    ----------
    methods
        Name to figures.
    label
        What stands above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        Median line and central 68 % band of the trainings; bars are binomial errors.
    """
    with plot_style():
        figure, axes = _framed(len(methods))
        for place, (name, result) in enumerate(methods.items()):
            colour, line = _look(place)
            band = result.band
            axes.plot(band.background_efficiency, band.median, line, color=colour, label=name)
            axes.fill_between(
                band.background_efficiency, band.low, band.high, color=colour, alpha=0.22, linewidth=0
            )
            for efficiency, (values, error) in result.sic.items():
                if efficiency >= band.background_efficiency[0]:
                    axes.errorbar(efficiency, values.median, error, color=colour, elinewidth=2, capsize=5)
        axes.set_xscale("log")
        axes.set_xlim(min(r.band.background_efficiency[0] for r in methods.values()), 1.0)
        axes.set_ylim(0.0, 1.12 * max(float(r.band.high.max()) for r in methods.values()))
        axes.set_xlabel(r"Background efficiency $\varepsilon_B$")
        axes.set_ylabel(r"Significance improvement $\varepsilon_S$ / √$\varepsilon_B$")
        _finish(figure, axes, label, len(methods))
    return figure


def roc_figure(methods: Mapping[str, MethodResult], label: PlotLabel) -> Figure:
    """Background rejection against signal efficiency: the median training of each method.

    Parameters
    ----------
    methods
        Name to figures.
    label
        What stands above the plot.
    """
    with plot_style():
        figure, axes = _framed(len(methods))
        for place, (name, result) in enumerate(methods.items()):
            colour, line = _look(place)
            band = result.band
            signal = [
                values * np.sqrt(band.background_efficiency) for values in (band.low, band.median, band.high)
            ]
            axes.plot(signal[1], 1 / band.background_efficiency, line, color=colour, label=name)
            axes.fill_betweenx(
                1 / band.background_efficiency, signal[0], signal[2], color=colour, alpha=0.22, linewidth=0
            )
        chance = np.geomspace(min(r.band.background_efficiency[0] for r in methods.values()), 1.0, 100)
        axes.plot(chance, 1 / chance, color=GREY, linewidth=1.5)
        axes.set_yscale("log")
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(1.0, 1.5 / chance[0])
        axes.set_xlabel(r"Signal efficiency $\varepsilon_S$")
        axes.set_ylabel(r"Background rejection 1/$\varepsilon_B$")
        _finish(figure, axes, label, len(methods))
    return figure


def fraction_figure(
    tests: Mapping[str, Sculpting | None], window: tuple[float, float], label: PlotLabel
) -> Figure:
    """Selected fraction of background against the dijet mass, over its mean: a panel a method.

    Parameters
    ----------
    tests
        Method to its test; those without one are left out, one at least has one.
    window
        Edges of the signal region, GeV, shaded.
    label
        What stands above the plot.

    Returns
    -------
    Figure
        One panel for each method with a test.
    """
    known = {name: test for name, test in tests.items() if test is not None}
    with plot_style():
        figure = new_figure(height=1.75 + _PANEL * len(known))
        panels = figure.subplots(len(known), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.0})[:, 0]
        for place, (axes, (name, test)) in enumerate(zip(panels, known.items(), strict=True)):
            _draw_fraction(axes, name, test, CYCLE[place % len(CYCLE)])
            axes.axvspan(*window, color=GREY, alpha=0.2, linewidth=0)
        panels[0].set_xlim(
            min(test.edges[0] for test in known.values()), max(test.edges[-1] for test in known.values())
        )
        panels[-1].set_xlabel(MASS_LABEL)
        figure.supylabel("Selected fraction / mean", x=0.01, fontsize=24)
        draw_label(panels[0], label)
    return figure


def _draw_fraction(axes: Axes, name: str, test: Sculpting, colour: str) -> None:
    ratio, error = test.fraction / test.mean, test.error / test.mean
    half = np.diff(test.edges) / 2
    axes.errorbar(
        test.edges[:-1] + half, ratio, error, half, fmt="o", color=colour, markersize=6, elinewidth=2
    )
    axes.axhline(1.0, color="black", linewidth=1.0)
    reach = 1.15 * float((np.abs(ratio - 1) + error).max())
    axes.set_ylim(max(1 - reach, 0.0), 1 + 1.5 * reach)
    axes.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
    axes.text(0.02, 0.93, f"{name}, p = {test.p_value:.2g}", transform=axes.transAxes, va="top", fontsize=20)


def matrix_figure(matrix: Complementarity, label: PlotLabel, events: str) -> Figure:
    """Rank correlation of the methods' scores as a heat map.

    Parameters
    ----------
    matrix
        The matrices; the correlations are drawn, grey where they are not known.
    label
        What stands above the plot.
    events
        Of which events, for the title.
    """
    count = len(matrix.names)
    size = min(19.0, 350.0 / count)
    with plot_style():
        figure = new_figure(10.0, 10.0)
        axes, beside = figure.add_axes((0.32, 0.28, 0.56, 0.56)), figure.add_axes((0.9, 0.28, 0.03, 0.56))
        axes.set_facecolor("#d9d9d9")
        image = axes.imshow(matrix.correlation, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
        axes.set_xticks(range(count), matrix.names, rotation=90, fontsize=size)
        axes.set_yticks(range(count), matrix.names, fontsize=size)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        if count <= _MOST_NUMBERS:
            for row, column in np.ndindex(count, count):
                value = matrix.correlation[row, column]
                text = f"{value:.2f}" if np.isfinite(value) else "–"
                colour = "white" if abs(value) > 0.65 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
        figure.colorbar(image, cax=beside, ticks=[-1, -0.5, 0, 0.5, 1]).ax.tick_params(labelsize=16)
        axes.set_title(f"Rank correlation, {events}", fontsize=22, pad=48, loc="right")
        draw_label(axes, label)
    return figure


def _look(place: int) -> tuple[str, str]:
    """Colour and line of a method by its place."""
    return CYCLE[place % len(CYCLE)], _LINES[(place // len(CYCLE)) % len(_LINES)]


def _framed(methods: int) -> tuple[Figure, Axes]:
    """A figure with room for a legend below the axes."""
    below = _LEGEND_LINE * ((methods + 1) // 2) + 0.15
    height = 8.5 + below
    figure = new_figure(height=height)
    figure.subplots_adjust(bottom=(1.15 + below) / height)
    return figure, figure.add_subplot()


def _finish(figure: Figure, axes: Axes, label: PlotLabel, methods: int) -> None:
    if methods:
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="lower center",
            ncols=2,
            frameon=False,
            fontsize=20,
            bbox_to_anchor=(0.5, 0.0),
        )
    draw_label(axes, label)
