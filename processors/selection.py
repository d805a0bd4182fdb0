"""The dijet selection of CMS EXO-22-026 (arXiv:2412.03747): pure functions on arrays.

All cuts see float64 values, so that both passes and every chunking take the same decision.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.samples import Year
from data.types import BoolArray, FloatArray, IntArray
from processors.chunks import Chunk, Jets
from processors.config import SelectionConfig

REGIONS = ("signal",)
"""Names of the regions in |Δη|; the column ``region`` holds the position in this list."""
TIGHT = 2
"""Bit of ``jetId``: tight identification."""
HEM_ETA = (-3.2, -1.3)
HEM_PHI = (-1.57, -0.87)

Cutflow = dict[str, dict[str, float]]
"""Step to ``{"events": number, "weighted": sum of weights}``, in the order of the steps."""


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


def tight_jets(jet_id: npt.NDArray[np.integer]) -> BoolArray:
    """Whether each jet passes the tight identification."""
    tight: BoolArray = (jet_id.astype(np.int64) & TIGHT) != 0
    return tight


def central_hard_jets(pt: FloatArray, eta: FloatArray, cuts: SelectionConfig) -> BoolArray:
    """Whether each jet passes the cuts on pT (GeV) and |η|."""
    return (pt > cuts.jet_pt_min) & (np.abs(eta) < cuts.jet_eta_max)


def leading_pair(
    pt: FloatArray, entry: IntArray, good: BoolArray, n_entries: int
) -> tuple[IntArray, IntArray, IntArray]:
    """The two hardest good jets of every entry that has two.

    Parameters
    ----------
    pt, entry, good
        Per jet: transverse momentum (any unit), its entry (ascending), whether it counts.
    n_entries
        Number of entries.

    Returns
    -------
    tuple of numpy.ndarray
        The entries, ascending, and the positions of their hardest and second hardest jet; of equal pT the
        earlier one comes first.
    """
    ordered = np.flatnonzero(good)
    same_entry = entry[ordered][1:] == entry[ordered][:-1]
    if np.any(same_entry & (pt[ordered][1:] > pt[ordered][:-1])):  # most files come sorted
        ordered = ordered[np.lexsort((-pt[ordered], entry[ordered]))]
    counts = np.bincount(entry[ordered], minlength=n_entries)
    entries = np.flatnonzero(counts >= 2)
    first = (np.cumsum(counts) - counts)[entries]
    return entries, ordered[first], ordered[first + 1]


def heavier_first(first: IntArray, second: IntArray, mass: FloatArray) -> tuple[IntArray, IntArray]:
    """Order pairs of jets by mass; of equal masses the first stays first."""
    swap = mass[second] > mass[first]
    return np.where(swap, second, first), np.where(swap, first, second)


def in_hem(eta: FloatArray, phi: FloatArray) -> BoolArray:
    """Whether each jet lies in the sector of the calorimeter that was dead in 2018 (HEM15/16)."""
    inside: BoolArray = (eta > HEM_ETA[0]) & (eta < HEM_ETA[1]) & (phi > HEM_PHI[0]) & (phi < HEM_PHI[1])
    return inside


def soft_drop_mass(stored: npt.NDArray[np.floating]) -> FloatArray:
    """Soft-drop mass in GeV as float64; NanoAOD's negative values (no subjets) become 0."""
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


def region_of(delta_eta: FloatArray, cuts: SelectionConfig) -> npt.NDArray[np.int8]:
    """Region of each event: position in ``REGIONS``, −1 outside all of them."""
    return np.where(delta_eta < cuts.delta_eta_max, 0, -1).astype(np.int8)


def select_dijets(
    chunk: Chunk, jets: Jets, weight: FloatArray, cuts: SelectionConfig, year: Year
) -> tuple[Dijets, Cutflow]:
    """Select the events of a chunk.

    Parameters
    ----------
    chunk, jets
        The chunk and its jets.
    weight
        float64, one an entry.
    cuts
        The cuts.
    year
        Whether jets in the dead sector veto the event.

    Returns
    -------
    tuple
        The selected events and the cutflow.

    Raises
    ------
    InputError
        If a branch that decides holds NaN or inf.
    """
    cutflow: Cutflow = {}
    passing = np.arange(chunk.size)
    _count(cutflow, "all", weight)
    passing = passing[_any(chunk, chunk.schema.triggers)[passing]]
    _count(cutflow, "trigger", weight[passing])
    for flag in chunk.schema.filters:
        passing = passing[chunk.column(flag).astype(np.bool_)[passing]]
    _count(cutflow, "noise_filters", weight[passing])

    pt, eta = _all_finite(chunk, jets, "pt"), _all_finite(chunk, jets, "eta")
    alive = np.zeros(chunk.size, dtype=np.bool_)
    alive[passing] = True
    good = tight_jets(jets["jet_id"]) & alive[jets.entry]
    tight_in_entry = np.bincount(jets.entry[good], minlength=chunk.size)
    _count(cutflow, "two_tight_jets", weight[tight_in_entry >= 2])
    good &= central_hard_jets(pt, eta, cuts)
    passing, first, second = leading_pair(pt, jets.entry, good, chunk.size)
    _count(cutflow, "jet_pt_eta", weight[passing])
    return _pair_cuts(jets, (passing, first, second), weight, cuts, year, cutflow)


def _pair_cuts(
    jets: Jets,
    pairs: tuple[IntArray, IntArray, IntArray],
    weight: FloatArray,
    cuts: SelectionConfig,
    year: Year,
    cutflow: Cutflow,
) -> tuple[Dijets, Cutflow]:
    entry, *pair = pairs
    mass_of_all = soft_drop_mass(jets["m"])
    for jet in pair:
        jets.of("m", jet)  # refuses NaN, which would decide the order at random
    heavy, light = heavier_first(pair[0], pair[1], mass_of_all)
    pt, eta, phi = (
        tuple(jets.of(role, jet).astype(np.float64) for jet in (heavy, light))
        for role in ("pt", "eta", "phi")
    )
    mjj = dijet_mass(
        (pt[0], pt[1]), (eta[0], eta[1]), (phi[0], phi[1]), (mass_of_all[heavy], mass_of_all[light])
    )
    delta_eta = np.abs(eta[0] - eta[1])
    region = region_of(delta_eta, cuts)
    keep = np.ones(len(entry), dtype=np.bool_)
    if year.hem_veto:
        keep &= ~(in_hem(eta[0], phi[0]) | in_hem(eta[1], phi[1]))
        _count(cutflow, "hem_veto", weight[entry[keep]])
    keep &= mjj > cuts.mjj_min
    _count(cutflow, "mjj", weight[entry[keep]])
    keep &= region >= 0
    _count(cutflow, "delta_eta", weight[entry[keep]])
    kept = np.flatnonzero(keep)
    return (
        Dijets(entry[kept], heavy[kept], light[kept], mjj[kept], delta_eta[kept], region[kept]),
        cutflow,
    )


def _count(cutflow: Cutflow, step: str, weight: FloatArray) -> None:
    cutflow[step] = {"events": len(weight), "weighted": float(weight.sum())}


def _any(chunk: Chunk, flags: tuple[str, ...]) -> BoolArray:
    fired = np.zeros(chunk.size, dtype=np.bool_)
    for flag in flags:
        fired |= chunk.column(flag).astype(np.bool_)
    return fired


def _all_finite(chunk: Chunk, jets: Jets, role: str) -> FloatArray:
    values = jets[role]
    chunk.check_finite(role, values, jets.entry)
    return values.astype(np.float64)
