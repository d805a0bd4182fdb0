"""Spectra of selections without a valid fit: what the data are, so that a reader sees why nothing could be fitted."""

import itertools
from collections.abc import Iterator

import numpy as np

from analysis.plots.spectrum import data_figure, poisson_interval
from analysis.plots.style import PlotLabel
from analysis.report.charts import reach
from analysis.report.figures import Drawn, owner_of
from analysis.report.histograms import mass_spectrum
from analysis.report.labels import fit_label, readable
from analysis.report.marks import Chart, Panel, Points, Steps
from analysis.report.numbers import count, counted, interval
from analysis.report.record import RunRecord
from analysis.report.scan_charts import MASS
from data.types import FloatArray
from processors.scorers import INCLUSIVE

_WIDTH = 100.0  # GeV


def draw_bare_spectra(record: RunRecord, label: PlotLabel) -> Iterator[Drawn]:
    """Draw the spectrum of each selection that was searched and has no valid fit.

    Parameters
    ----------
    record
        The run.
    label
        What stands above each plot.

    Yields
    ------
    Drawn
        One a selection that holds an event.
    """
    scan, histogram = record.scan, record.searched["mjj"]
    searched = {fit_label(name, point.window) for name, points in scan.selections.items() for point in points}
    low, high = (float(histogram.axes["mjj"].edges[end]) for end in (0, -1))
    for name in sorted(searched - record.fits.keys()):
        edges, events = mass_spectrum(histogram, scan.region, name, low, high, _WIDTH)
        there = np.flatnonzero(events)
        if not len(there):
            continue
        first, last = max(int(there[0]) - 1, 0), min(int(there[-1]) + 2, len(events))
        edges, events = edges[first : last + 1], events[first:last]
        found = counted(round(float(events.sum())), "event")
        which = "before selection" if name == INCLUSIVE else f"after {readable(name)}"
        words = f"Dijet mass {which}: {found}, without a fit, for none is valid"
        yield Drawn(
            "spectra",
            f"mjj_{name}",
            data_figure(edges, events, label, (readable(name), "no valid fit")),
            f"{words}; the remarks of the fits say why.",
            f"{words}; from {edges[0]:g} to {edges[-1]:g} GeV.",
            chart=_chart(edges, events),
            owner=owner_of(scan, name),
        )


def _chart(edges: FloatArray, events: FloatArray) -> Chart:
    down, up = poisson_interval(events)
    marks = (
        Steps(edges, events, "Data", "ink"),
        Points(
            (edges[1:] + edges[:-1]) / 2, np.where(events > 0, events, np.nan), "", "ink", events - down, events + up
        ),
    )  # fmt: skip
    tips = tuple(
        (low, high, f"{interval(low, high)} GeV\n{count(held)} observed")
        for (low, high), held in zip(itertools.pairwise(edges.tolist()), events.tolist(), strict=True)
    )
    width = edges[1] - edges[0]
    panel = Panel(marks, f"Events / {width:g} GeV", reach([events + up], log=False), height=220.0)
    return Chart((panel,), MASS, (float(edges[0]), float(edges[-1])), (), tips)
