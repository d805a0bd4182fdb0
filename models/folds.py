"""The training sample in a fixed order, its folds, and how its rows are recognised later.

Outer folds, inner splits and batches follow from the event id alone (`data.eventid`); a bare table has no ids,
its rows are known by a hash of their contents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from data.errors import InputError, TrainingError
from data.eventid import (
    ID_COLUMNS,
    N_FOLDS,
    UintArray,
    batch_number,
    duplicate_ids,
    fold_of,
    row_batch,
    row_hashes,
)
from data.types import FloatArray, IntArray, Table
from models.arrays import take
from models.preprocessing import array_column, column

NOT_TRAINED = -1
Identified = Literal["event id", "row contents"]
T = TypeVar("T")


def has_ids(table: Table) -> bool:
    """Whether a table holds event ids.

    Parameters
    ----------
    table
        Column name to array.

    Returns
    -------
    bool
        True where run, luminosity_block and event are all there.
    """
    return all(name in table for name in ID_COLUMNS)


def _hashes(table: Table, names: tuple[str, ...]) -> UintArray:
    return row_hashes({name: table[name] for name in names})


@dataclass(frozen=True)
class TrainingSample:
    """A training sample in canonical order: nothing that follows depends on the order in which rows were given.

    Parameters
    ----------
    columns
        The columns needed, sorted by event id (bare tables: by content); float64, arrays an event float32.
    hashes
        Row hashes of the contents, uint64.
    batch
        0 … 39.
    identified_by
        ``"event id"`` or ``"row contents"``.
    weight
        Event weights; 1 for data.
    """

    columns: dict[str, npt.NDArray[Any]]
    hashes: UintArray
    batch: IntArray
    identified_by: Identified
    weight: FloatArray
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def fold(self) -> IntArray:
        """Outer fold of each row, 0 … 4."""
        return fold_of(self.batch)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What the trainings of several folds derive alike, made for the first that asks and held by the sample.

        So five folds that train in one process hold large arrays once, and their jobs share them.

        Parameters
        ----------
        name
            The same for the same value only.
        make
            Derives it; a pure function of the tables of the training that this sample is one of.
        """
        if name not in self._made:
            self._made[name] = make()
        return cast("T", self._made[name])


def most_rows(fold: IntArray) -> int:
    """Rows of the largest of the five trainings on rows of these folds, each of which leaves one fold out.

    A schedule follows from it, the same for all folds: they differ by a few rows, and only equal schedules train in one
    stack.

    Parameters
    ----------
    fold
        0 … 4, one a row.

    Returns
    -------
    int
        At most the number of rows.
    """
    return len(fold) - int(np.bincount(fold, minlength=N_FOLDS).min())


def training_sample(
    table: Table,
    names: tuple[str, ...],
    hashed: tuple[str, ...],
    *,
    what: str = "the training sample",
    weighted: bool = False,
) -> TrainingSample:
    """Check a table and put it into canonical order.

    Parameters
    ----------
    table
        The feature table; only the columns named, the event ids and ``weight`` are read.
    names
        Columns needed for training.
    hashed
        Columns by whose contents a row is recognised.
    what
        The table, for messages.
    weighted
        Whether events may have weights other than 1, and ids repeat, as in simulation.

    Returns
    -------
    TrainingSample
        The columns named, in canonical order.

    Raises
    ------
    InputError
        If a column is missing, has another length, or holds a value that is not finite.
    TrainingError
        If an event stands twice, or has a weight that the table may not have.
    """
    columns = {name: array_column(table, name) for name in names}
    rows = len(columns[names[0]])
    ids_there = has_ids(table)
    same_length(table, (*names, *(ID_COLUMNS if ids_there else ())), rows)
    weight = _weights(table, rows, what, weighted=weighted)
    hashes = _hashes(columns, hashed)
    if not ids_there:
        # The columns themselves break the ties of rows that are equal in float32.
        numbers = [columns[name] for name in reversed(names) if columns[name].ndim == 1]
        order = np.lexsort((weight, *numbers, hashes))
        return _ordered(columns, hashes, row_batch(hashes), weight, order, "row contents")
    ids: dict[str, npt.NDArray[Any]] = {name: np.asarray(table[name]) for name in ID_COLUMNS}
    # Simulated samples are generated apart: ids repeat among them. Their folds follow from them nevertheless.
    twice = duplicate_ids(ids)[: 0 if weighted else None]
    if len(twice):
        first = ", ".join(f"{name} {int(values[twice[0]])}" for name, values in ids.items())
        msg = f"{len(twice)} events stand twice in {what}, the first is {first}; remove the copies"
        raise TrainingError(msg)
    order = np.lexsort((hashes, ids["event"], ids["luminosity_block"], ids["run"]))
    batch = batch_number(ids["run"], ids["luminosity_block"], ids["event"])
    return _ordered(columns, hashes, batch, weight, order, "event id")


def _weights(table: Table, rows: int, what: str, *, weighted: bool) -> FloatArray:
    if "weight" not in table:
        return np.ones(rows)
    weight = column(table, "weight")
    same_length(table, ("mjj", "weight"), rows)
    if not weighted and not np.all(weight == 1.0):
        msg = f"column 'weight': {what} must be data or mock data, whose events all have weight 1"
        raise TrainingError(msg)
    if np.any(weight < 0) or (rows and not weight.sum() > 0):
        msg = (
            f"column 'weight': {what} holds {int(np.count_nonzero(weight < 0))} negative weights of {rows}; a training "
            "needs weights that are not negative and not all zero: use a sample generated without negative weights"
        )
        raise TrainingError(msg)
    return weight


def same_length(table: Table, names: tuple[str, ...], rows: int) -> None:
    """Refuse columns of different length.

    Parameters
    ----------
    table
        Column name to array.
    names
        The columns; the first is that to which the others are compared.
    rows
        Entries of the first.

    Raises
    ------
    InputError
        Naming the columns of another length.
    """
    other = {name: len(table[name]) for name in names if len(table[name]) != rows}
    if other:
        msg = (
            f"columns of another length than '{names[0]}' ({rows} rows): "
            f"{', '.join(f'{name} ({length})' for name, length in other.items())}; give each one entry an event"
        )
        raise InputError(msg)


def _ordered(
    columns: dict[str, npt.NDArray[Any]],
    hashes: UintArray,
    batch: IntArray,
    weight: FloatArray,
    order: IntArray,
    identified_by: Identified,
) -> TrainingSample:
    ordered = {name: values[order] for name, values in columns.items()}
    return TrainingSample(ordered, hashes[order], batch[order], identified_by, weight[order])


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
        """Outer fold of each row that was trained on, −1 for others.

        Parameters
        ----------
        hashes
            Row hashes, uint64, shape (rows,).

        Returns
        -------
        numpy.ndarray
            int64, shape (rows,).
        """
        position = np.searchsorted(self.hashes, hashes)
        position = np.minimum(position, len(self.hashes) - 1)
        return np.where(self.hashes[position] == hashes, self.folds[position], NOT_TRAINED).astype(np.int64)

    @classmethod
    def checked(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "KnownRows":
        """From the arrays of a bundle.

        Parameters
        ----------
        arrays
            All arrays of the bundle.

        Returns
        -------
        KnownRows
            As `remember` gave them.

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


def remember(*samples: TrainingSample) -> KnownRows:
    """The rows of all tables that were trained on, to be recognised later.

    Two events with equal contents but different ids share a hash; the one in the lower fold is kept, so that the
    result does not depend on their order.
    """
    known = np.concatenate([sample.hashes for sample in samples])
    folds = np.concatenate([sample.fold for sample in samples])
    order = np.lexsort((folds, known))
    hashes, first = np.unique(known[order], return_index=True)
    return KnownRows(hashes, folds[order][first].astype(np.int8))


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
        same_length(table, ("mjj", *ID_COLUMNS), rows)
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
