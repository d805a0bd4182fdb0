"""Worker processes end with the process that started them."""

import os
import pickle
import signal
import subprocess
import sys
import time

from data.workers import Attached, attached

POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from data.workers import attached
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=attached()) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    list(pool.map(time.sleep, [60, 60]))
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_worker_of_a_killed_process_ends_too():
    with subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        assert alive(worker)
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while alive(worker):
        assert time.monotonic() < end
        time.sleep(0.05)


def nothing():
    """Prepares nothing."""


def test_workers_that_are_prepared_alike_are_told_alike():
    """A pool is taken over where its initializer is equal."""
    assert attached(nothing) == attached(nothing) == Attached(os.getpid(), nothing)
    assert attached(nothing) != attached()
    assert pickle.loads(pickle.dumps(attached(nothing))) == attached(nothing)  # noqa: S301 - our own bytes
