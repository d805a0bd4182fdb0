"""One thread for everything whose sums must come out the same."""

import contextlib
from collections.abc import Iterator

import threadpoolctl  # type: ignore[import-untyped]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one thread in BLAS and OpenMP; the earlier limits come back afterwards.

    Sums split over threads depend on their number; a training task takes one core and tasks run side by side.
    """
    with threadpoolctl.threadpool_limits(limits=1):
        yield
