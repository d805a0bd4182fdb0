"""From a fold's raw scores to ranks and a threshold, flat in mjj where that is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.types import FloatArray, IntArray
from models.arrays import Arrays, below, prefixed
from models.preprocessing import RankTransform, fit_ranks
from models.quantile_regression import QuantileCurves
from models.regions import HIGH, LOW
from models.thresholds import side_band_threshold, weighted_quantile


@dataclass(frozen=True)
class Calibration:
    """How a fold turns raw scores into ranks, and above which rank it selects.

    Parameters
    ----------
    ranks
        Rank among the fold's held-out reference events.
    threshold
        Select ranks above it.
    curves
        Quantiles of the rank as functions of mjj, where the score is decorrelated from it; else None.
    """

    ranks: RankTransform
    threshold: float
    curves: QuantileCurves | None = None

    def score(self, raw: FloatArray, mjj: FloatArray) -> FloatArray:
        """Ranks of raw scores, flat in mjj where there are curves.

        Parameters
        ----------
        raw
            Raw scores, shape (events,).
        mjj
            GeV, shape (events,).

        Returns
        -------
        numpy.ndarray
            float64 in [0, 1], shape (events,).
        """
        rank = self.ranks(raw)
        return rank if self.curves is None else self.curves.conditional_rank(rank, mjj)

    def arrays(self) -> Arrays:
        """What a bundle keeps, without the threshold.

        Returns
        -------
        dict
            ``rank/…`` and, where there are curves, ``quantiles/…``.
        """
        named = prefixed("rank/", self.ranks.arrays())
        return named if self.curves is None else named | prefixed("quantiles/", self.curves.arrays())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], threshold: float) -> "Calibration":
        """From the arrays of a bundle.

        Parameters
        ----------
        arrays
            As `arrays` gives them.
        threshold
            Select ranks above it; the header keeps it.

        Returns
        -------
        Calibration
            As it was saved.

        Raises
        ------
        ValueError
            If they could not have been saved.
        """
        ranks = RankTransform.from_arrays(below(arrays, "rank/"), "of the score")
        curves = below(arrays, "quantiles/")
        return cls(ranks, threshold, QuantileCurves.from_arrays(curves) if curves else None)


@dataclass(frozen=True)
class Reference:
    """Events that a fold is calibrated on: its own, which its networks never saw.

    Parameters
    ----------
    mjj
        GeV.
    region
        0 lower side band, 1 signal region, 2 upper side band.
    weight
        Event weights.
    """

    mjj: FloatArray
    region: IntArray
    weight: FloatArray


def ranks_of(raw: FloatArray, weight: FloatArray, cut: float | None) -> RankTransform:
    """Rank transform of a fold's own events.

    Parameters
    ----------
    raw
        Raw scores, shape (events,), at least one of positive weight.
    weight
        Event weights, shape (events,); events of weight 0 do not count.
    cut
        Raw score of a fixed cut; it becomes one of the knots, so that it stays exact. None: no such cut.

    Returns
    -------
    RankTransform
        Of raw scores to ranks in (0, 1).
    """
    used = weight > 0
    ranks = fit_ranks(raw[used], weight[used])
    if cut is None or cut in ranks.knots:
        return ranks
    knots = np.append(ranks.knots, cut)
    order = np.argsort(knots, kind="stable")
    return RankTransform(knots[order], np.append(ranks.ranks, ranks(np.array([cut])))[order])


def threshold_of(score: FloatArray, reference: Reference, working_point: float) -> float:
    """Threshold on the rank that keeps a fraction of the reference.

    Parameters
    ----------
    score
        Ranks of the reference events, shape (events,).
    reference
        The events. Where it has both side bands, the fraction is of these, both counting equally.
    working_point
        The fraction, between 0 and 1.

    Returns
    -------
    float
        Select ranks above it.
    """
    if np.any(reference.region == LOW) and np.any(reference.region == HIGH):
        return side_band_threshold(score, reference.region, working_point)
    return weighted_quantile(score, reference.weight, 1.0 - working_point)
