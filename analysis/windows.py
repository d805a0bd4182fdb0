"""The twelve overlapping mass windows, and which of them tests a resonance mass.

References
----------
CMS Collaboration, EXO-22-026, arXiv:2412.03747: signal regions A1 … A6 and B1 … B6, each the bin between two
edges whose neighbours are its side bands; the working points are those of the published selection.
"""

from dataclasses import dataclass
from typing import Literal

from data.errors import ConfigError

Interval = tuple[float, float]
Region = Literal["signal", "validation"]
"""Where in |Δη| and pT balance a search looks for its resonance, or shows that it finds none."""

_EDGES = {
    "A": (1450.0, 1650.0, 2017.0, 2465.0, 3013.0, 3682.0, 4500.0, 5500.0, 8000.0),
    "B": (1492.0, 1824.0, 2230.0, 2725.0, 3331.0, 4071.0, 4975.0, 6081.0, 8000.0),
}
_WORKING_POINTS = (0.01, 0.01, 0.01, 0.03, 0.03, 0.05)
# Masses in GeV that each window tests, from first to last in steps of 100.
_TESTED = {
    "A1": (1800, 1900), "B1": (2000, 2100), "A2": (2200, 2300), "B2": (2400, 2500),
    "A3": (2600, 2800), "B3": (2900, 3100), "A4": (3200, 3500), "B4": (3600, 3800),
    "A5": (3900, 4300), "B5": (4400, 4700), "A6": (4800, 5200), "B6": (5300, 5800),
}  # fmt: skip
_LOWEST, _HIGHEST = 1750.0, 5850.0


@dataclass(frozen=True)
class Window:
    """A signal region in mjj with its two neighbouring side bands.

    Attributes
    ----------
    name
        A1 … A6 or B1 … B6.
    low_band, signal_region, high_band
        Mass intervals [lo, hi) in GeV.
    working_point
        Fraction of the background that the selection keeps.
    """

    name: str
    low_band: Interval
    signal_region: Interval
    high_band: Interval
    working_point: float


def window(name: str) -> Window:
    """The window of a name.

    Raises
    ------
    ConfigError
        If there is no such window.
    """
    if name not in _TESTED:
        msg = f"window '{name}' is unknown; known windows: {', '.join(sorted(_TESTED))}"
        raise ConfigError(msg)
    edges, k = _EDGES[name[0]], int(name[1])
    low, signal, high = ((edges[i], edges[i + 1]) for i in (k - 1, k, k + 1))
    return Window(name, low, signal, high, _WORKING_POINTS[k - 1])


def window_of(mass: float) -> Window:
    """The one window in which a resonance mass is tested.

    Parameters
    ----------
    mass
        Resonance mass in GeV.

    Returns
    -------
    Window
        That of the nearest published test mass; half way between two of them, that of the lower.

    Raises
    ------
    ConfigError
        If the mass is outside 1750 … 5850 GeV.
    """
    if not _LOWEST <= mass <= _HIGHEST:
        msg = f"mass {mass:g} GeV has no window; test masses between {_LOWEST:g} and {_HIGHEST:g} GeV"
        raise ConfigError(msg)
    listed = {
        float(tested): name
        for name, (first, last) in _TESTED.items()
        for tested in range(first, last + 1, 100)
    }
    nearest = min(sorted(listed), key=lambda tested: abs(tested - mass))
    return window(listed[nearest])
