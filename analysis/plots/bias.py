"""Plots of a bias study: pulls against mass for every alternative function, and the spurious signal."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import CYCLE, RESONANCE_LABEL, PlotLabel, draw_label, new_figure, plot_style

_MARKERS = "osD^vP"


def bias_figures(result: dict[str, Any], label: PlotLabel) -> dict[str, Figure]:
    """Figures of a bias study.

    Parameters
    ----------
    result
        As `analysis.bias.bias_study` gives it.
    label
        What stands above the plots.

    Returns
    -------
    dict
        ``pulls`` and ``spurious``.
    """
    with plot_style():
        return {"pulls": _pull_figure(result, label), "spurious": _spurious_figure(result, label)}


def _pull_figure(result: dict[str, Any], label: PlotLabel) -> Figure:
    """Mean pulls with their errors, one panel an injection."""
    found = [row for row in result["pulls"] if row["pull_mean"] is not None]
    injections = list(dict.fromkeys(row["injected_sigma"] for row in result["pulls"]))
    names = list(dict.fromkeys(row["alternative"] for row in result["pulls"]))
    passing = result["criteria"]["max_mean_pull"]
    top = 1.3 * max([passing, *(abs(row["pull_mean"]) + row["pull_mean_error"] for row in found)])
    figure = new_figure(height=3.2 * len(injections) + 2.2)
    panels = figure.subplots(len(injections), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    figure.subplots_adjust(hspace=0.06)
    for axes, injected in zip(panels, injections, strict=True):
        _band(axes, passing)
        for number, name in enumerate(names):
            mine = [row for row in found if row["injected_sigma"] == injected and row["alternative"] == name]
            axes.errorbar(
                _places(mine, number, len(names)),
                [row["pull_mean"] for row in mine],
                yerr=[row["pull_mean_error"] for row in mine],
                label=name,
                **_look(number),
            )
        axes.set_ylabel("Mean pull")
        axes.text(
            0.02, 0.93, rf"{injected:g}$\sigma$ injected", transform=axes.transAxes, va="top", fontsize=20
        )
    panels[0].set_ylim(-top, 1.8 * top)  # room for the legend
    panels[0].legend(loc="upper right", ncols=2, fontsize=17, columnspacing=1.0)
    panels[-1].set_xlabel(RESONANCE_LABEL)
    draw_label(panels[0], label)
    return figure


def _spurious_figure(result: dict[str, Any], label: PlotLabel) -> Figure:
    """Spurious signal over its error against mass."""
    figure = new_figure(height=7.0)
    axes = figure.add_subplot()
    rows = result["spurious_signal"]
    _band(axes, result["criteria"]["max_spurious"])
    for number, name in enumerate(dict.fromkeys(row["alternative"] for row in rows)):
        mine = sorted((row for row in rows if row["alternative"] == name), key=lambda row: row["mass"])
        axes.plot(
            [row["mass"] for row in mine], [row["ratio"] for row in mine],
            color=CYCLE[number % len(CYCLE)], marker=_MARKERS[number % len(_MARKERS)], markersize=8, label=name,
        )  # fmt: skip
    top = 1.3 * max(*(abs(row["ratio"]) for row in rows), result["criteria"]["max_spurious"])
    axes.set_ylim(-top, 1.3 * top)
    axes.set_xlabel(RESONANCE_LABEL)
    axes.set_ylabel(r"Spurious signal / $\sigma$")
    axes.legend(loc="upper right", ncols=2)
    draw_label(axes, label)
    return figure


def _band(axes: Axes, half: float) -> None:
    """What passes, as a band about zero."""
    axes.axhspan(-half, half, color="#f1f1f4", linewidth=0, zorder=0)
    axes.axhline(0.0, color="#6b6b72", linewidth=1.2)


def _places(rows: Sequence[dict[str, Any]], number: int, count: int) -> list[float]:
    """Masses, moved aside a little so that points of different functions do not hide each other."""
    masses = np.array([row["mass"] for row in rows])
    step = float(np.diff(np.unique(masses)).min()) if masses.size > 1 else 100.0
    return [float(mass) for mass in masses + 0.1 * step * (number - (count - 1) / 2)]


def _look(number: int) -> dict[str, Any]:
    marker = _MARKERS[number % len(_MARKERS)]
    return {"color": CYCLE[number % len(CYCLE)], "marker": marker, "linestyle": "none", "markersize": 8}
