"""Jets of the particles of many events by fastjet (M. Cacciari, G. Salam, G. Soyez, Eur. Phys. J. C 72 (2012) 1896)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import awkward as ak
import numpy as np

from data.later import later
from data.types import FloatArray, IntArray
from processors.kernels.buffers import FlatJets
from processors.momenta import mass_of
from processors.particles import Membership
from processors.ragged import offsets_of, owners, ranges, wrap

if TYPE_CHECKING:
    import fastjet
    import vector
else:
    fastjet, vector = later("fastjet"), later("vector")

Algorithm = Literal["antikt", "cambridge", "kt"]
PARTNER_PT_MIN = 20.0
"""Transverse momentum (GeV) from which a clustered jet may be the partner of a stored one."""


@dataclass(frozen=True)
class ClusteredJets:
    """Jets of all events in one row, of falling pT in each event.

    Attributes
    ----------
    counts : array (n_events,)
        Jets of each event.
    pt, eta, phi, mass : array (n_jets,)
        Sum of the particles' weighted momenta: GeV, –, rad, GeV.
    members : Membership
        Which particles are in which jet, as rows of the buffers that were clustered.
    """

    counts: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    mass: FloatArray
    members: Membership

    def with_rows(self, rows: IntArray) -> "ClusteredJets":
        """The same jets, their particles given by other numbers.

        Parameters
        ----------
        rows
            The new number of each particle that was clustered, shape (n_particles,).

        Returns
        -------
        ClusteredJets
            With ``rows[i]`` for i.
        """
        return replace(self, members=Membership(self.members.offsets, rows[self.members.rows]))


def cluster(
    particles: FlatJets, *, algorithm: Algorithm = "antikt", radius: float = 0.8, pt_min: float = 0.0
) -> ClusteredJets:
    """Cluster the particles of events into inclusive jets (E-scheme).

    Parameters
    ----------
    particles
        Four-momenta (GeV) of all events end to end, weights applied, with the offsets of the events. Particles
        without transverse momentum (a weight of 0) are left out.
    algorithm
        Anti-kT, Cambridge/Aachen or kT.
    radius
        Jet radius (rad).
    pt_min
        Smallest transverse momentum of a jet (GeV).

    Returns
    -------
    ClusteredJets
        No jet for an event without particles.

    References
    ----------
    M. Cacciari, G. Salam, G. Soyez, JHEP 04 (2008) 063; Y. Dokshitzer et al., JHEP 08 (1997) 001; S. Ellis, D. Soper,
    Phys. Rev. D 48 (1993) 3160.
    """
    kept = np.flatnonzero((particles.px != 0.0) | (particles.py != 0.0))
    n_events = len(particles.offsets) - 1
    in_event = np.bincount(owners(np.diff(particles.offsets))[kept], minlength=n_events)
    # fastjet reads beyond its buffers where an event has no particle: such events do not reach it
    filled = np.flatnonzero(in_event)
    counts = np.zeros(n_events, dtype=np.int64)
    if not len(filled):
        nothing, no_rows = np.zeros(0), np.zeros(0, dtype=np.int64)
        members = Membership(np.zeros(1, dtype=np.int64), no_rows)
        return ClusteredJets(counts, nothing, nothing, nothing, nothing, members)
    momenta = {name: getattr(particles, name.lower())[kept] for name in ("px", "py", "pz", "E")}
    jets, constituents = _fastjet(momenta, in_event[filled], algorithm, radius, pt_min)

    jet_counts = ak.to_numpy(ak.num(jets, axis=1)).astype(np.int64)
    counts[filled] = jet_counts
    components = {name: ak.to_numpy(ak.flatten(jets[name])) for name in ("px", "py", "pz", "E")}
    per_jet = ak.flatten(constituents, axis=1)
    in_jet = ak.to_numpy(ak.num(per_jet, axis=1)).astype(np.int64)
    first = np.repeat(offsets_of(in_event[filled])[:-1], jet_counts)  # first particle of each jet's event
    rows = kept[ak.to_numpy(ak.flatten(per_jet)).astype(np.int64) + np.repeat(first, in_jet)]
    pt = np.hypot(components["px"], components["py"])
    order = np.lexsort((-pt, owners(jet_counts)))
    offsets, rows = _reorder(offsets_of(in_jet), rows, order)
    px, py, pz, energy = (components[name][order] for name in ("px", "py", "pz", "E"))
    return ClusteredJets(
        counts,
        pt[order],
        np.arcsinh(pz / pt[order]),
        np.arctan2(py, px),
        mass_of(px, py, pz, energy),
        Membership(offsets, rows),
    )


def together(parts: list[ClusteredJets]) -> ClusteredJets:
    """The jets of several lists of events, one list after the other; their particles are rows of one buffer."""
    offsets = offsets_of(np.concatenate([np.diff(part.members.offsets) for part in parts]))
    rows = np.concatenate([part.members.rows for part in parts])
    counts, pt, eta, phi, mass = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("counts", "pt", "eta", "phi", "mass")
    )
    return ClusteredJets(counts, pt, eta, phi, mass, Membership(offsets, rows))


def _fastjet(
    momenta: dict[str, FloatArray], in_event: IntArray, algorithm: Algorithm, radius: float, pt_min: float
) -> tuple[ak.Array, ak.Array]:
    """The jets of every event and the positions of their particles in the event."""
    vector.register_awkward()
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # noqa: SLF001 - keep standard output clean
    events = ak.unflatten(ak.zip(momenta, with_name="Momentum4D"), in_event)
    definition = fastjet.JetDefinition(getattr(fastjet, f"{algorithm}_algorithm"), radius)
    sequence = fastjet.ClusterSequence(events, definition)
    return sequence.inclusive_jets(min_pt=pt_min), sequence.constituent_index(min_pt=pt_min)


def _reorder(offsets: IntArray, rows: IntArray, order: IntArray) -> tuple[IntArray, IntArray]:
    """Put lists that lie end to end into another order."""
    counts = np.diff(offsets)[order]
    return offsets_of(counts), rows[ranges(offsets[:-1][order], counts)]


def partners(
    stored: tuple[FloatArray, FloatArray],
    stored_counts: IntArray,
    clustered: ClusteredJets,
    largest_distance: float,
) -> IntArray:
    """The clustered jet that belongs to each stored jet.

    A pair is made of jets of one event that are each other's nearest, in pseudorapidity and azimuth, and not
    further apart than ``largest_distance``; so no clustered jet is used twice.

    Parameters
    ----------
    stored
        Pseudorapidity and azimuth (rad) of the stored jets of all events, end to end.
    stored_counts
        Stored jets of each event.
    clustered
        The clustered jets of the same events.
    largest_distance
        Largest ΔR (rad) of a pair.

    Returns
    -------
    array (n_stored,)
        Position in the row of clustered jets; −1 for a stored jet without a partner.
    """
    entry = owners(stored_counts)
    n_stored, n_clustered = len(entry), len(clustered.pt)
    # every pair of a stored and a clustered jet of one event
    one = np.repeat(np.arange(n_stored), clustered.counts[entry])
    other = ranges(offsets_of(clustered.counts)[:-1][entry], clustered.counts[entry])
    distance = np.hypot(stored[0][one] - clustered.eta[other], wrap(stored[1][one] - clustered.phi[other]))
    near = distance <= largest_distance
    one, other, distance = one[near], other[near], distance[near]
    nearest_of_stored = _nearest(one, other, distance, n_stored)
    nearest_of_clustered = _nearest(other, one, distance, n_clustered)
    found = np.flatnonzero(nearest_of_stored >= 0)
    mutual = nearest_of_clustered[nearest_of_stored[found]] == found
    out = np.full(n_stored, -1, dtype=np.int64)
    out[found[mutual]] = nearest_of_stored[found[mutual]]
    return out


def _nearest(one: IntArray, other: IntArray, distance: FloatArray, n: int) -> IntArray:
    """For each of n ones the nearest other, of equal distances the first; −1 where there is none."""
    order = np.lexsort((other, distance, one))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = one[order][1:] != one[order][:-1]
    out = np.full(n, -1, dtype=np.int64)
    out[one[order][first]] = other[order][first]
    return out


def members_of(jets: IntArray, members: Membership) -> Membership:
    """The particles of chosen jets.

    Parameters
    ----------
    jets
        Positions in the row of jets, shape (n,); −1 for no jet.
    members
        The particles of all jets.

    Returns
    -------
    Membership
        Of n jets; without particles for a jet −1.
    """
    counts = np.where(jets >= 0, members.offsets[jets + 1] - members.offsets[jets], 0)
    first = np.where(jets >= 0, members.offsets[jets], 0)
    return Membership(offsets_of(counts), members.rows[ranges(first, counts)])
