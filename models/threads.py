"""One thread for everything whose sums must come out the same."""

import contextlib
import threading
from collections.abc import Iterator

import threadpoolctl

# the limits are the process's: a second thread would lose its own when the first one leaves its block
_LIMIT = threading.RLock()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one thread in BLAS and OpenMP; the earlier limits come back afterwards.

    Sums split over threads depend on their number; a training task takes one core and tasks run side by side in
    processes of their own. Threads of one process wait for each other here.
    """
    with _LIMIT, threadpoolctl.threadpool_limits(limits=1):
        yield
