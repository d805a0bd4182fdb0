"""Cuts through the histograms of a run: one spectrum, one score shape, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hist
import numpy as np

from analysis.plots.score import ScoreShape
from analysis.windows import Window
from data.errors import InputError
from data.types import FloatArray
from processors.histograms import Histogram
from processors.schema import NOMINAL
from processors.scorers import BANDS, INCLUSIVE

_SIGNAL_REGION = "signal"
_SIDE_BANDS = ("low", "high")
PEAK = 0.4
"""Share of a sample's events that the window of its resonance holds at least."""


@dataclass(frozen=True)
class ScoreShapes:
    """Score histograms of one selection.

    Attributes
    ----------
    edges
        Score bin edges, shape (n + 1,).
    signal_region, side_bands
        The searched sample.
    signals
        Each other sample that peaks in the signal region to its shape there.
    """

    edges: FloatArray
    signal_region: ScoreShape
    side_bands: ScoreShape
    signals: Mapping[str, ScoreShape]


def mass_spectrum(
    histogram: Histogram, region: str, selection: str, low: float, high: float, width: float
) -> tuple[FloatArray, FloatArray]:
    """Spectrum of the searched sample after one selection, in bins of about the width asked for.

    Parameters
    ----------
    histogram
        Axes ``mjj process region selection variation``, of the searched sample alone.
    region
        The region that is searched.
    selection
        Label of the selection.
    low, high
        Mass range in GeV; only bins inside it are used.
    width
        Wanted bin width in GeV; the nearest multiple of the histogram's own is taken, its own of 0.

    Returns
    -------
    edges, events
        GeV, shape (n + 1,); sum of weights, shape (n,).

    Raises
    ------
    InputError
        If the selection is not in the histogram.
    """
    labels = {"region": region, "selection": selection, "variation": NOMINAL}
    cut = _cut(histogram, "mjj", labels)
    fine = np.asarray(histogram.axes["mjj"].edges, dtype=np.float64)
    first = int(np.searchsorted(fine, low))
    last = int(np.searchsorted(fine, high, side="right")) - 1
    merged = max(round(width / (fine[1] - fine[0])), 1)
    borders = np.arange(first, last + 1, merged)
    sums = np.concatenate([[0.0], np.cumsum(cut.values)])
    return fine[borders], np.diff(sums[borders])


def side_band_share(histogram: Histogram, region: str, selection: str, used: Window) -> float | None:
    """Share of the events in the side bands of a window that a selection keeps, the mean of both bands.

    Parameters
    ----------
    histogram, region, selection
        As for `mass_spectrum`.
    used
        The window; of a bin across its edges nothing counts.

    Returns
    -------
    float or None
        0 … 1; None where the bands hold no event.
    """
    shares = []
    for low, high in (used.low_band, used.high_band):
        every, kept = (
            float(mass_spectrum(histogram, region, label, low, high, 0.0)[1].sum())
            for label in (INCLUSIVE, selection)
        )
        if every > 0:
            shares.append(kept / every)
    return float(np.mean(shares)) if shares else None


def score_shapes(histograms: Mapping[str, Histogram], searched: str, selection: str) -> ScoreShapes:
    """Score shapes of one selection.

    Parameters
    ----------
    histograms
        Sample to its score histogram, axes ``score process selection band``.
    searched
        The searched sample.
    selection
        Label of the selection.

    Returns
    -------
    ScoreShapes
        Sums of weights and of their squares.

    Raises
    ------
    InputError
        If the selection is not in a histogram.
    """
    shapes = {
        sample: {band: _cut(histogram, "score", {"selection": selection, "band": band}) for band in BANDS}
        for sample, histogram in histograms.items()
    }
    found = shapes.pop(searched)
    signals = {
        sample: bands[_SIGNAL_REGION]
        for sample, bands in shapes.items()
        if bands[_SIGNAL_REGION].values.sum() > PEAK * _sum(list(bands.values())).values.sum()
    }
    return ScoreShapes(
        edges=np.asarray(histograms[searched].axes["score"].edges, dtype=np.float64),
        signal_region=found[_SIGNAL_REGION],
        side_bands=_sum([found[band] for band in _SIDE_BANDS]),
        signals=signals,
    )


def _sum(shapes: Sequence[ScoreShape]) -> ScoreShape:
    values = np.sum([shape.values for shape in shapes], axis=0)
    return ScoreShape(values, np.sum([shape.variances for shape in shapes], axis=0))


def _cut(histogram: Histogram, kept: str, labels: Mapping[str, str]) -> ScoreShape:
    """Sums over every axis but ``kept``, at the labels; a label that is missing is named."""
    for axis, wanted in labels.items():
        known = list(histogram.axes[axis])
        if wanted not in known:
            msg = (
                f"histogram '{kept}' has no {axis} '{wanted}' (it has {', '.join(known)}); "
                "fill it again with `oddjet hist CONFIG.yaml`"
            )
            raise InputError(msg)
    index: dict[int | str, Any] = {axis: hist.loc(wanted) for axis, wanted in labels.items()}
    part: Any = histogram[index]
    cut = part.project(kept)
    return ScoreShape(np.asarray(cut.values()), np.asarray(cut.variances()))
