"""The limit of threads is the process's, whoever sets it."""

import json
import os
import subprocess
import sys

PROGRAM = """
import json, threading
import numpy as np, threadpoolctl
from models.threads import one_thread

def limits():
    return sorted(pool["num_threads"] for pool in threadpoolctl.threadpool_info())

found = {"before": limits()}
with one_thread():
    with one_thread():
        found["inner"] = limits()
    found["outer"] = limits()
found["between"] = limits()
inside, leave = threading.Event(), threading.Event()

def first():
    with one_thread():
        inside.set()
        leave.wait(100)

def second():
    inside.wait(100)
    threading.Timer(0.1, leave.set).start()
    with one_thread():
        one.join(100)
        found["beside"] = limits()

one, two = threading.Thread(target=first), threading.Thread(target=second)
for thread in (one, two):
    thread.start()
for thread in (one, two):
    thread.join()
found["after"] = limits()
print(json.dumps(found))
"""


def test_blocks_in_blocks_and_blocks_of_two_threads():
    """The first thread leaves its block while the second one would be in the midst of its own."""
    three = {**os.environ, "OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=three, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert max(found["before"]) > 1
    assert found["before"] == found["between"] == found["after"]
    assert {*found["inner"], *found["outer"], *found["beside"]} == {1}
