"""Which rows methods learn from that learn background alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data.errors import TrainingError
from data.eventid import inner_split, splitmix64
from data.types import BoolArray, IntArray
from models.arrays import Arrays
from models.folds import TrainingSample
from models.jobs import Member
from models.regions import HIGH, LOW, Regions


def background_rows(
    sample: TrainingSample, extras: Mapping[str, TrainingSample], window: Regions
) -> tuple[TrainingSample, IntArray]:
    """Where a method that learns background alone may look.

    Parameters
    ----------
    sample
        The data.
    extras
        Further tables.
    window
        Signal region and side bands.

    Returns
    -------
    source
        The table ``wide`` if there is one, else the data.
    rows
        Its row numbers: all of ``wide``, else those of the side bands.
    """
    if "wide" in extras:
        return extras["wide"], np.arange(len(extras["wide"].batch))
    return sample, np.flatnonzero(np.isin(window.of(sample.columns["mjj"]), (LOW, HIGH)))


def drawn_rows(source: TrainingSample, rows: IntArray, most: int, seed: int) -> IntArray:
    """At most so many rows, drawn at random.

    An event's lot is a hash of its contents, so that draws from overlapping sets overlap: the rows that the five folds
    learn from are hardly more than those of one.

    Parameters
    ----------
    source
        The table.
    rows
        Row numbers, shape (n,).
    most
        Rows wanted.
    seed
        Another one gives another draw.

    Returns
    -------
    numpy.ndarray
        Row numbers, ascending.
    """
    lots = splitmix64(source.hashes[rows] ^ splitmix64(seed))
    return np.sort(rows[np.argsort(lots, kind="stable")[:most]])


@dataclass(frozen=True)
class DrawnRows:
    """The rows that the folds draw, one table for all of them.

    Parameters
    ----------
    data
        Arrays that the losses of a stack read.
    batch
        Of the rows.
    of_fold
        Which rows each fold may use.
    """

    data: Arrays
    batch: IntArray
    of_fold: tuple[BoolArray, ...]


def fold_members(
    batch: IntArray,
    fold: int,
    count: int,
    seeds: Callable[..., int],
    *,
    among: BoolArray | None = None,
) -> tuple[Member, ...]:
    """The networks of a fold.

    Parameters
    ----------
    batch
        Batch of each row of the job's data; rows of the held-out fold are left out.
    fold
        The fold held out.
    count
        Networks; number s validates on inner split s.
    seeds
        Gives the seed of each.
    among
        Rows that may be used, bool, one a row; by default all.

    Returns
    -------
    tuple of Member
        One a network.

    Raises
    ------
    TrainingError
        If a network has nothing to learn from or to validate on.
    """
    split = inner_split(batch, fold)
    used = split >= 0 if among is None else (split >= 0) & among
    for number in range(count):
        held, total = np.count_nonzero(used & (split == number)), np.count_nonzero(used)
        if held in {0, total}:
            msg = (
                f"fold {fold}: {held} of {total} rows to learn background from lie in inner split {number}; some are "
                "needed in it and some outside: add events, or check the inputs"
            )
            raise TrainingError(msg)
    return tuple(
        Member(
            np.flatnonzero(used & (split != number)),
            np.flatnonzero(used & (split == number)),
            seeds("split", number),
        )
        for number in range(count)
    )
