"""Worker processes of this machine: they end with the process that they work for."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_LOOK = 0.5  # seconds


@dataclass(frozen=True)
class Attached:
    """What a worker process does before its first task.

    Nothing tells the workers of a process that is killed: they would finish what lies in their queue, beside a run that
    is started again and does the same, and then wait for more.

    Attributes
    ----------
    parent
        The process that it works for, which started it.
    prepare
        What else it does first, e.g. importing large libraries.
    """

    parent: int
    prepare: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Begin to watch the parent, then prepare."""
        _end_quietly()
        threading.Thread(target=_end_with, args=(self.parent,), daemon=True).start()
        if self.prepare is not None:
            self.prepare()


def attached(prepare: Callable[[], None] | None = None) -> Attached:
    """The initializer of worker processes that this process starts."""
    return Attached(os.getpid(), prepare)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Hold Ctrl-C back while worker processes start: they inherit that, and let go when they are `attached`.

    A terminal sends Ctrl-C to workers too, and one that is still importing would print where it was.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_quietly() -> None:
    """At Ctrl-C a worker ends without a word: its parent says what there is to say."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
