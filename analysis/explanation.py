"""What moved the score of an event, by exact Owen values: each feature, or where these are too many or arrays each jet.

Of methods that read the rapidity–mass matrix alone: each object of the event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.matrix_explanation import MATRIX, exchanged, matrix_objects
from analysis.owen_values import MOST_IN_GROUP, owen_values
from analysis.study_record import Contribution
from data.eventid import ID_COLUMNS
from data.types import BoolArray, FloatArray, Table
from models import Method

REFERENCES = 32
"""Side-band events that stand for an ordinary jet or object where features have no typical value of their own."""


@dataclass(frozen=True)
class Ordinary:
    """What an ordinary event looks like.

    Attributes
    ----------
    medians
        Of the inputs with a number an event, in the side bands.
    events
        Some events of the side bands with all inputs, shape (references, …) each.
    """

    medians: Mapping[str, float]
    events: Table


@dataclass(frozen=True)
class Explanation:
    """What features, or jets, add to the rarity of an event.

    Attributes
    ----------
    typical
        Rarity of the ordinary event, or mean of the ordinary ones; None without an explanation.
    contributions
        They add up to the event's rarity less the typical one; those that add most first.
    message
        Why there is no explanation; else None.
    """

    typical: float | None
    contributions: tuple[Contribution, ...]
    message: str | None = None


def rarity(score: npt.ArrayLike, least: float) -> FloatArray:
    """−log₁₀(1 − score): 3 for one event in a thousand.

    Parameters
    ----------
    score
        Ranks in [0, 1], any shape.
    least
        Smallest share of events that can be told from none, above 0: no event counts as rarer.

    Returns
    -------
    numpy.ndarray
        float64, of the same shape.
    """
    found: FloatArray = -np.log10(np.clip(1.0 - np.asarray(score, dtype=np.float64), least, 1.0))
    return np.maximum(found, 0.0)


def feature_groups(inputs: Sequence[str]) -> dict[str, list[int]]:
    """Positions of the features of each jet by its name, and under ``event`` of those of the whole event."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(inputs):
        owner = name.rpartition("_")[2] if name.endswith(("_j1", "_j2")) else "event"
        groups.setdefault(owner, []).append(place)
    return groups


def explain(method: Method, event: Table, ordinary: Ordinary, least: float) -> Explanation:
    """What moved the score of an event.

    Parameters
    ----------
    method
        Trained on the event's table.
    event
        Columns of one row: the inputs, ``mjj`` and the event id, by which the fold is found that judges it.
    ordinary
        What features are changed to.
    least
        As for `rarity`.

    Returns
    -------
    Explanation
        Feature by feature, each against its median. Where an input is an array, or a jet has more features than exact
        values can be made for, jet by jet: all inputs of a jet are exchanged for those of side-band events, and the
        rarity is the mean over these. Of a rapidity–mass matrix, object by object in the same way.
    """
    groups = feature_groups(method.inputs)
    if not len(ordinary.events["mjj"]):
        return Explanation(None, (), "not explained: the side bands hold no event to compare with")
    arrays = any(name not in ordinary.medians for name in method.inputs)
    if not arrays and max(map(len, groups.values())) <= MOST_IN_GROUP:
        return _by_feature(method, event, ordinary, least)
    if tuple(method.inputs) == (MATRIX,) and matrix_objects(np.shape(event[MATRIX])[1:]):
        return _by_object(method, event, ordinary, least)
    if len(groups) == 1:
        return Explanation(
            None, (), f"not explained: it reads {', '.join(method.inputs)} of the event as a whole"
        )
    return _by_jet(method, event, ordinary, least)


def _by_feature(method: Method, event: Table, ordinary: Ordinary, least: float) -> Explanation:
    inputs = method.inputs
    columns = {name: np.asarray(event[name]) for name in inputs}
    # In the column's own type: of a number of particles the median is a whole number too.
    medians = {name: np.asarray(ordinary.medians[name]).astype(columns[name].dtype) for name in inputs}

    def worth(coalitions: BoolArray) -> FloatArray:
        table = {
            name: np.where(coalitions[:, place], columns[name], medians[name])
            for place, name in enumerate(inputs)
        }
        return rarity(_score(method, event, table, len(coalitions)), least)

    found, typical, _ = owen_values(worth, list(feature_groups(inputs).values()))
    contributions = [
        Contribution(
            feature=name, value=float(columns[name][0]), median=float(medians[name]), rarity=float(share)
        )
        for name, share in zip(inputs, found, strict=True)
    ]
    return Explanation(typical, _ordered(contributions))


def _by_jet(method: Method, event: Table, ordinary: Ordinary, least: float) -> Explanation:
    groups = feature_groups(method.inputs)
    count = len(ordinary.events["mjj"])

    def worth(coalitions: BoolArray) -> FloatArray:
        table: dict[str, npt.NDArray[Any]] = {}
        for player, places in enumerate(groups.values()):
            own = np.repeat(coalitions[:, player], count)
            for name in (method.inputs[place] for place in places):
                others = np.asarray(ordinary.events[name])
                column = np.concatenate([others] * len(coalitions))
                column[own] = np.asarray(event[name])[0]
                table[name] = column
        found = rarity(_score(method, event, table, len(coalitions) * count), least)
        return np.asarray(found.reshape(len(coalitions), count).mean(axis=1))

    found, typical, _ = owen_values(worth, [[player] for player in range(len(groups))])
    contributions = [
        Contribution(feature=owner, value=None, median=None, rarity=float(share))
        for owner, share in zip(groups, found, strict=True)
    ]
    return Explanation(typical, _ordered(contributions))


def _by_object(method: Method, event: Table, ordinary: Ordinary, least: float) -> Explanation:
    own, others = np.asarray(event[MATRIX])[0], np.asarray(ordinary.events[MATRIX])
    objects = matrix_objects(own.shape)
    cells = np.stack(list(objects.values()))

    def worth(coalitions: BoolArray) -> FloatArray:
        table = {MATRIX: exchanged(own, others, cells, coalitions)}
        found = rarity(_score(method, event, table, len(table[MATRIX])), least)
        return np.asarray(found.reshape(len(coalitions), len(others)).mean(axis=1))

    found, typical, _ = owen_values(worth, [range(len(objects))])
    contributions = [
        Contribution(feature=one, value=None, median=None, rarity=float(share))
        for one, share in zip(objects, found, strict=True)
    ]
    return Explanation(typical, _ordered(contributions))


def _score(method: Method, event: Table, inputs: Table, rows: int) -> FloatArray:
    """Scores of rows with the mass and the id of an event: by its id each is judged by the fold that judges it."""
    own = {name: np.repeat(np.asarray(event[name]), rows) for name in ("mjj", *ID_COLUMNS)}
    return method.score({**own, **inputs}, trained_on=True)


def _ordered(contributions: list[Contribution]) -> tuple[Contribution, ...]:
    return tuple(sorted(contributions, key=lambda one: -abs(one.rarity)))
