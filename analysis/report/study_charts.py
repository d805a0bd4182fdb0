"""The page's charts of the studies: features, flatness in mass, significance improvement."""

import itertools
from collections.abc import Mapping

import numpy as np

from analysis.plots.score import ScoreShape
from analysis.plots.spectrum import poisson_interval
from analysis.report.charts import reach
from analysis.report.marks import CYCLE, Band, Chart, Colour, Line, Panel, Points, Steps
from analysis.report.numbers import between, interval, percent, significant, with_error
from analysis.report.scan_charts import MASS
from analysis.report.shape_charts import PEAKED, ratio_panel, shape_chart
from analysis.study_record import (
    FeatureComparison,
    FeatureShape,
    Flatness,
    Improvement,
    Numbers,
    TrainingCurve,
)
from data.types import FloatArray

_POINTS = 60
"""Of the curve of a random choice."""
_REFERENCES = {"simulation": "simulated background", "side bands": "side bands"}
_FEW, _MOST_TIPS = 8, 40
"""Epochs below which each has a dot, and most of them that can be pointed at."""
_OF_EVENT = {"delta_m": "difference of the soft-drop masses [GeV]", "mjj": MASS}
_NAMES = {
    "m": "soft-drop mass [GeV]",
    "pt": "transverse momentum [GeV]",
    "rho": "mass over transverse momentum",
    "lsf3": "lepton subjet fraction",
    "deepb": "b-tag score",
    "n_pf": "number of particles",
}


def feature_title(name: str) -> str:
    """A column of the feature table in words, e.g. ``j1: soft-drop mass [GeV]``."""
    if name in _OF_EVENT:
        return _OF_EVENT[name]
    stem, _, jet = name.rpartition("_")
    if jet not in {"j1", "j2"}:
        return name
    if stem.startswith("tau") and stem[3:].isdigit():
        digits = stem[3:].translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
        return f"{jet}: τ{digits}"
    return f"{jet}: {_NAMES.get(stem, stem)}"


def feature_chart(name: str, shape: FeatureShape) -> Chart:
    """A feature in the signal region, the side bands, the selected events and simulated signal, each of unit sum."""
    return shape_chart(
        np.array(shape.edges),
        _counts(shape.signal_region),
        _counts(shape.side_bands),
        {sample: _counts(values) for sample, values in shape.signals.items()},
        feature_title(name),
        selected={method: _counts(values) for method, values in shape.selected.items() if sum(values)},
    )


def _counts(values: Numbers) -> ScoreShape:
    """Shape of counts, with their own fluctuation."""
    array = np.array(values)
    return ScoreShape(array, np.abs(array))


def simulation_scale(found: FeatureComparison) -> float:
    """Factor that gives the simulated background as many events as the data.

    Parameters
    ----------
    found
        Data and simulation in bins of a feature.

    Returns
    -------
    float
        Events of data over events of simulation.
    """
    return sum(found.data) / sum(found.simulation)


def simulation_chart(name: str, found: FeatureComparison) -> Chart:
    """A feature in data and in simulated background, scaled to as many events, with their ratio."""
    scale = simulation_scale(found)
    edges, data = np.array(found.edges), np.array(found.data)
    expected, error = scale * np.array(found.simulation), scale * np.sqrt(np.array(found.variance))
    down, up = poisson_interval(data)
    there = expected > 0
    ratio = np.divide(data, expected, out=np.where(data > 0, np.inf, np.nan), where=there & (data > 0))
    spread, own = (
        np.divide(size, expected, out=np.zeros(len(data)), where=there) for size in (np.sqrt(data), error)
    )
    log = float(data.max()) > PEAKED * float(data.sum())
    marks = (
        Steps(edges, expected, "Simulated background", "blue", low=expected - error, high=expected + error),
        Points(
            (edges[1:] + edges[:-1]) / 2,
            np.where(data > 0, data, np.nan),
            "Data",
            "ink",
            data - down,
            data + up,
        ),
    )
    tips = tuple(
        (
            edges[k],
            edges[k + 1],
            (
                f"{between(edges[k], edges[k + 1])}\n{data[k]:.0f} in data, "
                f"{with_error(float(expected[k]), float(error[k]))} simulated"
            ),
        )
        for k in range(len(data))
    )
    panels = (
        Panel(marks, "Events / bin", reach([data + up, expected], log=log), log=log, height=200.0),
        ratio_panel(edges, ratio, spread, own, "Data / sim.", "ink"),
    )
    return Chart(panels, feature_title(name), (float(edges[0]), float(edges[-1])), (), tips)


def flatness_chart(found: Flatness, window: tuple[float, float]) -> Chart:
    """Selected fraction against mass, with that which is flat.

    Parameters
    ----------
    found
        Fractions in bins of mjj.
    window
        Signal region, GeV.

    Returns
    -------
    Chart
        Fractions with their errors against mjj in GeV.
    """
    edges, fraction, error = np.array(found.edges), np.array(found.fraction), np.array(found.error)
    centres = _centres_beside(edges, window)
    percent = 100.0
    marks = (
        Line(
            np.array([edges[0], edges[-1]]),
            percent * np.array([found.mean, found.mean]),
            "Flat",
            "blue",
            dashed=True,
        ),
        Points(
            centres,
            percent * fraction,
            "Selected fraction",
            "ink",
            percent * (fraction - error),
            percent * (fraction + error),
        ),
    )
    tips = tuple(
        (
            edges[k],
            edges[k + 1],
            (
                f"{interval(round(edges[k]), round(edges[k + 1]))} GeV\n"
                f"{with_error(percent * float(fraction[k]), percent * float(error[k]))} % selected"
            ),
        )
        for k in range(len(fraction))
    )
    panel = Panel(marks, "Selected [%]", reach([percent * (fraction + error)], log=False), height=200.0)
    spans = ((max(window[0], edges[0]), min(window[1], edges[-1]), "signal region"),)
    return Chart((panel,), MASS, (float(edges[0]), float(edges[-1])), spans, tips)


def _centres_beside(edges: FloatArray, window: tuple[float, float]) -> FloatArray:
    """Middle of what each bin has beside the signal region, of the larger side where it has two."""
    found = []
    for low, high in itertools.pairwise(edges.tolist()):
        sides = [(low, min(high, window[0])), (max(low, window[1]), high)]
        first, last = max(sides, key=lambda side: side[1] - side[0])
        found.append((first + last) / 2)
    return np.array(found)


def improvement_chart(curves: Mapping[str, Improvement]) -> Chart:
    """Significance improvement of named curves against the background efficiency."""
    lowest = min(curve.background_efficiency[0] for curve in curves.values())
    marks = [
        Line(
            np.array(curve.background_efficiency),
            np.array(curve.value),
            name,
            CYCLE[k % len(CYCLE)],
            dashed=k >= len(CYCLE),
        )
        for k, (name, curve) in enumerate(curves.items())
    ]
    errors = [_error_band(curve, CYCLE[k % len(CYCLE)]) for k, curve in enumerate(curves.values())]
    chance = np.geomspace(lowest, 1.0, _POINTS)
    random = Line(chance, np.sqrt(chance), "Random choice, √ε", "grey", dashed=True)
    what = _REFERENCES[next(iter(curves.values())).reference]
    places = np.geomspace(lowest, 1.0, 31)
    tips = []
    for low, high in itertools.pairwise(places):
        middle = float(np.sqrt(low * high))
        lines = [f"{significant(100 * middle, 2)} % of the {what} kept"]
        for name, curve in curves.items():
            if middle >= curve.background_efficiency[0]:
                at = [
                    float(np.interp(middle, curve.background_efficiency, column))
                    for column in (curve.value, curve.error, curve.signal_efficiency)
                ]
                lines.append(f"{name}: {with_error(at[0], at[1])}, {percent(at[2], 2)} of the signal kept")
        tips.append((float(low), float(high), "\n".join(lines)))
    panel = Panel(
        (*errors, random, *marks),
        "ε(signal) / √ε(background)",
        reach([np.array(curve.value) + np.array(curve.error) for curve in curves.values()], log=False),
        height=230.0,
        levels=((1.0, ""),),
    )
    return Chart((panel,), f"Background efficiency ({what})", (lowest, 1.0), (), tuple(tips), log=True)


def _error_band(curve: Improvement, colour: Colour) -> Band:
    """One standard deviation about a curve."""
    value, error = np.array(curve.value), np.array(curve.error)
    return Band(np.array(curve.background_efficiency), value - error, value + error, "", colour)


def training_chart(parts: Mapping[str, TrainingCurve]) -> Chart:
    """Losses of parts of one kind: after each tree, from none on, or after each epoch, from the first on."""
    ends = [curve.first + len(curve.median) - 1 for curve in parts.values()]
    first = min(curve.first for curve in parts.values())
    marks: list[Band | Line] = []
    for number, (name, curve) in enumerate(parts.items()):
        x, colour = curve.first + np.arange(len(curve.median), dtype=np.float64), CYCLE[number % len(CYCLE)]
        marks.append(Band(x, np.array(curve.low), np.array(curve.high), "", colour))
        marks.append(Line(x, np.array(curve.training), "", colour, dashed=True))
        marks.append(Line(x, np.array(curve.median), name, colour, marked=len(x) < _FEW))
    values = np.concatenate([[*curve.low, *curve.high, *curve.training] for curve in parts.values()])
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low) or 0.1
    last = max(*ends, first + 1)
    what = "tree" if first == 0 else "epoch"
    tips = []
    stride = -(-(max(ends) + 1 - first) // _MOST_TIPS)
    for epoch in range(first, max(ends) + 1, stride):
        lines = [f"after {epoch} {what}{'' if epoch == 1 else 's'}"]
        for name, curve in parts.items():
            if 0 <= epoch - curve.first < len(curve.median):
                at = [
                    significant(side[epoch - curve.first], 4)
                    for side in (curve.median, curve.low, curve.high)
                ]
                training = significant(curve.training[epoch - curve.first], 4)
                lines.append(f"{name}: {at[0]} ({at[1]} – {at[2]}), in training {training}")
        tips.append((max(epoch - stride / 2, first), min(epoch + stride / 2, last), "\n".join(lines)))
    panel = Panel(tuple(marks), "Loss", (low - room, high + room), height=200.0)
    return Chart((panel,), f"{what.capitalize()}s", (float(first), float(last)), (), tuple(tips))
