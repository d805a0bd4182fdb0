"""The training sample in a fixed order, its folds, and how its rows are recognised later.

Outer folds, inner splits and batches follow from the event id alone (`data.eventid`); a bare table has no ids,
its rows are known by a hash of their contents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import InputError, TrainingError
from data.eventid import N_FOLDS, UintArray, batch_number, duplicate_ids, fold_of, row_batch, row_hashes
from data.types import FloatArray, IntArray, Table
from models.classifiers import take
from models.preprocessing import column

ID_COLUMNS = ("run", "luminosity_block", "event")
NOT_TRAINED = -1
Identified = Literal["event id", "row contents"]


def has_ids(table: Table) -> bool:
    """Whether a table holds event ids."""
    return all(name in table for name in ID_COLUMNS)


def _hashes(table: Table, names: tuple[str, ...]) -> UintArray:
    return row_hashes({name: table[name] for name in names})


@dataclass(frozen=True)
class TrainingSample:
    """A training sample in canonical order: nothing that follows depends on the order in which rows were given.

    Parameters
    ----------
    columns
        The columns needed, float64, sorted by event id (bare tables: by content).
    hashes
        Row hashes of the contents, uint64.
    batch
        0 … 39.
    identified_by
        ``"event id"`` or ``"row contents"``.
    """

    columns: dict[str, FloatArray]
    hashes: UintArray
    batch: IntArray
    identified_by: Identified

    @property
    def fold(self) -> IntArray:
        """Outer fold of each row, 0 … 4."""
        return fold_of(self.batch)


def training_sample(table: Table, names: tuple[str, ...], hashed: tuple[str, ...]) -> TrainingSample:
    """Check a table and put it into canonical order.

    Parameters
    ----------
    table
        The feature table; only the columns named, the event ids and ``weight`` are read.
    names
        Columns needed for training.
    hashed
        Columns by whose contents a row is recognised.

    Raises
    ------
    InputError
        If a column is missing, has another length, or holds a value that is not finite.
    TrainingError
        If an event stands twice, or the table is weighted.
    """
    columns = {name: column(table, name) for name in names}
    rows = len(columns[names[0]])
    _same_length(table, (*names, *(ID_COLUMNS if has_ids(table) else ())), rows)
    if "weight" in table and not np.all(column(table, "weight") == 1.0):
        msg = "column 'weight': the training sample must be data or mock data, whose events all have weight 1"
        raise TrainingError(msg)
    hashes = _hashes(columns, hashed)
    if not has_ids(table):
        # The columns themselves break the ties of rows that are equal in float32.
        order = np.lexsort((*(columns[name] for name in reversed(names)), hashes))
        batch = row_batch(hashes)
        return _ordered(columns, hashes, batch, order, "row contents")
    ids: dict[str, npt.NDArray[Any]] = {name: np.asarray(table[name]) for name in ID_COLUMNS}
    twice = duplicate_ids(ids)
    if len(twice):
        first = ", ".join(f"{name} {int(values[twice[0]])}" for name, values in ids.items())
        msg = (
            f"{len(twice)} events stand twice in the training sample, the first is {first}; remove the copies"
        )
        raise TrainingError(msg)
    order = np.lexsort((ids["event"], ids["luminosity_block"], ids["run"]))
    batch = batch_number(ids["run"], ids["luminosity_block"], ids["event"])
    return _ordered(columns, hashes, batch, order, "event id")


def _same_length(table: Table, names: tuple[str, ...], rows: int) -> None:
    other = {name: len(table[name]) for name in names if len(table[name]) != rows}
    if other:
        msg = f"columns of another length than '{names[0]}' ({rows} rows): {other}"
        raise InputError(msg)


def _ordered(
    columns: dict[str, FloatArray],
    hashes: UintArray,
    batch: IntArray,
    order: IntArray,
    identified_by: Identified,
) -> TrainingSample:
    ordered = {name: values[order] for name, values in columns.items()}
    return TrainingSample(ordered, hashes[order], batch[order], identified_by)


@dataclass(frozen=True)
class KnownRows:
    """What a bundle remembers of the rows that it was trained on.

    Parameters
    ----------
    hashes
        Row hashes, uint64, ascending, each once.
    folds
        Outer fold of each, int8.
    """

    hashes: UintArray
    folds: npt.NDArray[np.int8]

    def fold_of(self, hashes: UintArray) -> IntArray:
        """Outer fold of each row that was trained on, −1 for others."""
        position = np.searchsorted(self.hashes, hashes)
        position = np.minimum(position, len(self.hashes) - 1)
        return np.where(self.hashes[position] == hashes, self.folds[position], NOT_TRAINED).astype(np.int64)

    @classmethod
    def checked(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "KnownRows":
        """From the arrays of a bundle.

        Raises
        ------
        ValueError
            If they are missing or could not have been saved.
        """
        hashes = take(arrays, "trained/hashes", "uint64", None)
        folds = take(arrays, "trained/folds", "int8", len(hashes))
        if len(hashes) == 0 or np.any(hashes[1:] <= hashes[:-1]) or np.any((folds < 0) | (folds >= N_FOLDS)):
            msg = "the hashes of the training rows are not ascending, or their folds not 0 … 4"
            raise ValueError(msg)
        return cls(hashes, folds)


def remember(sample: TrainingSample) -> KnownRows:
    """The rows of a training sample, to be recognised later.

    Two events with equal contents but different ids share a hash; the one in the lower fold is kept, so that the
    result does not depend on their order.
    """
    order = np.lexsort((sample.fold, sample.hashes))
    hashes, first = np.unique(sample.hashes[order], return_index=True)
    return KnownRows(hashes, sample.fold[order][first].astype(np.int8))


def own_folds(
    table: Table, hashed: tuple[str, ...], known: KnownRows, *, trained_on: bool | None
) -> IntArray:
    """For each row the fold whose networks may score it.

    Parameters
    ----------
    table
        The feature table.
    hashed
        Columns by whose contents a row is recognised.
    known
        The rows that were trained on.
    trained_on
        True: the table is (part of) the training sample, folds follow from event ids where it has them. False: it
        is another sample. None: rows are recognised by their contents.

    Returns
    -------
    numpy.ndarray
        int64, 0 … 4; −1 where all folds may.

    Raises
    ------
    InputError
        If a table without event ids is said to be trained on and holds other rows.
    """
    rows = len(table["mjj"])
    if trained_on is False:
        return np.full(rows, NOT_TRAINED, dtype=np.int64)
    if trained_on and has_ids(table):
        _same_length(table, ("mjj", *ID_COLUMNS), rows)
        return fold_of(batch_number(*(np.asarray(table[name]) for name in ID_COLUMNS)))
    folds = known.fold_of(_hashes(table, hashed))
    unknown = int(np.count_nonzero(folds == NOT_TRAINED))
    if trained_on and unknown:
        msg = (
            f"{unknown} of {rows} rows were not in the training sample although trained_on=True; "
            "leave trained_on out, or add the columns run, luminosity_block and event"
        )
        raise InputError(msg)
    return folds
