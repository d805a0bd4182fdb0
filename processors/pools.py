"""Where tasks run: the protocol that every pool of workers keeps, this process, and processes of this machine.

A pool takes a function and its arguments and gives a future back; nothing above it knows which one it is.
"""

import concurrent.futures
import concurrent.futures.process
from collections.abc import Callable, Collection
from typing import Any, Protocol

import loky

from data.workers import attached, starting

AHEAD = 2
"""Tasks handed out for each worker, so that none waits for the process that hands them out."""
_IDLE = 10  # seconds that workers wait for the next sample: starting one costs seconds of imports

Future = concurrent.futures.Future[Any]


class Pool(Protocol):
    """What runs tasks."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Start a task."""
        ...

    def share(self, value: Any) -> Any:
        """What to give to tasks for a large value that many of them take."""
        ...

    def ahead(self, *, careful: bool) -> int:
        """How many tasks to hand out at a time; with care, so few that no death of a worker takes two."""
        ...

    def death(self, error: BaseException) -> str | None:
        """The worker that died, where an error of a future or of `submit` says so: errors of one death name the same.

        A `TimeoutError` of `submit` says that nobody was there: `tend` ends that where it lasts.
        """
        ...

    def withdraw(self, futures: Collection[Future]) -> set[Future]:
        """Take tasks back that have not begun; the others are returned: they are done, or go on."""
        ...

    def tend(self) -> None:
        """Replace workers that died; to be called every few seconds."""
        ...


class InlinePool:
    """The process itself, one task at a time."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Run a task; its future is done when this returns."""
        future: Future = concurrent.futures.Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 - the future holds it
            future.set_exception(error)
        return future

    def share(self, value: Any) -> Any:
        """What to give to tasks for a large value: the value."""
        return value

    def ahead(self, *, careful: bool) -> int:  # noqa: ARG002 - the same for every pool
        """How many tasks to hand out at a time."""
        return 1

    def death(self, error: BaseException) -> str | None:  # noqa: ARG002 - the same for every pool
        """The worker that died; here nothing outlives it."""
        return None

    def withdraw(self, futures: Collection[Future]) -> set[Future]:
        """Take tasks back that have not begun; here all are done, and returned."""
        return set(futures)

    def tend(self) -> None:
        """Replace workers that died: there are none."""


class ProcessPool:
    """Processes of this machine.

    Parameters
    ----------
    workers
        Their number.
    prepare
        What each does before its first task.
    """

    def __init__(self, workers: int, prepare: Callable[[], None] | None) -> None:
        self._workers, self._prepare = workers, prepare
        self._executor = self._start()

    def _start(self) -> Any:
        # loky restarts workers that grow, with a warning: what is large must be there before it first looks
        return loky.get_reusable_executor(self._workers, timeout=_IDLE, initializer=attached(self._prepare))

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Start a task."""
        with starting():
            future: Future = self._executor.submit(function, *arguments)
        return future

    def share(self, value: Any) -> Any:
        """What to give to tasks for a large value: the value."""
        return value

    def ahead(self, *, careful: bool) -> int:
        """How many tasks to hand out at a time; one with care, as all that are out end with a worker that dies."""
        return 1 if careful else AHEAD * self._workers

    def death(self, error: BaseException) -> str | None:
        """The worker that died: all others end with it, so they count as one."""
        return "pool" if isinstance(error, concurrent.futures.process.BrokenProcessPool) else None

    def withdraw(self, futures: Collection[Future]) -> set[Future]:
        """Take tasks back that have not begun; the others are returned: they are done, or go on."""
        return {future for future in futures if not future.cancel()}

    def tend(self) -> None:
        """Replace workers that died."""
        self._executor = self._start()
