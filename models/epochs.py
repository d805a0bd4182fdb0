"""How far a training is: the epochs of its networks, for whoever wants to show them; no number of a result depends on it."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from multiprocessing.sharedctypes import RawArray
from typing import Any

Heard = Callable[[int, float, int], None]
"""Called with the number of a round of networks (from 1), the epochs that they have in the mean, and the most they get."""
EVERY = 0.5
"""Seconds between two looks at the board."""
_STACKS = 4096  # of one round; further ones are not watched
_LISTENER: ContextVar[Heard | None] = ContextVar("listener", default=None)
_HERE: dict[str, Any] = {}  # the board of this process


@contextlib.contextmanager
def heard(listener: Heard) -> Iterator[None]:
    """Let a listener know how far the trainings of a block are.

    Parameters
    ----------
    listener
        Called from another thread, every now and then.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def board() -> Callable[[], None]:
    """The board of this process and of the workers that it starts.

    Returns
    -------
    callable
        What each worker process does first, to write on the same board.
    """
    return partial(_take, _board())


def _board() -> Any:
    if "board" not in _HERE:
        _take(RawArray("q", _STACKS))  # each stack writes a number of its own: no lock is needed
    return _HERE["board"]


def _take(shared: Any) -> None:
    _HERE["board"] = shared


def note(stack: int, epochs: int) -> None:
    """Write on the board how many epochs a stack has been trained for.

    Parameters
    ----------
    stack
        Number of the stack in its round, from 0.
    epochs
        Those that are over.
    """
    if stack < _STACKS and "board" in _HERE:
        _HERE["board"][stack] = epochs


@contextlib.contextmanager
def watched(number: int, stacks: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Tell the listener, if there is one, how far the stacks are that a block trains.

    Parameters
    ----------
    number
        Of the round, from 1.
    stacks
        Members and most epochs of each.
    """
    listener = _LISTENER.get()
    if listener is None or not stacks:
        yield
        return
    shared = _board()
    shared[:] = [0] * _STACKS
    whole, most = sum(members * epochs for members, epochs in stacks), max(epochs for _, epochs in stacks)

    def look() -> None:
        done = sum(members * epochs for (members, _), epochs in zip(stacks, shared, strict=False))
        listener(number, most * done / whole, most)

    over = threading.Event()

    def keep_looking() -> None:
        while not over.wait(EVERY):
            look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()
