"""Jets as prongs: one exclusive subjet a quark, and the Lund splittings of each (CMS, arXiv:2507.07775)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.errors import InputError
from data.types import BoolArray, FloatArray, IntArray
from processors.kernels.buffers import FlatJets, flat_jets
from processors.kernels.clustering import CAMBRIDGE, KT
from processors.kernels.lund_subjets import flat_lund_subjets, nearest_subjets
from processors.lund_reweighting_maps import Binning, History
from processors.momenta import pt_eta_phi
from processors.ragged import offsets_of, owners, ranges, wrap

PRONG_DISTANCE = 0.8
"""Quarks nearer (ΔR, rad) to the axis of a jet are its prongs."""
EDGE_INSIDE, EDGE_OUTSIDE = 0.7, 0.9
"""Quarks from here on inside, or up to here outside, make the number of prongs uncertain."""
MATCH_DISTANCE = 0.2
"""A subjet belongs to a quark that is nearer (ΔR, rad)."""
BOTTOM = 5


@dataclass(frozen=True)
class Quarks:
    """Quarks of the hard process, of each jet those of its event, end to end.

    Attributes
    ----------
    counts : array (n_jets,)
        Quarks listed for each jet.
    eta, phi : array (n_quarks,)
        Pseudorapidity and azimuth (rad).
    identity : array (n_quarks,)
        PDG number.
    """

    counts: IntArray
    eta: FloatArray
    phi: FloatArray
    identity: IntArray

    def take(self, jets: IntArray) -> "Quarks":
        """The quarks of some jets.

        Parameters
        ----------
        jets
            Positions, shape (m,).

        Returns
        -------
        Quarks
            Of m jets, in this order.
        """
        rows = ranges(offsets_of(self.counts)[jets], self.counts[jets])
        return Quarks(self.counts[jets], self.eta[rows], self.phi[rows], self.identity[rows])


@dataclass(frozen=True)
class SubjetSplittings:
    """Subjets of jets and the primary splittings of each, end to end.

    Attributes
    ----------
    counts : array (n_jets,)
        Subjets of each jet.
    pt : array (n_subjets,)
        Transverse momentum (GeV).
    matched, bottom : array (n_subjets,)
        Whether the subjet belongs to a quark, and whether that is a b quark.
    offsets : array (n_subjets + 1,)
        First splitting of each subjet, and the end.
    cells : array (n_splittings,)
        Cell of each splitting in the plane; −1 where it is not reweighted.
    """

    counts: IntArray
    pt: FloatArray
    matched: BoolArray
    bottom: BoolArray
    offsets: IntArray
    cells: IntArray


@dataclass(frozen=True)
class Prongs:
    """Jets with one subjet a prong, and the other choices of the number of prongs where it is uncertain.

    Attributes
    ----------
    nominal : SubjetSplittings
        As many subjets as the jet has quarks, at least one.
    more, fewer : SubjetSplittings
        One subjet more and one fewer, of the jets ``more_jets`` and ``fewer_jets``.
    more_jets, fewer_jets : array
        Positions of the jets whose quarks are badly matched, and those with a quark just outside of the jet or just
        inside.
    n_quarks : array (n_jets,)
        Quarks inside each jet.
    bad : array (n_jets,)
        Whether the quarks are not matched one to one.
    unclustered : array (n_jets,)
        Whether that is so with one subjet more and fewer too.
    """

    nominal: SubjetSplittings
    more: SubjetSplittings
    fewer: SubjetSplittings
    more_jets: IntArray
    fewer_jets: IntArray
    n_quarks: IntArray
    bad: BoolArray
    unclustered: BoolArray


def find_prongs(
    jets: FlatJets, axes: tuple[FloatArray, FloatArray], quarks: Quarks, binning: Binning, history: History
) -> Prongs:
    """Find the prongs of simulated jets.

    Each jet has as many prongs as there are quarks within ΔR < 0.8 of its axis, at least one: its exclusive kT subjets
    (R → ∞). A subjet belongs to the nearest quark of the event within ΔR < 0.2. A jet is badly matched if a quark inside
    has no subjet within 0.2, or if two quarks share one although there are subjets enough.

    Parameters
    ----------
    jets
        Particles (GeV), weights applied.
    axes
        Pseudorapidity and azimuth (rad) of each jet.
    quarks
        Quarks of the hard process in each jet's event.
    binning
        Bins of the plane.
    history
        ``cambridge``: each subjet is clustered again; ``kt``: its part of the jet's kT history is followed.

    Returns
    -------
    Prongs

    References
    ----------
    CMS Collaboration, arXiv:2507.07775.
    """
    jet = owners(quarks.counts)
    distance = np.hypot(quarks.eta - axes[0][jet], wrap(quarks.phi - axes[1][jet]))
    n_jets = len(quarks.counts)

    def jets_with(chosen: BoolArray) -> IntArray:
        return np.bincount(jet[chosen], minlength=n_jets)

    inside = distance < PRONG_DISTANCE
    n_quarks = jets_with(inside)
    wanted = np.maximum(n_quarks, 1)
    every = np.arange(n_jets)

    def choice(which: IntArray, n: IntArray) -> tuple[SubjetSplittings, BoolArray]:
        rows = np.isin(jet, which)
        return _split(_take(jets, which), n, (quarks.take(which), inside[rows]), binning, history)

    nominal, bad = choice(every, wanted)
    outside = (distance >= PRONG_DISTANCE) & (distance < EDGE_OUTSIDE)
    more_jets = np.flatnonzero(bad | (jets_with(outside) > 0))
    near = (distance >= EDGE_INSIDE) & inside
    fewer_jets = np.flatnonzero((bad | (jets_with(near) > 0)) & (wanted > 1))
    more, more_bad = choice(more_jets, wanted[more_jets] + 1)
    fewer, fewer_bad = choice(fewer_jets, wanted[fewer_jets] - 1)
    unclustered = bad.copy()
    unclustered[more_jets] &= more_bad
    unclustered[fewer_jets] &= fewer_bad
    return Prongs(nominal, more, fewer, more_jets, fewer_jets, n_quarks, bad, unclustered)


def subjets_of(
    particles: Any,
    n: int,
    *,
    history: History = "cambridge",
    binning: Binning | None = None,
    weights: Any = None,
) -> SubjetSplittings:
    """Exclusive kT subjets of jets without quarks to compare with, as of data, all of them used.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    n
        Subjets of each jet: 2 for W bosons.
    history
        ``cambridge``: each subjet is clustered again; ``kt``: its part of the jet's kT history is followed.
    binning
        Bins of the plane; CMS's if not given.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    SubjetSplittings

    Raises
    ------
    InputError
        If ``n`` is less than 1, or momenta or weights are missing, not finite or negative.
    """
    if n < 1:
        msg = f"n = {n} subjets: give an integer of at least 1"
        raise InputError(msg)
    jets = flat_jets(particles, weights)
    n_jets = len(jets.offsets) - 1
    nothing = np.zeros(0)
    none = Quarks(np.zeros(n_jets, dtype=np.int64), nothing, nothing, nothing.astype(np.int64))
    wanted = np.full(n_jets, n, dtype=np.int64)
    found, _ = _split(jets, wanted, (none, np.zeros(0, dtype=np.bool_)), binning or Binning(), history)
    return SubjetSplittings(
        found.counts, found.pt, np.ones_like(found.matched), found.bottom, found.offsets, found.cells
    )


def _take(jets: FlatJets, which: IntArray) -> FlatJets:
    counts = np.diff(jets.offsets)[which]
    if len(which) == len(jets.offsets) - 1:
        return jets
    rows = ranges(jets.offsets[which], counts)
    return FlatJets(jets.px[rows], jets.py[rows], jets.pz[rows], jets.e[rows], offsets_of(counts))


def _split(
    jets: FlatJets, n: IntArray, quarks_inside: tuple[Quarks, BoolArray], binning: Binning, history: History
) -> tuple[SubjetSplittings, BoolArray]:
    """The ``n`` subjets of each jet, and whether its quarks inside are badly matched."""
    quarks, inside = quarks_inside
    found = flat_lund_subjets(*jets, n, CAMBRIDGE if history == "cambridge" else KT)
    pt, eta, phi = pt_eta_phi(found.momenta)
    quark, distance, subjet, quark_distance = nearest_subjets(
        eta, phi, found.counts, quarks.eta, quarks.phi, quarks.counts
    )
    matched = distance < MATCH_DISTANCE
    bottom = np.zeros(len(pt), dtype=np.bool_)
    bottom[matched] = np.abs(quarks.identity[quark[matched]]) == BOTTOM
    jet = owners(quarks.counts)
    n_jets = len(n)
    lost = np.bincount(jet[inside & ~(quark_distance < MATCH_DISTANCE)], minlength=n_jets) > 0
    taken = np.unique(subjet[inside & (subjet >= 0)])
    distinct = np.bincount(owners(found.counts)[taken], minlength=n_jets)
    enough = np.minimum(np.bincount(jet[inside], minlength=n_jets), n)
    return (
        SubjetSplittings(
            found.counts,
            pt,
            matched,
            bottom,
            offsets_of(found.n_splittings),
            binning.cells(found.delta, found.kt),
        ),
        lost | (distinct < enough),
    )
