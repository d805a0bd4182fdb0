"""Seeds of training tasks: a pure function of what the task is, never of the order in which tasks run."""

import hashlib

import numpy as np

from data.eventid import splitmix64


def task_seed(seed: int, *parts: str | int) -> int:
    """Seed of one training task.

    Parameters
    ----------
    seed
        The user's seed.
    parts
        What names the task: method, window, fold, jet, split …

    Returns
    -------
    int
        0 … 2³² − 1, the range that scikit-learn, torch and numpy all accept.
    """
    state = splitmix64(np.uint64(seed))
    for part in parts:
        digest = hashlib.sha256(repr(part).encode()).digest()
        state = splitmix64(state ^ np.uint64(int.from_bytes(digest[:8], "little")))
    return int(state) % 2**32
