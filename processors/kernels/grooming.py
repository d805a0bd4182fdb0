"""Soft drop on flat buffers (A. Larkoski, S. Marzani, G. Soyez, J. Thaler, JHEP 05 (2014) 146)."""

import math

import numpy as np

from data.types import FloatArray, IntArray
from processors.kernels.clustering import (
    CAMBRIDGE,
    PHI,
    PT2,
    RAPIDITY,
    cluster,
    distance2,
    largest_jet,
    load_jet,
    new_nodes,
)
from processors.kernels.compiled import compiled


@compiled
def passing_node(
    nodes: FloatArray, parents: IntArray, n: int, z_cut: float, beta: float, R0: float
) -> tuple[int, float, float]:
    """Follow the harder branch down to the first declustering with z > z_cut (ΔR / R0)^β.

    Parameters
    ----------
    nodes, parents
        Shapes (7, ≥ 2n) and (2, ≥ 2n): history of a jet, as ``clustering.cluster`` fills it.
    n
        Particles of the history.
    z_cut, beta, R0
        The condition; R0 in rad.

    Returns
    -------
    node, delta_r, z
        The node that passes, its ΔR (rad) and z; the particle at the end of the hardest branch with 0, 0
        where no declustering passes.
    """
    k = 2 * n - 2
    while k >= n:
        hard, soft = parents[0, k], parents[1, k]
        if nodes[PT2, soft] > nodes[PT2, hard]:
            hard, soft = soft, hard
        pt_soft, pt_hard = math.sqrt(nodes[PT2, soft]), math.sqrt(nodes[PT2, hard])
        # azimuths of a jet balanced to nothing are arbitrary, so a vanishing sum never passes
        z = pt_soft / (pt_soft + pt_hard) if pt_hard > 0.0 else 0.0
        delta_r = math.sqrt(
            distance2(nodes[RAPIDITY, soft], nodes[PHI, soft], nodes[RAPIDITY, hard], nodes[PHI, hard])
        )
        if z > z_cut * (delta_r / R0) ** beta:
            return k, delta_r, z
        k = hard
    return k, 0.0, 0.0


@compiled
def groom(
    nodes: FloatArray,
    parents: IntArray,
    n: int,
    cut: tuple[float, float, float],
    groomed: FloatArray,
    prongs: FloatArray,
) -> tuple[float, float]:
    """Soft drop of one jet with a history.

    Parameters
    ----------
    nodes, parents : array (7, ≥ 2n), (2, ≥ 2n)
        Cambridge/Aachen history, as ``clustering.cluster`` fills it.
    n : int
        Number of particles, at least 1.
    cut : (float, float, float)
        z_cut, β and R0 (rad).
    groomed, prongs : array (4,), (2, 4)
        Filled with the four-momenta (GeV) of the groomed jet and of its prongs, the harder (pT) first; prongs are
        left as they are where no declustering passes.

    Returns
    -------
    (float, float)
        ΔR (rad) and z of the prongs; 0 where there are none.
    """
    k, delta_r, z = passing_node(nodes, parents, n, cut[0], cut[1], cut[2])
    groomed[:] = nodes[:4, k]
    if k >= n:
        hard, soft = parents[0, k], parents[1, k]
        if nodes[PT2, soft] > nodes[PT2, hard]:
            hard, soft = soft, hard
        prongs[0], prongs[1] = nodes[:4, hard], nodes[:4, soft]
    return delta_r, z


@compiled
def flat_soft_drop(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    z_cut: float,
    beta: float,
    R0: float,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Groom every jet: Cambridge/Aachen reclustering, then soft drop.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    z_cut, beta, R0 : float
        The condition z > z_cut (ΔR / R0)^β; R0 in rad.

    Returns
    -------
    groomed, subjet1, subjet2 : array (n_jets, 4)
        Four-momenta px, py, pz, E (GeV) of the groomed jet and of the two prongs of the passing declustering, the
        harder (pT) first. Prongs are 0 where no declustering passes (the groomed jet is then one particle), all
        is 0 where the jet has no particle with transverse momentum.
    delta_r, z : array (n_jets,)
        Distance (rad) and momentum share of the prongs; 0 where there are none.
    """
    n_jets = len(offsets) - 1
    groomed, prongs = np.zeros((n_jets, 4)), np.zeros((n_jets, 2, 4))
    delta_r, z = np.zeros(n_jets), np.zeros(n_jets)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents = np.empty((2, 2 * largest + 2), dtype=np.int64)
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        cluster(nodes, n, CAMBRIDGE, parents, child)
        delta_r[jet], z[jet] = groom(nodes, parents, n, (z_cut, beta, R0), groomed[jet], prongs[jet])
    return groomed, prongs[:, 0].copy(), prongs[:, 1].copy(), delta_r, z
