import functools
import signal

import numpy as np
import pytest
import threadpoolctl

from data.errors import TrainingError
from models import driver, processes, trees
from models.driver import train_together
from models.jobs import Member, Schedule, StackJob, TreeJob, side_by_side
from models.networks.dense import DenseClassifier
from models.problems import Problem
from models.seeds import task_seed
from models.trees import TreeSettings

BUFFERS = {"mean": np.zeros((1, 3), np.float32), "deviation": np.ones((1, 3), np.float32)}
NETWORK = DenseClassifier(3, (8, 8), ("relu", "relu"))
SCHEDULE = Schedule(epochs=3, batch=32, learning_rate=0.01)


def data_of(seed, rows=400):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    target = (rng.random(rows) < 1 / (1 + np.exp(-2 * x[:, 0]))).astype(np.float32)
    return {"x": x, "target": target, "weight": np.ones(rows, np.float32)}


def job(data, seeds, rows=300, network=NETWORK, schedule=SCHEDULE):
    members = tuple(Member(np.arange(rows), np.arange(300, 400), seed, BUFFERS) for seed in seeds)
    return StackJob(network, schedule, data, members)


def tree_job(seed):
    data = data_of(seed)
    split = np.arange(400) % 4
    problem = Problem(data["x"], data["target"] > 0, np.ones(400), split)
    return TreeJob(problem, TreeSettings(bags=1, iterations=3), functools.partial(task_seed, seed))


def rounds(*jobs):
    """A training that yields the jobs of one round after those of another, and returns all results."""
    results = []
    for own in jobs:
        answer = yield own
        results += [answer]
    return results


def numbers(result):
    """Everything in a result, as a flat list of arrays."""
    if isinstance(result, dict):
        return [result[name] for name in sorted(result)]
    if isinstance(result, (list, tuple)):
        return [array for entry in result for array in numbers(entry)]
    networks = [array for network in result.networks for array in numbers(network)]
    return [*networks, result.validation, result.history]


def assert_same(first, second):
    first, second = numbers(first), numbers(second)
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def trainings():
    """Of one, three and no rounds, with forests, shared data, other networks and other schedules among them."""
    shared, other = data_of(0), data_of(1)
    wide = DenseClassifier(3, (16,), ("relu",))
    longer = SCHEDULE.model_copy(update={"epochs": 4})
    return [
        rounds([job(shared, [1, 2]), job(shared, [3], rows=250)]),
        rounds([job(other, [4]), tree_job(5)], [job(shared, [6], network=wide)], [job(other, [7])]),
        rounds(),
        rounds([tree_job(8)], [job(other, [9], schedule=longer), job(shared, [10])]),
    ]


@pytest.fixture(scope="module")
def together():
    return train_together(trainings())


def test_trainings_side_by_side_give_what_each_gives_alone(together):
    assert [len(results) for results in together] == [1, 3, 0, 2]
    for number, results in enumerate(together):
        alone = train_together([trainings()[number]])[0]
        if results:
            assert_same(results, alone)


def test_results_come_back_in_the_order_of_the_jobs(together):
    first, second = together[0][0]
    assert len(first.networks) == 2
    assert len(second.networks) == 1
    assert_same(first, train_together([rounds([job(data_of(0), [1, 2])])])[0][0][0])
    expected = tree_job(5)
    assert_same(together[1][0][1], trees.train(expected.problem, expected.settings, expected.seed))


@pytest.mark.slow
def test_two_processes_give_what_one_gives(together):
    assert_same(
        [own for own in train_together(trainings(), workers=2) if own], [own for own in together if own]
    )


def test_jobs_of_one_kind_become_one_stack(monkeypatch):
    sizes = []

    def counted(network, schedule, data, members, **place):
        sizes.append((len(members), len(data["x"])))
        return train_stack(network, schedule, data, members, **place)

    train_stack = driver.train_stack
    monkeypatch.setattr(driver, "train_stack", counted)
    train_together(trainings())
    # Round 1: members 1, 2, 3, 4 of two tables; the table that two jobs share is there once. Round 2: three kinds.
    assert sizes[0] == (4, 800)
    assert sorted(sizes[1:4]) == [(1, 400), (1, 400), (1, 400)]


def test_large_groups_become_several_stacks(monkeypatch):
    monkeypatch.setattr(driver, "MOST_MEMBERS", 2)
    shared = data_of(0)
    assert_same(
        train_together([rounds([job(shared, [1, 2, 3]), job(shared, [4, 5])])]),
        [[[train_together([rounds([job(shared, seeds)])])[0][0][0] for seeds in ([1, 2, 3], [4, 5])]]],
    )


class Deadly:
    """Kills the process that is given it, as the system does where memory runs out."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGKILL,)


def test_a_process_that_dies_is_told_with_the_remedy():
    deadly = TreeJob(Deadly(), TreeSettings(bags=1, iterations=3), functools.partial(task_seed, 1))
    wanted = "a training process died, one of 2; most often memory ran out: lower processing.workers"
    with pytest.raises(TrainingError, match=wanted):
        train_together([rounds([deadly, tree_job(5)])], workers=2)


def test_a_generator_sees_its_own_errors():
    def failing():
        yield [tree_job(1)]
        msg = "as planned"
        raise TrainingError(msg)

    with pytest.raises(TrainingError, match="as planned"):
        train_together([rounds([tree_job(2)]), failing()])


def test_what_happens_between_jobs_has_one_thread_too():
    """Sums over many rows would else depend on the machine."""

    def looking():
        counts = {library["num_threads"] for library in threadpoolctl.threadpool_info()}
        yield [tree_job(1)]
        return counts | {library["num_threads"] for library in threadpoolctl.threadpool_info()}

    with threadpoolctl.threadpool_limits(2):
        assert train_together([looking()]) == [{1}]


def test_trainings_as_one_ask_for_the_jobs_of_all_that_still_run():
    whole = side_by_side([rounds(["a"], ["b"]), rounds(), rounds(["c", "d"], ["e"], ["f"])])
    assert next(whole) == ["a", "c", "d"]
    assert whole.send([1, 2, 3]) == ["b", "e"]
    assert whole.send([4, 5]) == ["f"]
    with pytest.raises(StopIteration) as stop:
        whole.send([6])
    assert stop.value.value == [[[1], [4]], [], [[2, 3], [5], [6]]]


def test_no_trainings():
    assert train_together([]) == []


def test_at_least_one_worker():
    with pytest.raises(TrainingError, match="workers must be at least 1, found 0"):
        train_together([], workers=0)


def test_trainings_of_a_block_share_their_processes(monkeypatch):
    opened = []

    class Counted(processes.ProcessPoolExecutor):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            opened.append(self)

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Counted)
    with processes.shared_processes():
        train_together([rounds([tree_job(8)])])
        assert opened == []
        with processes.shared_processes():
            found = train_together([rounds([tree_job(5)], [tree_job(8)])], workers=2)[0]
        again = train_together([rounds([tree_job(5)])], workers=2)[0]
    (pool,) = opened
    assert_same(again[0], found[0])
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
