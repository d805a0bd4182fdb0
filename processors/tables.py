"""Feature tables as Arrow tables and back: columns with one number an event, or an array of fixed shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.eventid import ID_COLUMNS
from data.types import IntArray
from processors.columns import Columns
from processors.ragged import offsets_of


def to_arrow(table: Columns) -> pa.Table:
    """A feature table as Arrow; arrays an event become lists of fixed size.

    Parameters
    ----------
    table
        Column to its array, shape (n_events, …).

    Returns
    -------
    pyarrow.Table
        Of the same types.
    """
    return pa.table({name: _to_arrow(values) for name, values in table.items()})


def from_arrow(table: pa.Table) -> Columns:
    """A feature table from Arrow.

    Parameters
    ----------
    table
        As of `to_arrow`.

    Returns
    -------
    dict
        Column to its array, shape (n_events, …).
    """
    return {name: _from_arrow(_one_chunk(table.column(name))) for name in table.column_names}


def _one_chunk(column: Any) -> Any:
    """A column in one piece, without a copy where it is already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _to_arrow(values: npt.NDArray[Any]) -> Any:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def _from_arrow(column: Any) -> npt.NDArray[Any]:
    shape = [len(column)]
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.flatten()
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values.reshape(shape)


def sorted_rows(tables: Sequence[Columns]) -> IntArray:
    """Order of the rows of tables, end to end, by event id; events of one id by their contents.

    Parameters
    ----------
    tables
        Tables with equal columns, in any order. Only the ids are copied.

    Returns
    -------
    array (n_rows,)
        Positions. The rows in this order do not depend on the order of the tables and of their rows.
    """
    ids = {name: np.concatenate([table[name] for table in tables]) for name in ID_COLUMNS}
    order: IntArray = np.lexsort([ids[name] for name in reversed(ID_COLUMNS)])
    same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
    for column in ids.values():
        same &= column[order][1:] == column[order][:-1]
    twice = np.zeros(len(order), dtype=np.bool_)
    twice[:-1] |= same
    twice[1:] |= same
    places = np.flatnonzero(twice)
    if len(places):
        rows = gather(tables, order[places])
        rest = [key for name in reversed(list(rows)) if name not in ID_COLUMNS for key in _keys(rows[name])]
        order[places] = order[places][np.lexsort([*rest, *(rows[name] for name in reversed(ID_COLUMNS))])]
    return order


def gather(tables: Sequence[Columns], rows: IntArray) -> Columns:
    """Some rows of tables, by their positions in all tables end to end.

    Parameters
    ----------
    tables
        Tables with equal columns, at least one.
    rows
        The positions, in the order wanted, shape (m,).

    Returns
    -------
    dict
        Column to its array, shape (m, …) for m positions.
    """
    sizes = [len(table["event"]) for table in tables]
    first = offsets_of(np.array(sizes))
    owner = np.searchsorted(first, rows, side="right") - 1
    out = {
        name: np.empty((len(rows), *values.shape[1:]), dtype=values.dtype)
        for name, values in tables[0].items()
    }
    by_owner = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[by_owner], np.arange(len(tables) + 1))
    for number in np.flatnonzero(np.diff(ends)).tolist():
        here = by_owner[ends[number] : ends[number + 1]]
        local = rows[here] - first[number]
        for name, column in out.items():
            column[here] = tables[number][name][local]
    return out


def _keys(values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Columns to sort by, the least significant first."""
    if values.ndim == 1:
        return [values]
    return list(values.reshape(len(values), -1).T[::-1])
