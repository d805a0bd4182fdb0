"""One chunk as a task: what a worker does, wherever it is, and how its result reaches the store."""

import contextlib
import gc
import socket
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coffea.nanoevents import BaseSchema, NanoEventsFactory
from coffea.processor.executor import WorkItem

from data.errors import IncompleteError, InputError, OddjetError
from data.manifest import code_version
from data.partials import PartialStore, dump
from data.samples import Access
from data.trees import Tree
from data.xrootd import is_remote
from processors.account import Range
from processors.root_files import damaged, open_root, reading
from processors.work import ChunkWork


@dataclass(frozen=True)
class ChunkTask:
    """A chunk to be processed.

    Attributes
    ----------
    item
        File and entries.
    key
        Hash of everything that the result depends on: its name in the store.
    access
        Where the file may be read; no result depends on it.
    """

    item: WorkItem
    key: str
    access: Access | None = None

    @property
    def place(self) -> str:
        """The chunk in the words of messages."""
        return f"'{self.item.filename}' entries {self.item.entrystart}–{self.item.entrystop - 1}"

    @property
    def title(self) -> str:
        """What is done, in the words of messages."""
        return f"chunk {self.place}"

    @property
    def order(self) -> tuple[str, int]:
        """Chunks are listed by file and entry."""
        return self.item.filename, self.item.entrystart


@dataclass(frozen=True)
class Target:
    """Where results go, and which code may write there.

    Attributes
    ----------
    folder, mark
        The store, and the text by which a worker knows that it sees this very folder.
    code
        The version of oddjet that the results are of.
    """

    folder: Path
    mark: str
    code: str


@dataclass(frozen=True)
class Outcome:
    """What became of a chunk.

    Attributes
    ----------
    range
        First entry and end of what was read, and how many entries were selected.
    content
        The result, where the worker does not see the store.
    error
        What is wrong with the chunk or its place.
    bug
        The traceback of an error that is none of oddjet's own.
    """

    range: tuple[int, int, int] = (0, 0, 0)
    content: bytes | None = field(default=None, repr=False)
    error: OddjetError | None = None
    bug: str | None = None


def process_chunk(work: ChunkWork, task: ChunkTask, target: Target, attempt: int) -> Outcome:
    """Process a chunk and put its result into the store.

    Errors come back as values: what crosses a process boundary loses its cause, and some exceptions do not cross it.

    Parameters
    ----------
    work
        What is done with the events.
    task
        The chunk.
    target
        Where the result goes.
    attempt
        How often it has failed before.

    Returns
    -------
    Outcome
        With neither content nor error nor bug where the result is in the store.
    """
    try:
        if code_version() != target.code:
            return Outcome(error=IncompleteError(other_code(target.code)))
        store = PartialStore(target.folder)
        seen = store.sees(target.mark)
        found = store.find(task.key) if seen else None
        if found is not None:
            return Outcome(tuple(found["range"]))
        with _garbage_freed():
            tree = _processed(work, task, attempt)
        content = dump({"key": task.key} | tree)
        if not seen:
            return Outcome(tuple(tree["range"]), content)
        store.put(task.key, content)
        return Outcome(tuple(tree["range"]))
    except OddjetError as error:
        return Outcome(error=error)
    except Exception:  # noqa: BLE001 - whatever a bug raises is told with its traceback
        return bug()


def _processed(work: ChunkWork, task: ChunkTask, attempt: int) -> Tree:
    """The result of a chunk; its events are out of reach when this returns."""
    branches = work.recipe.schemas[task.item.filename].branches()
    with open_events(task.item, branches, task.access, attempt) as events:
        return work(events)


@contextlib.contextmanager
def _garbage_freed() -> Iterator[None]:
    """Free what the block leaves behind in reference cycles.

    Open files and virtual columns hold each other, and with them all that was read of a chunk: dozens of chunks would pile
    up before Python looks by itself. What was there before is left out of the search, which would take as long as a third
    of a chunk.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()


def bug() -> Outcome:
    """The error that is being handled, with its traceback."""
    return Outcome(bug=traceback.format_exc())


def other_code(wanted: str) -> str:
    """The message for a worker whose oddjet is not that of the run."""
    return (
        f"the worker on {socket.gethostname()} has oddjet {code_version()}, this run {wanted}; install one version on "
        "all machines"
    )


def range_of(task: ChunkTask, result: Tree) -> Range:
    """What a chunk's result says was read."""
    return Range(task.item.filename, *result["range"])


@contextlib.contextmanager
def open_events(
    item: WorkItem, branches: frozenset[str], access: Access | None = None, attempt: int = 0
) -> Iterator[Any]:
    """Open a chunk's file.

    Parameters
    ----------
    item
        File and entries.
    branches
        The branches that may be read.
    access
        Where the file may be read.
    attempt
        How often its reading has failed before: another replica comes first then.

    Yields
    ------
    awkward.Array
        coffea's array of virtual columns; each is read when it is first looked at, those of a remote file all at once.

    Raises
    ------
    ReadError
        If the bytes cannot be had.
    InputError
        If the file is damaged, or is not the one that was looked at before the loop.
    """
    with contextlib.ExitStack() as stack:
        with reading(item.filename, item.dataset):
            try:
                opened = open_root(
                    item.filename, item.dataset, access=access, attempt=attempt, uuid=item.fileuuid
                )
                file = stack.enter_context(opened)
            except FileNotFoundError as error:  # it was there before the loop, and may come back
                raise damaged(item.filename, item.dataset, "it", error) from error
            if file.file.uuid.bytes != item.fileuuid:
                msg = (
                    f"file '{item.filename}' of sample '{item.dataset}' is not the one that was there when the run "
                    "began; run it again"
                )
                raise InputError(msg)
            events = _virtual_events(file, item, branches)
        yield events


def _virtual_events(file: Any, item: WorkItem, branches: frozenset[str]) -> Any:
    """The entries of a chunk as coffea's array of virtual columns."""
    factory = NanoEventsFactory.from_root(
        file=file,
        treepath=item.treename,
        schemaclass=BaseSchema,
        metadata={
            "dataset": item.dataset,
            "filename": item.filename,
            "entrystart": item.entrystart,
            "entrystop": item.entrystop,
        },
        mode="virtual",
        entry_start=item.entrystart,
        entry_stop=item.entrystop,
        iteritems_options={"filter_name": sorted(branches)},
        preload=branches if is_remote(item.filename) else None,
    )
    return factory.events()
