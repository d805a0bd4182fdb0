"""One chunk of a sample through pass 1 or 2, timed: what a first look at the events, and an estimate, are made of."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.manifest import code_version
from data.partials import PartialStore, read_partial
from data.trees import Tree
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.loop import chunk_tasks
from processors.preflight import SamplePlan
from processors.recipe import Recipe
from processors.run import prepared
from processors.schedule import ChunkBugError
from processors.skim import Skim
from processors.tasks import Target, process_chunk
from processors.work import ChunkWork


@dataclass(frozen=True)
class Trial:
    """A chunk that was processed.

    Attributes
    ----------
    entries
        Its entries.
    seconds
        Wall time on one core, compilation of kernels not included.
    result
        What the work gave: arrays are in memory.
    """

    entries: int
    seconds: float
    result: Tree

    @property
    def rate(self) -> float:
        """Entries a second."""
        return self.entries / max(self.seconds, 1e-9)


def try_chunk(
    plan: SamplePlan,
    options: EventOptions,
    most_entries: int,
    work_of: Callable[[Recipe], ChunkWork] = Skim,
    *,
    timed: bool = False,
) -> Trial | None:
    """Process the first entries of a sample's largest file.

    Parameters
    ----------
    plan
        The sample and what its files hold.
    options
        Of both passes.
    most_entries
        Size of the chunk.
    work_of
        What is done; by default pass 1.
    timed
        Process it twice: the first time kernels are compiled and libraries imported, the second one counts.

    Returns
    -------
    Trial or None
        None where the sample has no entries.

    Raises
    ------
    OddjetError
        What is wrong with the chunk.
    ChunkBugError
        If the code has a bug.
    """
    largest = max(plan.files, key=lambda file: file.entries, default=None)
    if largest is None or not largest.entries:
        return None
    _, recipe = prepared(plan.sample, options, plan)
    work = work_of(recipe)
    sizes = ProcessingConfig(chunk_size=most_entries, particle_chunk_size=most_entries)
    task = next(one for one in chunk_tasks(plan, work, sizes) if one.item.filename == largest.path)
    for number in range(2 if timed else 1):
        with tempfile.TemporaryDirectory() as scratch:
            store = PartialStore(Path(scratch) / str(number))
            with store.marked() as mark:
                start = time.perf_counter()
                outcome = process_chunk(
                    work.of_file(largest.path), task, Target(store.folder, mark, code_version()), 0
                )
                seconds = time.perf_counter() - start
            if outcome.error is not None:
                raise outcome.error
            if outcome.bug is not None:
                raise ChunkBugError(outcome.bug)
            trial = Trial(len(task.item), seconds, read_partial(store.path(task.key)))
    return trial
