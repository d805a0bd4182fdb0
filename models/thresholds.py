"""Thresholds: weighted quantiles of the side bands."""

import numpy as np

from data.types import FloatArray, IntArray
from models.regions import HIGH, LOW


def weighted_quantile(values: FloatArray, weights: FloatArray, probability: float) -> float:
    """The smallest value at or below which at least a given share of the weight lies.

    Parameters
    ----------
    values
        Shape (n,), at least one.
    weights
        Shape (n,), not negative, the sum positive.
    probability
        The share, 0 … 1.

    Returns
    -------
    float
        One of the values; the share above it is at most ``1 - probability``.
    """
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weights[order])
    # Shares of float sums: a share that is `probability` up to rounding has reached it.
    reached = running >= probability * running[-1] * (1.0 - 1e-12)
    return float(values[order][np.argmax(reached)])


def side_band_threshold(score: FloatArray, region: IntArray, working_point: float) -> float:
    """Score above which a given fraction of the side bands lies, both bands counting equally.

    The upper band's events weigh N_low/N_high, as in CMS-EXO-22-026 (arXiv:2412.03747), so that the steeply
    falling spectrum does not leave the threshold to the lower band alone.

    Parameters
    ----------
    score
        One an event; larger is more anomalous.
    region
        0 lower side band, 1 signal region, 2 upper side band, −1 outside; one an event.
    working_point
        Fraction kept, between 0 and 1.

    Returns
    -------
    float
        Select ``score > threshold``.
    """
    low, high = region == LOW, region == HIGH
    weights = np.where(high, np.count_nonzero(low) / np.count_nonzero(high), 1.0)
    bands = low | high
    return weighted_quantile(score[bands], weights[bands], 1.0 - working_point)
