"""The event loop: coffea's Runner over chunks of files, with errors that say where and an account of entries."""

import concurrent.futures.process
import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import loky
import numpy as np
from coffea.nanoevents import BaseSchema
from coffea.processor import FuturesExecutor, IterativeExecutor, Runner
from coffea.processor.executor import WorkItem
from coffea.util import coffea_console

from data.errors import IncompleteError, InputError, OddjetError
from data.samples import Year, year
from data.types import FloatArray
from processors.account import Account, Range, settle
from processors.chunks import Chunk, Jets
from processors.config import ProcessingConfig, SelectionConfig
from processors.features import Columns, columns, feature_table
from processors.preflight import OPEN_TIMEOUT, SamplePlan, damaged
from processors.schema import FileSchema
from processors.selection import select_dijets
from processors.weights import WeightScale, check_exact, event_weights

_MOST_PROBLEMS = 5
_IDLE = 10  # seconds that workers wait for the next sample: starting one costs seconds of imports

Step = dict[str, str | int | float]
"""One line of ``cutflow.json``."""
Tally = dict[str, Any]
"""Part of every accumulator: ``ranges`` (list of Range), ``cutflow``, ``sum_of_squares`` of all weights."""


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to turn a chunk into a feature table; small to send."""

    sample: str
    kind: str
    year: Year
    cuts: SelectionConfig
    scale: WeightScale
    schemas: dict[str, FileSchema]

    def table(self, events: Any) -> tuple[Columns, Tally]:
        """Features of the selected events of a chunk.

        Parameters
        ----------
        events
            coffea's virtual array of one chunk.

        Returns
        -------
        tuple
            The feature table and what is counted along the way.
        """
        about = events.metadata
        file, start = str(about["filename"]), int(about["entrystart"])
        chunk = Chunk(self.sample, file, start, len(events), self.schemas[file], events)
        weight = self._weights(chunk)
        jets = Jets(chunk)
        dijets, cutflow = select_dijets(chunk, jets, weight, self.cuts, self.year)
        table = feature_table(chunk, jets, dijets, weight)
        # The range is what was read, not what was asked for: a short read shows in the account.
        done = Range(file, start, start + chunk.size, len(dijets.entry))
        squares = float(np.square(weight).sum())
        return table, {"ranges": [done], "cutflow": cutflow, "sum_of_squares": squares}

    def _weights(self, chunk: Chunk) -> FloatArray:
        if self.kind == "data":
            return np.ones(chunk.size)
        generated = chunk.role("generator_weight")
        chunk.check_finite("generator_weight", generated, np.arange(chunk.size))
        return event_weights(generated, self.scale)


@dataclass(frozen=True)
class Guarded:
    """A chunk function whose oddjet errors come back as values.

    coffea wraps what a processor raises into a bare Exception, and a process boundary drops its cause; a
    value keeps the message and lets all bad chunks be named at once.
    """

    work: Callable[[Any], dict[str, Any]]

    def __call__(self, events: Any) -> dict[str, Any]:
        """Process one chunk, given as coffea's array of virtual columns."""
        try:
            return {"problems": [], **self.work(events)}
        except OddjetError as error:
            about = events.metadata
            return {"problems": [(str(about["filename"]), int(about["entrystart"]), error)]}


@dataclass(frozen=True)
class LoopResult:
    """The merged accumulator of a loop, its complete account and its cutflow."""

    merged: dict[str, Any]
    account: Account
    cutflow: list[Step]


def recipe_of(plan: SamplePlan, cuts: SelectionConfig) -> Recipe:
    """What a worker needs to know about a sample."""
    schemas = {file.path: file.schema for file in plan.files if file.schema is not None}
    sample = plan.sample
    return Recipe(sample.name, sample.kind, year(sample.year), cuts, plan.scale, schemas)


def has_label(plan: SamplePlan) -> bool:
    """Whether the tables of a sample have the column ``label``."""
    return any(file.schema is not None and "label" in file.schema.roles for file in plan.files)


def empty_table(plan: SamplePlan) -> Columns:
    """A feature table of no event."""
    return {name: np.empty(0, dtype=kind) for name, kind in columns(label=has_label(plan)).items()}


def run_loop(
    plan: SamplePlan, work: Callable[[Any], dict[str, Any]], processing: ProcessingConfig
) -> LoopResult:
    """Process every entry of a sample once.

    Parameters
    ----------
    plan
        The sample.
    work
        Chunk to accumulator: a dictionary that holds at least a Tally.
    processing
        Chunk size and executor.

    Returns
    -------
    LoopResult
        Accumulators added up; complete.

    Raises
    ------
    OddjetError
        The first problem of the first bad chunk, with the others listed.
    IncompleteError
        If an entry was not processed exactly once, or a worker died.
    """
    items = work_items(plan, processing.chunk_size)
    merged: dict[str, Any] = {"problems": []}
    if items:
        merged = _run(plan, items, Guarded(work), processing)
    _raise_problems(merged["problems"])
    merged = {"ranges": [], "cutflow": {}, "sum_of_squares": 0.0, **merged}
    account = settle(plan, merged["ranges"])
    # Weights are whole units, so no partial sum in any cutflow step exceeds this sum of squares.
    check_exact(merged["sum_of_squares"], plan.scale, f"sample '{plan.sample.name}', all events")
    cutflow: list[Step] = [{"step": step, **counts} for step, counts in merged["cutflow"].items()]
    return LoopResult(merged, account, cutflow)


def work_items(plan: SamplePlan, chunk_size: int) -> list[Any]:
    """The chunks of a sample: at most ``chunk_size`` entries of one file each."""
    return [
        WorkItem(
            plan.sample.name,
            file.path,
            plan.sample.tree,
            start,
            min(start + chunk_size, file.entries),
            file.uuid,
        )
        for file in plan.files
        for start in range(0, file.entries, chunk_size)
    ]


def _run(plan: SamplePlan, items: list[Any], work: Guarded, processing: ProcessingConfig) -> dict[str, Any]:
    branches = {branch for file in plan.files if file.schema for branch in file.schema.branches()}
    common = {"retries": 0, "desc": plan.sample.name}
    executor = (
        FuturesExecutor(pool=loky.get_reusable_executor(processing.workers, timeout=_IDLE), **common)
        if processing.executor == "futures"
        else IterativeExecutor(**common)
    )
    runner = Runner(executor, schema=BaseSchema, chunksize=processing.chunk_size, xrootdtimeout=OPEN_TIMEOUT)
    try:
        with _progress_on_terminal_only():
            result = runner.run(items, work, iteritems_options={"filter_name": sorted(branches)})
    except concurrent.futures.process.BrokenProcessPool as error:
        msg = (
            f"sample '{plan.sample.name}': a worker process died ({error}); most often memory ran out: lower "
            "processing.chunk_size or processing.workers and run again"
        )
        raise IncompleteError(msg) from error
    except Exception as error:
        opening = _failed_to_open(error, plan.sample.name)
        if opening is None:
            raise
        raise opening from error
    merged: dict[str, Any] = result["out"]
    return merged


def _failed_to_open(error: Exception, sample: str) -> InputError | None:
    """A bare Exception of coffea for a file that does not open, as an error of ours."""
    text = str(error)
    if not text.startswith(("Failed to open file", "Failed creating nanoevents")):
        return None
    found = re.search(r"filename='([^']*)'", text)
    reason = text.rsplit("The error was: ", maxsplit=1)[-1]
    return damaged(found.group(1) if found else "?", sample, "it", RuntimeError(reason))


def _raise_problems(problems: list[tuple[str, int, OddjetError]]) -> None:
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: problem[:2])
    first = ordered[0][2]
    others = [str(error) for _, _, error in ordered[1:_MOST_PROBLEMS]]
    rest = len(ordered) - 1 - len(others)
    if rest:
        others.append(f"… and {rest} more chunks with problems")
    raise type(first)("\n".join([str(first), *others])) from first


@contextlib.contextmanager
def _progress_on_terminal_only() -> Iterator[None]:
    """Coffea draws its bar whatever its ``status`` says; elsewhere than on a terminal it is noise."""
    before = coffea_console.quiet
    coffea_console.quiet = before or not sys.stdout.isatty()
    try:
        yield
    finally:
        coffea_console.quiet = before
