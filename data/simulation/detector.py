"""A parametric response of a CMS-like detector: generated particles in, particle-flow candidates out.

The numbers and where they come from (facts only):

* tracking efficiency for charged hadrons in |η| < 2.5: 94 % for |η| < 0.9 and 85 % beyond, above 0.9 GeV [1];
  70 % and 60 % below that, nothing below 0.3 GeV [3]; electrons 95 % and 83 %, muons 99 % and 98 % [3];
* track pT resolution: 1.0 % ⊕ 1.5·10⁻⁴ pT, 1.5 % ⊕ 2.5·10⁻⁴ pT, 2.5 % ⊕ 5.5·10⁻⁴ pT for |η| up to 0.5, 1.5 and 2.5
  [1] as parametrised in [3]; muons 1.0·10⁻⁴, 1.5·10⁻⁴, 3.5·10⁻⁴ [3];
* electromagnetic calorimeter: cells of 0.0174 × 0.0174, σ/E = 2.8 %/√E ⊕ 12 %/E ⊕ 0.3 % [2], [4]; the seed threshold
  of a photon is 0.23 GeV [2];
* hadron calorimeter (with the electromagnetic one before it): cells of 0.087 × 0.087 [4], σ/E = 110 %/√E ⊕ 9 %, cluster
  threshold 0.8 GeV [2];
* forward calorimeter 3 < |η| < 5: cells of 0.175 × 0.175 [4], σ/E = 270 %/√E ⊕ 13 % [3].

Particle flow: charged particles are measured by their tracks, with the calorimeter's resolution where that is
better. A hadronic cell with tracks in it gives a neutral hadron only if its energy exceeds the tracks' by more than
the calorimeter's resolution [2]. Untracked particles of |η| < 3 deposit all energy in one cell along their direction.
No pile-up, no noise, no bending of the tracks before the calorimeter.

References
----------
[1] CMS, "Description and performance of track and primary-vertex reconstruction", arXiv:1405.6569.
[2] CMS, "Particle-flow reconstruction and global event description", arXiv:1706.04965.
[3] J. de Favereau et al., "DELPHES 3", arXiv:1307.6346, the values of its CMS card.
[4] CMS, "The CMS experiment at the CERN LHC", JINST 3 (2008) S08004.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.simulation.generator import Particles
from data.types import BoolArray, FloatArray, IntArray

TRACKER_ETA = 2.5
BARREL_ETA = 3.0  # end of the fine calorimeters
FORWARD_ETA = 5.0
ECAL_CELL = 0.0174
HCAL_CELL = 0.087
FORWARD_CELL = 0.175
PT_MIN = 0.3  # GeV, of any candidate
_ENERGY_MIN = 1e-3  # GeV, of a particle worth following
_PION_MASS = 0.13957
_KAON_MASS = 0.49761
_MASS = {11: 0.000511, 13: 0.10566, 211: _PION_MASS, 22: 0.0, 130: _KAON_MASS}
_POSITIVE = (211, 321, 2212, 3222)  # charged hadrons with cτ > 10 mm whose particle has charge +1
_NEGATIVE = (3112, 3312, 3334)


@dataclass(frozen=True)
class Candidates:
    """Particle-flow candidates of many events, sorted by event.

    Attributes
    ----------
    offsets
        Shape (n_events + 1,): rows ``offsets[i]:offsets[i + 1]`` belong to event i.
    pdg_id
        Shape (n,), one of ±211, 22, 130, ±11, ±13.
    charge
        Shape (n,), units of e.
    px, py, pz, e
        Shape (n,), GeV.
    """

    offsets: IntArray
    pdg_id: IntArray
    charge: IntArray
    px: FloatArray
    py: FloatArray
    pz: FloatArray
    e: FloatArray


@dataclass(frozen=True)
class _Kinematics:
    event: IntArray
    pdg_id: IntArray
    charge: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    e: FloatArray

    def __getitem__(self, rows: npt.NDArray[Any]) -> "_Kinematics":
        return _Kinematics(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def charge_of(pdg_id: IntArray) -> IntArray:
    """Electric charge of a final particle: +1, 0 or −1.

    Parameters
    ----------
    pdg_id : array (n,)
        PDG numbers of particles that live longer than 10 mm/c.

    Returns
    -------
    array (n,) of int64
        In units of e.
    """
    size, sign = np.abs(pdg_id), np.sign(pdg_id)
    positive = np.isin(size, _POSITIVE).astype(np.int64)
    negative = np.isin(size, (*_NEGATIVE, 11, 13)).astype(np.int64)
    charge: IntArray = sign * (positive - negative)
    return charge


def track_resolution(pt: FloatArray, eta: FloatArray, *, muon: bool) -> FloatArray:
    """Relative pT resolution of a track.

    Parameters
    ----------
    pt, eta : array (n,)
        Transverse momentum (GeV) and pseudorapidity.
    muon : bool
        Whether the muon system helps.

    Returns
    -------
    array (n,)
        σ(pT) / pT.
    """
    region = np.searchsorted([0.5, 1.5], np.abs(eta))
    constant = np.array([0.01, 0.015, 0.025])[region]
    slope = (np.array([1.0e-4, 1.5e-4, 3.5e-4]) if muon else np.array([1.5e-4, 2.5e-4, 5.5e-4]))[region]
    resolution: FloatArray = np.hypot(constant, slope * pt)
    return resolution


def ecal_resolution(e: FloatArray) -> FloatArray:
    """Relative energy resolution of the electromagnetic calorimeter.

    Parameters
    ----------
    e
        Shape (n,), GeV.

    Returns
    -------
    array (n,)
        σ(E) / E.
    """
    return np.sqrt(0.028**2 / e + (0.12 / e) ** 2 + 0.003**2)


def hcal_resolution(e: FloatArray) -> FloatArray:
    """Relative energy resolution of the hadron calorimeter.

    Parameters
    ----------
    e
        Shape (n,), GeV.

    Returns
    -------
    array (n,)
        σ(E) / E.
    """
    return np.sqrt(1.10**2 / e + 0.09**2)


def forward_resolution(e: FloatArray) -> FloatArray:
    """Relative energy resolution of the forward calorimeter.

    Parameters
    ----------
    e
        Shape (n,), GeV.

    Returns
    -------
    array (n,)
        σ(E) / E.
    """
    return np.sqrt(2.70**2 / e + 0.13**2)


def track_efficiency(pdg_id: IntArray, pt: FloatArray, eta: FloatArray) -> FloatArray:
    """Probability that a charged particle has a track.

    Parameters
    ----------
    pdg_id, pt, eta : array (n,)
        PDG number, transverse momentum (GeV), pseudorapidity.

    Returns
    -------
    array (n,)
        In [0, 1].
    """
    size = np.abs(pdg_id)
    central = np.abs(eta) < 0.9
    low = np.where(central, 0.70, 0.60)
    high = np.where(central, 0.94, 0.85)
    high = np.where(size == 11, np.where(np.abs(eta) < 1.5, 0.95, 0.83), high)
    high = np.where(size == 13, np.where(np.abs(eta) < 1.5, 0.99, 0.98), high)
    efficiency = np.where(pt > 0.9, high, low)
    return np.where((pt > PT_MIN) & (np.abs(eta) < TRACKER_ETA), efficiency, 0.0)


def _smear(value: FloatArray, relative: FloatArray, normal: FloatArray) -> FloatArray:
    """Log-normal smearing with mean ``value`` and relative width ``relative``: never negative."""
    variance = np.log1p(relative**2)
    return value * np.exp(np.sqrt(variance) * normal - variance / 2)


def respond(particles: Particles, n_events: int, rng: np.random.Generator) -> Candidates:
    """Detector response to generated events.

    Parameters
    ----------
    particles
        Final particles, sorted by event.
    n_events
        Number of events.
    rng
        Source of randomness; the same generator state gives the same bits.

    Returns
    -------
    Candidates
        Particle-flow candidates with pT > 0.3 GeV.
    """
    visible = _kinematics(particles)
    tracked = rng.random(len(visible.pt)) < track_efficiency(visible.pdg_id, visible.pt, visible.eta)
    tracked &= visible.charge != 0
    normal = rng.standard_normal(len(visible.pt))
    tracks = _measure_tracks(visible[tracked], normal[tracked])
    size = np.abs(visible.pdg_id)
    fine = np.abs(visible.eta) < BARREL_ETA
    electromagnetic = fine & ~tracked & ((size == 22) | (size == 11))
    hadronic = fine & (size != 22) & (size != 11) & (size != 13)
    forward = ~fine & (np.abs(visible.eta) < FORWARD_ETA) & (size != 13)
    photons = _photons(visible[electromagnetic], rng)
    track_hadrons = np.isin(np.abs(tracks.pdg_id), (11, 13), invert=True)
    neutral = _neutral_hadrons(visible[hadronic], visible[tracked & hadronic], tracks.e[track_hadrons], rng)
    far = _forward(visible[forward], rng)
    return _collect([tracks, photons, neutral, far], n_events)


def _kinematics(particles: Particles) -> _Kinematics:
    size = np.abs(particles.pdg_id)
    seen = (size != 12) & (size != 14) & (size != 16) & (particles.e > _ENERGY_MIN)
    kept = particles[seen]
    pt = np.hypot(kept.px, kept.py)
    eta = np.arcsinh(kept.pz / np.maximum(pt, 1e-9))  # along the beam: beyond every acceptance, yet finite
    phi = np.arctan2(kept.py, kept.px)
    return _Kinematics(kept.event, kept.pdg_id, charge_of(kept.pdg_id), pt, eta, phi, kept.e)


def _measure_tracks(true: _Kinematics, normal: FloatArray) -> _Kinematics:
    """Tracks with the better of the tracker's and the calorimeter's resolution."""
    size = np.abs(true.pdg_id)
    muon, electron = size == 13, size == 11
    tracker = np.where(
        muon, track_resolution(true.pt, true.eta, muon=True), track_resolution(true.pt, true.eta, muon=False)
    )
    calorimeter = np.where(electron, ecal_resolution(true.e), hcal_resolution(true.e))
    relative = np.where(muon, tracker, np.minimum(tracker, calorimeter))
    pt = _smear(true.pt, relative, normal)
    pdg_id = np.where(muon | electron, true.pdg_id, 211 * true.charge)
    mass = np.where(muon, _MASS[13], np.where(electron, _MASS[11], _PION_MASS))
    e = np.sqrt((pt * np.cosh(true.eta)) ** 2 + mass**2)
    return _Kinematics(true.event, pdg_id, true.charge, pt, true.eta, true.phi, e)


def _cell_of(
    event: IntArray, eta: FloatArray, phi: FloatArray, width: float
) -> tuple[IntArray, IntArray, IntArray]:
    """A number for each (event, cell), and the cell's row and column."""
    n_phi = round(2 * np.pi / width)
    row = np.floor(eta / width).astype(np.int64)
    column = np.minimum(((phi + np.pi) * (n_phi / (2 * np.pi))).astype(np.int64), n_phi - 1)
    return (event * 4096 + row + 2048) * 4096 + column, row, column


def _sum_cells(hits: _Kinematics, width: float) -> tuple[_Kinematics, IntArray]:
    """Energy of each cell hit, at the cell's centre, and the cells' numbers, which ascend."""
    n_phi = round(2 * np.pi / width)
    number, row, column = _cell_of(hits.event, hits.eta, hits.phi, width)
    cells, first, which = np.unique(number, return_index=True, return_inverse=True)
    e: FloatArray = np.bincount(which, weights=hits.e, minlength=len(cells)).astype(np.float64)
    eta = ((row[first] + 0.5) * width).astype(np.float64)
    phi = ((column[first] + 0.5) * (2 * np.pi / n_phi) - np.pi).astype(np.float64)
    zero: IntArray = np.zeros(len(cells), dtype=np.int64)
    return _Kinematics(hits.event[first], zero, zero, e / np.cosh(eta), eta, phi, e), cells


def _as_candidates(cells: _Kinematics, e: FloatArray, keep: BoolArray, pdg_id: int) -> _Kinematics:
    chosen, energy = cells[keep], e[keep]
    momentum = np.sqrt(np.maximum(energy**2 - _MASS[pdg_id] ** 2, 0.0))
    identity = np.full(len(energy), pdg_id, dtype=np.int64)
    return _Kinematics(
        chosen.event, identity, chosen.charge, momentum / np.cosh(chosen.eta), chosen.eta, chosen.phi, energy
    )


def _photons(hits: _Kinematics, rng: np.random.Generator) -> _Kinematics:
    cells, _ = _sum_cells(hits, ECAL_CELL)
    e = _smear(cells.e, ecal_resolution(cells.e), rng.standard_normal(len(cells.e)))
    return _as_candidates(cells, e, e > 0.23, 22)


def _neutral_hadrons(
    hits: _Kinematics, tracked: _Kinematics, track_energy: FloatArray, rng: np.random.Generator
) -> _Kinematics:
    """Excess of the hadronic cells over the tracks that point to them."""
    cells, numbers = _sum_cells(hits, HCAL_CELL)
    resolution = hcal_resolution(cells.e) * cells.e
    measured = _smear(cells.e, hcal_resolution(cells.e), rng.standard_normal(len(cells.e)))
    number, _, _ = _cell_of(tracked.event, tracked.eta, tracked.phi, HCAL_CELL)
    which = np.searchsorted(numbers, number)
    tracks = np.bincount(which, weights=track_energy, minlength=len(numbers))
    excess = measured - tracks
    significant = (tracks == 0) | (excess > resolution)
    return _as_candidates(cells, excess, significant & (excess > 0.8), 130)


def _forward(hits: _Kinematics, rng: np.random.Generator) -> _Kinematics:
    cells, _ = _sum_cells(hits, FORWARD_CELL)
    e = _smear(cells.e, forward_resolution(cells.e), rng.standard_normal(len(cells.e)))
    return _as_candidates(cells, e, e > 1.0, 130)


def _collect(parts: list[_Kinematics], n_events: int) -> Candidates:
    joined = _Kinematics(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in _Kinematics.__dataclass_fields__
        )
    )
    joined = joined[joined.pt > PT_MIN]
    joined = joined[np.lexsort((-joined.pt, joined.event))]
    offsets = np.searchsorted(joined.event, np.arange(n_events + 1)).astype(np.int64)
    px, py = joined.pt * np.cos(joined.phi), joined.pt * np.sin(joined.phi)
    return Candidates(
        offsets, joined.pdg_id, joined.charge, px, py, joined.pt * np.sinh(joined.eta), joined.e
    )
