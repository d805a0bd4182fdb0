"""The lepton of a jet, for the lepton subjet fraction."""

from dataclasses import dataclass

import numpy as np

from data.types import FloatArray, IntArray
from processors.chunks import Chunk
from processors.kernels.lepton import hardest_leptons, nearest_particles
from processors.particles import JetParticles
from processors.ragged import offsets_of, owners, wrap

_ROLES = {"muon": ("jet_muon", "muon_pt", "muon_eta", "muon_phi")}
_ROLES |= {"electron": ("jet_electron", "electron_pt", "electron_eta", "electron_phi")}
_LEPTON_IDS = (11, 13)


@dataclass(frozen=True)
class JetLeptons:
    """For each jet of a chunk the lepton that the file names.

    Attributes
    ----------
    pt, eta, phi : array (n_jets,)
        Its momentum as reconstructed (GeV, –, rad); eta and phi are NaN where there is none.
    """

    pt: FloatArray
    eta: FloatArray
    phi: FloatArray


def stored_leptons(
    chunk: Chunk, counts: IntArray, axis: tuple[FloatArray, FloatArray], radius: float
) -> JetLeptons | None:
    """The leptons that the file links to its jets: an electron, else a muon.

    As in CMS, electrons have the momentum from before their energy correction, where the file has the correction.

    Parameters
    ----------
    chunk
        The chunk.
    counts
        Jets of each entry.
    axis
        Pseudorapidity and azimuth (rad) of the jets, end to end.
    radius
        Radius (rad) of the jets: in a jet without a lepton NanoAOD leaves the index of another one, far away.

    Returns
    -------
    JetLeptons or None
        None where the file has no links to muons, or none to electrons.

    Raises
    ------
    InputError
        If an index points to nothing or a lepton's momentum is not finite; the message names file, branch and entry.
    """
    if not chunk.schema.names_leptons:
        return None
    n_jets = int(counts.sum())
    out = JetLeptons(np.zeros(n_jets), np.full(n_jets, np.nan), np.full(n_jets, np.nan))
    for lepton in ("muon", "electron"):  # the electron counts where there are both
        _take(chunk, lepton, counts, axis, radius, out)
    return out


def _take(
    chunk: Chunk,
    lepton: str,
    counts: IntArray,
    axis: tuple[FloatArray, FloatArray],
    radius: float,
    out: JetLeptons,
) -> None:
    """Fill in the leptons of one kind."""
    link, *momentum = _ROLES[lepton]
    index = chunk.jagged_as(link, "pt", counts).astype(np.int64)
    entry = owners(counts)
    values, lepton_counts = chunk.jagged(chunk.schema.roles[momentum[0]])
    columns = [values, *(chunk.jagged_as(role, momentum[0], lepton_counts) for role in momentum[1:])]
    chunk.refuse_outside(link, lepton, index, entry, lepton_counts)
    jets = np.flatnonzero(index >= 0)
    rows = offsets_of(lepton_counts)[entry[jets]] + index[jets]
    for role, column in zip(momentum, columns, strict=True):
        chunk.check_finite(role, column[rows], entry[jets])
    pt, eta, phi = (column[rows].astype(np.float64) for column in columns)
    if lepton == "electron" and "electron_correction" in chunk.schema.roles:
        correction = chunk.jagged_as("electron_correction", momentum[0], lepton_counts)[rows]
        chunk.check_finite("electron_correction", correction, entry[jets])
        pt = np.divide(pt, correction, out=pt, where=correction > 0)
    inside = np.hypot(eta - axis[0][jets], wrap(phi - axis[1][jets])) < radius
    for all_jets, column in ((out.pt, pt), (out.eta, eta), (out.phi, phi)):
        all_jets[jets[inside]] = column[inside]


def leptons_of(
    jets: IntArray, particles: JetParticles, stored: JetLeptons | None
) -> tuple[IntArray, FloatArray]:
    """The lepton of each of some jets.

    Parameters
    ----------
    jets
        Positions of the jets in their row, shape (n_jets,).
    particles
        Their particles.
    stored
        The leptons that the file names; without them the hardest electron or muon among the particles is taken.

    Returns
    -------
    row : array (n_jets,)
        The particle that is the lepton, or the nearest to it; −1 where there is none.
    pt : array (n_jets,)
        Transverse momentum of the lepton (GeV); 0 where there is none.
    """
    px, py, offsets = particles.px, particles.py, particles.offsets
    if stored is not None:
        row = nearest_particles(px, py, particles.pz, offsets, stored.eta[jets], stored.phi[jets])
        return row, stored.pt[jets]
    row = hardest_leptons(px, py, offsets, np.isin(np.abs(particles.id), _LEPTON_IDS))
    has = row >= 0
    pt = np.zeros(len(row))
    pt[has] = np.hypot(px[row[has]], py[row[has]])
    return row, pt
