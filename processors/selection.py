"""The dijet selection of CMS EXO-22-026 (arXiv:2412.03747): pure functions on arrays.

All cuts see float64 values, so that both passes and every chunking take the same decision.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.types import BoolArray, FloatArray, IntArray
from processors.config import SelectionConfig

REGIONS = ("signal", "validation", "wide")
"""Names of the regions in |Δη|; the column ``region`` holds the position in this list. ``wide`` is what lies above
1.4 and is not ``validation``: autoencoders are trained on both."""
VALIDATION_DELTA_ETA = (2.0, 2.5)
VALIDATION_THIRD_PT = 300.0
VALIDATION_ASYMMETRY = 0.1
VALIDATION_RATIO = (0.95, 1.0)
HEM_ETA = (-3.2, -1.3)
HEM_PHI = (-1.57, -0.87)


@dataclass(frozen=True)
class Dijets:
    """The selected events of a chunk, one element each.

    Attributes
    ----------
    entry
        int64, position of the event in the chunk.
    heavy, light
        int64, positions in the row of jets: j1 with the larger soft-drop mass, j2.
    mjj
        float64, dijet mass from soft-drop masses, GeV.
    delta_eta
        float64, |η1 − η2|.
    region
        int8, position in ``REGIONS``.
    """

    entry: IntArray
    heavy: IntArray
    light: IntArray
    mjj: FloatArray
    delta_eta: FloatArray
    region: npt.NDArray[np.int8]

    def take(self, rows: IntArray) -> "Dijets":
        """Some of the events.

        Parameters
        ----------
        rows
            Positions, shape (m,).

        Returns
        -------
        Dijets
            In this order.
        """
        return Dijets(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def leading_pair(
    pt: FloatArray, entry: IntArray, good: BoolArray, n_entries: int
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """The two hardest good jets of every entry that has two.

    Parameters
    ----------
    pt, entry, good
        Transverse momentum (any unit) of each jet, its entry (ascending), whether it counts; shape (n_jets,).
    n_entries
        Number of entries.

    Returns
    -------
    tuple of numpy.ndarray
        The entries, ascending, the positions of their hardest and second hardest jet (of equal pT the earlier one
        comes first), and the pT of the third, 0 where there is none.
    """
    ordered = np.flatnonzero(good)
    same_entry = entry[ordered][1:] == entry[ordered][:-1]
    if np.any(same_entry & (pt[ordered][1:] > pt[ordered][:-1])):  # most files come sorted
        ordered = ordered[np.lexsort((-pt[ordered], entry[ordered]))]
    counts = np.bincount(entry[ordered], minlength=n_entries)
    entries = np.flatnonzero(counts >= 2)
    first = (np.cumsum(counts) - counts)[entries]
    third_pt = np.zeros(len(entries))
    three = counts[entries] >= 3
    third_pt[three] = pt[ordered[first[three] + 2]]
    return entries, ordered[first], ordered[first + 1], third_pt


def heavier_first(
    pair: tuple[IntArray, IntArray], mass: tuple[FloatArray, FloatArray]
) -> tuple[IntArray, IntArray]:
    """Order pairs of jets by their masses; of equal masses the first stays first.

    Parameters
    ----------
    pair
        Positions of the first and the second jets, shape (n,).
    mass
        Their masses (GeV), shape (n,).

    Returns
    -------
    heavy, light
        Positions, shape (n,).
    """
    swap = mass[1] > mass[0]
    return np.where(swap, pair[1], pair[0]), np.where(swap, pair[0], pair[1])


def in_hem(eta: FloatArray, phi: FloatArray) -> BoolArray:
    """Whether each jet lies in the sector of the calorimeter that was dead in 2018 (HEM15/16).

    Parameters
    ----------
    eta, phi
        Pseudorapidity and azimuth (rad), shape (n,).

    Returns
    -------
    array (n,) of bool
        Inside or not.
    """
    inside: BoolArray = (eta > HEM_ETA[0]) & (eta < HEM_ETA[1]) & (phi > HEM_PHI[0]) & (phi < HEM_PHI[1])
    return inside


def soft_drop_mass(stored: npt.NDArray[np.floating]) -> FloatArray:
    """Soft-drop mass as float64; NanoAOD's negative values (no subjets) become 0.

    Parameters
    ----------
    stored
        GeV, shape (n,).

    Returns
    -------
    array (n,)
        GeV.
    """
    return np.maximum(stored.astype(np.float64), 0.0)


def dijet_mass(
    pt: tuple[FloatArray, FloatArray],
    eta: tuple[FloatArray, FloatArray],
    phi: tuple[FloatArray, FloatArray],
    mass: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Invariant mass of pairs of jets.

    Parameters
    ----------
    pt, eta, phi, mass
        For the first and the second jet of each pair, float64: GeV, –, rad, GeV.

    Returns
    -------
    numpy.ndarray
        float64, GeV.
    """
    energy = [np.sqrt((p * np.cosh(e)) ** 2 + m**2) for p, e, m in zip(pt, eta, mass, strict=True)]
    dot = pt[0] * pt[1] * (np.cos(phi[0] - phi[1]) + np.sinh(eta[0]) * np.sinh(eta[1]))
    square = mass[0] ** 2 + mass[1] ** 2 + 2 * (energy[0] * energy[1] - dot)
    mass_of_pair: FloatArray = np.sqrt(np.maximum(square, 0.0))
    return mass_of_pair


def is_validation(
    pt: tuple[FloatArray, FloatArray], mjj: FloatArray, delta_eta: FloatArray, third_pt: FloatArray
) -> BoolArray:
    r"""Whether each event lies in the side band in which a search is validated before the signal region is opened.

    2.0 < |Δη| < 2.5, no third jet above 300 GeV, and not two balanced jets: either the asymmetry
    \|pT1 − pT2\| / (pT1 + pT2) exceeds 0.1, or r = 2 pT1 pT2 (cosh Δη + 1) / mjj², which is 1 for two massless jets
    back to back, lies outside 0.95 … 1 (side band of CMS EXO-22-026, arXiv:2412.03747).

    Parameters
    ----------
    pt
        Of the first and the second jet, GeV.
    mjj, delta_eta, third_pt
        Dijet mass (GeV), |Δη|, pT of the third jet (GeV, 0 for none).

    Returns
    -------
    array (n_events,) of bool
        Inside or not.
    """
    low, high = VALIDATION_DELTA_ETA
    asymmetry = np.abs(pt[0] - pt[1]) / (pt[0] + pt[1])
    square = np.maximum(mjj**2, np.finfo(np.float64).tiny)
    ratio = 2 * pt[0] * pt[1] * (np.cosh(delta_eta) + 1) / square
    unbalanced = (
        (asymmetry > VALIDATION_ASYMMETRY) | (ratio > VALIDATION_RATIO[1]) | (ratio < VALIDATION_RATIO[0])
    )
    inside: BoolArray = (delta_eta > low) & (delta_eta < high) & (third_pt < VALIDATION_THIRD_PT) & unbalanced
    return inside


def region_of(delta_eta: FloatArray, validation: BoolArray, cuts: SelectionConfig) -> npt.NDArray[np.int8]:
    """Region of each event.

    Parameters
    ----------
    delta_eta
        |Δη|, shape (n_events,).
    validation
        Whether `is_validation`, shape (n_events,).
    cuts
        Bounds in |Δη|.

    Returns
    -------
    array (n_events,) of int8
        Position in ``REGIONS``, −1 outside all of them.
    """
    codes = np.where(delta_eta > cuts.wide_delta_eta_min, REGIONS.index("wide"), -1)
    codes = np.where(validation, REGIONS.index("validation"), codes)
    return np.where(delta_eta < cuts.delta_eta_max, REGIONS.index("signal"), codes).astype(np.int8)


def kept_regions(cuts: SelectionConfig) -> tuple[str, ...]:
    """The regions whose events are kept: the one that is searched and those that methods are trained in."""
    wide = ("validation", "wide") if cuts.train_wide else ()
    return tuple(name for name in REGIONS if name == cuts.region or name in wide)
