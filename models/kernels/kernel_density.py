"""Sums of Gaussian kernels."""

import math

import numpy as np

from data.types import FloatArray
from models.kernels.compiled import compiled


@compiled
def log_kernel_sums(points: FloatArray, reference: FloatArray) -> FloatArray:
    """Log of the sum of exp(−|point − reference|²/2) over all reference points.

    Parameters
    ----------
    points, reference
        float64, shapes (rows, inputs) and (references, inputs), in units of the kernels' width.

    Returns
    -------
    numpy.ndarray
        float64, shape (rows,); finite however far a point is from all others.
    """
    rows, inputs = points.shape
    logs = np.empty(rows)
    halves = np.empty(len(reference))
    for i in range(rows):
        least = np.inf
        for j in range(len(reference)):
            total = 0.0
            for k in range(inputs):
                step = points[i, k] - reference[j, k]
                total += step * step
            halves[j] = 0.5 * total
            least = min(least, halves[j])
        total = 0.0
        for j in range(len(reference)):
            # What is smaller than a rounding error of the sum need not be computed.
            if halves[j] - least < 40.0:
                total += math.exp(least - halves[j])
        logs[i] = math.log(total) - least
    return logs
