"""The workers of dask: a scheduler that runs already, or a cluster that is started for the run."""

import concurrent.futures
import contextlib
import functools
import json
import shutil
import time
from collections.abc import Callable, Collection
from typing import Any

from data.errors import ConfigError, IncompleteError
from data.manifest import code_version
from processors.config import DaskConfig
from processors.pools import AHEAD, Future

_INSTALL = "pip install 'oddjet[dask]'"
_CANCELLED = concurrent.futures.CancelledError
_AGAIN = 0.5  # seconds after which workers are asked again that died when they were asked
_ANSWER = 30  # seconds that a scheduler has to answer
_LOST = "the connection to dask's scheduler is lost; start it again and run again: what is finished is kept"


class DaskPool:
    """The workers of a dask scheduler.

    Parameters
    ----------
    client
        Connected.
    wanted
        Number of workers of the cluster that was started for the run; None where others care for them.
    patience
        Seconds to wait when all workers are gone, or paused by dask because their memory is nearly full.

    Raises
    ------
    ConfigError
        If a worker runs several tasks at a time.
    IncompleteError
        If the scheduler is gone.
    """

    def __init__(self, client: Any, wanted: int | None, patience: float) -> None:
        self._client, self._wanted, self._patience = client, wanted, patience
        self._seen, self._workers = time.monotonic(), 0
        self._remote: dict[Future, Any] = {}
        self._count()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Start a task.

        Raises
        ------
        IncompleteError
            If the connection was closed.
        """
        try:
            given = [self._sent(value) if isinstance(value, _Shared) else value for value in arguments]
            remote = self._client.submit(function, *given, pure=False)
        except Exception as error:
            if self._client.status != "running":
                raise IncompleteError(_LOST) from error
            raise
        future: Future = concurrent.futures.Future()
        self._remote[future] = remote
        future.add_done_callback(self._remote.pop)
        self._client.loop.add_callback(_pass_on, remote, future)
        return future

    def share(self, value: Any) -> Any:
        """What to give to tasks for a large value: a token; each worker gets the value once.

        It is sent with the first task, and again when all workers that had it have died.
        """
        return _Shared(value)

    def _sent(self, shared: "_Shared") -> Any:
        if shared.copies is None or shared.copies.status != "finished":
            shared.copies = self._client.scatter(shared.value, broadcast=True, direct=False)
        return shared.copies

    def ahead(self, *, careful: bool) -> int:
        """How many tasks to hand out at a time; with care one a worker, which takes what waits for it along."""
        return (1 if careful else AHEAD) * max(self._workers, 1)

    def death(self, error: BaseException) -> str | None:
        """The worker that died; where dask does not say which, each error counts as a death of its own."""
        if isinstance(error, _distributed().scheduler.KilledWorker):
            return str(error.last_worker.server_id)
        # nobody was there to take a shared value, or died as it was sent
        return f"unknown {id(error)}" if isinstance(error, (TimeoutError, OSError, _CANCELLED)) else None

    def withdraw(self, futures: Collection[Future]) -> set[Future]:
        """Take tasks back that no worker has yet; the others are returned: they are done, or go on."""
        remote = {future: task for future in futures if (task := self._remote.get(future)) is not None}
        kept = set(futures) - remote.keys()
        if not remote:
            return kept
        going: set[Future] = set()
        with contextlib.suppress(OSError, RuntimeError):  # a scheduler that is gone has taken them all back
            if self._client.status == "running":
                taken = {key for keys in self._client.processing().values() for key in keys}
                going = {future for future, task in remote.items() if task.key in taken}
                self._client.cancel([task for future, task in remote.items() if future not in going])
        return kept | going | {future for future in remote.keys() - going if not future.cancel()}

    def tend(self) -> None:
        """Count the workers, and replace those that died.

        Raises
        ------
        ConfigError
            If a worker runs several tasks at a time.
        IncompleteError
            If the scheduler is gone, or all workers are for long, or paused.
        """
        self._count()
        if time.monotonic() - self._seen > self._patience:
            msg = (
                f"all of dask's workers are gone or paused for lack of memory for {self._patience:g} s; start some, with "
                "more memory, and run again: what is finished is kept"
            )
            raise IncompleteError(msg)
        if self._wanted is not None:
            # a cluster forgets workers that died, and starts new ones only when it is told its size again
            self._client.cluster.scale(self._wanted)

    def _count(self) -> None:
        if self._client.status != "running":
            raise IncompleteError(_LOST)
        try:
            workers: dict[str, dict[str, Any]] = self._client.scheduler_info()["workers"]
        except (OSError, RuntimeError) as error:
            raise IncompleteError(_LOST) from error
        threads = {address: worker["nthreads"] for address, worker in workers.items()}
        # settings of numerical libraries are those of the whole process: tasks side by side would spoil each other's
        if crowded := sorted(address for address, count in threads.items() if count > 1):
            msg = (
                f"processing.dask: the worker at {crowded[0]} runs {threads[crowded[0]]} tasks at a time in one process; "
                "give each worker one thread: `dask worker --nthreads 1 --nworkers N`, or in processing.dask.options "
                "threads_per_worker: 1 (local), cores: 1 (htcondor)"
            )
            raise ConfigError(msg)
        self._workers = sum(worker["status"] == "running" for worker in workers.values())
        if self._workers or any(map(_busy, workers.values())):
            self._seen = time.monotonic()


def _busy(worker: dict[str, Any]) -> bool:
    """Whether a worker has a task in hand: one that is paused takes no other, but ends it."""
    return bool(worker["metrics"].get("task_counts", {}).get("executing"))


class _Shared:
    """A value that many tasks take, and what dask calls its copies on the workers."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.copies: Any = None


async def _pass_on(remote: Any, future: Future) -> None:
    """Give the outcome of dask's future to ours; in the thread of dask's event loop.

    dask's own executor never ends a future whose result was lost with its worker before it was fetched.
    """
    try:
        result = await remote
    except _CANCELLED:
        future.cancel()
        future.set_running_or_notify_cancel()
    except Exception as error:  # noqa: BLE001 - the future holds it
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
    else:
        if future.set_running_or_notify_cancel():
            future.set_result(result)


def connected(dask: DaskConfig, workers: int) -> Any:
    """The connection to dask, one for all samples and passes: a cluster takes long to start.

    Parameters
    ----------
    dask
        Where the workers are.
    workers
        Their number, where a cluster is started.

    Returns
    -------
    distributed.Client
        With a worker that has oddjet.

    Raises
    ------
    ConfigError
        If dask is not installed, nobody answers, no worker comes, or it cannot import oddjet.
    """
    config = json.dumps(dask.model_dump())
    if _client(config, workers).status != "running":
        close_clients()
    return _client(config, workers)


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
    dask = DaskConfig.model_validate_json(config)
    client = _with_cluster(dask, workers) if dask.address is None else _at(dask.address)
    _CLIENTS.append(client)
    try:
        _ask_workers(client, dask.wait)
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
    except OSError as error:
        close_clients()
        msg = f"processing.dask: no worker can be asked for its oddjet within {dask.wait:g} s ({error}); start them anew"
        raise ConfigError(msg) from None
    return client


def _ask_workers(client: Any, wait: float) -> None:
    """See that the workers have oddjet: tasks that one cannot import would never come back.

    One that dies meanwhile is no matter, as long as another is there.
    """
    end = time.monotonic() + wait
    client.wait_for_workers(1, timeout=wait)
    while True:
        answers = client.run(code_version, on_error="return").values()
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if serious := [error for error in errors if not isinstance(error, OSError)]:
            raise serious[0]
        if len(errors) < len(answers):
            return
        if time.monotonic() > end:
            raise errors[0] if errors else TimeoutError
        time.sleep(_AGAIN)


def _at(address: str) -> Any:
    """Connect to a scheduler that runs already."""
    try:
        return _distributed().Client(address, timeout=_ANSWER, set_as_default=False)
    except OSError as error:
        msg = f"processing.dask: no scheduler at {address} ({error}); start it, or correct the address"
    except (ValueError, TypeError) as error:
        msg = f"processing.dask: nothing can be reached at {address} ({error}); give an address such as tcp://HOST:8786"
    raise ConfigError(msg)


def _with_cluster(dask: DaskConfig, workers: int) -> Any:
    """Start a cluster and connect to it."""
    distributed = _distributed()
    import dask as library  # noqa: PLC0415 - an extra

    # every death of a worker is told at once: retries are counted in one place
    library.config.set({"distributed.scheduler.allowed-failures": 0})
    try:
        return distributed.Client(_cluster(dask, workers), set_as_default=False)
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        reason: BaseException = error
        while reason.__cause__ is not None:  # dask wraps it several times
            reason = reason.__cause__
        what = "cannot be started with them" if isinstance(reason, OSError) else "refuses them"
        msg = f"processing.dask.options: the cluster '{dask.cluster}' {what} ({reason}); correct them"
        raise ConfigError(msg) from None


def _cluster(dask: DaskConfig, workers: int) -> Any:
    if dask.cluster == "htcondor":
        cluster = _jobqueue().HTCondorCluster(
            **{"cores": 1, "scheduler_options": {"dashboard_address": ":0"}, **dask.options}
        )
        cluster.scale(workers)
        return cluster
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    return _distributed().LocalCluster(**{**local, **dask.options})


def _distributed() -> Any:
    try:
        import distributed  # noqa: PLC0415 - an extra
    except ImportError:
        msg = f"processing.executor is dask, which is not installed; install it with {_INSTALL}"
        raise ConfigError(msg) from None
    return distributed


def _jobqueue() -> Any:
    if shutil.which("condor_submit") is None:  # dask-jobqueue would start no worker, and say so nowhere
        msg = (
            "processing.dask.cluster is htcondor, but condor_submit is not on this machine; run this where jobs are "
            "submitted from, or choose the cluster 'local'"
        )
        raise ConfigError(msg)
    try:
        import dask_jobqueue  # noqa: PLC0415 - an extra
    except ImportError:
        msg = f"processing.dask.cluster is htcondor, but dask-jobqueue is not installed; install it with {_INSTALL}"
        raise ConfigError(msg) from None
    return dask_jobqueue
