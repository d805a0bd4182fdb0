"""Style, label and reproducible files shared by every plot.

The look is mplhep's CMS style with a label of our own, which names no collaboration. Colours are the
six-colour cycle of M. A. Petroff, "Accessible color sequences for data visualization", arXiv:2107.02270,
distinguishable with the common kinds of colour blindness.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import mplhep
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data.files import atomic_path

BLUE = "#5790fc"
ORANGE = "#f89c20"
RED = "#e42536"
PURPLE = "#964a8b"
GREY = "#9c9ca1"
VIOLET = "#7a21dd"
CYCLE = (BLUE, RED, VIOLET, ORANGE, PURPLE, GREY)
INNER_BAND = "#85d1fb"
"""Colour of a ±1σ band."""
OUTER_BAND = "#ffdf7f"
"""Colour of a ±2σ band."""

MASS_LABEL = r"Dijet mass $\mathit{m}_{jj}$ [GeV]"
RESONANCE_LABEL = r"Resonance mass $\mathit{m}_{X}$ [GeV]"

_PNG_DPI = 110
_SETTINGS: dict[Any, Any] = {
    "font.size": 24.0,
    "legend.fontsize": 20.0,
    "xtick.labelsize": 21.0,
    "ytick.labelsize": 21.0,
    "lines.linewidth": 2.5,
    "axes.formatter.limits": (-4, 6),
    "figure.dpi": 100,
    "savefig.facecolor": "white",
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class PlotLabel:
    """What stands above every plot.

    Attributes
    ----------
    status
        Words after "oddjet", e.g. ``simulation``.
    luminosity_ifb
        Integrated luminosity in fb⁻¹; None leaves it out.
    sqrt_s
        Centre-of-mass energy in GeV; None leaves it out.
    """

    status: str = "simulation"
    luminosity_ifb: float | None = None
    sqrt_s: float | None = None

    def conditions(self) -> str:
        """Luminosity and energy, e.g. ``12.3 fb⁻¹ (13 TeV)`` in matplotlib's mathematics."""
        energy = "" if self.sqrt_s is None else f"{self.sqrt_s / 1000:.3g} TeV"
        if self.luminosity_ifb is None:
            return energy
        luminosity = rf"{self.luminosity_ifb:.3g} fb$^{{-1}}$"
        return f"{luminosity} ({energy})" if energy else luminosity


@contextlib.contextmanager
def plot_style() -> Iterator[None]:
    """Use the plots' style inside the block, and whatever was set before after it."""
    with mpl.rc_context(mplhep.style.CMS), mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float = 10.0, height: float = 8.5) -> Figure:
    """A figure that pyplot does not know of: it needs no closing and opens no window.

    Parameters
    ----------
    width, height
        Inches. Fonts are sized for 10 inches, so that a plot can be read on a telephone.

    Returns
    -------
    matplotlib.figure.Figure
        Empty, on the Agg canvas.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    # Margins in inches, alike in every figure, so that plots side by side line up.
    figure.subplots_adjust(
        left=1.5 / width, right=1 - 0.35 / width, bottom=1.05 / height, top=1 - 0.6 / height
    )
    return figure


def scientific(value: float) -> str:
    """A number with two digits for a plot.

    Parameters
    ----------
    value
        The number.

    Returns
    -------
    str
        E.g. ``0.42``, or 3.2 × 10⁻⁵ in matplotlib's mathematics.
    """
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    if -3 <= int(exponent) <= 3:
        return f"{value:.2g}"
    return rf"{mantissa} \times 10^{{{int(exponent)}}}"


def draw_label(axes: Axes, label: PlotLabel) -> None:
    """Write "oddjet STATUS" above the left and the running conditions above the right end of the axes."""
    above: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom"}
    name = axes.text(0.0, 1.015, "oddjet", fontweight="bold", ha="left", **above)
    axes.annotate(
        label.status,
        (1.0, 0.0),
        xycoords=name,
        xytext=(8, 0),
        textcoords="offset points",
        fontstyle="italic",
        ha="left",
        va="bottom",
    )
    axes.text(1.0, 1.015, label.conditions(), ha="right", fontsize=21, **above)


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PDF and PNG; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        The figure.
    folder
        Made where it is missing.
    name
        File name without suffix.

    Returns
    -------
    list of Path
        The PDF, then the PNG.
    """
    metadata: dict[str, dict[str, str | None]] = {
        "pdf": {"CreationDate": None, "ModDate": None, "Title": name},
        "png": {"Software": None, "Title": name},
    }
    paths = []
    with plot_style():
        for suffix, entries in metadata.items():
            path = folder / f"{name}.{suffix}"
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=suffix, dpi=_PNG_DPI, metadata=entries)
            paths.append(path)
    return paths
