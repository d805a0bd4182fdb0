"""Event ids, and what follows from them alone: batches, folds, inner splits and per-event seeds.

An event id is (run, luminosity block, event). Because a batch follows from the id and from nothing else, an
event keeps its fold whatever the chunk size, the order of the files or the number of workers.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import IntArray, Table

ID_COLUMNS = ("run", "luminosity_block", "event")
"""The columns of an event id, the most significant first."""
N_BATCHES = 40
N_FOLDS = 5
N_INNER = 4
_BATCHES_PER_FOLD = N_BATCHES // N_FOLDS

UintArray = npt.NDArray[np.uint64]


def splitmix64(value: npt.ArrayLike) -> UintArray:
    """One step of SplitMix64: the finaliser applied to ``value`` plus the golden-ratio increment.

    Parameters
    ----------
    value
        Unsigned 64-bit integers, any shape.

    Returns
    -------
    numpy.ndarray
        uint64, same shape. ``splitmix64(0)`` is the first output of the generator seeded with 0.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, Fig. 17.
    """
    z = np.atleast_1d(np.asarray(value, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).reshape(np.shape(value))


def event_seed(
    run: npt.ArrayLike, luminosity_block: npt.ArrayLike, event: npt.ArrayLike, seed: int = 0
) -> UintArray:
    """A 64-bit random number for each event: SplitMix64 chained over run, luminosity block and event.

    Parameters
    ----------
    run, luminosity_block, event
        Non-negative integers, one an event.
    seed
        Start of the chain; another seed gives an independent number for the same event.

    Returns
    -------
    numpy.ndarray
        uint64, one an event.
    """
    state: UintArray = np.full(np.shape(event), seed, dtype=np.uint64)
    for part in (run, luminosity_block, event):
        state = splitmix64(state ^ np.asarray(part).astype(np.uint64))
    return state


def batch_number(run: npt.ArrayLike, luminosity_block: npt.ArrayLike, event: npt.ArrayLike) -> IntArray:
    """The batch (0 … 39) that each event belongs to.

    Parameters
    ----------
    run, luminosity_block, event
        Non-negative integers, one an event.

    Returns
    -------
    numpy.ndarray
        int64, one an event, equally likely 0 … 39.
    """
    return (event_seed(run, luminosity_block, event) % np.uint64(N_BATCHES)).astype(np.int64)


def row_hashes(columns: Table) -> UintArray:
    """Hashes of the contents of a bare table's rows, which has no event ids.

    Parameters
    ----------
    columns
        Column name to numeric array, one entry a row (a number or an array of numbers); the order of the columns
        does not matter.

    Returns
    -------
    numpy.ndarray
        uint64, one a row. Contents count in float32: a table that went through a float32 file is known again.

    Raises
    ------
    InputError
        If there is no column or the lengths differ.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        msg = f"table: columns must be at least one and of one length, found {lengths}"
        raise InputError(msg)
    state: UintArray = np.zeros(next(iter(lengths.values())), dtype=np.uint64)
    for name in sorted(columns):
        # + 0 turns −0 into 0.
        bits = (np.asarray(columns[name]).astype(np.float32) + np.float32(0)).view(np.uint32)
        for number in bits.reshape(len(bits), math.prod(bits.shape[1:])).T if bits.ndim > 1 else (bits,):
            state = splitmix64(state ^ number.astype(np.uint64))
    return state


def row_batch(hashes: UintArray) -> IntArray:
    """The batch of each row of a bare table, from its hash: the same in every subset of the table.

    Parameters
    ----------
    hashes
        uint64, shape (n,).

    Returns
    -------
    array (n,) of int64
        0 … 39.
    """
    return (hashes % np.uint64(N_BATCHES)).astype(np.int64)


def fold_of(batch: npt.ArrayLike) -> IntArray:
    """The outer fold of a batch: eight neighbouring batches a fold.

    Parameters
    ----------
    batch
        0 … 39, any shape.

    Returns
    -------
    array of int64
        0 … 4, of the same shape.
    """
    return np.asarray(batch, dtype=np.int64) // _BATCHES_PER_FOLD


def inner_split(batch: npt.ArrayLike, held_out_fold: int) -> IntArray:
    """The inner split (0 … 3) of each batch while one fold is held out.

    Parameters
    ----------
    batch
        Batch numbers, 0 … 39.
    held_out_fold
        The outer fold that is not trained on.

    Returns
    -------
    numpy.ndarray
        int64: the rank of the batch among the 32 others, modulo 4; −1 for batches of the held-out fold.
    """
    batches = np.asarray(batch, dtype=np.int64)
    first = held_out_fold * _BATCHES_PER_FOLD
    rank = np.where(batches >= first + _BATCHES_PER_FOLD, batches - _BATCHES_PER_FOLD, batches)
    return np.where(fold_of(batches) == held_out_fold, -1, rank % N_INNER)


def duplicate_ids(columns: dict[str, npt.NDArray[Any]]) -> IntArray:
    """Positions of events whose id stands earlier in the same table.

    Parameters
    ----------
    columns
        ``run``, ``luminosity_block`` and ``event``, one entry an event.

    Returns
    -------
    numpy.ndarray
        int64 positions, ascending; empty where every id is unique.
    """
    event, block, run = columns["event"], columns["luminosity_block"], columns["run"]
    order = np.lexsort((np.arange(len(run)), event, block, run))
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for column in (run, block, event):
        ordered = np.asarray(column)[order]
        same &= ordered[1:] == ordered[:-1]
    return np.sort(order[1:][same])
