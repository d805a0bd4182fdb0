"""From jets and candidates to NanoAOD columns, with NanoAOD's reduced precision."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from data.samples import Year
from data.simulation.columns import (
    ANGLE_BITS,
    MASS_BITS,
    PT_BITS,
    SHAPE_BITS,
    Collection,
    Events,
    reduce_precision,
)
from data.simulation.config import Jets, Skim
from data.simulation.detector import Candidates
from data.simulation.flavour import b_score, subjet_flavour
from data.simulation.generator import Particles
from data.simulation.jets import (
    JetSet,
    dijet_mass,
    mass_of,
    pt_eta_phi_m,
    rank_in_event,
    substructure,
    tight_id,
)
from data.types import FloatArray, IntArray, Table

HT_ETA_MAX = 2.5
_ROUNDING = 0.995  # stored pT may be up to 0.05 % above the exact one; the prefilter leaves room for it


@dataclass(frozen=True)
class Reconstructed:
    """Events that pass the skim.

    Attributes
    ----------
    passed
        Positions among the generated events, shape (n_events,), ascending.
    jets
        Their jets.
    events
        Their columns.
    """

    passed: IntArray
    jets: JetSet
    events: Events


def kinematic_fields(pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: FloatArray) -> Table:
    """Four-momentum columns at NanoAOD precision.

    Parameters
    ----------
    pt, eta, phi, mass
        Shape (n,), GeV and rad.

    Returns
    -------
    Table
        ``pt eta phi mass``, float32, shape (n,), GeV and rad.
    """
    return {
        "pt": reduce_precision(pt, PT_BITS),
        "eta": reduce_precision(eta, ANGLE_BITS),
        "phi": reduce_precision(phi, ANGLE_BITS),
        "mass": reduce_precision(mass, MASS_BITS),
    }


def reconstruct(
    jets: JetSet,
    candidates: Candidates,
    heavy: Particles,
    options: tuple[Jets, Skim, Year],
    rng: np.random.Generator,
) -> Reconstructed:
    """Jets, subjets, triggers and filters of the events that pass the skim.

    Parameters
    ----------
    jets
        All jets, sorted by event and falling pT.
    candidates
        Particle-flow candidates.
    heavy
        Generated b and c hadrons, for the b-tag score.
    options
        Jet, skim and year settings.
    rng
        Source of randomness of the b-tag score.

    Returns
    -------
    Reconstructed
        ``run``, ``luminosityBlock`` and ``event`` are left to the merge.
    """
    jet_options, skim, year = options
    # Grooming only lowers the mass: who fails with the ungroomed mass fails, and costs no substructure.
    leading = jets[rank_in_event(jets.event) < 3]
    pt, eta, phi, mass = pt_eta_phi_m(leading.px, leading.py, leading.pz, leading.e)
    loose = _pass_skim(leading.event, pt / _ROUNDING, eta, phi, mass / _ROUNDING, skim, slack=0.01)
    chosen = np.isin(leading.event, loose)
    chosen &= (rank_in_event(leading.event) < 2) | (pt > jet_options.third_pt_min)
    kept = leading[chosen]
    fields, subjets = _jet_fields(kept, candidates, heavy, jet_options.radius, rng)
    stored = (np.asarray(fields[name], dtype=np.float64) for name in ("pt", "eta", "phi", "msoftdrop"))
    pt, eta, phi, mass = stored
    passed = _pass_skim(kept.event, pt, eta, phi, mass, skim, slack=0.0)
    counts = np.bincount(kept.event, minlength=len(candidates.offsets) - 1).astype(np.int64)
    subjet_counts = np.bincount(subjets.pop("event"), minlength=len(counts)).astype(np.int64)
    events = Events(
        _event_columns(kept, fields, counts, year),
        {"FatJet": Collection(counts, fields), "SubJet": Collection(subjet_counts, subjets)},
    )
    return Reconstructed(passed, kept[np.isin(kept.event, passed)], events.take(passed))


def _pass_skim(
    event: IntArray,
    pt: FloatArray,
    eta: FloatArray,
    phi: FloatArray,
    mass: FloatArray,
    skim: Skim,
    *,
    slack: float,
) -> IntArray:
    """Events whose two leading jets pass the skim."""
    first = np.flatnonzero(rank_in_event(event) == 0)
    first = first[np.append(event, -1)[first + 1] == event[first]]
    pairs = np.stack([first, first + 1], axis=1)
    passed = pt[pairs].min(axis=1) > skim.pt_min
    passed &= np.abs(eta[pairs[:, 0]] - eta[pairs[:, 1]]) < skim.delta_eta_max + slack
    passed &= dijet_mass(pt[pairs], eta[pairs], phi[pairs], mass[pairs]) > skim.mjj_min
    passed &= (pt[first] > skim.leading_pt_min) & (np.abs(eta[first]) < skim.leading_eta_max + slack)
    events: IntArray = event[first[passed]]
    return events


def _event_columns(jets: JetSet, fields: Table, counts: IntArray, year: Year) -> Table:
    """genWeight, triggers as sharp thresholds on the stored jets, and noise filters (no noise: all passed)."""
    central = np.abs(fields["eta"]) < HT_ETA_MAX
    pt = np.where(central, np.asarray(fields["pt"], dtype=np.float64), 0.0)
    ht = np.bincount(jets.event, weights=pt, minlength=len(counts))
    leading = np.zeros(len(counts))
    np.maximum.at(leading, jets.event, pt)
    columns: dict[str, npt.NDArray[Any]] = {"genWeight": np.ones(len(counts), dtype=np.float32)}
    for trigger in year.triggers:
        kind, threshold = _threshold(trigger)
        columns[trigger] = (ht if kind == "HT" else leading) > threshold
    return columns | {name: np.ones(len(counts), dtype=np.bool_) for name in year.filters}


def _threshold(trigger: str) -> tuple[str, float]:
    """Quantity (``HT`` or ``Jet``) and threshold (GeV) that a trigger's name tells."""
    match = re.search(r"(HT|Jet)(\d+)$", trigger)
    if match is None:
        msg = f"trigger '{trigger}' names no threshold on HT or a jet's pT; choose a year without it"
        raise ConfigError(msg)
    return match[1], float(match[2])


def _jet_fields(
    jets: JetSet, candidates: Candidates, heavy: Particles, radius: float, rng: np.random.Generator
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """Columns of ``FatJet`` and of ``SubJet``; the latter with ``event``."""
    found = substructure(jets, candidates, radius)
    subjets = _subjet_fields(jets, found.subjet1, found.subjet2, heavy, rng)
    has_subjets = np.hypot(found.subjet1[:, 0], found.subjet1[:, 1]) > 0
    # Subjets of an event stand in the order of its jets, two each: indices within the event.
    before = np.cumsum(2 * has_subjets) - 2 * has_subjets
    start = before[np.searchsorted(jets.event, jets.event)]
    index = np.where(has_subjets, before - start, -1).astype(np.int16)
    fields = dict(kinematic_fields(*pt_eta_phi_m(jets.px, jets.py, jets.pz, jets.e)))
    fields["msoftdrop"] = reduce_precision(mass_of(*found.groomed.T), MASS_BITS)
    for n in range(found.tau.shape[1]):
        fields[f"tau{n + 1}"] = reduce_precision(found.tau[:, n], SHAPE_BITS)
    fields["lsf3"] = reduce_precision(found.lsf3, SHAPE_BITS)
    fields["jetId"] = tight_id(jets, candidates).astype(np.uint8)
    fields["nConstituents"] = np.minimum(np.diff(jets.offsets), 255).astype(np.uint8)
    fields["subJetIdx1"] = index
    fields["subJetIdx2"] = np.where(index >= 0, index + 1, -1).astype(np.int16)
    return fields, subjets


def _subjet_fields(
    jets: JetSet, first: FloatArray, second: FloatArray, heavy: Particles, rng: np.random.Generator
) -> dict[str, npt.NDArray[Any]]:
    momenta = np.stack([first, second], axis=1).reshape(-1, 4)
    event = np.repeat(jets.event, 2)
    real = np.repeat(np.hypot(first[:, 0], first[:, 1]) > 0, 2)
    pt, eta, phi, mass = pt_eta_phi_m(*momenta[real].T)
    flavour = subjet_flavour(event[real], eta, phi, heavy)
    score = b_score(flavour, 1.0 - rng.random(len(flavour)))
    return {
        "event": event[real],
        **kinematic_fields(pt, eta, phi, mass),
        "btagDeepB": reduce_precision(score, SHAPE_BITS),
    }
