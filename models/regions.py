"""Signal region and side bands of a method."""

from dataclasses import dataclass

import numpy as np

from data.errors import ConfigError
from data.types import FloatArray, IntArray

OUTSIDE, LOW, SIGNAL, HIGH = -1, 0, 1, 2
Interval = tuple[float, float]


@dataclass(frozen=True)
class Regions:
    """Three intervals in mjj (GeV), lower edges included, upper edges not.

    Parameters
    ----------
    low, signal, high
        Lower side band, signal region, upper side band.
    """

    low: Interval
    signal: Interval
    high: Interval

    def of(self, mjj: FloatArray) -> IntArray:
        """Region of each event.

        Parameters
        ----------
        mjj
            GeV, shape (events,).

        Returns
        -------
        numpy.ndarray
            int64: 0 lower side band, 1 signal region, 2 upper side band, −1 outside.
        """
        region = np.full(len(mjj), OUTSIDE, dtype=np.int64)
        for number, (low, high) in ((LOW, self.low), (SIGNAL, self.signal), (HIGH, self.high)):
            region[(mjj >= low) & (mjj < high)] = number
        return region

    def label(self) -> str:
        """Short text that names the window in messages and in seeds."""
        return f"{self.low[0]:g}-{self.signal[0]:g}-{self.signal[1]:g}-{self.high[1]:g}"


def regions(signal: Interval, low: Interval | None = None, high: Interval | None = None) -> Regions:
    """Signal region with its side bands.

    Parameters
    ----------
    signal
        Edges of the signal region, GeV.
    low, high
        Edges of the side bands, GeV. Without them each is the neighbouring bin with the same ratio of edges as
        the signal region, as in the windows of CMS-EXO-22-026 (arXiv:2412.03747).

    Raises
    ------
    ConfigError
        If an interval is not ascending and positive, or a side band overlaps the signal region.
    """
    signal = _interval("signal_region", signal)
    ratio = signal[1] / signal[0]
    low = _interval("low_band", low if low is not None else (signal[0] / ratio, signal[0]))
    high = _interval("high_band", high if high is not None else (signal[1], signal[1] * ratio))
    if low[1] > signal[0] or high[0] < signal[1]:
        msg = f"low_band {low} and high_band {high} overlap signal_region {signal}; move their inner edges (GeV)"
        raise ConfigError(msg)
    return Regions(low, signal, high)


def _interval(name: str, edges: Interval) -> Interval:
    try:
        low, high = (float(edge) for edge in edges)
    except (TypeError, ValueError):
        msg = f"{name}: expected two edges in GeV, found {edges!r}"
        raise ConfigError(msg) from None
    if not 0 < low < high < np.inf:
        msg = f"{name}: the edges must be positive and ascending (GeV), found ({low:g}, {high:g})"
        raise ConfigError(msg)
    return low, high
