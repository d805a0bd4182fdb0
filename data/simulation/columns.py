"""Columns of NanoAOD: event-level arrays and collections, reduced precision, reading and writing of block files."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.files import atomic_path
from data.types import IntArray, Table

# Bits of the mantissa that are kept, as in CMS NanoAOD.
PT_BITS, ANGLE_BITS, MASS_BITS, SHAPE_BITS = 10, 12, 10, 10


def reduce_precision(values: npt.ArrayLike, bits: int) -> npt.NDArray[np.float32]:
    """Round to float32 with fewer mantissa bits; what is dropped compresses to nothing.

    Parameters
    ----------
    values
        Numbers, any shape.
    bits
        Bits of the mantissa to keep, 1 … 22; the relative error is at most 2^−(bits + 1).

    Returns
    -------
    numpy.ndarray
        float32; infinities and not-a-number stay as they are.
    """
    single = np.array(values, dtype=np.float32)
    shift = np.uint32(23 - bits)
    raw = single.view(np.uint32)
    half = np.uint32(1) << (shift - np.uint32(1))
    rounded = ((raw + half) >> shift) << shift
    finite = np.isfinite(single) & np.isfinite(rounded.view(np.float32))
    return np.where(finite, rounded, raw).view(np.float32)


@dataclass(frozen=True)
class Collection:
    """Objects of many events: how many each has, and flat columns end to end.

    Attributes
    ----------
    counts
        Shape (n_events,).
    fields
        Field of NanoAOD to its column, shape (sum of ``counts``,).
    """

    counts: IntArray
    fields: Table

    def take(self, events: IntArray) -> "Collection":
        """The objects of some events.

        Parameters
        ----------
        events
            Their positions, shape (m,).

        Returns
        -------
        Collection
            Of m events, in this order.
        """
        start = np.concatenate(([0], np.cumsum(self.counts)))
        counts = self.counts[events]
        offsets = np.concatenate(([0], np.cumsum(counts)))
        rows = (
            np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts) + np.repeat(start[:-1][events], counts)
        )
        return Collection(counts, {name: column[rows] for name, column in self.fields.items()})


@dataclass(frozen=True)
class Events:
    """Events as NanoAOD columns.

    Attributes
    ----------
    columns
        Branch of the event to its column, shape (n_events,).
    collections
        Kind of object to the objects of all events.
    """

    columns: Table
    collections: dict[str, Collection]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, events: IntArray) -> "Events":
        """Some of the events.

        Parameters
        ----------
        events
            Their positions, shape (m,).

        Returns
        -------
        Events
            In this order.
        """
        return Events(
            {name: column[events] for name, column in self.columns.items()},
            {name: collection.take(events) for name, collection in self.collections.items()},
        )

    def with_columns(self, **columns: npt.NDArray[Any]) -> "Events":
        """The same events with further columns.

        Parameters
        ----------
        columns
            Branch to its column, shape (n_events,).

        Returns
        -------
        Events
            With these columns first, in place of those of the same name.
        """
        return Events(
            {**columns, **{k: v for k, v in self.columns.items() if k not in columns}}, self.collections
        )

    def branches(self) -> dict[str, Any]:
        """Arrays for a TTree writer: a record array for each collection."""
        records = {
            name: ak.unflatten(ak.zip(dict(collection.fields)), collection.counts)
            for name, collection in self.collections.items()
        }
        return {**self.columns, **records}


def concatenate(parts: Sequence[Events]) -> Events:
    """Events of several sets, one after the other; all have the same columns."""
    first = parts[0]
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns}
    collections = {
        name: Collection(
            np.concatenate([part.collections[name].counts for part in parts]),
            {
                key: np.concatenate([part.collections[name].fields[key] for part in parts])
                for key in found.fields
            },
        )
        for name, found in first.collections.items()
    }
    return Events(columns, collections)


def save_block(path: Path, events: Events, meta: dict[str, float]) -> None:
    """Write the events of one block, atomically, as a compressed NumPy archive without pickles.

    Parameters
    ----------
    path
        The file.
    events
        The events.
    meta
        Numbers about the block, by name.
    """
    arrays: dict[str, npt.NDArray[Any]] = {f"event/{name}": column for name, column in events.columns.items()}
    for name, collection in events.collections.items():
        arrays[f"counts/{name}"] = collection.counts
        arrays |= {f"field/{name}/{key}": column for key, column in collection.fields.items()}
    arrays |= {f"meta/{name}": np.asarray(value) for name, value in meta.items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def load_block(path: Path) -> tuple[Events, dict[str, float]]:
    """Read what :func:`save_block` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    events, meta
        As they were given to :func:`save_block`.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        msg = f"{path}: not a readable block of simulated events ({error}); delete it and simulate again"
        raise InputError(msg) from None
    columns: dict[str, npt.NDArray[Any]] = {}
    counts: dict[str, IntArray] = {}
    fields: dict[str, dict[str, npt.NDArray[Any]]] = {}
    meta: dict[str, float] = {}
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        if kind == "event":
            columns[rest] = array
        elif kind == "counts":
            counts[rest] = array
        elif kind == "field":
            collection, _, key = rest.partition("/")
            fields.setdefault(collection, {})[key] = array
        else:
            meta[rest] = float(array)
    return Events(columns, {name: Collection(counts[name], fields[name]) for name in counts}), meta
