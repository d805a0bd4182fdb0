"""The particles of a chunk and their membership in jets, checked, and the particles of some jets as flat buffers."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import numpy.typing as npt

from data.types import BoolArray, FloatArray, IntArray
from processors.chunks import Chunk
from processors.kernels.buffers import FlatJets
from processors.ragged import offsets_of, owners, ranges

_COLUMNS = ("particle_pt", "particle_eta", "particle_phi", "particle_mass", "particle_id")
_NOT_NEGATIVE = ("particle_pt", "puppi_weight")
_MOST_FORWARD = 300.0
"""Largest |η| whose sinh keeps the energy finite in float64 for any momentum in float32."""


class JetParticles(NamedTuple):
    """The particles of some jets end to end.

    Attributes
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV), without weights.
    weight : array (n_particles,)
        PUPPI weights; 1 where the file has none.
    id : array (n_particles,)
        PDG code.
    charge : array (n_particles,)
        Electric charge in units of e.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    """

    px: FloatArray
    py: FloatArray
    pz: FloatArray
    e: FloatArray
    weight: FloatArray
    id: IntArray
    charge: IntArray
    offsets: IntArray

    def unweighted(self) -> FlatJets:
        """The momenta as they are."""
        return FlatJets(self.px, self.py, self.pz, self.e, self.offsets)

    def weighted(self) -> FlatJets:
        """The momenta times their weights."""
        w = self.weight
        return FlatJets(self.px * w, self.py * w, self.pz * w, self.e * w, self.offsets)


@dataclass(frozen=True)
class Membership:
    """Which particles are in which jet: those of jet i are ``rows[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    offsets
        Shape (n_jets + 1,).
    rows
        Particles, as positions in the row of all.
    """

    offsets: IntArray
    rows: IntArray

    def of(self, jets: IntArray) -> tuple[IntArray, IntArray]:
        """The particles of some jets.

        Parameters
        ----------
        jets
            Positions in the row of jets, shape (n,).

        Returns
        -------
        rows
            Positions of the particles, end to end.
        offsets
            Shape (n + 1,): first of them of each jet, and the end.
        """
        counts = self.offsets[jets + 1] - self.offsets[jets]
        return self.rows[ranges(self.offsets[jets], counts)], offsets_of(counts)


def charge_of(pdg_id: npt.NDArray[np.integer]) -> IntArray:
    """Electric charge of CMS's kinds of particles: hadrons ±211, leptons ±11 and ±13, others neutral.

    Parameters
    ----------
    pdg_id
        PDG code, shape (n,).

    Returns
    -------
    array (n,) of int64
        Units of e.
    """
    charged_hadron = np.abs(pdg_id) == 211
    charged_lepton = (np.abs(pdg_id) == 11) | (np.abs(pdg_id) == 13)
    charge: IntArray = np.sign(pdg_id).astype(np.int64) * (charged_hadron.astype(np.int64) - charged_lepton)
    return charge


class Particles:
    """The particles of a chunk in one row, read once.

    Attributes
    ----------
    counts
        int64, particles of each entry.
    offsets
        int64, first particle of each entry, and the end.

    Raises
    ------
    InputError
        If a momentum or weight is NaN or inf, or a pT or weight is negative (the message names file, branch and
        entry), or if the branches differ in length.
    """

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._columns: dict[str, npt.NDArray[Any]] = {}
        first, self.counts = chunk.jagged(chunk.schema.roles["particle_pt"])
        self.offsets = offsets_of(self.counts)
        self._columns["particle_pt"] = first
        optional = [role for role in ("puppi_weight", "particle_charge") if role in chunk.schema.roles]
        for role in (*_COLUMNS[1:], *optional):
            self._columns[role] = chunk.jagged_as(role, "particle_pt", self.counts)
        self._check()

    def _check(self) -> None:
        for role, values in self._columns.items():
            if values.dtype.kind == "f":
                self._refuse_where(role, ~np.isfinite(values))
        for role in _NOT_NEGATIVE:
            if role in self._columns:
                self._refuse_where(role, self._columns[role] < 0)
        eta, mass = self._columns["particle_eta"], self._columns["particle_mass"]
        self._refuse_where("particle_eta", np.abs(eta) > _MOST_FORWARD)
        # CMS packs masses slightly below zero; one below −p has no energy.
        pt = self._columns["particle_pt"]
        no_energy = np.zeros(len(mass), dtype=np.bool_)
        rows = np.flatnonzero(mass < -pt)
        no_energy[rows] = mass[rows] < -pt[rows] * np.cosh(eta[rows])
        self._refuse_where("particle_mass", no_energy)

    def _refuse_where(self, role: str, bad: BoolArray) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            entry = int(np.searchsorted(self.offsets, row, side="right")) - 1
            self._chunk.refuse(role, f"holds {self._columns[role][row]}", entry)

    def moving(self, alive: BoolArray) -> tuple[IntArray, IntArray]:
        """The particles with transverse momentum and a weight above 0 in the entries of interest.

        Parameters
        ----------
        alive
            Entries of interest, shape (n_entries,).

        Returns
        -------
        rows
            Their positions in the row.
        offsets
            First of them of each entry, and the end.
        """
        moving = np.repeat(alive, self.counts) & (self._columns["particle_pt"] > 0)
        if "puppi_weight" in self._columns:
            moving &= self._columns["puppi_weight"] > 0
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(moving)])
        return np.flatnonzero(moving), before[self.offsets]

    def momenta(self, rows: IntArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Momenta of some particles, without weights.

        Parameters
        ----------
        rows
            Positions in the row of particles, shape (n,).

        Returns
        -------
        px, py, pz, e
            float64, shape (n,), GeV.
        """
        pt, eta, phi, mass = (
            self._columns[f"particle_{name}"][rows].astype(np.float64)
            for name in ("pt", "eta", "phi", "mass")
        )
        px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
        return px, py, pz, np.sqrt(np.maximum(px * px + py * py + pz * pz + mass * np.abs(mass), 0.0))

    def take(self, rows: IntArray, offsets: IntArray) -> JetParticles:
        """Some particles as flat buffers of jets.

        Parameters
        ----------
        rows
            Positions in the row of particles, shape (n,).
        offsets
            First of them of each jet, and the end, shape (n_jets + 1,).

        Returns
        -------
        JetParticles
            In float64.
        """
        pdg_id = self._columns["particle_id"][rows].astype(np.int64)
        charge = (
            self._columns["particle_charge"][rows].astype(np.int64)
            if "particle_charge" in self._columns
            else charge_of(pdg_id)
        )
        return JetParticles(*self.momenta(rows), self.weights(rows), pdg_id, charge, offsets)

    def weights(self, rows: IntArray) -> FloatArray:
        """PUPPI weights of some particles.

        Parameters
        ----------
        rows
            Positions in the row of particles, shape (n,).

        Returns
        -------
        array (n,)
            1 where the file has none.
        """
        if "puppi_weight" not in self._columns:
            return np.ones(len(rows))
        return self._columns["puppi_weight"][rows].astype(np.float64)


def linked_particles(chunk: Chunk, jet_counts: IntArray, particle_counts: IntArray) -> Membership:
    """Which particles are in which stored jet, by the file's cross-references.

    Parameters
    ----------
    chunk
        The chunk; its schema has the roles ``link_jet`` and ``link_particle``.
    jet_counts, particle_counts
        Number of jets and of particles of each entry.

    Returns
    -------
    Membership
        In the order of the file. Links with a negative jet index belong to no jet.

    Raises
    ------
    InputError
        If the branches differ in length, an index points to a jet or a particle that is not there, or a particle is
        linked to a jet twice; the message names file, branch and entry.
    """
    jet, counts = chunk.jagged(chunk.schema.roles["link_jet"])
    particle = chunk.jagged_as("link_particle", "link_jet", counts)
    entry = owners(counts)
    linked = jet >= 0
    chunk.refuse_outside("link_jet", "jet", jet, entry, jet_counts, lowest=None)
    chunk.refuse_outside(
        "link_particle", "particle", particle[linked], entry[linked], particle_counts, lowest=0
    )
    of_jet = offsets_of(jet_counts)[entry[linked]] + jet[linked]
    rows = offsets_of(particle_counts)[entry[linked]] + particle[linked]
    if np.any(of_jet[1:] < of_jet[:-1]):  # files come sorted by jet
        order = np.argsort(of_jet, kind="stable")
        of_jet, rows = of_jet[order], rows[order]
    _refuse_repeated(chunk, of_jet, rows, (offsets_of(jet_counts), offsets_of(particle_counts)))
    counts_in_jet = np.bincount(of_jet, minlength=int(jet_counts.sum()))
    return Membership(offsets_of(counts_in_jet), rows)


def _refuse_repeated(
    chunk: Chunk, of_jet: IntArray, rows: IntArray, offsets: tuple[IntArray, IntArray]
) -> None:
    """Refuse a particle that is in a jet twice: its momentum would count twice."""
    first_jet, first_particle = offsets
    n_particles = int(first_particle[-1])
    pairs = of_jet * n_particles + rows
    if np.all(pairs[1:] > pairs[:-1]):
        return
    pairs.sort()
    again = np.flatnonzero(pairs[1:] == pairs[:-1])
    if len(again):
        jet, row = divmod(int(pairs[again[0]]), n_particles)
        entry = int(np.searchsorted(first_jet, jet, side="right")) - 1
        what = f"links particle {row - first_particle[entry]} to jet {jet - first_jet[entry]} twice"
        chunk.refuse("link_particle", what, entry)


def counted_records(particles: JetParticles) -> tuple[ak.Array, ak.Array]:
    """The particles of jets with their weights applied, without those of weight 0, which have no direction.

    Parameters
    ----------
    particles
        The particles of n jets.

    Returns
    -------
    records
        awkward array (n, particles) of ``px py pz E`` (GeV).
    charge
        awkward array (n, particles), units of e.
    """
    records = as_records(particles.weighted())
    charge = ak.unflatten(particles.charge, np.diff(particles.offsets))
    counted = (records.px != 0) | (records.py != 0)
    return records[counted], charge[counted]


def as_records(jets: FlatJets) -> ak.Array:
    """Flat buffers as an awkward array.

    Parameters
    ----------
    jets
        Momenta in GeV.

    Returns
    -------
    awkward array (n_jets, particles)
        Records ``px py pz E`` (GeV).
    """
    momenta = ak.zip({"px": jets.px, "py": jets.py, "pz": jets.pz, "E": jets.e})
    return ak.unflatten(momenta, np.diff(jets.offsets))
