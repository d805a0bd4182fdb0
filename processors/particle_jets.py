"""Jets as sets of particles: which particles are in them, and what is computed of these, each jet once."""

import itertools
from dataclasses import dataclass

import numpy as np

from data.types import BoolArray, FloatArray, IntArray
from processors.chunks import Chunk
from processors.clustering import (
    PARTNER_PT_MIN,
    Algorithm,
    ClusteredJets,
    cluster,
    members_of,
    partners,
    together,
)
from processors.config import JetsConfig
from processors.jet_id import TIGHT, composition, tight
from processors.jet_leptons import JetLeptons, leptons_of, stored_leptons
from processors.kernels.buffers import FlatJets
from processors.kernels.combined import flat_features
from processors.momenta import mass_of
from processors.particles import JetParticles, Membership, Particles, linked_particles
from processors.ragged import owners
from processors.schema import JET_ROLES

STORED_ALGORITHM: Algorithm = "antikt"
STORED_RADIUS = 0.8
"""CMS's AK8 jets: what is in them does not depend on the options of clustered jets and of observables."""
N_TAU, N_SUBJETS = 4, 3
BATCH = 1_000_000
"""Particles that are clustered at a time."""
TAUS = tuple(f"tau{n}" for n in range(1, N_TAU + 1))
SUBSTRUCTURE = ("m", *TAUS, "lsf3")
"""Computed together: they share the history of a jet's clustering."""


@dataclass(frozen=True)
class StoredJets:
    """The file's jets.

    Attributes
    ----------
    counts
        int64, jets of each entry.
    eta, phi
        Direction of each, shape (n_jets,); φ in rad.
    """

    counts: IntArray
    eta: FloatArray
    phi: FloatArray


class ParticleJets:
    """The jets of a chunk as sets of particles.

    Soft-drop masses are those of the particles: no jet energy correction is applied to the subjets, unlike
    NanoAOD's ``msoftdrop``. Momenta are weighted (PUPPI) but in the lepton subjet fraction, as in CMS; its lepton is
    the muon or electron that the file links to the jet, else the hardest one among the particles. Without links from
    particles to stored jets these are found again by clustering with anti-kT, R = 0.8, whatever the configuration
    says of clustered jets.

    Parameters
    ----------
    chunk
        The chunk; its schema has the particles' roles.
    config
        Clustering, weights and grooming.
    alive
        bool, one an entry: particles are clustered in these only, and only the jets of these may be asked for.
    stored
        The file's jets; None to cluster the particles.

    Attributes
    ----------
    counts
        int64, jets of each entry.

    Raises
    ------
    InputError
        If a particle is damaged or a link points to nothing; the message names file, branch and entry.
    """

    def __init__(self, chunk: Chunk, config: JetsConfig, alive: BoolArray, stored: StoredJets | None) -> None:
        self._chunk = chunk
        self._config = config
        self._particles = Particles(chunk)
        self._cache: dict[str, FloatArray] = {}
        self._leptons: JetLeptons | None = None
        if stored is None:
            jets = self._cluster(alive, config.algorithm, config.radius, config.pt_min)
            self.counts, self._members = jets.counts, jets.members
            kinematics = {"pt": jets.pt, "eta": jets.eta, "phi": jets.phi}
            self._cache |= {role: kinematics[role] for role in JET_ROLES}
        else:
            self.counts, self._members = stored.counts, self._members_of(stored, alive)
            self._leptons = stored_leptons(chunk, stored.counts, (stored.eta, stored.phi), STORED_RADIUS)
        self._alive = alive[owners(self.counts)]
        self._done = np.zeros(len(self._alive), dtype=np.bool_)
        self._cache |= {role: np.full(len(self._alive), np.nan) for role in (*SUBSTRUCTURE, "jet_id")}

    def _cluster(self, alive: BoolArray, algorithm: Algorithm, radius: float, pt_min: float) -> ClusteredJets:
        """Jets of the particles of the entries of interest."""
        rows, offsets = self._particles.moving(alive)
        # clustering takes twenty times the memory of the particles' branches: some entries at a time
        inner = np.unique(np.searchsorted(offsets, np.arange(BATCH, offsets[-1], BATCH)))
        parts = []
        for first, last in itertools.pairwise([0, *inner.tolist(), len(alive)]):
            here = rows[offsets[first] : offsets[last]]
            weight = self._particles.weights(here)
            px, py, pz, energy = (component * weight for component in self._particles.momenta(here))
            jets = cluster(
                FlatJets(px, py, pz, energy, offsets[first : last + 1] - offsets[first]),
                algorithm=algorithm,
                radius=radius,
                pt_min=pt_min,
            )
            parts.append(jets.with_rows(here))
        return together(parts)

    def _members_of(self, stored: StoredJets, alive: BoolArray) -> Membership:
        if "link_jet" in self._chunk.schema.roles:
            return linked_particles(self._chunk, stored.counts, self._particles.counts)
        jets = self._cluster(alive, STORED_ALGORITHM, STORED_RADIUS, PARTNER_PT_MIN)
        partner = partners((stored.eta, stored.phi), stored.counts, jets, STORED_RADIUS / 2)
        return members_of(partner, jets.members)

    def of(self, role: str, jets: IntArray) -> FloatArray:
        """A quantity of some jets, computed once for each.

        Parameters
        ----------
        role
            The quantity.
        jets
            Positions in the row of jets, shape (n,).

        Returns
        -------
        array (n,)
            In the unit of the role.

        Raises
        ------
        ValueError
            If a jet's entry is not of interest.
        """
        if not self._alive[jets].all():
            msg = (
                f"{role} is asked for of jets in entries that were given up; ask for it before, or of others"
            )
            raise ValueError(msg)
        if role == "n_pf":
            return (self._members.offsets[jets + 1] - self._members.offsets[jets]).astype(np.float64)
        if role == "jet_id":
            self._identify(np.unique(jets[np.isnan(self._cache[role][jets])]))
        if role in SUBSTRUCTURE:
            self._compute(np.unique(jets[~self._done[jets]]))
        return self._cache[role][jets]

    def all(self, role: str) -> FloatArray:
        """A quantity of all jets.

        Parameters
        ----------
        role
            The quantity.

        Returns
        -------
        array (n_jets,)
            In the unit of the role; NaN for jets of entries that are not of interest.
        """
        values = np.full(len(self._alive), np.nan)
        wanted = np.flatnonzero(self._alive)
        values[wanted] = self.of(role, wanted)
        return values

    def particles_of(self, jets: IntArray) -> JetParticles:
        """The particles of some jets as flat buffers.

        Parameters
        ----------
        jets
            Positions in the row of jets, shape (n,).

        Returns
        -------
        JetParticles
            Of n jets, in this order.
        """
        return self._particles.take(*self._members.of(jets))

    def _identify(self, jets: IntArray) -> None:
        """The bits of ``jetId``, made of the particles."""
        if not len(jets):
            return
        passed = tight(self._cache["eta"][jets], composition(self.particles_of(jets)))
        self._cache["jet_id"][jets] = np.where(passed, float(TIGHT), 0.0)

    def _compute(self, jets: IntArray) -> None:
        if not len(jets):
            return
        for role, values in self._substructure(jets).items():
            self._cache[role][jets] = values
        self._done[jets] = True

    def _substructure(self, jets: IntArray) -> dict[str, FloatArray]:
        config, particles = self._config, self.particles_of(jets)
        lepton_row, lepton_pt = leptons_of(jets, particles, self._leptons)
        cut = (config.z_cut, config.soft_drop_beta, config.radius)
        found = flat_features(
            *particles.unweighted(), particles.weight, lepton_row, lepton_pt, N_TAU, N_SUBJETS, cut
        )
        out = {"m": mass_of(*found.groomed.T), "lsf3": found.lsf}
        return out | {name: found.taus[:, n] for n, name in enumerate(TAUS)}
