"""Pass 1: from files to feature tables in Parquet, sorted by event id.

The bytes written depend on the events alone: not on the chunk size, the workers or the order of the files.
"""

import logging
import math
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError
from data.eventid import duplicate_ids
from data.types import IntArray
from processors.features import Columns
from processors.recipe import Recipe
from processors.tables import from_arrow, gather, map_part, sorted_rows, to_arrow, write_part

ROWS_PER_FILE = 1_000_000
ROWS_PER_GROUP = 100_000
GROUP_BYTES = 64_000_000
_COMPRESSION = {"compression": "zstd", "compression_level": 3}
_MOST_IDS = 5
_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class Skim:
    """coffea processor of pass 1: writes each chunk's table into ``folder`` and returns its name."""

    recipe: Recipe
    folder: Path

    def __call__(self, events: Any) -> dict[str, Any]:
        """Process one chunk, given as coffea's array of virtual columns."""
        table, tally = self.recipe.nominal(events)
        parts: list[str] = []
        if len(table["mjj"]):
            # A random name: a chunk that runs twice shows in the account instead of hiding in one file.
            parts = [f"{uuid.uuid4().hex}.arrow"]
            write_part(self.folder / parts[0], table)
        return {**tally, "parts": parts}


def merge_parts(parts: list[Path], folder: Path, empty: Columns, sample: str, *, unique: bool) -> list[Path]:
    """Merge the parts of a sample into ``folder``, replacing what was there.

    The parts are memory-mapped: what is held is their event ids, and one row group.

    Parameters
    ----------
    parts
        Arrow files of chunks.
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
    """
    tables = [empty, *(map_part(part) for part in parts)]
    order = sorted_rows(tables)
    _check_duplicates(tables, order, sample, unique=unique)
    fresh = folder.with_name(f".{uuid.uuid4().hex[:8]}.{folder.name}")
    fresh.mkdir(parents=True)
    try:
        names = []
        for number, start in enumerate(range(0, max(len(order), 1), ROWS_PER_FILE)):
            names.append(f"part_{number:05d}.parquet")
            _write(fresh / names[-1], tables, order[start : start + ROWS_PER_FILE])
        if folder.exists():
            shutil.rmtree(folder)
        fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return [folder / name for name in names]


def _write(path: Path, tables: list[Columns], rows: IntArray) -> None:
    """Write some rows as one Parquet file, in row groups that fit into little memory."""
    row_bytes = sum(column.dtype.itemsize * math.prod(column.shape[1:]) for column in tables[0].values())
    size = min(max(GROUP_BYTES // row_bytes, 1), ROWS_PER_GROUP)
    with pq.ParquetWriter(path, to_arrow(tables[0]).schema, **_COMPRESSION) as writer:
        for start in range(0, len(rows), size):
            writer.write_table(to_arrow(gather(tables, rows[start : start + size])))


def read_features(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a sample's feature table.

    Parameters
    ----------
    folder
        ``features/SAMPLE``.

    Returns
    -------
    dict
        Column name to array, sorted by event id.

    Raises
    ------
    InputError
        If there is no table or a file is damaged.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        msg = f"{folder}: no feature table; run `oddjet skim` first"
        raise InputError(msg)
    tables = [_read(file) for file in files]
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def _read(path: Path) -> Columns:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); run `oddjet skim` again"
        raise InputError(msg) from None
    return from_arrow(table)


def _check_duplicates(tables: list[Columns], order: IntArray, sample: str, *, unique: bool) -> None:
    ids = ("run", "luminosity_block", "event")
    table = {name: np.concatenate([part[name] for part in tables])[order] for name in ids}
    again = duplicate_ids(table)
    if not len(again):
        return
    named = [f"{table['run'][row]}:{table['luminosity_block'][row]}:{table['event'][row]}" for row in again]
    distinct = list(dict.fromkeys(named))
    shown = distinct[:_MOST_IDS]
    more = f" and {len(distinct) - _MOST_IDS} more" if len(distinct) > _MOST_IDS else ""
    what = (
        f"sample '{sample}': {len(again)} selected events have the run:luminosityBlock:event of another one: "
        f"{', '.join(shown)}{more}"
    )
    if unique:
        msg = f"{what}; primary datasets overlap or a file is there twice: remove one of them"
        raise InputError(msg)
    _LOG.warning(
        "%s; some generators number events anew in each file, but check that no file is there twice", what
    )
