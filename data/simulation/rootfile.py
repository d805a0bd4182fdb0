"""NanoAOD-like ROOT files: a TTree ``Events`` and a TTree ``Runs``."""

import contextlib
import hashlib
import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import uproot

from data.files import atomic_path, hash_json
from data.simulation.columns import Events
from data.types import IntArray

_CLUSTER = 20_000  # events a basket: fewer baskets compress better, more let readers skip
_EPOCH_CODE = 1 << 21 | 1 << 17  # ROOT's packed date of 1996-01-01 00:00:00


@dataclass(frozen=True)
class RunSummary:
    """The ``Runs`` tree: the run number, and for simulation the generated events and their weights."""

    run: int
    generated: int | None


@contextlib.contextmanager
def _no_clock() -> Iterator[None]:
    """Keep the wall clock out of the file: equal contents must be equal bytes."""
    with mock.patch("uproot._util.datetime_to_code", return_value=_EPOCH_CODE):
        yield


def write_root(path: Path, events: Events, summary: RunSummary) -> None:
    """Write events as a TTree, LZMA-compressed, atomically; the same events give the same bytes.

    Parameters
    ----------
    path
        The file.
    events
        Columns; collections become ``nX`` and ``X_field``.
    summary
        Contents of ``Runs``.
    """
    identity = uuid.UUID(_fingerprint(path.name, events)[:32])
    buffer = io.BytesIO()  # not a path: uproot would write the temporary name into the file
    options = {"compression": uproot.LZMA(9), "uuid_function": lambda: identity}
    with _no_clock(), uproot.recreate(buffer, **options) as file:
        everything: IntArray = np.arange(len(events), dtype=np.int64)
        branches = events.branches()
        tree = file.mktree("Events", {name: _type(array) for name, array in branches.items()})
        for start in range(0, len(events), _CLUSTER):
            tree.extend(events.take(everything[start : start + _CLUSTER]).branches())
        runs = _runs(summary)
        file.mktree("Runs", {name: column.dtype for name, column in runs.items()}).extend(runs)
        content = buffer.getvalue()  # uproot writes through, and closes the buffer at the end
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _fingerprint(name: str, events: Events) -> str:
    """Hash of all contents: readers cache by the file's identifier, so equal means the same events."""
    parts = [name, *(hashlib.sha256(column.tobytes()).hexdigest() for column in events.columns.values())]
    for collection in events.collections.values():
        parts += [hashlib.sha256(column.tobytes()).hexdigest() for column in collection.fields.values()]
    return hash_json(parts)


def _type(array: Any) -> Any:
    """Type of a branch: a NumPy dtype, or the Awkward type of a collection's elements."""
    kind = getattr(array, "dtype", None)
    return kind if kind is not None else array.type.content


def _runs(summary: RunSummary) -> dict[str, npt.NDArray[Any]]:
    runs: dict[str, npt.NDArray[Any]] = {"run": np.array([summary.run], dtype=np.uint32)}
    if summary.generated is not None:
        runs["genEventCount"] = np.array([summary.generated], dtype=np.int64)
        runs["genEventSumw"] = np.array([summary.generated], dtype=np.float64)
        runs["genEventSumw2"] = np.array([summary.generated], dtype=np.float64)
    return runs
