"""A trained method in its window: what it gains, whether it is flat in mass, and which events it finds most anomalous."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from analysis.explanation import REFERENCES, Ordinary, explain, rarity
from analysis.study_record import Anomalous, Flatness, Improvement
from data.errors import InputError
from data.eventid import ID_COLUMNS, N_FOLDS, event_seed
from data.types import BoolArray, FloatArray, Table
from models import Method
from models.metrics import MIN_BACKGROUND, roc, sic_at
from models.sculpting import sculpting

MOST_BACKGROUND = 20_000
"""Background events that are scored for the significance improvement."""
BIN_WIDTH = 100.0
"""Bins of the sculpting test, GeV; those of few selected events are merged."""
_POINTS = 60


@dataclass(frozen=True)
class Judgement:
    """What a method says of some events.

    Attributes
    ----------
    score
        Rank in [0, 1], shape (events,).
    selected
        Whether most of the folds that judge an event select it.
    """

    score: FloatArray
    selected: BoolArray


def judge(method: Method, table: Table, *, trained_on: bool) -> Judgement:
    """Score and selection of each event; see `Method.evaluate`.

    Parameters
    ----------
    method
        Trained.
    table
        Feature columns of the events, shape (events,) each.
    trained_on
        Whether the method was trained on these events.

    Returns
    -------
    Judgement
        One entry an event.
    """
    score, votes = method.evaluate(table, trained_on=trained_on)
    return Judgement(score, votes > N_FOLDS // 2)


def rows_of(table: Table, chosen: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Some events of a table, by mask or position.

    Parameters
    ----------
    table
        Columns, shape (events, …) each.
    chosen
        Mask of shape (events,), or positions.

    Returns
    -------
    dict of str to array
        The same columns of these events.
    """
    return {name: np.asarray(column)[chosen] for name, column in table.items()}


def thinned(table: Table, most: int = MOST_BACKGROUND) -> dict[str, npt.NDArray[Any]]:
    """At most so many events of a table: those whose ids give the smallest random numbers, in their order.

    Parameters
    ----------
    table
        Columns with the event ids, shape (events, …) each.
    most
        Events that are kept.

    Returns
    -------
    dict of str to array
        The same columns.
    """
    if len(table["mjj"]) <= most:
        return dict(table)
    run, block, event = (np.asarray(table[name]) for name in ID_COLUMNS)
    random = event_seed(run, block, event)
    return rows_of(table, np.sort(np.argsort(random, kind="stable")[:most]))


def gains(
    method: Method, signals: Mapping[str, Table], beside: Table, simulated: Table | None
) -> dict[str, Improvement]:
    """Significance improvement of each signal over simulated background, or where there is too little over side bands.

    Every event, whether the method was trained on it or not, has the rank of one fold, that of its id. The mean over
    the folds, which events of other samples have in the search, has another distribution and would not compare.

    Parameters
    ----------
    method
        Trained.
    signals
        Sample to its events in the signal region, shape (events,) each; ids and weights included.
    beside
        Data of the side bands, ids included.
    simulated
        Simulated background of the signal region, ids and weights included; None without any.

    Returns
    -------
    dict
        Sample to its significance improvement, where there are events enough.
    """
    if not signals:
        return {}
    reference: Literal["simulation", "side bands"] = "side bands"
    table = thinned(beside)
    weight = np.ones(len(table["mjj"]))
    if simulated is not None:
        own = thinned(simulated)
        size = _sizes(own)
        if _effective(size) > MIN_BACKGROUND:
            reference, table, weight = "simulation", own, size
    background = judge(method, table, trained_on=True).score
    found = {
        sample: improvement(
            (judge(method, one, trained_on=True).score, _sizes(one)),
            (background, weight),
            reference,
        )
        for sample, one in signals.items()
    }
    return {sample: gain for sample, gain in found.items() if gain is not None}


def _sizes(table: Table) -> FloatArray:
    """Sizes of the events' weights: efficiencies are shares, which negative weights do not have."""
    return np.abs(np.asarray(table["weight"], dtype=np.float64))


def _effective(weight: FloatArray) -> float:
    """Effective number of weighted events."""
    squares = float((weight**2).sum())
    return float(weight.sum() ** 2 / squares) if squares > 0 else 0.0


def improvement(
    signal: tuple[FloatArray, FloatArray],
    background: tuple[FloatArray, FloatArray],
    reference: Literal["simulation", "side bands"],
) -> Improvement | None:
    """Significance improvement of all cuts on a score.

    Parameters
    ----------
    signal, background
        Scores and weights, not negative; shape (events,) each.
    reference
        What the background is.

    Returns
    -------
    Improvement or None
        At background efficiencies that 25 events or more pass; None where there are too few events.
    """
    events = _effective(background[1])
    if events <= MIN_BACKGROUND or not signal[1].sum() > 0:
        return None
    scores, weights = (np.concatenate(pair) for pair in zip(signal, background, strict=True))
    label = np.repeat([1.0, 0.0], [len(signal[0]), len(background[0])])
    curve = roc(scores, label, weights)
    kept = np.geomspace(MIN_BACKGROUND / events, 1.0, _POINTS)
    found = [sic_at(curve, fraction) for fraction in kept.tolist()]
    return Improvement(
        reference=reference,
        background_efficiency=tuple(kept.tolist()),
        signal_efficiency=tuple(curve.at(kept)[0].tolist()),
        value=tuple(value for value, _ in found),
        error=tuple(error for _, error in found),
        background_events=events,
    )


def flatness(
    edges: FloatArray, events: FloatArray, selected: FloatArray, signal_region: tuple[float, float]
) -> Flatness | None:
    """Test on binned counts that a selection keeps the same fraction at every mass beside the signal region.

    Parameters
    ----------
    edges
        Fine bins of the dijet mass, GeV, shape (n + 1,).
    events, selected
        Events of each bin, and those of them that are selected: whole numbers, shape (n,).
    signal_region
        Edges in GeV; bins that overlap it are left out.

    Returns
    -------
    Flatness or None
        None where too few events are selected for a test.
    """
    outside = (edges[1:] <= signal_region[0]) | (edges[:-1] >= signal_region[1])
    centres = ((edges[1:] + edges[:-1]) / 2)[outside]
    passed = np.rint(selected[outside]).astype(np.int64)
    failed = np.rint(events[outside]).astype(np.int64) - passed
    mjj = np.concatenate([np.repeat(centres, passed), np.repeat(centres, failed)])
    chosen = np.repeat([True, False], [passed.sum(), failed.sum()])
    if not len(mjj):
        return None
    bins = np.arange(edges[0], mjj.max() + BIN_WIDTH, BIN_WIDTH)
    try:
        test = sculpting(mjj, chosen, bins)
    except InputError:
        return None
    return Flatness(
        edges=tuple(test.edges.tolist()),
        fraction=tuple(test.fraction.tolist()),
        error=tuple(test.error.tolist()),
        mean=test.mean,
        chi2=test.chi2,
        dof=test.dof,
        p_value=test.p_value,
        slope=test.slope,
        slope_error=test.slope_error,
        slope_p_value=test.slope_p_value,
    )


def most_anomalous(
    method: Method,
    table: Table,
    judged: Judgement,
    ordinary: Ordinary,
    *,
    count: int,
    least: float,
) -> tuple[Anomalous, ...]:
    """The selected events of the largest scores, each with what its features add to its rarity.

    Parameters
    ----------
    method
        Trained on the table.
    table
        Data of the signal region, event ids included.
    judged
        What the method says of it.
    ordinary
        What events of the side bands are like.
    count
        Events wanted.
    least
        As for `analysis.explanation.rarity`.

    Returns
    -------
    tuple of Anomalous
        The largest score first; of equal scores the smaller event id.
    """
    selected = np.flatnonzero(judged.selected)
    ids = [np.asarray(table[name])[selected] for name in reversed(ID_COLUMNS)]
    order = selected[np.lexsort([*ids, -judged.score[selected]])][:count]
    return tuple(
        _anomalous(method, rows_of(table, np.array([row])), float(judged.score[row]), ordinary, least)
        for row in order.tolist()
    )


def _anomalous(method: Method, event: Table, score: float, ordinary: Ordinary, least: float) -> Anomalous:
    run, block, number = (int(event[name][0]) for name in ID_COLUMNS)
    found = explain(method, event, ordinary, least)
    return Anomalous(
        run=run,
        luminosity_block=block,
        event=number,
        mjj=float(event["mjj"][0]),
        masses=(float(event["m_j1"][0]), float(event["m_j2"][0])),
        score=score,
        rarity=float(rarity(score, least)),
        typical=found.typical,
        contributions=found.contributions,
        message=found.message,
    )


def ordinary_events(beside: Table, inputs: Sequence[str]) -> Ordinary:
    """What events of the side bands are like: medians of what has a number an event, and some events.

    Parameters
    ----------
    beside
        Data of the side bands, event ids included.
    inputs
        Columns that a method reads.

    Returns
    -------
    Ordinary
        What an explanation compares with.
    """
    scalars = [name for name in inputs if np.ndim(beside[name]) == 1 and len(beside[name])]
    return Ordinary({name: float(np.median(beside[name])) for name in scalars}, thinned(beside, REFERENCES))
