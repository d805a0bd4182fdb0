"""How far an event loop is: a bar on a terminal, a line now and then elsewhere, with rate and time left."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 60.0
"""Seconds between two lines where there is no terminal."""
WORTH_TELLING = 5.0
"""Seconds left of which a countdown speaks."""
_LOG = logging.getLogger("oddjet")


class EventProgress:
    """Counts what is done.

    Parameters
    ----------
    what
        What is processed, for the lines.
    total
        Events to process.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.total, self.done = what, total, 0
        self._clock = clock
        self._start = self._told = clock()

    def add(self, events: int) -> str | None:
        """Count events that are done; the line to tell, if the last one was long ago and more are to come."""
        self.done += events
        now = self._clock()
        if now - self._told < EVERY or self.done >= self.total:
            return None
        self._told = now
        return f"{self.what}: {self.done:,} of {self.total:,} events, {self.rate:,.0f} events/s, {time_words(self.left)} left"

    @property
    def rate(self) -> float:
        """Events a second so far."""
        return self.done / max(self._clock() - self._start, 1e-9)

    @property
    def left(self) -> float:
        """Seconds until the end at this rate."""
        return (self.total - self.done) / max(self.rate, 1e-9)


def time_words(seconds: float) -> str:
    """A duration for people: ``40 s``, ``3 min``, ``2.5 h``, ``12 days``.

    Parameters
    ----------
    seconds
        Duration (s).

    Returns
    -------
    str
        A number and a unit.
    """
    for unit, size, most in (("s", 1.0, 90.0), ("min", 60.0, 90 * 60.0), ("h", 3600.0, 48 * 3600.0)):
        if seconds < most:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


@contextlib.contextmanager
def event_progress(what: str, events: int) -> Iterator[Callable[[int], None]]:
    """Show progress while a block processes events.

    Parameters
    ----------
    what
        What is processed.
    events
        How many there are.

    Yields
    ------
    callable
        To be called with the number of events of each finished chunk.
    """
    count = EventProgress(what, events)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} events"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        line = bar.add_task(what, total=events, rate=0.0)

        def add(number: int) -> None:
            told = count.add(number)
            bar.update(line, completed=count.done, rate=count.rate)
            if told is not None and not console.is_terminal:
                _LOG.info("%s", told)

        yield add


class Countdown:
    """Tells after each of several long tasks how long the others will take.

    Parameters
    ----------
    what
        Their name in the plural.
    total
        Their number.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.total, self.done = what, total, 0
        self._clock = clock
        self._last = clock()
        self._spent: list[float] = []

    def step(self, *, worked: bool) -> None:
        """One task is over; ``worked``: it was not done before, so that its time counts."""
        now = self._clock()
        self.done += 1
        if worked:
            self._spent.append(now - self._last)
            left = (self.total - self.done) * sum(self._spent) / len(self._spent)
            if left >= WORTH_TELLING:
                _LOG.info("%s: %d of %d, about %s left", self.what, self.done, self.total, time_words(left))
        self._last = now
