"""Score distributions in the signal region and in the side bands."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import (
    BLUE,
    ORANGE,
    PURPLE,
    RED,
    VIOLET,
    PlotLabel,
    draw_label,
    new_figure,
    plot_style,
)
from data.errors import InputError
from data.types import FloatArray

_SIGNAL_COLOURS = (VIOLET, ORANGE, PURPLE)


@dataclass(frozen=True)
class ScoreShape:
    """Weighted events per score bin.

    Attributes
    ----------
    values, variances
        Sum of weights and of squared weights per bin, shape (n,).
    """

    values: FloatArray
    variances: FloatArray

    def normalised(self) -> tuple[FloatArray, FloatArray]:
        """Shape of the score.

        Returns
        -------
        fraction, error : FloatArray
            Fraction of the events a bin and its statistical uncertainty, shape (n,) each; 0 without events. The total
            fluctuates with the bin: of events of weight 1 the uncertainty is the binomial one.
        """
        total = float(self.values.sum())
        if total <= 0:
            return np.zeros_like(self.values), np.zeros_like(self.values)
        share = self.values / total
        others = np.maximum(float(self.variances.sum()) - self.variances, 0.0)
        return share, np.sqrt((1 - share) ** 2 * self.variances + share**2 * others) / total


def score_figure(
    edges: FloatArray,
    signal_region: ScoreShape,
    side_bands: ScoreShape,
    label: PlotLabel,
    *,
    signals: Mapping[str, ScoreShape] | None = None,
    notes: tuple[str, ...] = (),
) -> Figure:
    """Shapes of the score in signal region and side bands, and their ratio.

    Parameters
    ----------
    edges
        Score bin edges, shape (n + 1,).
    signal_region, side_bands
        The searched sample's events inside and beside the window.
    label
        What stands above the plot.
    signals
        Name of each signal simulation to its shape, drawn for orientation only.
    notes
        Lines of text for the corner.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels on one score axis: fraction of events per bin (logarithmic), and signal region over
        side bands.

    Raises
    ------
    InputError
        If signal region or side bands hold no events.
    """
    for name, shape in (("signal region", signal_region), ("side bands", side_bands)):
        if shape.values.sum() <= 0:
            msg = f"score histogram: no events in the {name} ({', '.join(notes)}); fill it again"
            raise InputError(msg)
    with plot_style():
        figure = new_figure(height=9.5)
        grid = figure.add_gridspec(2, 1, height_ratios=(2.4, 1.0), hspace=0.07)
        main, lower = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        for i, (name, shape) in enumerate((signals or {}).items()):
            _draw_step(main, edges, shape, _SIGNAL_COLOURS[i % len(_SIGNAL_COLOURS)], name, dashed=True)
        _draw_step(main, edges, side_bands, BLUE, "Side bands", filled=True)
        _draw_points(main, edges, signal_region)
        main.set_yscale("log")
        main.set_xlim(edges[0], edges[-1])
        main.set_ylim(*_range(side_bands, signal_region, *(signals or {}).values()))
        main.set_ylabel("Fraction of events / bin")
        main.tick_params(labelbottom=False)
        handles, texts = main.get_legend_handles_labels()
        main.legend(handles[::-1], texts[::-1], loc="upper left", ncols=2, columnspacing=1.0)
        main.text(0.965, 0.955, "\n".join(notes), transform=main.transAxes, ha="right", va="top", fontsize=20)
        draw_label(main, label)
        _draw_ratio(lower, edges, signal_region, side_bands)
        figure.align_ylabels([main, lower])
    return figure


def _draw_step(
    axes: Axes,
    edges: FloatArray,
    shape: ScoreShape,
    colour: str,
    text: str,
    *,
    filled: bool = False,
    dashed: bool = False,
) -> None:
    fraction, error = shape.normalised()
    axes.stairs(fraction, edges, color=colour, linewidth=2.5, linestyle="--" if dashed else "-", label=text)
    if filled:
        low = np.maximum(fraction - error, 1e-12)
        axes.stairs(fraction + error, edges, baseline=low, fill=True, color=colour, alpha=0.35)


def _draw_points(axes: Axes, edges: FloatArray, shape: ScoreShape) -> None:
    fraction, error = shape.normalised()
    centres = (edges[1:] + edges[:-1]) / 2
    axes.errorbar(
        centres, fraction, yerr=error, fmt="o", color=RED, markersize=5, elinewidth=1.6, label="Signal region"
    )


def _range(*shapes: ScoreShape) -> tuple[float, float]:
    drawn = np.concatenate([shape.normalised()[0] for shape in shapes])
    positive = drawn[drawn > 0]
    bottom, top = float(positive.min()) / 2, float(positive.max())
    return bottom, top * max((top / bottom) ** 0.35, 4.0)


def _draw_ratio(axes: Axes, edges: FloatArray, upper: ScoreShape, below: ScoreShape) -> None:
    value, error = upper.normalised()
    reference, reference_error = below.normalised()
    used = (reference > 0) & (value > 0)
    ratio = value[used] / reference[used]
    spread = error[used] / reference[used]
    centres = ((edges[1:] + edges[:-1]) / 2)[used]
    filled = reference > 0
    relative = np.divide(reference_error, reference, out=np.zeros_like(reference), where=filled)
    axes.stairs(1 + relative, edges, baseline=1 - relative, fill=True, color=BLUE, alpha=0.35)
    axes.errorbar(centres, ratio, yerr=spread, fmt="o", color=RED, markersize=5, elinewidth=1.6)
    axes.axhline(1.0, color="black", linewidth=1.0)
    reach = float(np.clip(1.15 * np.abs(ratio - 1).max(initial=0.2), 0.25, 0.95))
    axes.set_ylim(1 - reach, 1 + reach)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("Anomaly score")
    axes.set_ylabel("Ratio", loc="center")
