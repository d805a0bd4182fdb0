"""The workers that the configuration wants: this process, processes of this machine, or the workers of dask."""

import contextlib
from collections.abc import Callable, Iterator

from processors.config import DaskConfig, ProcessingConfig
from processors.dask_pool import DaskPool, close_clients, connected
from processors.pools import Future, InlinePool, Pool, ProcessPool

__all__ = ["Future", "close_clients", "open_pool"]


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
        client = connected(dask, processing.workers)
        yield DaskPool(client, None if dask.cluster is None else processing.workers, dask.wait)
