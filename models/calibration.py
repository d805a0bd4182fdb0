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
        """Ranks in [0, 1] of raw scores; mjj in GeV."""
        rank = self.ranks(raw)
        return rank if self.curves is None else self.curves.conditional_rank(rank, mjj)

    def arrays(self) -> Arrays:
        """What a bundle keeps, without the threshold."""
        named = prefixed("rank/", self.ranks.arrays())
        return named if self.curves is None else named | prefixed("quantiles/", self.curves.arrays())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], threshold: float) -> "Calibration":
        """From the arrays of a bundle.

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
    """Rank transform of a fold's own events; a fixed cut is one of its knots, so that it stays exact."""
    used = weight > 0
    ranks = fit_ranks(raw[used], weight[used])
    if cut is None or cut in ranks.knots:
        return ranks
    knots = np.append(ranks.knots, cut)
    order = np.argsort(knots, kind="stable")
    return RankTransform(knots[order], np.append(ranks.ranks, ranks(np.array([cut])))[order])


def threshold_of(score: FloatArray, reference: Reference, working_point: float) -> float:
    """Threshold that keeps a fraction of the reference: of its side bands, both equal, where it has them."""
    if np.any(reference.region == LOW) and np.any(reference.region == HIGH):
        return side_band_threshold(score, reference.region, working_point)
    return weighted_quantile(score, reference.weight, 1.0 - working_point)
