"""N-subjettiness on flat buffers.

J. Thaler, K. Van Tilburg, JHEP 03 (2011) 015 (the observable, exclusive kT axes) and JHEP 02 (2012) 093
(minimisation over the axes by alternating assignment and weighted means); D. Bertolini, T. Chan, J. Thaler,
JHEP 04 (2014) 013 (winner-take-all axes).
"""

import math

import numpy as np

from data.types import FloatArray, IntArray
from processors.kernels.clustering import (
    KT,
    PHI,
    PT2,
    RAPIDITY,
    cluster,
    is_exclusive,
    largest_jet,
    load_jet,
    new_nodes,
)
from processors.kernels.compiled import compiled

MAX_STEPS = 1000
"""Bound on the steps of the minimisation; convergence takes about thirty."""
PRECISION = 1e-4
"""The minimisation ends when no axis moves by more than this (rapidity, rad) in a step."""
NEAR2 = PRECISION * PRECISION
"""A particle that is nearer than this (ΔR²) to an axis weighs as if it were so far, which lets an axis leave a
particle that it begins on, and makes a step off it longer than the precision."""


@compiled
def _kt_axes(nodes: FloatArray, child: IntArray, n: int, n_axes: int, axes: FloatArray) -> None:
    """Fill ``axes`` (2, n_axes) with the directions of the exclusive kT jets of a history."""
    found = 0
    for k in range(2 * n - n_axes):
        if is_exclusive(child, n, n_axes, k):
            axes[0, found], axes[1, found] = nodes[RAPIDITY, k], nodes[PHI, k]
            found += 1


@compiled
def wrapped(d_phi: float) -> float:
    """Bring a difference of azimuths to [−π, π].

    Parameters
    ----------
    d_phi
        Angle (rad) within [−2π, 2π].

    Returns
    -------
    float
        The same angle (rad).
    """
    if d_phi > math.pi:
        return d_phi - 2.0 * math.pi
    if d_phi < -math.pi:
        return d_phi + 2.0 * math.pi
    return d_phi


@compiled
def _assign(particles: FloatArray, axes: FloatArray, d2: FloatArray, which: IntArray) -> None:
    """Fill ``which`` with the nearest axis of each particle and ``d2`` with its ΔR²."""
    rapidity, phi = particles[0], particles[1]
    d2[:] = np.inf
    for a in range(axes.shape[1]):
        rapidity_a, phi_a = axes[0, a], axes[1, a]
        for i in range(len(rapidity)):  # without branches, so that it runs as vector instructions
            d_phi = abs(phi[i] - phi_a)
            d_phi = min(d_phi, 2.0 * math.pi - d_phi)
            d_rapidity = rapidity[i] - rapidity_a
            here = d_rapidity * d_rapidity + d_phi * d_phi
            closer = here < d2[i]
            d2[i] = here if closer else d2[i]
            which[i] = a if closer else which[i]


@compiled
def _weigh(particles: FloatArray, beta: float, d2: FloatArray) -> None:
    """Replace ΔR² by the weight pT ΔR^(β−2), in place."""
    pt = particles[2]
    if beta == 1.0:  # the usual case needs no power
        for i in range(len(pt)):
            d2[i] = pt[i] / math.sqrt(max(d2[i], NEAR2))
    else:
        for i in range(len(pt)):
            d2[i] = pt[i] * max(d2[i], NEAR2) ** (0.5 * beta - 1.0)


@compiled
def _step_axes(
    particles: FloatArray, beta: float, axes: FloatArray, weight: FloatArray, which: IntArray
) -> float:
    """Move each axis to the mean of its particles with weights pT ΔR^(β−2); return the largest move squared.

    For β ≤ 2 no step raises the sum of pT min ΔR^β, but for particles very near an axis: the weights define a
    quadratic bound that touches it at the present axes.
    """
    _assign(particles, axes, weight, which)
    _weigh(particles, beta, weight)
    largest = 0.0
    for a in range(axes.shape[1]):
        rapidity_a, phi_a = axes[0, a], axes[1, a]
        total, d_rapidity, d_phi = 0.0, 0.0, 0.0
        for i in range(len(which)):
            if which[i] == a:
                total += weight[i]
                d_rapidity += weight[i] * (particles[0, i] - rapidity_a)
                d_phi += weight[i] * wrapped(particles[1, i] - phi_a)
        if total > 0.0:  # an axis without particles stays
            d_rapidity, d_phi = d_rapidity / total, d_phi / total
            axes[0, a], axes[1, a] = rapidity_a + d_rapidity, wrapped(phi_a + d_phi)
            largest = max(largest, d_rapidity * d_rapidity + d_phi * d_phi)
    return largest


@compiled
def _distance_sum(
    particles: FloatArray, beta: float, axes: FloatArray, d2: FloatArray, which: IntArray
) -> float:
    """Sum of pT min ΔR^β over the particles; ``d2`` and ``which`` are room for one value a particle."""
    _assign(particles, axes, d2, which)
    total = 0.0
    for i in range(len(d2)):
        total += particles[2, i] * (math.sqrt(d2[i]) if beta == 1.0 else d2[i] ** (0.5 * beta))
    return total


@compiled
def _tau(particles: FloatArray, beta: float, R0: float, onepass: bool, axes: FloatArray) -> float:
    """N-subjettiness Σ pT min ΔR^β / Σ pT R0^β of one jet.

    Parameters
    ----------
    particles : array (3, n)
        Rapidity, azimuth (rad), pT (GeV).
    beta, R0 : float
        Angular exponent and radius (rad).
    onepass : bool
        Move the axes to the next minimum, and take the smaller of the sums before and after.
    axes : array (2, N)
        Rapidity and azimuth of the axes to begin with; where the steps ended on return.
    """
    n = particles.shape[1]
    d2, which = np.empty(n), np.empty(n, dtype=np.int64)
    above = _distance_sum(particles, beta, axes, d2, which)
    if onepass:
        for _ in range(MAX_STEPS):
            if _step_axes(particles, beta, axes, d2, which) < NEAR2:
                break
        above = min(above, _distance_sum(particles, beta, axes, d2, which))
    below = 0.0
    for i in range(n):
        below += particles[2, i]
    return float(above / (below * R0**beta))


@compiled
def fill_taus(
    nodes: FloatArray, child: IntArray, n: int, R0: float, beta: float, onepass: bool, taus: FloatArray
) -> None:
    """Fill ``taus`` with τ_1, τ_2, … of one jet.

    Parameters
    ----------
    nodes, child : array (7, ≥ 2n), (≥ 2n)
        History of the jet, as ``clustering.cluster`` fills it with ``KT`` or ``WTA_KT``.
    n : int
        Number of particles of the history.
    R0, beta, onepass
        As of ``flat_nsubjettiness``.
    taus : array (n_max,)
        Left as it is from τ_n on.
    """
    particles = np.empty((3, n), dtype=np.float64)
    for i in range(n):
        particles[0, i], particles[1, i] = nodes[RAPIDITY, i], nodes[PHI, i]
        particles[2, i] = math.sqrt(nodes[PT2, i])
    for n_axes in range(1, min(len(taus), n - 1) + 1):
        axes = np.empty((2, n_axes), dtype=np.float64)
        _kt_axes(nodes, child, n, n_axes, axes)
        taus[n_axes - 1] = _tau(particles, beta, R0, onepass, axes)


@compiled
def flat_nsubjettiness(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    n_max: int,
    R0: float,
    beta: float,
    onepass: bool,
    algorithm: int = KT,
) -> FloatArray:
    """N-subjettiness τ_1 … τ_n_max of every jet.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    n_max : int
        Largest N.
    R0, beta : float
        Radius (rad) and angular exponent of the measure; ``beta`` ≤ 2 with ``onepass``.
    onepass : bool
        Minimise over the axes, beginning at the exclusive jets' directions; else use these.
    algorithm : int
        ``clustering.KT`` or, for winner-take-all axes, ``clustering.WTA_KT``.

    Returns
    -------
    array (n_jets, n_max)
        0 where a jet has no more than N particles with transverse momentum.
    """
    n_jets = len(offsets) - 1
    taus = np.zeros((n_jets, n_max), dtype=np.float64)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents = np.empty((2, 2 * largest + 2), dtype=np.int64)
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n < 2:
            continue
        cluster(nodes, n, algorithm, parents, child)
        fill_taus(nodes, child, n, R0, beta, onepass, taus[jet])
    return taus
