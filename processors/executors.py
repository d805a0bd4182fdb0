"""Where tasks run: in this process, in processes of this machine, or on the workers of dask.

All three take a function and its arguments and give a future back; nothing above them knows which one it is.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import loky

from data.errors import ConfigError, IncompleteError
from data.manifest import code_version
from processors.config import DaskConfig, ProcessingConfig

_IDLE = 10  # seconds that workers wait for the next sample: starting one costs seconds of imports
_AHEAD = 2  # tasks handed out for each worker, so that none waits for this process
_MOST_AHEAD = 1000
_INSTALL = "pip install 'oddjet[dask]'"

Future = concurrent.futures.Future[Any]


class Pool(Protocol):
    """What runs tasks."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Start a task."""
        ...

    def share(self, value: Any) -> Any:
        """What to give to tasks for a large value that many of them take."""
        ...

    def ahead(self) -> int:
        """How many tasks to hand out at a time."""
        ...

    def died(self, error: BaseException) -> bool:
        """Whether an error of a future says that its worker died."""
        ...

    def tend(self) -> None:
        """Replace workers that died."""
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

    def ahead(self) -> int:
        """How many tasks to hand out at a time."""
        return 1

    def died(self, error: BaseException) -> bool:  # noqa: ARG002 - the same for every pool
        """Whether an error of a future says that its worker died; here nothing outlives it."""
        return False

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
        return loky.get_reusable_executor(self._workers, timeout=_IDLE, initializer=self._prepare)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Start a task."""
        future: Future = self._executor.submit(function, *arguments)
        return future

    def share(self, value: Any) -> Any:
        """What to give to tasks for a large value: the value."""
        return value

    def ahead(self) -> int:
        """How many tasks to hand out at a time."""
        return _AHEAD * self._workers

    def died(self, error: BaseException) -> bool:
        """Whether an error of a future says that its worker died."""
        return isinstance(error, concurrent.futures.process.BrokenProcessPool)

    def tend(self) -> None:
        """Replace workers that died."""
        self._executor = self._start()


class DaskPool:
    """The workers of a dask scheduler.

    Parameters
    ----------
    client
        Connected.
    wanted
        Number of workers of the cluster that was started for the run; None where others care for them.
    patience
        Seconds to wait when all workers are gone.
    """

    def __init__(self, client: Any, wanted: int | None, patience: float) -> None:
        self._client, self._wanted, self._patience = client, wanted, patience
        self._executor = client.get_executor(pure=False)
        self._seen = time.monotonic()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Start a task."""
        future: Future = self._executor.submit(function, *arguments)
        return future

    def share(self, value: Any) -> Any:
        """What to give to tasks for a large value: a reference; each worker gets it once."""
        return self._client.scatter(value, broadcast=True, direct=False)

    def ahead(self) -> int:
        """How many tasks to hand out at a time."""
        threads: int = sum(self._client.nthreads().values())
        return min(_AHEAD * max(threads, 1), _MOST_AHEAD)

    def died(self, error: BaseException) -> bool:
        """Whether an error of a future says that its worker died."""
        return isinstance(error, _distributed().scheduler.KilledWorker)

    def tend(self) -> None:
        """Replace workers that died.

        Raises
        ------
        IncompleteError
            If the scheduler is gone, or all workers for long.
        """
        now = time.monotonic()
        if self._client.status not in {"running", "connecting"}:
            msg = "the connection to dask's scheduler is lost; start it again and run again: what is finished is kept"
            raise IncompleteError(msg)
        if self._client.nthreads():
            self._seen = now
        elif now - self._seen > self._patience:
            msg = (
                f"all of dask's workers are gone for {self._patience:g} s; start some and run again: what is finished is "
                "kept"
            )
            raise IncompleteError(msg)
        if self._wanted is not None:
            # a cluster forgets workers that died, and starts new ones only when it is told its size again
            self._client.cluster.scale(self._wanted)


@contextlib.contextmanager
def open_pool(processing: ProcessingConfig, prepare: Callable[[], None] | None = None) -> Iterator[Pool]:
    """The workers that the configuration wants.

    Parameters
    ----------
    processing
        Executor and number of workers.
    prepare
        What each worker process does once before its first task, e.g. importing large libraries.

    Yields
    ------
    Pool
        It may be that of the block before: processes and connections stay for the next one.

    Raises
    ------
    ConfigError
        If dask is wanted and not installed, or its workers cannot be had.
    """
    if processing.executor == "iterative":
        yield InlinePool()
    elif processing.executor == "futures":
        yield ProcessPool(processing.workers, prepare)
    else:
        dask = processing.dask or DaskConfig(cluster="local")
        client = _client(json.dumps(dask.model_dump()), processing.workers)
        yield DaskPool(client, None if dask.cluster is None else processing.workers, dask.wait)


def close_clients() -> None:
    """Let go of dask: close the connections, and the clusters that were started."""
    for client in _CLIENTS:
        cluster = client.cluster
        client.close()
        if cluster is not None:
            cluster.close()
    _CLIENTS.clear()
    _client.cache_clear()


_CLIENTS: list[Any] = []


@functools.cache
def _client(config: str, workers: int) -> Any:
    """The connection to dask, one for all samples and passes: a cluster takes long to start."""
    dask = DaskConfig.model_validate_json(config)
    distributed = _distributed()
    try:
        if dask.address is not None:
            client = distributed.Client(dask.address, timeout="30 s", set_as_default=False)
        else:
            client = distributed.Client(_cluster(dask, workers), set_as_default=False)
    except (OSError, TimeoutError) as error:
        msg = f"processing.dask: no scheduler at {dask.address} ({error}); start it, or correct the address"
        raise ConfigError(msg) from None
    _CLIENTS.append(client)
    try:
        client.wait_for_workers(1, timeout=dask.wait)
        client.run(code_version)  # tasks that a worker cannot import would never come back
    except ImportError as error:
        close_clients()
        msg = (
            f"processing.dask: a worker cannot import oddjet ({error}); install it where the workers run, too"
        )
        raise ConfigError(msg) from None
    except TimeoutError:
        close_clients()
        look = {"htcondor": "; see `condor_q -hold` and the log_directory of the options"}.get(
            dask.cluster or "", ""
        )
        where = dask.address or f"the cluster '{dask.cluster}'"
        msg = f"processing.dask: no worker at {where} within {dask.wait:g} s{look}; raise processing.dask.wait if they come later"
        raise ConfigError(msg) from None
    return client


def _cluster(dask: DaskConfig, workers: int) -> Any:
    """Start a cluster."""
    import dask as library  # noqa: PLC0415 - an extra

    # every death of a worker is told at once: retries are counted in one place
    library.config.set({"distributed.scheduler.allowed-failures": 0})
    try:
        if dask.cluster == "htcondor":
            cluster = _jobqueue().HTCondorCluster(
                **{"cores": 1, "scheduler_options": {"dashboard_address": ":0"}, **dask.options}
            )
            cluster.scale(workers)
            return cluster
        local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
        return _distributed().LocalCluster(**{**local, **dask.options})
    except (TypeError, ValueError, RuntimeError) as error:
        reason = error.__cause__ or error
        msg = f"processing.dask.options: the cluster '{dask.cluster}' refuses them ({reason}); correct them"
        raise ConfigError(msg) from None


def _distributed() -> Any:
    try:
        import distributed  # noqa: PLC0415 - an extra
    except ImportError:
        msg = f"processing.executor is dask, which is not installed; install it with {_INSTALL}"
        raise ConfigError(msg) from None
    return distributed


def _jobqueue() -> Any:
    try:
        import dask_jobqueue  # noqa: PLC0415 - an extra
    except ImportError:
        msg = f"processing.dask.cluster is htcondor, but dask-jobqueue is not installed; install it with {_INSTALL}"
        raise ConfigError(msg) from None
    return dask_jobqueue
