"""Time and memory of what `bench_scale` measures, in this process and in those that it starts."""

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import threading
import time
from pathlib import Path

import psutil


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of the clock, CPU seconds of all processes and of this one."""

    wall: float
    cpu: float
    own: float


def least(costs):
    """The least of several costs, each kind of seconds by itself."""
    return Cost(*(min(getattr(cost, kind) for cost in costs) for kind in ("wall", "cpu", "own")))


def cost_of(work, *arguments):
    """What a call costs; processes that end in it count too."""
    wall, cpu, own = time.perf_counter(), cpu_seconds(), time.process_time()
    work(*arguments)
    return Cost(time.perf_counter() - wall, cpu_seconds() - cpu, time.process_time() - own)


def cpu_seconds():
    """CPU seconds of this process and of all that it started."""
    total, this = 0.0, psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def apart(work, *arguments):
    """What a function returns in a process of its own, whose memory is that of nothing else."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def peak(process="self"):
    """Largest memory of a process so far, MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 2**10) for line in lines if line.startswith("VmHWM"))


@contextlib.contextmanager
def watched():
    """Largest memory of each process that this one starts in the block, MiB, by its number."""
    found, end = {}, threading.Event()

    def look():
        while not end.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(OSError, StopIteration):  # it may have ended
                    found[process.pid] = peak(process.pid)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield found
    finally:
        end.set()
        watch.join()


def told(before, cost):
    """Seconds, and MiB of this process before and at most."""
    return {
        "seconds": round(cost.wall, 1),
        "cpu_seconds": round(cost.cpu, 1),
        "before_mib": before,
        "largest_memory_mib": peak(),
    }
