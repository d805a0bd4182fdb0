"""Index arithmetic of lists of any length that lie end to end in one row."""

import numpy as np
import numpy.typing as npt

from data.types import IntArray


def offsets_of(counts: npt.NDArray[np.integer]) -> IntArray:
    """First position of each list and the end.

    Parameters
    ----------
    counts
        Lengths of the lists, shape (n,).

    Returns
    -------
    array (n + 1,) of int64
        0 first.
    """
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def owners(counts: npt.NDArray[np.integer]) -> IntArray:
    """For each element the number of its list.

    Parameters
    ----------
    counts
        Lengths of the lists, shape (n,).

    Returns
    -------
    array of int64
        Shape (sum of ``counts``,).
    """
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def ranges(first: IntArray, counts: IntArray) -> IntArray:
    """The positions ``first[i]`` … ``first[i] + counts[i] − 1`` of all i, end to end.

    Parameters
    ----------
    first, counts
        Shape (n,).

    Returns
    -------
    array of int64
        Shape (sum of ``counts``,).
    """
    start = offsets_of(counts)
    return np.repeat(first - start[:-1], counts) + np.arange(start[-1])


def wrap(angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same angle (rad) within [−π, π).

    Parameters
    ----------
    angle
        rad, any shape.

    Returns
    -------
    array
        rad, of the same shape.
    """
    return np.remainder(angle + np.pi, 2.0 * np.pi) - np.pi
