"""The processes that trainings run in: opened once for all trainings of a block, as their libraries take seconds to import."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from typing import Any

from data.errors import TrainingError
from data.workers import attached, starting
from models import epochs

Map = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
_Open = tuple[contextlib.ExitStack, dict[int, Map]]
_SHARED: ContextVar[_Open | None] = ContextVar("shared", default=None)


@contextlib.contextmanager
def shared_processes() -> Iterator[None]:
    """Let all trainings of a block that have as many workers use the same processes, until the outermost such block ends."""
    if _SHARED.get() is not None:
        yield
        return
    with contextlib.ExitStack() as opened:
        token = _SHARED.set((opened, {}))
        try:
            yield
        finally:
            _SHARED.reset(token)


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Map]:
    """Processes for one training, those of the block around it where there is one.

    Parameters
    ----------
    workers
        Processes; 1 is this one.

    Yields
    ------
    callable
        Maps a function over items; TrainingError if a process dies.
    """
    if workers == 1:
        yield lambda function, items: [function(item) for item in items]
        return
    shared = _SHARED.get()
    if shared is None:
        with contextlib.ExitStack() as opened:
            yield _opened(workers, opened)
        return
    opened, known = shared
    if workers not in known:
        known[workers] = _opened(workers, opened)
    yield known[workers]


def _opened(workers: int, until: contextlib.ExitStack) -> Map:
    # Fresh interpreters: a fork of a process whose OpenMP or torch threads have started can hang.
    context = multiprocessing.get_context("spawn")
    pool = until.enter_context(
        ProcessPoolExecutor(workers, mp_context=context, initializer=attached(epochs.board()))
    )

    def mapped(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        try:
            with starting():
                found = pool.map(function, items)
            return list(found)
        except BrokenProcessPool:
            msg = (
                f"a training process died, one of {workers}; most often memory ran out: lower processing.workers, "
                'then run again; a script that trains with workers does so under `if __name__ == "__main__":`'
            )
            raise TrainingError(msg) from None

    return mapped
