"""What comes again after a failure, what ends a run, and what is told of it."""

import concurrent.futures
import concurrent.futures.process

import pytest
from coffea.processor.executor import WorkItem

from data.errors import IncompleteError, InputError, OutputError, ReadError
from processors import schedule
from processors.executors import InlinePool
from processors.schedule import ChunkBugError, Schedule
from processors.tasks import ChunkTask, Outcome

READ = ReadError("file 'a': no answer")
WRONG = InputError("branch holds nan")


class Dead(Exception):  # noqa: N818 - not an error of ours
    pass


class FakePool(InlinePool):
    """Tasks run when the pool is asked for news; a death takes all that are out with it."""

    def __init__(self, ahead):
        self._ahead, self.most_out, self.tended = ahead, 0, 0

    def ahead(self):
        return self._ahead

    def died(self, error):
        return isinstance(error, Dead)

    def tend(self):
        self.tended += 1


def task(number):
    return ChunkTask(WorkItem("mock", "a.root", "Events", 10 * number, 10 * number + 10, b""), str(number))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(schedule, "_PAUSE", 0.01)
    monkeypatch.setattr(schedule, "_TEND", 0.05)


def run(stories, *, retries=3, n=4, pool=None):
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
            if isinstance(event, Dead):
                raise event
            return event

        return pool.submit(work)

    plan = Schedule(pool, start, lambda one, outcome: done.append(int(one.key)), retries)
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
    _, done, started, error = run({1: [outcome]})
    assert started == [0, 1]
    assert done == [0]
    if outcome.bug:
        assert isinstance(error, ChunkBugError)
        assert "'a.root' entries 10–19" in str(error)
        assert "KeyError" in str(error)
    else:
        assert isinstance(error, OutputError)


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


def test_a_cancelled_task_is_an_error(quick):
    class Cancelling(InlinePool):
        def submit(self, function, /, *arguments):
            future = concurrent.futures.Future()
            future.cancel()
            return future

    _, _, _, error = run({}, pool=Cancelling())
    assert isinstance(error, IncompleteError)
    assert "its task was cancelled" in str(error)


def test_pauses_grow(quick, monkeypatch):
    waits = []
    real = schedule.heapq.heappush

    def push(heap, entry):
        waits.append(entry[0] - schedule.time.monotonic())
        real(heap, entry)

    monkeypatch.setattr(schedule.heapq, "heappush", push)
    run({0: [fails(READ)] * 3}, n=1)
    assert waits[0] < waits[1] < waits[2]
