"""The windows of BumpHunter, one set of counts after the other."""

import math

import numpy as np

from analysis.kernels.poisson_tails import log_lower_tail, log_upper_tail, rate_function
from data.types import FloatArray, IntArray
from processors.kernels.compiled import compiled


@compiled
def scan_sets(
    counts: FloatArray,
    expected: FloatArray,
    widths: IntArray,
    steps: IntArray,
    log_veto: float,
    t: FloatArray,
    first: IntArray,
    width: IntArray,
) -> None:
    """Find the best window of each set of counts.

    Parameters
    ----------
    counts
        Shape (sets, n).
    expected
        Background, shape (1, n) or (sets, n).
    widths, steps
        Widths of the windows in bins, and by how much those of each width move.
    log_veto
        ln of the p-value that side bands must exceed; −∞ for no veto.
    t, first, width
        Filled with −ln of the smallest p-value, the window's first bin and its width; zero before. Shape (sets,).
    """
    n = counts.shape[1]
    above = np.zeros((2, n + 1))  # sums of counts and of background from each bin to the end
    for row in range(counts.shape[0]):
        of_background = row if expected.shape[0] > 1 else 0
        if row == 0 or expected.shape[0] > 1:
            # From the falling end: sums from the other would bury the tail in rounding errors.
            for i in range(n - 1, -1, -1):
                above[1, i] = above[1, i + 1] + expected[of_background, i]
        for i in range(n - 1, -1, -1):
            above[0, i] = above[0, i + 1] + counts[row, i]
        least = _largest_rate(above, widths, steps)
        if _scan_one(above, widths, steps, log_veto, least, row, t, first, width):
            t[row], first[row], width[row] = 0.0, 0, 0
            _scan_one(above, widths, steps, log_veto, 0.0, row, t, first, width)


@compiled
def _largest_rate(above: FloatArray, widths: IntArray, steps: IntArray) -> float:
    """Largest rate function of one event less than was counted: what the best window's own must exceed.

    With r(n) the rate function, P(N ≥ d) lies between the Gaussian tails beyond √(2 r(d)) and √(2 r(d − 1)) (M. Short,
    ISRN Probab. Stat. 2013, 412958): a window whose r(d) is not above another one's r(d − 1) cannot win. As
    r(d) ≤ (d − b)²/(2 b), most windows are sorted out without a logarithm.
    """
    n = above.shape[1] - 1
    least = 0.0
    for k in range(widths.size):
        w = widths[k]
        for at in range(0, n - w + 1, steps[k]):
            d = above[0, at] - above[0, at + w] - 1
            b = above[1, at] - above[1, at + w]
            if d > b and (d - b) * (d - b) > 2 * b * least:
                least = max(least, rate_function(d, b))
    return least


@compiled
def _scan_one(
    above: FloatArray,
    widths: IntArray,
    steps: IntArray,
    log_veto: float,
    least: float,
    row: int,
    t: FloatArray,
    first: IntArray,
    width: IntArray,
) -> bool:
    """Find the best window of one set of counts among those of a rate function above ``least``.

    Returns whether a window that was better than all before was vetoed, so that ``least`` may come from it.
    """
    n = above.shape[1] - 1
    vetoed = False
    for k in range(widths.size):
        w = widths[k]
        for at in range(0, n - w + 1, steps[k]):
            d = above[0, at] - above[0, at + w]
            b = above[1, at] - above[1, at + w]
            if d <= b or (d - b) * (d - b) <= 2 * b * least or rate_function(d, b) <= least:
                continue
            found = -log_upper_tail(d, b)
            if found <= t[row]:
                continue
            if _vetoed(above, at, w, log_veto):
                vetoed = True
                continue
            t[row], first[row], width[row] = found, at, w
            if d - 1 > b:
                least = max(least, rate_function(d - 1, b))
    return vetoed


@compiled
def _vetoed(above: FloatArray, at: int, w: int, log_veto: float) -> bool:
    """Whether the counts beside a window are unlikely."""
    if log_veto == -math.inf:
        return False
    band = max(1, w // 2)
    low, high = max(0, at - band), min(above.shape[1] - 1, at + w + band)
    for start, stop in ((low, at), (at + w, high)):
        if start == stop:
            continue
        d = above[0, start] - above[0, stop]
        b = above[1, start] - above[1, stop]
        log_p = log_upper_tail(d, b) if d >= b else log_lower_tail(d, b)
        if log_p <= log_veto:
            return True
    return False
