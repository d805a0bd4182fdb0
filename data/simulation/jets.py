"""Anti-kT jets of particle-flow candidates, and the quantities that NanoAOD stores for them."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import fastjet
import numpy as np
import numpy.typing as npt
import vector

from data.simulation.detector import Candidates
from data.types import BoolArray, FloatArray, IntArray
from processors.kernels import flat_lsf, flat_nsubjettiness, flat_soft_drop

N_TAU = 4
Z_CUT = 0.1
LEPTON_PT_MIN = 10.0  # GeV; softer leptons do not count for the lepton subjet fraction


@dataclass(frozen=True)
class JetSet:
    """Jets of many events, sorted by event, then by falling pT.

    Attributes
    ----------
    event
        Number of the event of each, shape (n,).
    px, py, pz, e
        Shape (n,), GeV.
    offsets, members
        Constituents of jet i are the candidate rows ``members[offsets[i]:offsets[i + 1]]``; ``offsets`` has
        shape (n + 1,).
    """

    event: IntArray
    px: FloatArray
    py: FloatArray
    pz: FloatArray
    e: FloatArray
    offsets: IntArray
    members: IntArray

    def __getitem__(self, rows: npt.NDArray[Any]) -> "JetSet":
        """The jets of a mask or of ascending positions."""
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        count = np.diff(self.offsets)[chosen]
        offsets = np.concatenate(([0], np.cumsum(count))).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], count)
        members = self.members[np.repeat(self.offsets[:-1][chosen], count) + within]
        return JetSet(
            self.event[chosen],
            self.px[chosen],
            self.py[chosen],
            self.pz[chosen],
            self.e[chosen],
            offsets,
            members,
        )


def cluster(candidates: Candidates, radius: float, pt_min: float) -> JetSet:
    """Anti-kT jets of every event.

    Parameters
    ----------
    candidates
        Particle-flow candidates.
    radius
        Jet radius (rad).
    pt_min
        Smallest jet pT (GeV).

    Returns
    -------
    JetSet
        Jets of falling pT in every event.

    References
    ----------
    M. Cacciari, G. P. Salam, G. Soyez, "The anti-kt jet clustering algorithm", arXiv:0802.1189.
    """
    vector.register_awkward()
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # noqa: SLF001 - keep standard output clean
    particles = ak.zip(
        {"px": candidates.px, "py": candidates.py, "pz": candidates.pz, "E": candidates.e},
        with_name="Momentum4D",
    )
    events = ak.unflatten(particles, np.diff(candidates.offsets))
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(events, definition)
    jets, indices = sequence.inclusive_jets(min_pt=pt_min), sequence.constituent_index(min_pt=pt_min)
    order = ak.argsort(jets.px**2 + jets.py**2, ascending=False, stable=True)
    jets, indices = jets[order], indices[order]
    event = np.repeat(np.arange(len(jets)), np.asarray(ak.num(jets)))
    per_jet = ak.flatten(indices, axis=1)
    count = np.asarray(ak.num(per_jet)).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(count))).astype(np.int64)
    local = np.asarray(ak.flatten(per_jet)).astype(np.int64)
    members = local + np.repeat(candidates.offsets[event], count)
    px, py, pz, e = (np.asarray(ak.flatten(jets[name]), dtype=np.float64) for name in ("px", "py", "pz", "E"))
    return JetSet(event.astype(np.int64), px, py, pz, e, offsets, members)


def rank_in_event(event: IntArray) -> IntArray:
    """Position of each row among the rows of its event.

    Parameters
    ----------
    event
        Shape (n,), ascending.

    Returns
    -------
    array (n,) of int64
        0 for the first row of an event.
    """
    start = np.searchsorted(event, event)
    return np.arange(len(event)) - start


def mass_of(px: FloatArray, py: FloatArray, pz: FloatArray, e: FloatArray) -> FloatArray:
    """Invariant mass; rounding below zero gives 0.

    Parameters
    ----------
    px, py, pz, e
        Shape (n,), GeV.

    Returns
    -------
    array (n,)
        GeV.
    """
    return np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0.0))


def pt_eta_phi_m(
    px: FloatArray, py: FloatArray, pz: FloatArray, e: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Cylindrical coordinates; zero vectors give zeros.

    Parameters
    ----------
    px, py, pz, e
        Shape (n,), GeV.

    Returns
    -------
    pt, eta, phi, mass
        Shape (n,); pT and mass in GeV, φ in rad.
    """
    pt = np.hypot(px, py)
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pz), where=pt > 0))
    return pt, eta, np.arctan2(py, px), mass_of(px, py, pz, e)


def dijet_mass(pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: FloatArray) -> FloatArray:
    """Invariant mass (GeV) of pairs.

    Parameters
    ----------
    pt, eta, phi, mass : array (n, 2)
        Both jets of each event, GeV and rad.

    Returns
    -------
    array (n,)
        GeV.
    """
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    e = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    return mass_of(px.sum(axis=1), py.sum(axis=1), pz.sum(axis=1), e.sum(axis=1))


def tight_id(jets: JetSet, candidates: Candidates) -> IntArray:
    """Jet identity word of NanoAOD: bit 1 (value 2) tight, bit 2 (value 4) tight with lepton veto.

    Tight: more than one constituent, neutral hadron and photon energy fractions below 0.9, at least one charged
    constituent, charged hadron fraction above 0; lepton veto: muon and electron fractions below 0.8.

    Parameters
    ----------
    jets
        n jets.
    candidates
        Those that the jets are made of.

    Returns
    -------
    array (n,) of int64
        0, 2 or 6.

    References
    ----------
    CMS, "Jet algorithms performance in 13 TeV data", CMS-PAS-JME-16-003.
    """
    size = np.abs(candidates.pdg_id[jets.members])
    energy = candidates.e[jets.members]
    which = np.repeat(np.arange(len(jets.e)), np.diff(jets.offsets))

    def fraction(identity: int) -> FloatArray:
        total = np.bincount(which, weights=np.where(size == identity, energy, 0.0), minlength=len(jets.e))
        return np.asarray(total / jets.e)

    charged = np.bincount(which, weights=candidates.charge[jets.members] != 0, minlength=len(jets.e))
    tight = (np.diff(jets.offsets) > 1) & (charged > 0) & (fraction(211) > 0)
    tight &= (fraction(130) < 0.9) & (fraction(22) < 0.9)
    veto = tight & (fraction(13) < 0.8) & (fraction(11) < 0.8)
    return 2 * tight.astype(np.int64) + 4 * veto.astype(np.int64)


@dataclass(frozen=True)
class Substructure:
    """Substructure of n jets.

    Attributes
    ----------
    tau
        τ1 … τ4, shape (n, 4).
    groomed, subjet1, subjet2
        px, py, pz, E of the groomed jet and of its prongs, shape (n, 4), GeV.
    lsf3
        Lepton subjet fraction of three subjets, shape (n,).
    """

    tau: FloatArray
    groomed: FloatArray
    subjet1: FloatArray
    subjet2: FloatArray
    lsf3: FloatArray


def substructure(jets: JetSet, candidates: Candidates, radius: float) -> Substructure:
    """N-subjettiness (one-pass kT axes, β = 1), soft drop (z_cut 0.1, β = 0) and lepton subjet fraction.

    Parameters
    ----------
    jets
        n jets.
    candidates
        Those that the jets are made of.
    radius
        Jet radius (rad).

    Returns
    -------
    Substructure
        Of each jet.
    """
    rows = jets.members
    momenta = (candidates.px[rows], candidates.py[rows], candidates.pz[rows], candidates.e[rows])
    size = np.abs(candidates.pdg_id[rows])
    lepton: BoolArray = ((size == 11) | (size == 13)) & (np.hypot(momenta[0], momenta[1]) > LEPTON_PT_MIN)
    tau = flat_nsubjettiness(*momenta, jets.offsets, N_TAU, radius, 1.0, True)  # noqa: FBT003 - compiled
    groomed, first, second, _, _ = flat_soft_drop(*momenta, jets.offsets, Z_CUT, 0.0, radius)
    return Substructure(tau, groomed, first, second, flat_lsf(*momenta, jets.offsets, lepton, 3))
