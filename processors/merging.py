"""Merge of the feature tables of chunks into sorted Parquet files, in memory that does not grow with the sample.

Tables fill a buffer; each full buffer is sorted by event id and spilled to disk. In the end neighbouring event ids are
taken from all spills side by side. The files are the same to the bit as those of one sort of everything.
"""

import logging
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError
from data.eventid import ID_COLUMNS
from data.files import writing
from data.types import BoolArray, IntArray
from processors.columns import Columns
from processors.tables import from_arrow, gather, sorted_rows, to_arrow

ROWS_PER_FILE = 1_000_000
ROWS_PER_GROUP = 100_000
GROUP_BYTES = 64_000_000
BUFFER_BYTES = 128_000_000
"""Rows that are sorted at once."""
BATCH_BYTES = 500_000
"""What is read from a spill at once: small, as some of every spill is held."""
_COMPRESSION = {"compression": "zstd", "compression_level": 3}
_MOST_IDS = 5
_LOG = logging.getLogger("oddjet")

EventId = tuple[int, int, int]
"""Run, luminosity block and event."""
Segment = tuple[Sequence[Columns], IntArray]
"""Tables, and the order of their rows end to end; the ids of a segment lie behind those of the one before."""


def merge_tables(
    tables: Iterable[Columns], folder: Path, empty: Columns, sample: str, *, unique: bool
) -> list[Path]:
    """Merge the tables of a sample into ``folder``, replacing what was there.

    A table is asked for when the one before has been copied. What does not fit into the buffer takes as much disk space
    beside ``folder``, until all is written, as the tables have bytes.

    Parameters
    ----------
    tables
        Tables of chunks, in any order.
    folder
        Where the sorted files go.
    empty
        A table with the columns and no row.
    sample
        Name of the sample, for messages.
    unique
        Refuse two events of one id (data); else only say that there are some.

    Returns
    -------
    list of Path
        The files, in the order of the event ids; one empty file where nothing was selected.

    Raises
    ------
    InputError
        If ``unique`` and an event id occurs twice.
    OutputError
        If the disk does not take it; ``folder`` stays as it was.
    """
    scratch = folder.with_name(f".{folder.name}.merging")
    with writing(folder.parent):
        shutil.rmtree(scratch, ignore_errors=True)  # that of a merge which was killed
        try:
            fresh = scratch / folder.name
            fresh.mkdir(parents=True)
            rows, segments = _sorted(tables, empty, scratch)
            repeats = _Repeats()
            names = _write(fresh, empty, rows, segments, repeats)
            repeats.tell(sample, unique=unique)
            if folder.exists():
                shutil.rmtree(folder)
            fresh.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return [folder / name for name in names]


def _sorted(tables: Iterable[Columns], empty: Columns, scratch: Path) -> tuple[int, Iterator[Segment]]:
    """Number of rows, and the rows in order; what does not fit into one buffer is spilled on the way."""
    row_bytes = _row_bytes(empty)
    capacity, batch = (max(size // row_bytes, 1) for size in (BUFFER_BYTES, BATCH_BYTES))
    spills: list[_Spill] = []
    for buffer in _buffers(tables, empty, capacity):
        rows = len(buffer["event"])
        if not spills and rows < capacity:
            return rows, iter([([buffer], sorted_rows([buffer]))])
        spills.append(_spill(buffer, scratch / f"{len(spills)}.arrow", batch))
    # Half as much as when the spills were made: the batches at both ends of a segment are read whole.
    return sum(spill.rows for spill in spills), _segments(spills, max(capacity // batch // 2, 1))


def _row_bytes(table: Columns) -> int:
    return sum(column.dtype.itemsize * math.prod(column.shape[1:]) for column in table.values())


def _buffers(tables: Iterable[Columns], empty: Columns, capacity: int) -> Iterator[Columns]:
    """The rows of tables end to end, always in the same arrays: full ones, then one that is not."""
    buffer = {
        name: np.empty((capacity, *column.shape[1:]), dtype=column.dtype) for name, column in empty.items()
    }
    filled = 0
    for table in tables:
        rows, start = len(table["event"]), 0
        while start < rows:
            size = min(capacity - filled, rows - start)
            for name, column in buffer.items():
                column[filled : filled + size] = table[name][start : start + size]
            start, filled = start + size, filled + size
            if filled == capacity:
                yield buffer
                filled = 0
    yield {name: column[:filled] for name, column in buffer.items()}


@dataclass(frozen=True)
class _Spill:
    """Sorted rows on disk, in batches; ``first`` has the event id of each batch's first row."""

    path: Path
    rows: int
    first: Columns

    def between(self, low: EventId, high: EventId | None) -> Iterator[Columns]:
        """The rows from an event id on to before another one; views of batches."""
        start = max(int(np.count_nonzero(_before(self.first, low))) - 1, 0)
        stop = int(np.count_nonzero(_before(self.first, high)))
        with pa.OSFile(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(start, stop):
                batch = from_arrow(pa.Table.from_batches([reader.get_batch(number)]))
                inside = slice(np.count_nonzero(_before(batch, low)), np.count_nonzero(_before(batch, high)))
                yield {name: column[inside] for name, column in batch.items()}


def _before(ids: Columns, bound: EventId | None) -> BoolArray:
    """Whether each row's event id is smaller than another one; None is larger than all."""
    below = np.full(len(ids["event"]), bound is None)
    if bound is not None:
        equal = np.ones(len(below), dtype=np.bool_)
        for name, value in zip(ID_COLUMNS, bound, strict=True):
            below |= equal & (ids[name] < value)
            equal &= ids[name] == value
    return below


def _spill(table: Columns, path: Path, batch: int) -> _Spill:
    order = sorted_rows([table])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, to_arrow(table).schema) as out:
        for start in range(0, len(order), batch):
            out.write_table(to_arrow(gather([table], order[start : start + batch])))
    return _Spill(path, len(order), {name: table[name][order[::batch]] for name in ID_COLUMNS})


def _segments(spills: Sequence[_Spill], batches: int) -> Iterator[Segment]:
    """The rows of spills in order; in each segment about as many batches begin as said.

    All rows of one event id are in one segment, so that their contents can decide about their order.
    """
    first = sorted(
        event_id
        for spill in spills
        for event_id in zip(*(spill.first[name].tolist() for name in ID_COLUMNS), strict=True)
    )
    lows = list(dict.fromkeys(first[::batches]))
    for low, high in zip(lows, [*lows[1:], None], strict=True):
        tables = [table for spill in spills for table in spill.between(low, high)]
        yield tables, sorted_rows(tables)


def _write(
    folder: Path, empty: Columns, rows: int, segments: Iterator[Segment], repeats: "_Repeats"
) -> list[str]:
    """Write rows in order as Parquet files, in row groups that fit into little memory."""
    size = min(max(GROUP_BYTES // _row_bytes(empty), 1), ROWS_PER_GROUP)
    files = [_cut(min(ROWS_PER_FILE, rows - start), size) for start in range(0, max(rows, 1), ROWS_PER_FILE)]
    groups = _groups(segments, [length for lengths in files for length in lengths])
    names = [f"part_{number:05d}.parquet" for number in range(len(files))]
    for name, lengths in zip(names, files, strict=True):
        with pq.ParquetWriter(folder / name, to_arrow(empty).schema, **_COMPRESSION) as writer:
            for _, table in zip(lengths, groups, strict=False):
                repeats.look(table)
                writer.write_table(to_arrow(table))
    return names


def _cut(rows: int, size: int) -> list[int]:
    """Lengths of pieces of one size and of what is left."""
    return [min(size, rows - start) for start in range(0, rows, size)]


def _groups(segments: Iterator[Segment], lengths: Iterable[int]) -> Iterator[Columns]:
    """The rows of segments as tables of the lengths asked for."""
    tables, order = next(segments)
    for length in lengths:
        found: list[Columns] = []
        wanted = length
        while wanted > len(order):
            found.append(gather(tables, order))
            wanted -= len(order)
            tables, order = next(segments)
        found.append(gather(tables, order[:wanted]))
        order = order[wanted:]
        yield {name: np.concatenate([table[name] for table in found]) for name in found[0]}


class _Repeats:
    """Looks for event ids that occur twice in tables that come one after the other, sorted by id."""

    def __init__(self) -> None:
        self._rows = 0
        self._ids = 0
        self._named: list[str] = []
        self._last: EventId | None = None
        self._repeated = False

    def look(self, table: Columns) -> None:
        """Look through the next table; it has rows."""
        same = np.ones(len(table["event"]), dtype=np.bool_)
        for name, last in zip(ID_COLUMNS, self._last or (-1, -1, -1), strict=True):
            same[1:] &= table[name][1:] == table[name][:-1]
            same[0] &= int(table[name][0]) == last
        again = np.flatnonzero(same)
        begins = again[~np.concatenate([[self._repeated], same])[again]]
        self._rows += len(again)
        self._ids += len(begins)
        for row in begins[: _MOST_IDS - len(self._named)]:
            self._named.append(":".join(str(table[name][row]) for name in ID_COLUMNS))
        run, block, event = (int(table[name][-1]) for name in ID_COLUMNS)
        self._last, self._repeated = (run, block, event), bool(same[-1])

    def tell(self, sample: str, *, unique: bool) -> None:
        """Refuse or say what was found, if anything."""
        if not self._rows:
            return
        more = f" and {self._ids - _MOST_IDS} more" if self._ids > _MOST_IDS else ""
        what = (
            f"sample '{sample}': {self._rows} selected events have the run:luminosityBlock:event of another one: "
            f"{', '.join(self._named)}{more}"
        )
        if unique:
            msg = f"{what}; primary datasets overlap or a file is there twice: remove one of them"
            raise InputError(msg)
        _LOG.warning(
            "%s; some generators number events anew in each file, but check that no file is there twice", what
        )
