"""Lund planes of subjets in bins of their pT."""

from dataclasses import dataclass

import numpy as np

from data.types import FloatArray
from processors.lund_reweighting_maps import Binning
from processors.lund_reweighting_prongs import SubjetSplittings
from processors.ragged import owners


@dataclass(frozen=True)
class LundPlane:
    """Sums over subjets.

    Attributes
    ----------
    splittings, variance : array (P, X, Y)
        Sum of the weights of splittings in each cell, and of their squares.
    subjets, pt : array (P,)
        Sum of the weights of subjets, and of weight × pT (GeV), in each bin of pT.
    """

    splittings: FloatArray
    variance: FloatArray
    subjets: FloatArray
    pt: FloatArray

    @property
    def density(self) -> FloatArray:
        """Splittings a subjet (P, X, Y), 0 in bins of pT without subjets."""
        number = np.maximum(self.subjets, 0.0)[:, None, None]
        density: FloatArray = np.divide(
            self.splittings, number, out=np.zeros_like(self.splittings), where=number > 0
        )
        return density

    @property
    def mean_pt(self) -> FloatArray:
        """Mean pT (GeV) of the subjets in each bin of pT, 1 where there are none."""
        mean: FloatArray = np.divide(self.pt, self.subjets, out=np.ones_like(self.pt), where=self.subjets > 0)
        return mean

    def __add__(self, other: "LundPlane") -> "LundPlane":
        return LundPlane(
            self.splittings + other.splittings,
            self.variance + other.variance,
            self.subjets + other.subjets,
            self.pt + other.pt,
        )

    def less(self, other: "LundPlane") -> "LundPlane":
        """Subtract another plane; variances add."""
        return LundPlane(
            self.splittings - other.splittings,
            self.variance + other.variance,
            self.subjets - other.subjets,
            self.pt - other.pt,
        )


def subjet_weights(subjets: SubjetSplittings, jet_weights: FloatArray | None) -> FloatArray:
    """The weight of each subjet: its jet's, and 0 where it belongs to no quark.

    Parameters
    ----------
    subjets
        Subjets of n_jets jets.
    jet_weights
        Shape (n_jets,); None for 1.

    Returns
    -------
    array (n_subjets,)
        Weights.
    """
    weights = np.ones(len(subjets.counts)) if jet_weights is None else jet_weights
    return np.where(subjets.matched, weights[owners(subjets.counts)], 0.0)


def measure_plane(
    subjets: SubjetSplittings, binning: Binning, jet_weights: FloatArray | None = None
) -> LundPlane:
    """Measure the Lund plane of the subjets that belong to a quark.

    Parameters
    ----------
    subjets
        Subjets of jets, their cells numbered in ``binning``.
    binning
        The bins.
    jet_weights : array (n_jets,), optional
        Weights of the jets; 1 if not given.

    Returns
    -------
    LundPlane
    """
    shape = binning.shape
    weight, plane = subjet_weights(subjets, jet_weights), binning.planes(subjets.pt)
    kept = subjets.cells >= 0
    owner = owners(np.diff(subjets.offsets))[kept]
    cell = plane[owner] * (shape[1] * shape[2]) + subjets.cells[kept]
    size = shape[0] * shape[1] * shape[2]

    def sums(values: FloatArray) -> FloatArray:
        return np.bincount(cell, weights=values, minlength=size).astype(np.float64).reshape(shape)

    def per_bin(values: FloatArray) -> FloatArray:
        return np.bincount(plane, weights=values, minlength=shape[0]).astype(np.float64)

    return LundPlane(
        sums(weight[owner]), sums(weight[owner] ** 2), per_bin(weight), per_bin(weight * subjets.pt)
    )
