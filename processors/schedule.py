"""Tasks handed to a pool until each has succeeded, or has failed for good.

No scheduler of our own: the pool decides what runs where. Here is kept which tasks are out, which come again after a
failure that may pass, and when to stop.
"""

import heapq
import itertools
import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from data.errors import IncompleteError, InputError, OddjetError, ReadError
from processors.pools import Future, Pool
from processors.tasks import Outcome

_LOG = logging.getLogger(__name__)
_MOST_BAD = 5  # chunks with wrong values that are named at once; then the search for more ends
_PAUSE, _GROWTH, _LONGEST = (
    0.5,
    10.0,
    60.0,
)  # seconds before the first retry, how the pause grows, and where it ends
_BESIDE = 3  # times as many tries has a task that was never alone when its worker died
_TEND = 5.0  # seconds after which the workers are looked after again
_TOGETHER = 0.2  # seconds within which all tasks are heard of that died with one worker
_LAST_WORDS = 600.0  # seconds that running tasks have to end when others failed


class Task(Protocol):
    """A task: hashable, and named in messages."""

    @property
    def title(self) -> str:
        """What is done, in the words of messages."""
        ...

    @property
    def order(self) -> tuple[str, int]:
        """Tasks are listed in this order."""
        ...


TaskKind = TypeVar("TaskKind", bound=Task)


@dataclass(frozen=True)
class Trouble(Generic[TaskKind]):
    """What went wrong with a task, finally or on the way to success."""

    task: TaskKind
    error: OddjetError
    attempts: int
    recovered: bool


class ChunkBugError(RuntimeError):
    """An error of the code, not of the input: with the traceback of the worker."""


@dataclass
class Schedule(Generic[TaskKind]):
    """The state of a set of tasks on a pool.

    Attributes
    ----------
    pool
        Where they run.
    start
        Hands one task, and how often it has failed before, to the pool.
    finished
        Called with every task that succeeded and its outcome.
    retries
        How often a task is tried again.
    """

    pool: Pool
    start: Callable[[TaskKind, int], Future]
    finished: Callable[[TaskKind, Outcome], None]
    retries: int
    troubles: dict[TaskKind, Trouble[TaskKind]] = field(default_factory=dict)
    _waiting: deque[TaskKind] = field(default_factory=deque)
    _suspects: deque[TaskKind] = field(default_factory=deque)
    _later: list[tuple[float, int, TaskKind]] = field(default_factory=list)
    _out: dict[Future, TaskKind] = field(default_factory=dict)
    _done: queue.SimpleQueue[Future] = field(default_factory=queue.SimpleQueue)
    _attempts: Counter[TaskKind] = field(default_factory=Counter)
    _watched: set[TaskKind] = field(default_factory=set)
    _number: Iterator[int] = field(default_factory=itertools.count)
    _lonely: TaskKind | None = None
    _tended: float = field(default_factory=time.monotonic)
    _unsent: int = 0
    _given_up: dict[TaskKind, bool] = field(default_factory=dict)
    _bug: str | None = None
    _stop: bool = False

    def run(self, tasks: Iterable[TaskKind]) -> None:
        """Run all tasks.

        A task whose bytes could not be had, or whose worker died, comes again after a pause. A worker that dies takes the
        tasks beside or behind it with it: all of these then run where no other one is, so that the one at fault is found
        and no other one pays for it. A few chunks that fail for good, by wrong values or after all their tries, end the
        run; so that they are told together, not the first of them. A bug, a full disk, a lost scheduler or a task that no
        worker survives the sending of ends it at once. What is tried again is logged.

        Raises
        ------
        OddjetError
            The error that ended the run, with those of the other chunks; ``troubles`` then has them all.
        ChunkBugError
            If the code has a bug.
        """
        self._waiting.extend(tasks)
        try:
            while not self._stop and (self._waiting or self._suspects or self._later or self._out):
                if time.monotonic() >= self._tended + _TEND:
                    self._tend()
                self._hand_out()
                self._take(self._next())
            self._wind_up()
        finally:
            self.pool.withdraw(self._out)
        if self._bug is not None:
            raise ChunkBugError(self._bug)
        failed = [trouble for trouble in self.troubles.values() if not trouble.recovered]
        if failed:
            raise _error(sorted(failed, key=self._rank))

    def _hand_out(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._waiting.appendleft(heapq.heappop(self._later)[2])
        careful = bool(self._suspects or self._watched)
        room = self.pool.ahead(careful=careful) - len(self._out)
        for _ in range(min(room, len(self._suspects) + len(self._waiting))):
            if not self._submit(self._suspects or self._waiting):
                break  # until one of those that are out has ended, or workers had time to come back

    def _submit(self, tasks: deque[TaskKind]) -> bool:
        """Hand out the first of some tasks; False where it could not be."""
        task = tasks.popleft()
        self._attempts[task] += 1
        try:
            future = self.start(task, self._attempts[task] - 1)
        except Exception as error:
            if self.pool.death(error) is None:
                raise
            self._unsendable(task, tasks, error)
            return False
        self._unsent = 0
        if tasks is self._suspects:
            self._watched.add(task)
        self._lonely = None if self._out else task
        self._out[future] = task
        future.add_done_callback(self._done.put)
        return True

    def _unsendable(self, task: TaskKind, tasks: deque[TaskKind], error: Exception) -> None:
        """Take a task back whose sending failed; a worker that dies of what it is sent would do so for ever."""
        # how long nobody may be there is the pool's to say; one death may be that of a task sent before
        self._unsent += not isinstance(error, TimeoutError)
        if self._unsent > max(self.retries, 1):
            msg = (
                f"{task.title}: it cannot be sent to a worker ({_line(error)}), {self._unsent} times in a row; give the "
                "workers more memory and run again"
            )
            self._note(task, IncompleteError(msg))
            self._give_up(task, at_once=True)
            return
        if not self._out:  # else the death is told with the task that had it
            _LOG.warning(
                "%s: it cannot be sent to a worker (%s); it is tried again", task.title, _line(error)
            )
        self._attempts[task] -= 1  # it has not begun
        tasks.appendleft(task)
        self._tend()

    def _next(self) -> Future | None:
        """The next future that is done; None where a task has become due or the workers want to be looked after."""
        due = self._tended + _TEND
        if self._later:
            due = min(due, self._later[0][0])
        return self._heard(max(due - time.monotonic(), 0.001))

    def _heard(self, seconds: float) -> Future | None:
        try:
            return self._done.get(timeout=seconds)
        except queue.Empty:
            return None

    def _tend(self) -> None:
        self.pool.tend()
        self._tended = time.monotonic()

    def _take(self, future: Future | None) -> None:
        """Judge a task that has ended; where its worker died, with all that died with it."""
        buried: dict[str, dict[TaskKind, BaseException]] = {}
        while future is not None:
            task = self._out.pop(future, None)
            if task is not None and future.cancelled():
                self._cancelled(task)
            elif task is not None and (error := future.exception()) is not None:
                death = self.pool.death(error)
                if death is None:
                    self._note(task, IncompleteError(f"{task.title}: {_line(error)}"))
                    raise error
                buried.setdefault(death, {})[task] = error
            elif task is not None:
                self._judge(task, future.result())
            future = self._heard(_TOGETHER) if buried else None
        for errors in buried.values():
            self._bury(errors)

    def _cancelled(self, task: TaskKind) -> None:
        """Put a task back that was dropped; nobody is left to drop one where the scheduler has ended, which tending tells."""
        self._watched.discard(task)
        msg = f"{task.title}: it was dropped when a worker died that held what it needs; run it again"
        self._note(task, IncompleteError(msg))
        self._tend()
        self._again(task, IncompleteError(msg))

    def _judge(self, task: TaskKind, outcome: Outcome) -> None:
        self._watched.discard(task)
        if outcome.bug is not None:
            what = f"{task.title} failed by an error of the code"
            last = outcome.bug.strip().splitlines()[-1]
            self._bug = f"{what}: {last}; report it with this traceback:\n{outcome.bug}"
            self._note(task, IncompleteError(f"{what}: {last}; report it with the traceback"))
            self._stop = True
        elif outcome.error is None:
            self._finish(task, outcome)
        elif isinstance(outcome.error, ReadError):
            self._again(task, outcome.error)
        else:
            self._note(task, outcome.error)
            self._give_up(task, at_once=not isinstance(outcome.error, InputError))

    def _finish(self, task: TaskKind, outcome: Outcome) -> None:
        try:
            self.finished(task, outcome)
        except OddjetError as error:
            self._note(task, error)
            self._give_up(task, at_once=True)
            return
        if task in self.troubles:
            trouble = self.troubles[task]
            self.troubles[task] = Trouble(task, trouble.error, self._attempts[task], recovered=True)

    def _again(self, task: TaskKind, error: OddjetError) -> None:
        """Put a task back, unless it has had its tries."""
        tried = self._attempts[task]
        again = tried <= self.retries
        self._note(task, error, again=again)
        if again:
            due = time.monotonic() + min(_PAUSE * _GROWTH ** (tried - 1), _LONGEST)
            heapq.heappush(self._later, (due, next(self._number), task))
        else:
            self._give_up(task, at_once=False)

    def _bury(self, errors: dict[TaskKind, BaseException]) -> None:
        """Put the tasks back that died together, unless they have had their tries: fewer for one that ran alone."""
        for task, error in errors.items():
            alone = len(errors) == 1 and (task in self._watched or task is self._lonely)
            self._watched.discard(task)
            again = self._attempts[task] <= (self.retries if alone else _BESIDE * (self.retries + 1))
            self._note(task, _died(task, error), again=again)
            if again:
                self._suspects.append(task)
            else:
                self._give_up(task, at_once=False)
        self._tend()

    def _note(self, task: TaskKind, error: OddjetError, *, again: bool = False) -> None:
        tried = self._attempts[task]
        self.troubles[task] = Trouble(task, error, tried, recovered=False)
        if again and not self._stop:
            reason = _line(error).removeprefix(f"{task.title}: ")
            _LOG.warning("%s: attempt %d failed (%s); it is tried again", task.title, tried, reason)

    def _give_up(self, task: TaskKind, *, at_once: bool) -> None:
        """Count a chunk that failed for good; others go on until there are a few."""
        self._given_up[task] = at_once and not self._stop
        self._stop |= at_once or len(self._given_up) >= _MOST_BAD

    def _rank(self, trouble: Trouble[TaskKind]) -> tuple[bool, bool, tuple[str, int]]:
        """What ended the run comes first, then what failed for good, last what would have been tried again."""
        task = trouble.task
        return not self._given_up.get(task, False), task not in self._given_up, task.order

    def _wind_up(self) -> None:
        """After a failure, let what runs end: its results are kept, and its errors are told too."""
        running = self.pool.withdraw(self._out)
        end = time.monotonic() + _LAST_WORDS
        while running and time.monotonic() < end:
            future = self._heard(_TEND)
            if future in running:
                running.remove(future)
                task = self._out[future]
                if future.cancelled():
                    continue
                if (error := future.exception()) is None:
                    self._judge(task, future.result())
                elif self.pool.death(error) is not None:
                    self._note(task, _died(task, error))
                else:
                    self._note(task, IncompleteError(f"{task.title}: {_line(error)}"))
        self._later.clear()


def _error(failed: Sequence[Trouble[Any]]) -> OddjetError:
    """One error for all chunks that failed, of the kind of the first."""
    lines = [_with_attempts(trouble) for trouble in failed]
    messages = list(dict.fromkeys(lines))
    shown = messages[:_MOST_BAD]
    if len(messages) > len(shown):
        shown.append(f"… and {len(messages) - len(shown)} more problems")
    first = failed[0].error
    error = type(first)("\n".join(shown))
    error.__cause__ = first
    return error


def _died(task: Task, error: BaseException) -> IncompleteError:
    return IncompleteError(
        f"{task.title}: its worker process died ({_line(error)}); most often memory ran out: lower "
        "processing.chunk_size or processing.workers and run again"
    )


def _with_attempts(trouble: Trouble[Any]) -> str:
    tried = f" (tried {trouble.attempts} times)" if trouble.attempts > 1 else ""
    return f"{trouble.error}{tried}"


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
