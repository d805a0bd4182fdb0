"""What comes again after a failure, what ends a run, and what is told of it."""

import concurrent.futures
import concurrent.futures.process
import logging

import pytest
from coffea.processor.executor import WorkItem

from data.errors import IncompleteError, InputError, OutputError, ReadError
from processors import schedule
from processors.pools import InlinePool
from processors.schedule import ChunkBugError, Schedule
from processors.tasks import ChunkTask, Outcome

READ = ReadError("file 'a': no answer")
WRONG = InputError("branch holds nan")


class Dead(Exception):  # noqa: N818 - not an error of ours
    pass


class FakePool(InlinePool):
    """Workers that die: all of them are one, or, where they have names, as many as may be."""

    def __init__(self, ahead, *, named=0):
        self._ahead, self._named, self.tended = ahead, named, 0

    def ahead(self, *, careful):
        return (self._named or 1) if careful else self._ahead

    def death(self, error):
        return (str(error) if self._named else "pool") if isinstance(error, Dead) else None

    def tend(self):
        self.tended += 1


def task(number):
    return ChunkTask(WorkItem("mock", "a.root", "Events", 10 * number, 10 * number + 10, b""), str(number))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(schedule, "_PAUSE", 0.01)
    monkeypatch.setattr(schedule, "_TEND", 0.05)
    monkeypatch.setattr(schedule, "_TOGETHER", 0.02)


def run(stories, *, retries=3, n=4, pool=None, finished=None):
    """Run tasks 0 … n − 1; ``stories`` gives the outcomes of each one's attempts, success afterwards."""
    done, started = [], []
    left = {number: list(story) for number, story in stories.items()}
    pool = pool or InlinePool()

    def start(one, attempt):
        number = int(one.key)
        assert attempt <= started.count(number)
        started.append(number)
        event = left[number].pop(0) if left.get(number) else Outcome()

        def work():
            if isinstance(event, Exception):
                raise event
            return event

        return pool.submit(work)

    plan = Schedule(pool, start, finished or (lambda one, outcome: done.append(int(one.key))), retries)
    error = None
    try:
        plan.run([task(number) for number in range(n)])
    except Exception as caught:  # noqa: BLE001 - what the test looks at
        error = caught
    return plan, done, started, error


def fails(error):
    return Outcome(error=error)


def test_each_task_runs_once(quick):
    plan, done, started, error = run({})
    assert (done, started, error, plan.troubles) == ([0, 1, 2, 3], [0, 1, 2, 3], None, {})


def test_a_read_error_that_passes_is_forgiven_and_remembered(quick):
    plan, done, started, error = run({1: [fails(READ), fails(READ)]})
    assert error is None
    assert sorted(done) == [0, 1, 2, 3]
    assert started.count(1) == 3
    (trouble,) = plan.troubles.values()
    assert (trouble.attempts, trouble.recovered, str(trouble.error)) == (3, True, str(READ))


def test_a_read_error_that_stays_fails_after_its_tries_and_others_finish(quick):
    _plan, done, started, error = run({1: [fails(READ)] * 9}, retries=2)
    assert sorted(done) == [0, 2, 3]
    assert started.count(1) == 3
    assert isinstance(error, ReadError)
    assert str(error) == "file 'a': no answer (tried 3 times)"


def test_wrong_values_are_not_tried_again_and_are_named_together(quick):
    other = InputError("branch holds inf")
    _plan, _done, started, error = run({1: [fails(WRONG)], 3: [fails(other)]})
    assert started == [0, 1, 2, 3]
    assert str(error) == "branch holds nan\nbranch holds inf"
    assert type(error) is InputError


def test_many_wrong_chunks_end_the_run(quick):
    stories = {number: [fails(InputError(f"bad {number}"))] for number in range(20)}
    _, _done, started, error = run(stories, n=20)
    assert started == [0, 1, 2, 3, 4]
    assert "bad 4" in str(error)


@pytest.mark.parametrize(
    "outcome", [Outcome(bug="Traceback\nKeyError: 'x'"), fails(OutputError("disk full"))]
)
def test_bugs_and_full_disks_end_the_run_at_once(quick, outcome):
    plan, done, started, error = run({1: [outcome]})
    assert started == [0, 1]
    assert done == [0]
    (trouble,) = plan.troubles.values()
    assert (trouble.task, trouble.attempts, trouble.recovered) == (task(1), 1, False)
    if outcome.bug:
        told = "chunk 'a.root' entries 10–19 failed by an error of the code: KeyError: 'x'"
        told += "; report it with the traceback"
        assert str(trouble.error) == told
        assert isinstance(error, ChunkBugError)
        assert "'a.root' entries 10–19" in str(error)
        assert "KeyError" in str(error)
    else:
        assert isinstance(error, OutputError)


def test_an_answer_that_cannot_be_taken_ends_the_run(quick):
    plan, done, _started, error = run({1: [RuntimeError("no such class")]}, pool=FakePool(1))
    assert (done, str(error), type(error)) == ([0], "no such class", RuntimeError)
    (trouble,) = plan.troubles.values()
    assert str(trouble.error) == "chunk 'a.root' entries 10–19: no such class"


class Late(FakePool):
    """What cannot be taken comes when the run winds up."""

    def submit(self, function, /, *arguments):
        future = super().submit(function, *arguments)
        if not future.exception():
            return future
        self._error, self._late = future.exception(), concurrent.futures.Future()
        return self._late

    def withdraw(self, futures):
        if not self._late.done():
            self._late.set_exception(self._error)
        return {self._late}


def test_an_answer_that_cannot_be_taken_is_told_beside_what_ended_the_run(quick):
    stories = {0: [Outcome(bug="KeyError: 'x'")], 1: [RuntimeError("no such class")]}
    plan, done, _started, error = run(stories, pool=Late(2))
    assert (done, type(error)) == ([], ChunkBugError)
    told = sorted(str(trouble.error) for trouble in plan.troubles.values())
    assert told[1] == "chunk 'a.root' entries 10–19: no such class"
    assert "entries 0–9 failed by an error of the code: KeyError: 'x'" in told[0]


def test_a_worker_that_dies_once_costs_one_more_attempt(quick):
    pool = FakePool(1)
    plan, done, started, error = run({2: [Dead("killed")]}, pool=pool)
    assert error is None
    assert sorted(done) == [0, 1, 2, 3]
    assert started.count(2) == 2
    assert pool.tended
    assert next(iter(plan.troubles.values())).recovered


def test_a_chunk_that_kills_its_worker_is_named_and_the_rest_is_kept(quick):
    _plan, _done, _started, error = run({0: [Dead("signal 9")] * 9}, retries=1, pool=FakePool(1))
    assert isinstance(error, IncompleteError)
    message = r"'a.root' entries 0–9: its worker process died \(signal 9\).*lower processing.chunk_size.*tried 2 times"
    with pytest.raises(IncompleteError, match=message):
        raise error


def test_those_beside_a_dead_worker_run_alone_and_pay_for_nothing(quick):
    """Tasks 0 … 2 are out together when a worker dies; task 1 is the one that kills."""
    pool = FakePool(3)
    together = {number: [Dead("gone")] for number in range(3)}
    together[1] = [Dead("gone")] * 9
    plan, done, started, error = run(together, retries=2, n=3, pool=pool)
    assert isinstance(error, IncompleteError)
    assert "entries 10–19" in str(error)
    assert sorted(done) == [0, 2]
    assert (started.count(0), started.count(1), started.count(2)) == (2, 3, 2)
    assert [one.task.key for one in plan.troubles.values() if not one.recovered] == ["1"]


def test_nobody_is_blamed_for_having_been_looked_at_last(quick):
    """Without retries: of two tasks that one death took, neither ran alone, so both get to."""
    together = {0: [Dead("gone")], 1: [Dead("gone")]}
    plan, done, _started, error = run(together, retries=0, n=2, pool=FakePool(2))
    assert error is None
    assert sorted(done) == [0, 1]
    assert all(one.recovered for one in plan.troubles.values())


def test_others_go_on_beside_those_that_a_dead_worker_had(quick):
    """Tasks 0 and 1 died with one of two workers: they come again first, never more than two tasks out."""
    stories = {0: [Dead("a")], 1: [Dead("a")]}
    plan, done, started, error = run(stories, retries=2, n=6, pool=FakePool(4, named=2))
    assert error is None
    assert sorted(done) == [0, 1, 2, 3, 4, 5]
    assert started == [0, 1, 2, 3, 0, 1, 4, 5]
    assert {one.task.key for one in plan.troubles.values()} == {"0", "1"}


@pytest.mark.parametrize("retries", [0, 2])
def test_a_chunk_that_kills_as_soon_as_the_one_before_it_ends_is_found(quick, retries):
    """The worker is killed before it can say that task 0 is done: both seem to have died, and again, until they part."""
    stories = {0: [Dead("a")], 1: [Dead("a"), *(Dead(f"w{n}") for n in range(9))]}
    plan, done, started, error = run(stories, retries=retries, n=5, pool=FakePool(4, named=2))
    with pytest.raises(IncompleteError, match=r"^chunk 'a.root' entries 10–19: its worker process died"):
        raise error
    assert sorted(done) == [0, 2, 3, 4]
    assert started.count(0) == 2
    assert started.count(1) == max(retries + 1, 2)
    assert [one.task.key for one in plan.troubles.values() if not one.recovered] == ["1"]


class Dropping(FakePool):
    """The first attempts at tasks are dropped; where the scheduler ended, tending says so."""

    def __init__(self, drops, lost=False):
        super().__init__(1)
        self._drops, self._lost = drops, lost

    def submit(self, function, /, *arguments):
        self._drops -= 1
        if self._drops < 0:
            return super().submit(function, *arguments)
        future = concurrent.futures.Future()
        future.cancel()
        return future

    def tend(self):
        if self._lost:
            msg = "the scheduler is lost"
            raise IncompleteError(msg)


def test_a_task_that_was_dropped_with_a_worker_comes_again(quick):
    plan, done, started, error = run({}, pool=Dropping(2))
    assert error is None
    assert sorted(done) == [0, 1, 2, 3]
    assert sorted(started) == [0, 0, 1, 1, 2, 3]
    assert {(one.attempts, one.recovered) for one in plan.troubles.values()} == {(2, True)}


def test_a_task_that_is_always_dropped_is_named(quick):
    _, done, _, error = run({}, n=1, retries=1, pool=Dropping(99))
    assert not done
    with pytest.raises(IncompleteError, match=r"0–9: it was dropped when a worker died .*tried 2 times"):
        raise error


def test_a_lost_scheduler_ends_the_run_at_once_and_its_task_is_told(quick):
    plan, done, started, error = run({}, pool=Dropping(1, lost=True))
    assert (done, started) == ([], [0])
    assert str(error) == "the scheduler is lost"
    assert [(one.task.key, one.recovered) for one in plan.troubles.values()] == [("0", False)]


def test_a_result_that_the_disk_does_not_take_is_told_with_its_task(quick):
    def finished(one, outcome):
        if one.key == "1":
            msg = "disk full"
            raise OutputError(msg)

    plan, _, started, error = run({}, finished=finished)
    assert isinstance(error, OutputError)
    assert started == [0, 1]
    assert [(one.task.key, one.recovered) for one in plan.troubles.values()] == [("1", False)]


class Unsendable(FakePool):
    """Workers that die of what they are sent, or are not there at all."""

    def __init__(self, *errors, ahead=1):
        super().__init__(ahead)
        self._errors = list(errors)

    def submit(self, function, /, *arguments):
        if self._errors and (error := self._errors.pop(0)) is not None:
            raise error
        return super().submit(function, *arguments)

    def death(self, error):
        return "pool" if isinstance(error, OSError) else None


@pytest.mark.parametrize("retries", [0, 3])
def test_a_task_that_kills_the_worker_that_it_is_sent_to_ends_the_run(quick, retries):
    """The first task goes out and ends well; the second cannot be sent however often it is tried."""
    plan, done, _started, error = run(
        {}, retries=retries, pool=Unsendable(None, *[OSError("stream closed")] * 99)
    )
    assert done == [0]
    number = max(retries, 1) + 1
    message = (
        rf"^chunk 'a.root' entries 10–19: it cannot be sent to a worker \(stream closed\), {number} times in a row; "
        "give the workers more memory"
    )
    with pytest.raises(IncompleteError, match=message):
        raise error
    assert [(one.task.key, one.recovered) for one in plan.troubles.values()] == [("1", False)]


def test_starts_that_fail_now_and_then_end_nothing(quick, caplog):
    errors = [OSError("stream closed"), None, OSError("stream closed"), None] * 2
    plan, done, _started, error = run({}, retries=1, pool=Unsendable(*errors))
    assert (done, error, plan.troubles) == ([0, 1, 2, 3], None, {})
    assert "entries 0–9: it cannot be sent to a worker (stream closed); it is tried again" in caplog.text


def test_how_long_nobody_is_there_is_for_the_pool_to_say(quick):
    plan, done, _started, error = run({}, retries=1, pool=Unsendable(*[TimeoutError("nobody")] * 9))
    assert (done, error, plan.troubles) == ([0, 1, 2, 3], None, {})


def test_two_that_always_die_together_end(quick):
    """A pool that never tells them apart: neither runs alone, and both are named after more tries than one alone has."""

    class Together(FakePool):
        def ahead(self, *, careful):
            return 2

    stories = {number: [Dead("gone")] * 99 for number in range(2)}
    _plan, done, started, error = run(stories, retries=1, n=2, pool=Together(2))
    assert done == []
    assert len(started) == 14
    with pytest.raises(IncompleteError, match=r"entries 0–9: its worker (.|\n)*entries 10–19: its worker"):
        raise error


def test_what_is_tried_again_is_logged(quick, caplog):
    caplog.set_level(logging.WARNING)
    run({})
    run({1: [fails(WRONG)]})
    assert not caplog.records
    run({1: [fails(READ)], 2: [Dead("signal 9")]}, pool=FakePool(1))
    first, second = caplog.messages
    assert first == "chunk 'a.root' entries 10–19: attempt 1 failed (file 'a': no answer); it is tried again"
    assert second.startswith(
        "chunk 'a.root' entries 20–29: attempt 1 failed (its worker process died (signal 9); "
    )
    assert second.endswith("; it is tried again")
    assert "\n" not in second


def test_what_ended_the_run_comes_before_what_would_have_been_tried_again(quick):
    stories = {0: [fails(READ)], 1: [fails(WRONG)], 2: [fails(OutputError("disk full"))]}
    plan, _done, started, error = run(stories, n=9)
    assert started == [0, 1, 2]
    assert type(error) is OutputError
    assert str(error) == "disk full\nbranch holds nan\nfile 'a': no answer"
    assert len(plan.troubles) == 3


def test_of_many_wrong_chunks_and_one_to_be_tried_again_the_wrong_ones_are_told_first(quick):
    stories = {number: [fails(InputError(f"bad {number}"))] for number in range(1, 20)}
    _, _done, started, error = run({0: [fails(READ)], **stories}, n=20)
    assert started == [0, 1, 2, 3, 4, 5]
    assert type(error) is InputError
    assert str(error).splitlines()[0] == "bad 1"


def test_results_that_were_there_when_another_task_failed_are_taken(quick):
    """Three are out and done; the first fails: the second's result is kept, the deaths and errors of others are told."""
    stories = {0: [fails(OutputError("disk full"))], 2: [Dead("signal 9")], 3: [fails(WRONG)]}
    plan, done, started, error = run(stories, pool=FakePool(4))
    assert started == [0, 1, 2, 3]
    assert done == [1]
    assert set(plan.troubles) == {task(0), task(2), task(3)}
    assert str(error).startswith(
        "disk full\nbranch holds nan\nchunk 'a.root' entries 20–29: its worker process died"
    )


def test_what_fails_after_the_end_was_decided_is_told_after_its_cause(quick):
    stories = {0: [Outcome()], 1: [fails(OutputError("late"))], 2: [fails(OutputError("disk full"))]}

    class Backwards(FakePool):
        """The last task ends first."""

        def submit(self, function, /, *arguments):
            future = super().submit(function, *arguments)
            held.append(future)
            if len(held) == 3:
                for one in reversed(held):
                    done.put(one)
            return future

    held, done = [], schedule.queue.SimpleQueue()
    pool = Backwards(3)
    real = Schedule._heard

    def heard(self, seconds):
        return done.get() if not done.empty() else real(self, 0.001)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "_heard", heard)
        _plan, kept, _started, error = run(stories, n=3, pool=pool)
    assert kept == [0]
    assert str(error) == "disk full\nlate"


def test_pauses_grow(quick, monkeypatch):
    waits = []
    real = schedule.heapq.heappush

    def push(heap, entry):
        waits.append(entry[0] - schedule.time.monotonic())
        real(heap, entry)

    monkeypatch.setattr(schedule.heapq, "heappush", push)
    run({0: [fails(READ)] * 3}, n=1)
    assert waits[0] < waits[1] < waits[2]
