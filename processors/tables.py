"""Feature tables as Arrow tables and back: columns with one number an event, or an array of fixed shape."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.eventid import duplicate_ids
from processors.features import Columns


def to_arrow(table: Columns) -> pa.Table:
    """A feature table as Arrow; arrays an event become lists of fixed size."""
    return pa.table({name: _to_arrow(values) for name, values in table.items()})


def from_arrow(table: pa.Table) -> Columns:
    """A feature table from Arrow."""
    return {name: _from_arrow(table.column(name).combine_chunks()) for name in table.column_names}


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


def sorted_table(tables: list[Columns], empty: Columns) -> Columns:
    """Put tables together, sorted by event id; events of one id by their contents.

    Parameters
    ----------
    tables
        Tables with equal columns, in any order.
    empty
        A table with these columns and no row.

    Returns
    -------
    dict
        Column name to array; independent of the order of the tables and of their rows.
    """
    together = {name: np.concatenate([empty[name], *(table[name] for table in tables)]) for name in empty}
    ids = ("event", "luminosity_block", "run")
    order = np.lexsort([together[name] for name in ids])
    if len(duplicate_ids(together)):
        rest = [
            column for name in reversed(list(empty)) if name not in ids for column in _keys(together[name])
        ]
        order = np.lexsort([*rest, *(together[name] for name in ids)])
    return {name: column[order] for name, column in together.items()}


def _keys(values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Columns to sort by, the least significant first."""
    if values.ndim == 1:
        return [values]
    return list(values.reshape(len(values), -1).T[::-1])
