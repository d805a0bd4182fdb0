"""Dropping events that cannot pass the skim before Pythia has spent much time on them.

Two vetoes, both Pythia user hooks: on the two partons of the hard process, before the shower; and on the few partons
that are there when the shower has come down to a given transverse momentum, so that events are kept in which a hard
emission makes the dijet mass. What is vetoed is taken out of the cross section that Pythia reports.
"""

import itertools
import math
from typing import Any

from data.simulation.processes import Background, EarlyVeto

_JET_RADIUS = 0.8  # of the jets of partons; the margin between veto and skim covers other radii
Vector = tuple[float, float, float, float]
"""px, py, pz, E in GeV."""


def _polar(p: Vector) -> tuple[float, float, float]:
    """pT², rapidity and φ."""
    rapidity = 0.5 * math.log(max(p[3] + p[2], 1e-9) / max(p[3] - p[2], 1e-9))
    return max(p[0] * p[0] + p[1] * p[1], 1e-12), rapidity, math.atan2(p[1], p[0])


def parton_jets(partons: list[Vector], radius: float) -> list[Vector]:
    """Anti-kT jets of a handful of partons, of falling pT.

    Parameters
    ----------
    partons
        Four-momenta (GeV).
    radius
        Jet radius (rad).

    Returns
    -------
    list
        Four-momenta px, py, pz, E (GeV).

    References
    ----------
    M. Cacciari, G. P. Salam, G. Soyez, "The anti-kt jet clustering algorithm", arXiv:0802.1189.
    """
    left = [(p, *_polar(p)) for p in partons]
    jets: list[tuple[float, Vector]] = []
    while left:
        # The hardest is the nearest to the beam; only pairs that are nearer matter.
        hardest = max(range(len(left)), key=lambda i: left[i][1])
        nearest, pair = 1.0 / left[hardest][1], (hardest, hardest)
        for i, j in itertools.combinations(range(len(left)), 2):
            (_, pt2_a, y_a, phi_a), (_, pt2_b, y_b, phi_b) = left[i], left[j]
            d_phi = abs(phi_a - phi_b)
            d_phi = min(d_phi, 2 * math.pi - d_phi)
            distance = ((y_a - y_b) ** 2 + d_phi * d_phi) / (max(pt2_a, pt2_b) * radius * radius)
            if distance < nearest:
                nearest, pair = distance, (i, j)
        i, j = pair
        if i == j:
            jet = left.pop(i)
            jets.append((jet[1], jet[0]))
        else:
            (b, *_), (a, *_) = left.pop(j), left[i]  # j > i: i keeps its place
            both = (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])
            left[i] = (both, *_polar(both))
    return [jet for _, jet in sorted(jets, reverse=True)]


def pair_mass(a: Vector, b: Vector) -> float:
    """Invariant mass of two four-momenta.

    Parameters
    ----------
    a, b
        px, py, pz, E (GeV).

    Returns
    -------
    float
        GeV.
    """
    px, py, pz, e = a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]
    return math.sqrt(max(e * e - px * px - py * py - pz * pz, 0.0))


def may_pass(partons: list[Vector], veto: EarlyVeto) -> bool:
    """Whether any two of the three leading jets of partons have the mass and the nearness in rapidity.

    Any two: which jets lead in pT may change before the detector.

    Parameters
    ----------
    partons
        Four-momenta (GeV) of the partons so far.
    veto
        Limits.
    """
    for a, b in itertools.combinations(parton_jets(partons, _JET_RADIUS)[:3], 2):
        if pair_mass(a, b) > veto.mjj_min and abs(_polar(a)[1] - _polar(b)[1]) < veto.delta_eta_max:
            return True
    return False


def make_veto(pythia8: Any, process: Background, *, count_only: bool = False) -> Any:
    """Pythia user hooks with the vetoes of a background.

    Parameters
    ----------
    pythia8
        The module.
    process
        Parton |Δη| and, where given, the early veto.
    count_only
        Whether to give up every event at the early veto, once it is counted: for its efficiency.

    Returns
    -------
    UserHooks
        With the numbers of events that ``reached`` and that ``passed`` the early veto. Must be held as long as the
        Pythia that uses it.
    """
    early = process.early_veto

    class Veto(pythia8.UserHooks):  # type: ignore[misc]
        reached = 0
        passed = 0

        def canVetoProcessLevel(self) -> bool:  # noqa: N802 - Pythia's names
            return True

        def doVetoProcessLevel(self, event: Any) -> bool:  # noqa: N802
            return bool(abs(event[5].eta() - event[6].eta()) > process.delta_eta_max)

        def canVetoPT(self) -> bool:  # noqa: N802
            return early is not None

        def scaleVetoPT(self) -> float:  # noqa: N802
            return early.pt_scale if early is not None else 0.0

        def doVetoPT(self, _position: int, event: Any) -> bool:  # noqa: N802
            partons = [(p.px(), p.py(), p.pz(), p.e()) for p in event if p.isFinal()]
            passes = early is None or may_pass(partons, early)
            self.reached += 1
            self.passed += passes
            return count_only or not passes

    return Veto()
