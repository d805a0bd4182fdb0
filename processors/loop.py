"""The event loop: chunks of files through a pool of workers, each result a file of its own, and an account of entries.

What is finished survives: a loop that is run again does only what is missing. Results are put together in the order of
the plan, whatever order they were made in.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from coffea.processor.executor import WorkItem

from data.files import hash_json
from data.manifest import code_version
from data.partials import PartialStore
from data.trees import fingerprint
from data.types import IntArray
from processors.account import Account, ChunkFailure, Range, account_of, incomplete, settle
from processors.chunk_ranges import chunk_ranges
from processors.config import ProcessingConfig
from processors.executors import Future, open_pool
from processors.preflight import SamplePlan
from processors.progress import event_progress
from processors.schedule import Schedule, Trouble
from processors.tasks import ChunkTask, Outcome, Target, process_chunk, range_of
from processors.weights import check_exact
from processors.work import ChunkWork

_LOG = logging.getLogger("oddjet")

Step = dict[str, str | int | float]
"""One line of ``cutflow.json``."""
Part = tuple[int, int]
"""A share of the chunks: number ``i`` of ``n``, from 0."""
Report = Callable[[Account], None]
"""Called once with the account of a loop, complete or not."""


@dataclass(frozen=True)
class LoopResult:
    """What a loop over a whole sample gave.

    Attributes
    ----------
    partials
        The chunks' results, in the order of the plan.
    account, cutflow
        Of all of them; the account is complete.
    sections
        Keys of certified luminosity sections, one array a chunk.
    without_particles
        Selected jets that have none.
    """

    partials: tuple[Path, ...]
    account: Account
    cutflow: list[Step]
    sections: list[IntArray]
    without_particles: int


def run_loop(
    plan: SamplePlan,
    work: ChunkWork,
    processing: ProcessingConfig,
    store: PartialStore,
    *,
    before: Sequence[ChunkFailure] = (),
    prepare: Callable[[], None] | None = None,
    report: Report | None = None,
) -> LoopResult:
    """Process every entry of a sample once.

    Parameters
    ----------
    plan
        The sample.
    work
        Chunk to result.
    processing
        Chunk size and executor.
    store
        Where results are kept; those that are there already are not made again.
    before
        What went wrong in a loop that this one builds on: the account tells it, too.
    prepare
        What each worker process does once before its first chunk, e.g. importing large libraries.
    report
        Called once with the account, also where the loop fails.

    Returns
    -------
    LoopResult
        Complete.

    Raises
    ------
    OddjetError
        The first problem of the first bad chunk, with the others listed.
    IncompleteError
        If an entry was not processed exactly once, or a worker died again and again.
    """
    account = fill_store(plan, work, processing, store, before=before, prepare=prepare, report=report)
    return merged(plan, work, processing, store, account.failures)


def fill_store(
    plan: SamplePlan,
    work: ChunkWork,
    processing: ProcessingConfig,
    store: PartialStore,
    *,
    part: Part | None = None,
    before: Sequence[ChunkFailure] = (),
    prepare: Callable[[], None] | None = None,
    report: Report | None = None,
) -> Account:
    """Process the chunks of a sample, or a share of them, whose results are not in the store.

    Parameters
    ----------
    plan, work, processing, store, before, prepare, report
        As for `run_loop`.
    part
        The share; None for all.

    Returns
    -------
    Account
        Of these chunks.

    Raises
    ------
    OddjetError
        The first problem of the first bad chunk, with the others listed.
    """
    tasks = share(chunk_tasks(plan, work, processing), part)
    done: dict[ChunkTask, Range] = {}
    troubles: dict[ChunkTask, Trouble[ChunkTask]] = {}
    try:
        for task in dict.fromkeys(tasks):
            found = store.find(task.key)
            if found is not None:
                done[task] = range_of(task, found)
        if done:
            _LOG.info("sample %s: %d of %d chunks were done before", plan.sample.name, len(done), len(tasks))
        missing = [task for task in dict.fromkeys(tasks) if task not in done]
        if missing:
            _process(missing, work, processing, store, prepare, done, troubles)
    finally:
        account = _account(plan, tasks, done, [*before, *_failures(plan, troubles)])
        if report is not None:
            report(account)
    return account


def _process(
    tasks: list[ChunkTask],
    work: ChunkWork,
    processing: ProcessingConfig,
    store: PartialStore,
    prepare: Callable[[], None] | None,
    done: dict[ChunkTask, Range],
    troubles: dict[ChunkTask, Trouble[ChunkTask]],
) -> None:
    """Process chunks; ``done`` and ``troubles`` are filled also where an error ends it."""
    of_file = {path: work.of_file(path) for path in {task.item.filename for task in tasks}}
    with (
        store.marked() as mark,
        open_pool(processing, prepare) as pool,
        event_progress(tasks[0].item.dataset, sum(len(task.item) for task in tasks)) as advance,
    ):
        target = Target(store.folder, mark, code_version())

        def start(task: ChunkTask, attempt: int) -> Future:
            return pool.submit(process_chunk, of_file[task.item.filename], task, target, attempt)

        def finished(task: ChunkTask, outcome: Outcome) -> None:
            if outcome.content is not None:
                store.put(task.key, outcome.content)
            done[task] = Range(task.item.filename, *outcome.range)
            advance(len(task.item))

        Schedule(pool, start, finished, processing.retries, troubles).run(tasks)


def chunk_tasks(plan: SamplePlan, work: ChunkWork, processing: ProcessingConfig) -> list[ChunkTask]:
    """The chunks of a sample, each with the hash of everything that its result depends on."""
    common = [code_version(), work.identity(), plan.sample.tree]
    schemas = {file.path: fingerprint(file.schema) for file in plan.files}
    return [
        ChunkTask(
            item,
            hash_json(
                [*common, schemas[item.filename], item.fileuuid.hex(), item.entrystart, item.entrystop]
            ),
            plan.sample.access(item.filename),
        )
        for item in work_items(plan, processing)
    ]


def work_items(plan: SamplePlan, processing: ProcessingConfig) -> list[Any]:
    """The chunks of a sample, each of one file: fewer entries where particles are read."""
    return [
        WorkItem(plan.sample.name, file.path, plan.sample.tree, start, stop, file.uuid)
        for file, start, stop in chunk_ranges(plan, processing)
    ]


def share(tasks: Sequence[ChunkTask], part: Part | None) -> list[ChunkTask]:
    """Neighbouring chunks that are about one n-th of all entries; every chunk belongs to one share.

    Parameters
    ----------
    tasks
        All chunks.
    part
        Number and count of the shares, e.g. (0, 3); None for all chunks.

    Raises
    ------
    ValueError
        If there is no such share.
    """
    if part is None:
        return list(tasks)
    number, count = part
    if not 0 <= number < count:
        msg = f"share {number} of {count} must be numbered from 0 to {count - 1}"
        raise ValueError(msg)
    total = sum(len(task.item) for task in tasks)
    chosen, before = [], 0
    for task in tasks:
        middle = 2 * before + len(task.item)  # whole numbers: no rounding decides
        if middle * count // (2 * total) == number:
            chosen.append(task)
        before += len(task.item)
    return chosen


def merged(
    plan: SamplePlan,
    work: ChunkWork,
    processing: ProcessingConfig,
    store: PartialStore,
    failures: Sequence[ChunkFailure] = (),
) -> LoopResult:
    """Put together what the chunks of a whole sample gave; nothing is processed.

    Parameters
    ----------
    plan, work, processing, store
        As for `run_loop`.
    failures
        What went wrong on the way, for the account.

    Returns
    -------
    LoopResult
        Complete.

    Raises
    ------
    IncompleteError
        If a result is missing or damaged, or entries are not covered once.
    InputError
        If the sums of weights are not exact.
    """
    tasks = chunk_tasks(plan, work, processing)
    ranges: list[Range] = []
    cutflow: dict[str, dict[str, float]] = {}
    squares, sections, without = 0.0, [], 0
    missing = []
    for task in tasks:
        found = store.find(task.key)
        if found is None:
            missing.append(f"{task.place} missing")
            continue
        ranges.append(range_of(task, found))
        _add(cutflow, found["cutflow"])
        squares += found["sum_of_squares"]
        sections += [np.array(keys) for keys in found["sections"]]
        without += found["without_particles"]
    if missing:
        raise incomplete(plan.sample.name, missing)
    account = settle(plan, ranges, failures)
    # Weights are whole units, so no partial sum in any cutflow step exceeds this sum of squares.
    check_exact(squares, plan.scale, f"sample '{plan.sample.name}', all events")
    steps: list[Step] = [{"step": step, **counts} for step, counts in cutflow.items()]
    paths = tuple(store.path(task.key) for task in tasks)
    return LoopResult(paths, account, steps, sections, without)


def _add(total: dict[str, dict[str, float]], part: dict[str, dict[str, float]]) -> None:
    """Add the counts of a chunk's cutflow."""
    for step, counts in part.items():
        sums = total.setdefault(step, {})
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count


def _failures(plan: SamplePlan, troubles: dict[ChunkTask, Trouble[ChunkTask]]) -> list[ChunkFailure]:
    return [
        ChunkFailure(
            plan.sample.name,
            task.item.filename,
            task.item.entrystart,
            task.item.entrystop,
            str(trouble.error),
            trouble.attempts,
            trouble.recovered,
        )
        for task, trouble in troubles.items()
    ]


def _account(
    plan: SamplePlan,
    tasks: Iterable[ChunkTask],
    done: dict[ChunkTask, Range],
    failures: Sequence[ChunkFailure],
) -> Account:
    expected = [(task.item.filename, task.item.entrystart, task.item.entrystop) for task in tasks]
    return account_of(plan, expected, done.values(), failures)
