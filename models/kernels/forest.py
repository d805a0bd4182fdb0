"""Evaluation of boosted trees held as plain arrays."""

import math

import numpy as np
import numpy.typing as npt

from data.types import FloatArray, IntArray
from models.kernels.compiled import compiled

ROWS_AT_ONCE = 512


@compiled
def member_logits(
    x: npt.NDArray[np.float32],
    feature: npt.NDArray[np.int32],
    threshold: FloatArray,
    left: npt.NDArray[np.int32],
    right: npt.NDArray[np.int32],
    missing_left: npt.NDArray[np.uint8],
    value: FloatArray,
    tree_start: IntArray,
    member_start: IntArray,
    baseline: FloatArray,
) -> FloatArray:
    """Logit of each member for each row.

    A tree is walked for a block of rows before the next one, so that it stays in the cache; for any one row the
    trees are added in their order, whatever block it is in.

    Parameters
    ----------
    x
        float32 inputs, shape (rows, inputs).
    feature, threshold, left, right, missing_left, value
        One entry a node of all trees; a row goes left where ``x <= threshold``; ``left`` is −1 for leaves,
        whose ``value`` is added to the member's logit.
    tree_start
        Position of each tree's root.
    member_start
        First tree of each member, and one past the last, shape (members + 1,).
    baseline
        Logit of each member before its first tree.

    Returns
    -------
    numpy.ndarray
        float64, shape (rows, members).
    """
    logits = np.empty((len(x), len(baseline)), dtype=np.float64)
    for first in range(0, len(x), ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, len(x))
        for member in range(len(baseline)):
            logits[first:last, member] = baseline[member]
            for tree in range(member_start[member], member_start[member + 1]):
                for row in range(first, last):
                    node = tree_start[tree]
                    while left[node] >= 0:
                        entry = np.float64(x[row, feature[node]])
                        if math.isnan(entry):
                            node = left[node] if missing_left[node] else right[node]
                        elif entry <= threshold[node]:
                            node = left[node]
                        else:
                            node = right[node]
                    logits[row, member] += value[node]
    return logits
