"""Relative uncertainties of the signal's yield, source by source."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.plots.style import BLUE, GREY, ORANGE, PlotLabel, draw_label, new_figure, plot_style
from analysis.systematics import LUMINOSITY, RANDOM, STATISTICS, SourceShift, total

_NAMES = {
    "jes": "Jet energy scale",
    "jer": "Jet energy resolution",
    "jms": "Jet mass scale",
    "jmr": "Jet mass resolution",
    "pileup": "Pileup",
    "prefiring": "Prefiring",
    "scales": "$\\mu_{R}$, $\\mu_{F}$",
    "pdf": "Parton distributions",
    "isr": "Initial-state radiation",
    "fsr": "Final-state radiation",
    "btag_heavy": "b tag, b and c",
    "btag_light": "b tag, others",
    "trigger": "Trigger",
    "lund_stat": "Lund plane, statistics",
    "lund_pt": "Lund plane, extrapolation",
    "lund_sys": "Lund plane, systematics",
    "lund_bquark": "Lund plane, b quarks",
    "lund_unclust": "Lund plane, unclustered",
    LUMINOSITY: "Luminosity",
    STATISTICS: "Simulated events",
    RANDOM: "Random variations",
}
_LEAST_AXIS = 1.0  # per cent
_BAR = 0.38


def source_name(source: str) -> str:
    """A source for the reader's eye: ``jes`` becomes "Jet energy scale", ``lund_prongs`` "Lund plane, prongs"."""
    if source in _NAMES:
        return _NAMES[source]
    if source.startswith("lund_"):
        return f"Lund plane, {source.removeprefix('lund_').replace('_', ' ')}"
    return source.replace("_", " ")


def systematics_figure(
    shifts: Sequence[SourceShift], label: PlotLabel, *, notes: Sequence[str] = ()
) -> Figure:
    """Bars of the yield's relative change at ±1 standard deviation, the largest source first, below their total.

    Parameters
    ----------
    shifts
        One a source, at least one.
    label
        What stands above the plot.
    notes
        Lines of text for the corner.

    Returns
    -------
    matplotlib.figure.Figure
        One panel; the total is hatched, shifts upwards and downwards apart in quadrature.
    """
    ordered = sorted(shifts, key=lambda one: (-max(abs(one.up), abs(one.down)), one.name))
    both = total(ordered)
    names = ["Total", *(source_name(one.name) for one in ordered)]
    up = 100 * np.array([both.up, *(one.up for one in ordered)])
    down = 100 * np.array([-both.down, *(one.down for one in ordered)])
    place = np.arange(len(names), dtype=np.float64)
    with plot_style():
        figure = new_figure(height=max(8.0, 3.6 + 0.52 * len(names)))
        figure.subplots_adjust(left=0.4)
        axes = figure.add_subplot()
        axes.barh(place[1:] - _BAR / 2, up[1:], _BAR, color=BLUE, label=r"$+1\sigma$")
        axes.barh(place[1:] + _BAR / 2, down[1:], _BAR, color=ORANGE, label=r"$-1\sigma$")
        axes.barh([0.0], up[:1] - down[:1], 0.76, left=down[:1], color="none", edgecolor=GREY, hatch="//")
        axes.axvline(0.0, color="black", linewidth=1.2)
        axes.axhline(0.5, color=GREY, linewidth=1.0)
        largest = max(float(np.abs([up, down]).max()), _LEAST_AXIS)
        axes.set_xlim(-1.25 * largest, 1.25 * largest)
        axes.set_ylim(len(names) - 0.4, -0.6 - 0.7 * (len(notes) + 1))
        axes.set_yticks(place, names)
        axes.tick_params(axis="y", which="both", left=False, right=False)
        axes.set_xlabel("Change of signal yield [%]")
        axes.annotate(
            "\n".join(notes),
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(14, -18),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=20,
        )
        axes.legend(loc="upper right", ncols=2, columnspacing=1.0, handlelength=1.0)
        draw_label(axes, label)
    return figure
