"""What files with particles hold besides jets: PFNano candidates, AK4 jets, leptons, photons, missing momentum."""

from dataclasses import replace

import numpy as np

from data.simulation.columns import ANGLE_BITS, PT_BITS, SHAPE_BITS, Collection, reduce_precision
from data.simulation.detector import Candidates
from data.simulation.flavour import b_score, subjet_flavour
from data.simulation.generator import Generated, Particles
from data.simulation.jets import JetSet, cluster, mass_of, pt_eta_phi_m, rank_in_event, tight_id
from data.simulation.nanoaod import kinematic_fields
from data.types import BoolArray, FloatArray, IntArray, Table

AK4_RADIUS = 0.4
AK4_PT_MIN = 15.0
ISOLATION_CONE = 0.3
LEPTON_MOTHER_MASS_MIN = 20.0  # GeV
_LEPTONS = {"Electron": (11, 5.0), "Muon": (13, 3.0), "Photon": (22, 10.0)}  # PDG number, smallest pT in GeV


def _select_events(candidates: Candidates, events: IntArray) -> Candidates:
    """Candidates of some events, renumbered 0, 1, … in the order given (ascending)."""
    count = np.diff(candidates.offsets)[events]
    offsets = np.concatenate(([0], np.cumsum(count))).astype(np.int64)
    rows = np.arange(offsets[-1]) + np.repeat(candidates.offsets[:-1][events] - offsets[:-1], count)
    columns = (getattr(candidates, name)[rows] for name in ("pdg_id", "charge", "px", "py", "pz", "e"))
    return Candidates(offsets, *columns)


def particle_collections(
    jets: JetSet, candidates: Candidates, heavy: Particles, passed: IntArray, rng: np.random.Generator
) -> dict[str, Collection]:
    """Collections of the events that passed the skim.

    Parameters
    ----------
    jets
        The written jets of these events.
    candidates
        Candidates of all generated events.
    heavy
        b and c hadrons of all generated events.
    passed
        Positions of the events among the generated ones, ascending, shape (events,).
    rng
        For the b-tag scores of the AK4 jets.

    Returns
    -------
    dict
        ``FatJetPFCands``, ``PFCands`` (constituents of the written jets), ``Jet``, ``Electron``, ``Muon``, ``Photon``.
    """
    near = _select_events(candidates, passed)
    found = _constituents(jets, candidates, passed)
    heavy = heavy[np.isin(heavy.event, passed)]
    found["Jet"] = _ak4(near, replace(heavy, event=np.searchsorted(passed, heavy.event)), rng)
    for name, (identity, pt_min) in _LEPTONS.items():
        found[name] = _objects(near, identity, pt_min)
    return found


def missing_momentum(candidates: Candidates, passed: IntArray) -> Table:
    """Missing transverse momentum: minus the sum of all candidates, whose PUPPI weight is 1.

    Parameters
    ----------
    candidates
        Of all generated events.
    passed
        Positions of the events wanted, shape (n,), ascending.

    Returns
    -------
    Table
        ``PuppiMET_pt`` (GeV) and ``PuppiMET_phi`` (rad), shape (n,).
    """
    near = _select_events(candidates, passed)
    event = _event_of(near)
    px = -np.bincount(event, weights=near.px, minlength=len(passed))
    py = -np.bincount(event, weights=near.py, minlength=len(passed))
    return {
        "PuppiMET_pt": reduce_precision(np.hypot(px, py), PT_BITS),
        "PuppiMET_phi": reduce_precision(np.arctan2(py, px), ANGLE_BITS),
    }


def _event_of(candidates: Candidates) -> IntArray:
    return np.repeat(np.arange(len(candidates.offsets) - 1), np.diff(candidates.offsets))


def _constituents(jets: JetSet, candidates: Candidates, passed: IntArray) -> dict[str, Collection]:
    per_jet = np.diff(jets.offsets)
    event = np.repeat(np.searchsorted(passed, jets.event), per_jet)
    counts = np.bincount(event, minlength=len(passed)).astype(np.int64)
    rows = jets.members
    pt, eta, phi, mass = pt_eta_phi_m(*(getattr(candidates, name)[rows] for name in ("px", "py", "pz", "e")))
    links: Table = {
        "jetIdx": np.repeat(rank_in_event(jets.event), per_jet).astype(np.int16),
        "pFCandsIdx": rank_in_event(event).astype(np.int16),
    }
    fields = {
        **kinematic_fields(pt, eta, phi, mass),
        "charge": candidates.charge[rows].astype(np.int8),
        "pdgId": candidates.pdg_id[rows].astype(np.int16),
        "puppiWeight": np.ones(len(rows), dtype=np.float32),
    }
    return {"FatJetPFCands": Collection(counts, links), "PFCands": Collection(counts, fields)}


def _ak4(candidates: Candidates, heavy: Particles, rng: np.random.Generator) -> Collection:
    jets = cluster(candidates, AK4_RADIUS, AK4_PT_MIN)
    pt, eta, phi, mass = pt_eta_phi_m(jets.px, jets.py, jets.pz, jets.e)
    flavour = subjet_flavour(jets.event, eta, phi, heavy)
    fields = {
        **kinematic_fields(pt, eta, phi, mass),
        "btagDeepFlavB": reduce_precision(b_score(flavour, 1.0 - rng.random(len(flavour))), SHAPE_BITS),
        "jetId": tight_id(jets, candidates).astype(np.uint8),
        "nConstituents": np.minimum(np.diff(jets.offsets), 255).astype(np.uint8),
    }
    n_events = len(candidates.offsets) - 1
    return Collection(np.bincount(jets.event, minlength=n_events).astype(np.int64), fields)


def _objects(candidates: Candidates, identity: int, pt_min: float) -> Collection:
    """Leptons or photons above a pT, with their relative isolation in a cone of 0.3."""
    pt, eta, phi, mass = pt_eta_phi_m(candidates.px, candidates.py, candidates.pz, candidates.e)
    event = _event_of(candidates)
    rows = np.flatnonzero((np.abs(candidates.pdg_id) == identity) & (pt > pt_min))
    isolation = np.array(
        [_isolation(int(row), candidates.offsets[event[row] :], pt, eta, phi) for row in rows]
    )
    fields = {
        **kinematic_fields(pt[rows], eta[rows], phi[rows], mass[rows]),
        "pfRelIso03_all": reduce_precision(isolation, SHAPE_BITS),
    }
    if identity != 22:
        fields["charge"] = candidates.charge[rows].astype(np.int32)
        fields["pdgId"] = candidates.pdg_id[rows].astype(np.int32)
    n_events = len(candidates.offsets) - 1
    return Collection(np.bincount(event[rows], minlength=n_events).astype(np.int64), fields)


def _isolation(row: int, bounds: IntArray, pt: FloatArray, eta: FloatArray, phi: FloatArray) -> float:
    near = slice(int(bounds[0]), int(bounds[1]))
    d_phi = np.abs(phi[near] - phi[row])
    distance = np.hypot(eta[near] - eta[row], np.minimum(d_phi, 2 * np.pi - d_phi))
    return float((pt[near][distance < ISOLATION_CONE].sum() - pt[row]) / pt[row])


def has_lepton(made: Generated) -> BoolArray:
    """Whether an event's hard process holds a charged lepton from a decay of more than 20 GeV.

    Parameters
    ----------
    made
        The generated events.

    Returns
    -------
    numpy.ndarray (n_events,)
        For every generated event.

    References
    ----------
    The flag that CMS sets for its signals, arXiv:2412.03747.
    """
    hard, mother = made.hard, made.hard_mother
    first = np.searchsorted(
        hard.event, hard.event
    )  # positions of mothers count from the event's first particle
    row = np.where(mother >= 0, first + mother, 0)
    mass = mass_of(hard.px, hard.py, hard.pz, hard.e)[row]
    found = np.isin(np.abs(hard.pdg_id), (11, 13, 15)) & (mother >= 0) & (mass > LEPTON_MOTHER_MASS_MIN)
    flag = np.zeros(made.n_events, dtype=np.bool_)
    flag[hard.event[found]] = True
    return flag


def record_collection(made: Generated, passed: IntArray) -> Collection:
    """``GenPart``: the particles of the hard process, with Pythia's status codes (absolute value 21 … 29).

    Parameters
    ----------
    made
        The generated events.
    passed
        Positions of the events wanted, shape (n,), ascending.

    Returns
    -------
    Collection
        Of n events; momenta in GeV and rad.
    """
    rows = np.isin(made.hard.event, passed)
    hard = made.hard[rows]
    fields = {
        **kinematic_fields(*pt_eta_phi_m(hard.px, hard.py, hard.pz, hard.e)),
        "pdgId": hard.pdg_id.astype(np.int32),
        "status": np.abs(made.hard_status[rows]).astype(np.int32),
        "genPartIdxMother": made.hard_mother[rows].astype(np.int16),
    }
    counts = np.bincount(np.searchsorted(passed, hard.event), minlength=len(passed))
    return Collection(counts.astype(np.int64), fields)
