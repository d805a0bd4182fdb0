"""Dask with everything that dies, hangs and is told wrong."""

import concurrent.futures
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from coffea.processor.executor import WorkItem

from data.errors import ConfigError, IncompleteError, OutputError
from processors import dask_pool
from processors.config import DaskConfig, ProcessingConfig
from processors.dask_pool import DaskPool, close_clients
from processors.executors import open_pool
from processors.pools import InlinePool
from processors.schedule import Schedule
from processors.tasks import ChunkTask

distributed = pytest.importorskip("distributed")


@pytest.fixture(autouse=True)
def _close():
    yield
    close_clients()


@pytest.fixture(scope="module")
def tasks():
    """Functions that workers can import."""
    here = str(Path(__file__).parent)
    sys.path.insert(0, here)
    yield importlib.import_module("dying")
    sys.path.remove(here)


def numbered(count):
    return [ChunkTask(WorkItem("mock", "a.root", "Events", n, n + 1, b""), str(n)) for n in range(count)]


def dask(workers=1, **options):
    cluster = DaskConfig(cluster="local", wait=120, options=options)
    return ProcessingConfig(executor="dask", workers=workers, dask=cluster)


def at(address):
    return ProcessingConfig(executor="dask", dask=DaskConfig(address=address, wait=60))


class Client:
    """As much of dask's client as the pool looks at."""

    status = "running"

    def __init__(self, threads, states=None, executing=0):
        self.threads, self.asked, self.states, self.executing = threads, 0, states or {}, executing

    def scheduler_info(self):
        self.asked += 1
        if isinstance(self.threads, Exception):
            raise self.threads
        metrics = {"task_counts": {"executing": self.executing} if self.executing else {}}
        return {
            "workers": {
                name: {"nthreads": count, "status": self.states.get(name, "running"), "metrics": metrics}
                for name, count in self.threads.items()
            }
        }


def test_the_scheduler_is_not_asked_for_every_task():
    client = Client({"tcp://a:1": 1, "tcp://b:1": 1})
    pool = DaskPool(client, None, 60)
    assert [pool.ahead(careful=False) for _ in range(50)] == [4] * 50
    assert pool.ahead(careful=True) == 2
    assert client.asked == 1
    client.threads = {f"tcp://a:{port}": 1 for port in range(3000)}
    pool.tend()
    assert pool.ahead(careful=False) == 6000


@pytest.mark.parametrize("error", [OSError("gone"), TimeoutError("late"), RuntimeError("closed")])
def test_a_scheduler_that_does_not_answer(error):
    client = Client({"tcp://a:1": 1})
    pool = DaskPool(client, None, 60)
    client.threads = error
    with pytest.raises(IncompleteError, match="connection to dask's scheduler is lost; start it again"):
        pool.tend()
    assert pool.ahead(careful=False) == 2


@pytest.fixture
def clock(monkeypatch):
    """The time that the pool sees, in seconds; a test moves it."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(dask_pool, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_workers_that_are_gone_for_long(clock):
    client = Client({})
    pool = DaskPool(client, None, 60)
    clock.seconds += 60
    pool.tend()
    clock.seconds += 1
    message = r"all of dask's workers are gone or paused for lack of memory for 60 s; start some, with more"
    with pytest.raises(IncompleteError, match=message):
        pool.tend()


def test_workers_that_dask_has_paused_take_nothing(clock):
    """As long as one has a task in hand it is waited for; then they are as good as gone."""
    states = {"tcp://a:1": "paused", "tcp://b:1": "closing_gracefully"}
    client = Client(dict.fromkeys((*states, "tcp://c:1"), 1), states)
    pool = DaskPool(client, None, 60)
    assert pool.ahead(careful=True) == 1
    client.states["tcp://c:1"], client.executing = "paused", 1
    clock.seconds += 61
    pool.tend()
    client.executing = 0
    clock.seconds += 60
    pool.tend()
    clock.seconds += 1
    with pytest.raises(IncompleteError, match="paused for lack of memory"):
        pool.tend()


def test_each_death_of_a_worker_that_dask_does_not_name_is_one():
    """Two tasks whose outcome could not be had: each has its tries, and no other one's."""
    names = DaskPool(Client({"tcp://a:1": 1, "tcp://b:1": 1}), None, 60)

    class Cut(InlinePool):
        def ahead(self, *, careful):
            return names.ahead(careful=careful)

        def death(self, error):
            return names.death(error)

    started = []

    def start(task, _):
        started.append(task.key)
        return Cut().submit(_cut, task.key)

    with pytest.raises(
        IncompleteError, match=r"entries 0–0: its worker process died \(cut 0\)(.|\n)*\(cut 1\)"
    ):
        Schedule(Cut(), start, lambda *_: None, retries=1).run(numbered(2))
    assert sorted(started) == ["0", "0", "1", "1"]


def _cut(key):
    msg = f"cut {key}"
    raise OSError(msg)


@pytest.fixture
def client():
    """A connection to two workers in this process."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**options, protocol="tcp://") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("lost", [False, True])
def test_what_is_done_and_not_yet_taken_is_not_taken_back(client, lost):
    pool = DaskPool(client, None, 60)
    done = [pool.submit(abs, -number) for number in range(3)]
    concurrent.futures.wait(done, 20)
    if lost:
        client.close()
        assert pool.withdraw(done) == set(done)
        return
    begun = threading.Event()
    _GATES["begun"] = begun
    _GATES["end"] = threading.Event()
    going, waiting = pool.submit(_hold), [pool.submit(_hold) for _ in range(20)]
    assert begun.wait(20)
    kept = pool.withdraw([*done, going, *waiting])
    _GATES["end"].set()
    assert {*done, going} <= kept
    assert kept & set(waiting) != set(waiting)
    assert all(future.cancelled() for future in {*waiting} - kept)
    assert [future.result(20) for future in done] == [0, 1, 2]


_GATES: dict[str, threading.Event] = {}


def _hold():
    _GATES["begun"].set()
    _GATES["end"].wait(20)


def test_a_connection_that_closes_between_two_looks_at_it(client):
    pool = DaskPool(client, None, 60)
    table = pool.share(np.arange(3))
    client.close()
    for arguments in ((abs, -3), (len, table)):
        with pytest.raises(IncompleteError, match="connection to dask's scheduler is lost; start it again"):
            pool.submit(*arguments)


class Asked:
    """A client whose workers answer, or die as they are asked."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def wait_for_workers(self, *_, **__):
        pass

    def run(self, function, *, on_error):
        assert on_error == "return"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(enumerate(answer))

    def close(self):
        pass

    cluster = None


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (([OSError("gone"), "1.0"],), None),
        (([OSError("gone")], [], [OSError("gone"), "1.0"]), None),
        (([OSError("gone")],), r"no worker can be asked for its oddjet within 0.1 s \(gone\)"),
        (([],), r"no worker at tcp://a:1 within 0.1 s"),
        (([OSError("gone"), ImportError("no module named processors"), "1.0"],), "cannot import oddjet"),
        ((OSError("scheduler gone"),), r"no worker can be asked .*\(scheduler gone\)"),
    ],
)
def test_workers_that_die_as_they_are_asked_for_oddjet(monkeypatch, answers, message):
    monkeypatch.setattr(dask_pool, "_AGAIN", 0.01)
    monkeypatch.setattr(dask_pool, "_at", lambda address: Asked(*answers))
    config = DaskConfig(address="tcp://a:1", wait=0.1).model_dump_json()
    if message is None:
        assert isinstance(dask_pool._client(config, 1), Asked)
    else:
        with pytest.raises(ConfigError, match=rf"processing\.dask: .*{message}"):
            dask_pool._client(config, 1)


def test_workers_of_several_threads_are_refused():
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False}
    with distributed.LocalCluster(**options, protocol="tcp://", dashboard_address=":0") as cluster:
        message = (
            r"worker at tcp://.* runs 2 tasks at a time in one process; .*--nthreads 1.*threads_per_worker: 1"
        )
        with pytest.raises(ConfigError, match=message), open_pool(at(cluster.scheduler_address)):
            pass
        close_clients()


def test_a_connection_that_was_lost_is_made_anew():
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    with distributed.LocalCluster(**options, protocol="tcp://", dashboard_address=":0") as cluster:
        with open_pool(at(cluster.scheduler_address)):
            dask_pool._CLIENTS[0].close()
        with open_pool(at(cluster.scheduler_address)) as pool:
            assert pool.submit(abs, -3).result(20) == 3
        close_clients()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://a", "nothing can be reached at tcp://a .missing port number.*give an address such as"),
        ("tcp://127.0.0.1:x", "nothing can be reached at tcp://127.0.0.1:x .invalid literal"),
        ("tls://127.0.0.1:9", "nothing can be reached at tls://127.0.0.1:9 .*TLS configuration"),
    ],
)
def test_addresses_that_are_none(address, message):
    with pytest.raises(ConfigError, match=rf"processing\.dask: {message}"), open_pool(at(address)):
        pass


@pytest.mark.parametrize("address", ["http://a:1", "tcp:/a:1", "a:1", "inproc://x", "tcp://"])
def test_schemes_that_dask_has_not(address):
    options = {"executor": "dask", "dask": {"address": address}}
    with pytest.raises(ConfigError, match=r"dask\.address"):
        ProcessingConfig.parse(options, "search.yaml")


def test_a_cluster_that_cannot_start():
    message = r"options: the cluster 'local' cannot be started with them \(.*'/proc/none'\); correct them"
    with (
        pytest.raises(ConfigError, match=message),
        open_pool(dask(local_directory="/proc/none", processes=False)),
    ):
        pass


@pytest.mark.slow
def test_tables_that_died_with_the_only_worker_are_sent_again(tmp_path, tasks):
    (tmp_path / "3.life").touch()
    table = np.arange(100_000)
    done = {}
    with open_pool(dask(1)) as pool:
        shared = pool.share(table)
        plan = Schedule(
            pool,
            lambda task, _: pool.submit(tasks.sum_of, shared, int(task.key), tmp_path),
            lambda task, outcome: done.update({task.key: outcome.range}),
            retries=3,
        )
        plan.run(numbered(12))
    assert done == {str(n): (n, int(table.sum()), 0) for n in range(12)}
    told = {trouble.task.key: trouble for trouble in plan.troubles.values()}
    assert told["3"].attempts == 2
    assert "its worker process died" in str(told["3"].error)
    assert all(trouble.recovered and trouble.attempts == 2 for trouble in told.values())


@pytest.mark.slow
def test_a_table_that_kills_every_worker_that_it_is_sent_to_ends_the_run(tasks):
    with open_pool(dask(1)) as pool:
        shared = pool.share(tasks.Deadly())
        plan = Schedule(
            pool, lambda task, _: pool.submit(tasks.sum_of, shared, 0, Path()), lambda *_: None, retries=1
        )
        message = r"entries 0–0: it cannot be sent to a worker \(.*\), 2 times in a row; give the workers more memory"
        with pytest.raises(IncompleteError, match=message):
            plan.run(numbered(3))


@pytest.mark.slow
def test_what_a_worker_has_in_hand_when_another_task_fails_is_kept(tmp_path, tasks):
    done = []
    with open_pool(dask(2)) as pool:
        plan = Schedule(
            pool,
            lambda task, _: pool.submit(tasks.slow_or_wrong, int(task.key), tmp_path),
            lambda task, outcome: done.append(outcome.range[0]),
            retries=3,
        )
        with pytest.raises(OutputError, match="disk full"):
            plan.run(numbered(20))
    begun = {int(path.suffix[1:]) for path in tmp_path.glob("begun.*")}
    assert begun - {0} == {*done} != set()
    assert len(begun) < 20


@pytest.mark.slow
def test_a_scheduler_that_is_killed_ends_the_run(tmp_path, tasks):
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    def started(*command):
        line = [sys.executable, "-m", "distributed.cli." + command[0], *command[1:]]
        with (tmp_path / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen(line, env=here, stdout=log, stderr=log, cwd=tmp_path)

    file = tmp_path / "scheduler.json"
    first = started("dask_scheduler", "--scheduler-file", str(file), "--port", "0", "--no-dashboard")
    while not file.is_file() or not file.read_text().endswith("}"):
        time.sleep(0.05)
    address, processes, done = json.loads(file.read_text())["address"], [first], []
    try:
        processes.append(started("dask_worker", address, "--nthreads", "1", "--no-nanny"))

        def finished(task, outcome):
            done.append(task.key)
            if len(done) == 3:
                os.kill(first.pid, signal.SIGKILL)

        with open_pool(at(address)) as pool:
            table = pool.share(np.arange(10))
            plan = Schedule(
                pool,
                lambda task, _: pool.submit(tasks.sum_of, table, int(task.key), tmp_path),
                finished,
                retries=3,
            )
            with pytest.raises(IncompleteError, match="connection to dask's scheduler is lost"):
                plan.run(numbered(2000))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert 3 <= len(done) < 2000


def test_a_scheduler_that_is_gone_is_told():
    told = (
        "the connection to dask's scheduler is lost; start it again and run again: what is finished is kept"
    )
    with pytest.raises(IncompleteError, match=told):
        DaskPool(SimpleNamespace(status="closed"), None, 1.0)

    def gone():
        raise OSError

    with pytest.raises(IncompleteError, match=told):
        DaskPool(SimpleNamespace(status="running", scheduler_info=gone), None, 1.0)
