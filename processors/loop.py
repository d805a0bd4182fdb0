"""The event loop: coffea's Runner over chunks of files, with errors that say where and an account of entries."""

import concurrent.futures.process
import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import loky
from coffea.nanoevents import BaseSchema
from coffea.processor import FuturesExecutor, IterativeExecutor, Runner
from coffea.processor.executor import WorkItem
from coffea.util import coffea_console

from data.errors import IncompleteError, InputError, OddjetError
from processors.account import Account, settle
from processors.config import ProcessingConfig
from processors.preflight import SamplePlan
from processors.rntuple import known_classes
from processors.root_files import OPEN_TIMEOUT, damaged
from processors.weights import check_exact

_MOST_PROBLEMS = 5
_WIDE = frozenset({"particle_pt", "small_jet_pt"})  # roles of collections that take much memory
_IDLE = 10  # seconds that workers wait for the next sample: starting one costs seconds of imports

Step = dict[str, str | int | float]
"""One line of ``cutflow.json``."""


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


def run_loop(
    plan: SamplePlan,
    work: Callable[[Any], dict[str, Any]],
    processing: ProcessingConfig,
    *,
    prepare: Callable[[], None] | None = None,
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
    prepare
        What each worker process does once before its first chunk, e.g. importing large libraries.

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
    items = work_items(plan, processing)
    merged: dict[str, Any] = {"problems": []}
    if items:
        merged = _run(plan, items, Guarded(work), processing, prepare)
    _raise_problems(merged["problems"])
    merged = {
        "ranges": [],
        "cutflow": {},
        "sum_of_squares": 0.0,
        "sections": [],
        "without_particles": 0,
        **merged,
    }
    account = settle(plan, merged["ranges"])
    # Weights are whole units, so no partial sum in any cutflow step exceeds this sum of squares.
    check_exact(merged["sum_of_squares"], plan.scale, f"sample '{plan.sample.name}', all events")
    cutflow: list[Step] = [{"step": step, **counts} for step, counts in merged["cutflow"].items()]
    return LoopResult(merged, account, cutflow)


def work_items(plan: SamplePlan, processing: ProcessingConfig) -> list[Any]:
    """The chunks of a sample, each of one file: fewer entries where particles are read."""
    items = []
    for file in plan.files:
        wide = file.schema is not None and not _WIDE.isdisjoint(file.schema.roles)
        size = processing.particle_chunk_size if wide else processing.chunk_size
        for start in range(0, file.entries, size):
            stop = min(start + size, file.entries)
            items.append(WorkItem(plan.sample.name, file.path, plan.sample.tree, start, stop, file.uuid))
    return items


def _run(
    plan: SamplePlan,
    items: list[Any],
    work: Guarded,
    processing: ProcessingConfig,
    prepare: Callable[[], None] | None,
) -> dict[str, Any]:
    branches = {branch for file in plan.files if file.schema for branch in file.schema.branches()}
    common = {"retries": 0, "desc": plan.sample.name}
    if processing.executor == "futures":
        # loky restarts workers that grow, with a warning: what is large must be there before it first looks.
        pool = loky.get_reusable_executor(processing.workers, timeout=_IDLE, initializer=prepare)
        executor = FuturesExecutor(pool=pool, **common)
    else:
        executor = IterativeExecutor(**common)
    runner = Runner(executor, schema=BaseSchema, chunksize=processing.chunk_size, xrootdtimeout=OPEN_TIMEOUT)
    try:
        with _progress_on_terminal_only():
            result = runner.run(
                items,
                work,
                uproot_options={"custom_classes": known_classes()},
                iteritems_options={"filter_name": sorted(branches)},
            )
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
    messages = list(dict.fromkeys(str(error) for _, _, error in ordered))
    shown = messages[:_MOST_PROBLEMS]
    if len(messages) > len(shown):
        shown.append(f"… and {len(messages) - len(shown)} more problems")
    raise type(first)("\n".join(shown)) from first


@contextlib.contextmanager
def _progress_on_terminal_only() -> Iterator[None]:
    """Coffea draws its bar whatever its ``status`` says; elsewhere than on a terminal it is noise."""
    quiet, jupyter = coffea_console.quiet, coffea_console.is_jupyter
    if not sys.stdout.isatty():
        coffea_console.quiet, coffea_console.is_jupyter = (
            True,
            False,
        )  # a notebook shows a widget even if quiet
    try:
        yield
    finally:
        coffea_console.quiet, coffea_console.is_jupyter = quiet, jupyter
