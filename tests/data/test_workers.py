"""Worker processes end with the process that started them."""

import os
import pickle
import signal
import subprocess
import sys
import time

import pytest

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
    end = time.monotonic() + 50
    while alive(worker):
        assert time.monotonic() < end
        time.sleep(0.05)


SLOW_TO_START = """
import multiprocessing, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from data.workers import attached, starting
def prepare():
    print("preparing", flush=True)
    time.sleep(0 if sys.argv[1] == "at work" else 60)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context, initializer=attached(prepare)) as pool:
            with starting():
                future = pool.submit(time.sleep, 60)
            if sys.argv[1] == "starting":
                print("starting", flush=True)
            future.result()
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("when", ["starting", "preparing", "at work"])
def test_ctrl_c_ends_a_worker_without_a_word(tmp_path, when):
    """A terminal sends it to the workers too, whatever they are at."""
    script = tmp_path / "script.py"
    script.write_text(SLOW_TO_START)
    command = [sys.executable, str(script), when]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, words = process.communicate()
    assert process.returncode == 130
    assert words == ""


def nothing():
    """Prepares nothing."""


def test_workers_that_are_prepared_alike_are_told_alike():
    """A pool is taken over where its initializer is equal."""
    assert attached(nothing) == attached(nothing) == Attached(os.getpid(), nothing)
    assert attached(nothing) != attached()
    assert pickle.loads(pickle.dumps(attached(nothing))) == attached(nothing)  # noqa: S301 - our own bytes
