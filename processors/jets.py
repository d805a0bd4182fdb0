"""The large-radius jets of a chunk in one row: stored in the file or clustered from its particles."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from data.types import BoolArray, FloatArray, IntArray
from processors.b_tag import largest_b_score, linked_subjets, subjets_inside
from processors.chunks import Chunk
from processors.columns import N_CONSTITUENTS
from processors.config import JetsConfig
from processors.images import constituent_array
from processors.jet_id import TIGHT, Composition, tight
from processors.particle_jets import ParticleJets, StoredJets
from processors.particles import as_records
from processors.ragged import offsets_of, owners
from processors.schema import COUNTED, FRACTION_ROLES, JET_ID_ROLES


class Jets:
    """The jets of a chunk; what is computed of their particles is computed once, for the jets asked for.

    Parameters
    ----------
    chunk
        The chunk.
    config
        Where jets and their substructure come from.
    alive
        bool, one an entry: whether the entry is still of interest. Particles are clustered in these only, and
        quantities computed of particles exist for the jets of these only.

    Attributes
    ----------
    counts
        int64, jets of each entry.
    entry
        int64, for each jet its entry in the chunk.
    config
        Where jets and their substructure come from.
    """

    def __init__(self, chunk: Chunk, config: JetsConfig, alive: BoolArray) -> None:
        self._chunk = chunk
        self.config = config
        self._alive = alive
        self._read: dict[str, npt.NDArray[Any]] = {}
        self._changed: dict[str, FloatArray] = {}
        self._made: list[ParticleJets] = []
        if config.source == "particles":
            self.counts = self.particle_jets.counts
        else:
            self._read["pt"], self.counts = chunk.jagged(chunk.schema.roles["pt"])
        self.entry: IntArray = owners(self.counts)

    @property
    def particle_jets(self) -> ParticleJets:
        """The jets' particles and what is computed of them; read at the first use."""
        if not self._made:
            stored = None
            if self.config.source == "stored":
                eta, phi = (_float(self[role]) for role in ("eta", "phi"))
                stored = StoredJets(self.counts, eta, phi)
            self._made.append(ParticleJets(self._chunk, self.config, self._alive, stored))
        return self._made[0]

    def __getitem__(self, role: str) -> npt.NDArray[Any]:
        """All jets' values of a role; NaN where it is computed and the entry is not of interest any more."""
        if role in self._changed:
            return self._changed[role]
        if role in self._chunk.schema.computed:
            return self.particle_jets.all(role)
        if role not in self._read:
            branch = self._chunk.schema.roles[role]
            if branch in COUNTED:
                self._read[role] = self._count(role)
            else:
                self._read[role] = self._chunk.jagged_as(role, "pt", self.counts)
        return self._read[role]

    def of(self, role: str, jets: IntArray) -> npt.NDArray[Any]:
        """Finite values of a role for some jets.

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
        InputError
            If a value is NaN or inf; the message names file, branch and entry.
        """
        if role not in self._changed and role in self._chunk.schema.computed:
            return self.particle_jets.of(role, jets)
        values = self[role][jets]
        if values.dtype.kind == "f" and role in self._chunk.schema.roles:
            self._chunk.check_finite(role, values, self.entry[jets])
        return values

    def varied(self, *, pt: FloatArray | None = None, m: FloatArray | None = None) -> "Jets":
        """The same jets with other transverse momenta or soft-drop masses.

        Parameters
        ----------
        pt, m
            float64, one a jet of the row (GeV); None leaves them as they are.

        Returns
        -------
        Jets
            Shares all that was and will be read and computed with this one.
        """
        other = copy.copy(self)
        new = {name: values for name, values in (("pt", pt), ("m", m)) if values is not None}
        other._changed = {**self._changed, **new}  # noqa: SLF001 - one of us
        return other

    def tight(self) -> BoolArray:
        """Whether each jet passes the tight identification: by its bits, else by what it is made of.

        Returns
        -------
        array (n_jets,) of bool
            Of all jets.
        """
        computed = JET_ID_ROLES.keys() <= self._chunk.schema.computed
        if computed or "jet_id" in self._chunk.schema.roles:
            bits: BoolArray = (self["jet_id"].astype(np.int64) & TIGHT) != 0
            return bits
        all_jets = np.arange(len(self.entry))
        made_of = {role: self.of(role, all_jets) for role in FRACTION_ROLES}
        return tight(
            _float(self.of("eta", all_jets)),
            Composition(
                charged_hadron=_float(made_of["charged_hadron_fraction"]),
                neutral_hadron=_float(made_of["neutral_hadron_fraction"]),
                neutral_em=_float(made_of["neutral_em_fraction"]),
                charged_multiplicity=made_of["charged_multiplicity"].astype(np.int64),
                neutral_multiplicity=made_of["neutral_multiplicity"].astype(np.int64),
            ),
        )

    def subjets(self, jets: IntArray) -> tuple[IntArray, IntArray]:
        """The stored subjets of some jets: those they point to; of clustered jets those inside their radius.

        Parameters
        ----------
        jets
            Positions in the row of jets, shape (n,).

        Returns
        -------
        row, owner
            Position of each subjet in the row of all subjets, and of its jet in ``jets``.
        """
        entry = self.entry[jets]
        if self.config.source == "stored":
            indices = {role: self.of(role, jets).astype(np.int64) for role in ("subjet1", "subjet2")}
            return linked_subjets(self._chunk, entry, indices)
        eta, phi = self.of("eta", jets), self.of("phi", jets)
        return subjets_inside(self._chunk, entry, eta, phi, self.config.radius)

    def b_score(self, jets: IntArray) -> FloatArray:
        """Largest b-tag score of the subjets of some jets.

        Parameters
        ----------
        jets
            Positions in the row of jets, shape (n,).

        Returns
        -------
        array (n,)
            0 for a jet without subjets.
        """
        return largest_b_score(self._chunk, self.entry[jets], *self.subjets(jets))

    def constituents(self, jets: IntArray) -> npt.NDArray[np.float32]:
        """The 100 hardest particles of some jets, weights applied.

        Parameters
        ----------
        jets
            Positions in the row of jets, shape (n_jets,).

        Returns
        -------
        array (n_jets, 100, 3) of float32
            The hardest first, zeros where a jet has fewer.
        """
        particles = self.particle_jets.particles_of(jets).weighted()
        return constituent_array(as_records(particles), n=N_CONSTITUENTS)

    def without_particles(self, jets: IntArray) -> int:
        """How many of some jets have no particle, so that all that is computed of them is 0.

        Parameters
        ----------
        jets
            Positions in the row of jets, shape (n,).

        Returns
        -------
        int
            0 where no particles are read.
        """
        if not (len(jets) and self._chunk.schema.reads_particles):
            return 0
        return int(np.count_nonzero(self.particle_jets.of("n_pf", jets) == 0))

    def _count(self, role: str) -> IntArray:
        """Number of stored constituents of each jet."""
        jet, counts = self._chunk.jagged(self._chunk.schema.roles[role])
        entry = owners(counts)
        self._chunk.refuse_outside(role, "jet", jet, entry, self.counts)
        owned = jet >= 0
        return np.bincount(offsets_of(self.counts)[entry[owned]] + jet[owned], minlength=len(self.entry))


def _float(values: npt.NDArray[Any]) -> FloatArray:
    return values.astype(np.float64)
