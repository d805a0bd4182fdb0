"""Features of events as histograms: signal region against side bands, data against simulated background."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from analysis.study_record import FeatureComparison, FeatureShape, Numbers
from data.types import BoolArray, FloatArray, IntArray, Table
from models.regions import HIGH, LOW, SIGNAL

BINS = 30
_TAIL, _BEYOND = 0.005, 0.05
_PER_JET = ("m", "pt", "tau21", "tau32", "tau43", "lsf3", "deepb", "n_pf")
COMMON = tuple(f"{name}_{jet}" for jet in ("j1", "j2") for name in _PER_JET)
"""Features that are shown whatever the methods read."""


def shown_features(table: Table, inputs: Sequence[str]) -> tuple[str, ...]:
    """The columns with a number an event that methods read or that are usual, of those that a table has.

    Parameters
    ----------
    table
        Columns, shape (n,) or (n, …).
    inputs
        Columns that methods read.

    Returns
    -------
    tuple of str
        Names of columns of shape (n,).
    """
    wanted = dict.fromkeys((*COMMON, *inputs))
    return tuple(name for name in wanted if name in table and np.ndim(table[name]) == 1)


def bin_edges(values: npt.ArrayLike, also: Iterable[npt.ArrayLike] = (), bins: int = BINS) -> FloatArray:
    """Bins of equal width over all but the last per cent of some values; of whole numbers one bin holds as many.

    Parameters
    ----------
    values
        Finite, at least one; shape (events,).
    also
        Further values whose middle nine tenths are to be seen, such as those of signals.
    bins
        The largest number of bins.

    Returns
    -------
    numpy.ndarray
        float64, ascending, shape (2 … bins + 1,).
    """
    array = np.asarray(values, dtype=np.float64)
    ends = [np.quantile(array, (_TAIL, 1 - _TAIL))]
    further = [np.asarray(other, dtype=np.float64) for other in also]
    ends += [np.quantile(other, (_BEYOND, 1 - _BEYOND)) for other in further if other.size]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if np.all(array == np.floor(array)):
        width = max(1.0, float(np.ceil((high - low + 1) / bins)))
        return np.arange(low - 0.5, high + 0.5 + width, width)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def counted(values: npt.ArrayLike, edges: FloatArray, weight: FloatArray | None = None) -> Numbers:
    """Sum of weights in bins; the first and the last hold what lies beyond, so that nothing is lost.

    Parameters
    ----------
    values
        Shape (n,).
    edges
        Of m bins, shape (m + 1,).
    weight
        Shape (n,); 1 if None.

    Returns
    -------
    tuple of float
        One number a bin.
    """
    inside = np.clip(np.asarray(values, dtype=np.float64), edges[0], edges[-1])
    return tuple(np.histogram(inside, edges, weights=weight)[0].astype(np.float64).tolist())


def window_shapes(
    names: Sequence[str],
    data: Table,
    region: IntArray,
    selected: Mapping[str, BoolArray],
    signals: Mapping[str, Table],
) -> dict[str, FeatureShape]:
    """Features of the data in a window's signal region and side bands.

    Parameters
    ----------
    names
        The features.
    data
        Columns, shape (events,) each.
    region
        Of each event: lower side band, signal region, upper side band, outside (`models.regions`).
    selected
        Method to whether it selects each event of the signal region, in their order.
    signals
        Sample to its events in the signal region.

    Returns
    -------
    dict
        Feature to its histograms; empty where the signal region or the side bands hold no event.
    """
    inside, beside = region == SIGNAL, (region == LOW) | (region == HIGH)
    if not inside.any() or not beside.any():
        return {}
    found = {}
    for name in names:
        values = np.asarray(data[name])
        edges = bin_edges(values[inside | beside], [table[name] for table in signals.values()])
        found[name] = FeatureShape(
            edges=tuple(edges.tolist()),
            signal_region=counted(values[inside], edges),
            side_bands=counted(values[beside], edges),
            selected={method: counted(values[inside][mask], edges) for method, mask in selected.items()},
            signals={
                sample: counted(table[name], edges, np.asarray(table["weight"], dtype=np.float64))
                for sample, table in signals.items()
            },
        )
    return found


def compare_features(names: Sequence[str], data: Table, simulation: Table) -> dict[str, FeatureComparison]:
    """Features of data and simulated background, each with its weights.

    Parameters
    ----------
    names
        The features.
    data, simulation
        Columns, shape (events,) each, ``weight`` among those of the simulation.

    Returns
    -------
    dict
        Feature to its histograms; empty where either table has no event, or the simulation no weight.
    """
    weight = np.asarray(simulation["weight"], dtype=np.float64)
    if not weight.sum() > 0 or not len(data["mjj"]):
        return {}
    found = {}
    for name in names:
        edges = bin_edges(data[name])
        found[name] = FeatureComparison(
            edges=tuple(edges.tolist()),
            data=counted(data[name], edges),
            simulation=counted(simulation[name], edges, weight),
            variance=counted(simulation[name], edges, weight**2),
        )
    return found
