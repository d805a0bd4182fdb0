"""Pass 1: from files to feature tables in Parquet, sorted by event id.

The bytes written depend on the events alone: not on the chunk size, the workers or the order of the files.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError
from data.trees import Tree
from processors.columns import Columns
from processors.schema import NOMINAL
from processors.selection import REGIONS
from processors.tables import from_arrow
from processors.work import ChunkWork

_REGION = "region"


@dataclass(frozen=True)
class Skim(ChunkWork):
    """Pass 1: the feature table of each chunk."""

    def __call__(self, events: Any) -> Tree:
        """Process one chunk, given as coffea's array of virtual columns."""
        table, tally = self.recipe.nominal(events)
        return {**tally, "tables": {NOMINAL: table} if len(table["mjj"]) else {}}


def read_features(
    folder: str | Path, columns: Collection[str] | None = None, regions: Collection[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Read a sample's feature table, one row group after the other: what is held is what is returned, and one of these.

    Parameters
    ----------
    folder
        ``features/SAMPLE``.
    columns
        The columns wanted, those that the table lacks are left out; None for all.
    regions
        Names of the regions whose rows are wanted (`processors.selection.REGIONS`); None for all.

    Returns
    -------
    dict
        Column name to array, sorted by event id.

    Raises
    ------
    InputError
        If there is no table or a file is damaged.
    """
    files = sorted(Path(folder).glob("*.parquet"))
    if not files:
        msg = f"{folder}: no feature table; run `oddjet skim` first"
        raise InputError(msg)
    codes = None if regions is None else [REGIONS.index(region) for region in regions]
    with _opened(files[0]) as file:
        empty = from_arrow(file.schema_arrow.empty_table())
    rows = sum(_count(path, codes) for path in files)
    table = {
        name: np.empty((rows, *column.shape[1:]), dtype=column.dtype)
        for name, column in empty.items()
        if columns is None or name in columns
    }
    end = 0
    for group in _row_groups(files, {*table} if codes is None else {*table, _REGION}):
        chosen = slice(None) if codes is None else np.isin(group[_REGION], codes)
        start = end
        for name, column in table.items():
            found = group[name][chosen]
            end = start + len(found)
            column[start:end] = found
    return table


def _count(path: Path, codes: Sequence[int] | None) -> int:
    """Number of rows of a file in some regions."""
    if codes is None:
        with _opened(path) as file:
            return int(file.metadata.num_rows)
    groups = _row_groups([path], {_REGION})
    return sum(int(np.count_nonzero(np.isin(group[_REGION], codes))) for group in groups)


def _row_groups(files: Iterable[Path], names: Collection[str]) -> Iterator[Columns]:
    """Some columns of each row group of files."""
    for path in files:
        with _opened(path) as file:
            for number in range(file.num_row_groups):
                yield from_arrow(file.read_row_group(number, columns=sorted(names), use_threads=False))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); run `oddjet skim` again"
        raise InputError(msg) from None
