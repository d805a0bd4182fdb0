"""Pass 1: from files to feature tables in Parquet, sorted by event id.

The bytes written depend on the events alone: not on the chunk size, the workers or the order of the files.
"""

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
from processors.features import Columns
from processors.loop import Recipe

ROWS_PER_FILE = 1_000_000
ROWS_PER_GROUP = 100_000
_COMPRESSION = {"compression": "zstd", "compression_level": 3}
_MOST_IDS = 5


@dataclass(frozen=True)
class Skim:
    """coffea processor of pass 1: writes each chunk's table into ``folder`` and returns its name."""

    recipe: Recipe
    folder: Path

    def __call__(self, events: Any) -> dict[str, Any]:
        """Process one chunk, given as coffea's array of virtual columns."""
        table, tally = self.recipe.table(events)
        parts: list[str] = []
        if len(table["mjj"]):
            # A random name: a chunk that runs twice shows in the account instead of hiding in one file.
            parts = [f"{uuid.uuid4().hex}.parquet"]
            pq.write_table(pa.table(table), self.folder / parts[0], **_COMPRESSION)
        return {**tally, "parts": parts}


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
    rest = [name for name in reversed(list(empty)) if name not in ids]
    order = np.lexsort([together[name] for name in ids])
    if len(duplicate_ids(together)):
        order = np.lexsort([together[name] for name in (*rest, *ids)])
    return {name: column[order] for name, column in together.items()}


def merge_parts(parts: list[Path], folder: Path, empty: Columns, sample: str, *, unique: bool) -> list[Path]:
    """Merge the parts of a sample into ``folder``, replacing what was there.

    Parameters
    ----------
    parts
        Parquet files of chunks.
    folder
        Where the sorted files go.
    empty
        A table with the columns and no row.
    sample
        Name of the sample, for messages.
    unique
        Refuse two events of one id (data).

    Returns
    -------
    list of Path
        The files, in the order of the event ids; one empty file where nothing was selected.

    Raises
    ------
    InputError
        If ``unique`` and an event id occurs twice.
    """
    table = sorted_table([_read(part) for part in parts], empty)
    if unique:
        _check_unique(table, sample)
    fresh = folder.with_name(f".{uuid.uuid4().hex[:8]}.{folder.name}")
    fresh.mkdir(parents=True)
    try:
        rows = len(table["event"])
        names = []
        for number, start in enumerate(range(0, max(rows, 1), ROWS_PER_FILE)):
            piece = pa.table({name: column[start : start + ROWS_PER_FILE] for name, column in table.items()})
            names.append(f"part_{number:05d}.parquet")
            pq.write_table(piece, fresh / names[-1], row_group_size=ROWS_PER_GROUP, **_COMPRESSION)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return [folder / name for name in names]


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
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _check_unique(table: Columns, sample: str) -> None:
    again = duplicate_ids(table)
    if not len(again):
        return
    shown = [
        f"{table['run'][row]}:{table['luminosity_block'][row]}:{table['event'][row]}"
        for row in again[:_MOST_IDS]
    ]
    more = f" and {len(again) - _MOST_IDS} more" if len(again) > _MOST_IDS else ""
    msg = (
        f"sample '{sample}': {len(again)} selected events have the run:luminosityBlock:event of another one: "
        f"{', '.join(shown)}{more}; primary datasets overlap or a file is there twice: remove one of them"
    )
    raise InputError(msg)
