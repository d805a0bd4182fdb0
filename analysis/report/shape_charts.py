"""The page's charts of shapes in the signal region and the side bands: scores and features, with their ratio."""

from collections.abc import Mapping

import numpy as np

from analysis.plots.score import ScoreShape
from analysis.report.charts import reach
from analysis.report.histograms import ScoreShapes
from analysis.report.marks import CYCLE, Chart, Colour, Panel, Points, Steps
from analysis.report.numbers import between, with_error
from analysis.report.scan_charts import finite
from data.types import FloatArray

_EXTRAS = CYCLE[2:]
"""Colours of what is neither of the side bands (the first) nor of the signal region (the second)."""
PEAKED = 0.5
"""Share of the events in one bin above which the others would not be seen on a linear axis."""


def score_chart(shapes: ScoreShapes) -> Chart:
    """Scores in the signal region and in the side bands, and their ratio; two bins of the histogram in one."""
    paired = len(shapes.edges) % 2 == 1
    halved = {name: _halved(shape) if paired else shape for name, shape in shapes.signals.items()}
    region, beside = (
        _halved(shape) if paired else shape for shape in (shapes.signal_region, shapes.side_bands)
    )
    edges = shapes.edges[::2] if paired else shapes.edges
    return shape_chart(edges, region, beside, halved, "Anomaly score", log=True)


def _halved(shape: ScoreShape) -> ScoreShape:
    """A shape in bins twice as wide."""
    return ScoreShape(shape.values.reshape(-1, 2).sum(axis=1), shape.variances.reshape(-1, 2).sum(axis=1))


def shape_chart(
    edges: FloatArray,
    region: ScoreShape,
    beside: ScoreShape,
    signals: Mapping[str, ScoreShape],
    title: str,
    *,
    log: bool = False,
    selected: Mapping[str, ScoreShape] | None = None,
) -> Chart:
    """Shapes of a quantity in signal region and side bands, each of unit sum, and their ratio.

    Parameters
    ----------
    edges
        Bin edges, shape (n + 1,).
    region, beside
        The data in the signal region and in the side bands.
    signals
        Sample to the shape of simulated signal.
    title
        What the quantity is.
    log
        Whether the fractions are shown logarithmically; they are too where one bin holds most of the events.
    selected
        Method to the shape of the events of the signal region that it selects.

    Returns
    -------
    Chart
        Fractions, and below them signal region over side bands, each with its statistical uncertainty.
    """
    log = log or float(max(region.normalised()[0].max(), beside.normalised()[0].max())) > PEAKED
    marks = _shapes(edges, region, beside, signals, selected or {})
    shown = [mark.values if isinstance(mark, Steps) else mark.y for mark in marks]
    ratio, tips = _ratio(edges, region.normalised(), beside.normalised())
    panels = (Panel(marks, "Fraction / bin", reach(shown, log=log), log=log, height=200.0), ratio)
    return Chart(panels, title, (float(edges[0]), float(edges[-1])), (), tips)


def _shapes(
    edges: FloatArray,
    region: ScoreShape,
    beside: ScoreShape,
    signals: Mapping[str, ScoreShape],
    selected: Mapping[str, ScoreShape],
) -> tuple[Steps | Points, ...]:
    """Side bands as a histogram, the signal region as points above all others."""
    (inside, error), (outside, spread) = region.normalised(), beside.normalised()
    others = [(name, shape, True) for name, shape in signals.items()]
    others += [(f"Selected by {name}", shape, False) for name, shape in selected.items()]
    lines = [
        Steps(edges, shape.normalised()[0], name, _EXTRAS[number % len(_EXTRAS)], dashed=dashed)
        for number, (name, shape, dashed) in enumerate(others)
    ]
    centres, there = (edges[1:] + edges[:-1]) / 2, np.where(inside > 0, inside, np.nan)
    return (
        Steps(edges, outside, "Side bands", "blue", low=outside - spread, high=outside + spread),
        *lines,
        Points(centres, there, "Signal region", "red", inside - error, inside + error),
    )


def _ratio(
    edges: FloatArray, region: tuple[FloatArray, FloatArray], beside: tuple[FloatArray, FloatArray]
) -> tuple[Panel, tuple[tuple[float, float, str], ...]]:
    """The panel of signal region over side bands, the uncertainty of the latter about 1, and what bins tell."""
    (inside, error), (outside, other) = region, beside
    there = outside > 0
    ratio = np.divide(inside, outside, out=np.where(inside > 0, np.inf, np.nan), where=there & (inside > 0))
    spread = np.divide(error, outside, out=np.zeros(len(inside)), where=there)
    own = np.divide(other, outside, out=np.zeros(len(inside)), where=there)
    error_of = np.hypot(spread, np.where(np.isfinite(ratio), ratio, 0.0) * own)
    tips = tuple(
        (
            edges[k],
            edges[k + 1],
            (
                f"{between(edges[k], edges[k + 1])}\nsignal region {100 * inside[k]:.2f} %, side bands "
                f"{100 * outside[k]:.2f} %\nratio {with_error(finite(ratio[k]), float(error_of[k]))}"
            ),
        )
        for k in range(len(inside))
    )
    return ratio_panel(edges, ratio, spread, own, "Ratio", "red"), tips


def ratio_panel(
    edges: FloatArray, ratio: FloatArray, spread: FloatArray, own: FloatArray, title: str, colour: Colour
) -> Panel:
    """A ratio as points about 1.

    Parameters
    ----------
    edges
        Bin edges, shape (n + 1,).
    ratio
        Shape (n,); not-a-number where there is none to show, infinite without a denominator.
    spread, own
        Uncertainties of numerator and denominator over the denominator, shape (n,).
    title, colour
        Of the axis, and of the points.

    Returns
    -------
    Panel
        Around 1, wide enough for most points.
    """
    most = float(np.clip(1.15 * np.nanmax(np.abs(ratio - 1), initial=0.2), 0.25, 0.95))
    finite_ratio = np.where(np.isfinite(ratio), ratio, 0.0)
    marks = (
        Steps(edges, np.ones(len(ratio)), "", "blue", low=1 - own, high=1 + own),
        Points((edges[1:] + edges[:-1]) / 2, ratio, "", colour, finite_ratio - spread, finite_ratio + spread),
    )
    return Panel(marks, title, (1 - most, 1 + most), height=75.0, levels=((1.0, ""),))
