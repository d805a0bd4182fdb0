"""Which particles belong to the groomed jet and to the exclusive subjets, on flat buffers."""

import numpy as np

from data.types import BoolArray, FloatArray, IntArray
from processors.kernels.clustering import (
    CAMBRIDGE,
    PT2,
    cluster,
    is_exclusive,
    largest_jet,
    load_jet,
    new_nodes,
)
from processors.kernels.compiled import compiled
from processors.kernels.grooming import passing_node


@compiled
def flat_soft_drop_mask(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    z_cut: float,
    beta: float,
    R0: float,
) -> BoolArray:
    """Which particles soft drop keeps.

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
    array (n_particles,) of bool
        False for particles without transverse momentum.
    """
    n_jets = len(offsets) - 1
    mask = np.zeros(len(px), dtype=np.bool_)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents, kept = np.empty((2, 2 * largest + 2), dtype=np.int64), np.empty(2 * largest + 2, dtype=np.bool_)
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        cluster(nodes, n, CAMBRIDGE, parents, child)
        kept[: 2 * n - 1] = False
        kept[passing_node(nodes, parents, n, z_cut, beta, R0)[0]] = True
        for k in range(2 * n - 2, n - 1, -1):
            if kept[k]:
                kept[parents[0, k]] = kept[parents[1, k]] = True
        for k in range(n):
            mask[origin[k]] = kept[k]
    return mask


@compiled
def fill_subjets(
    nodes: FloatArray, child: IntArray, n: int, n_subjets: int, subjets: FloatArray, rank: IntArray
) -> None:
    """Find the exclusive subjets of a history.

    Parameters
    ----------
    nodes, child
        Shapes (7, ≥ 2n) and (≥ 2n,): history of a jet, as ``clustering.cluster`` fills it.
    n, n_subjets
        Particles of the history, and subjets, at most as many.
    subjets
        Shape (n_subjets, 4): filled with px, py, pz, E (GeV), the hardest (pT) first.
    rank
        Shape (≥ 2n − 1,): filled with the subjet of each node; −1 above the subjets.
    """
    made_before = 2 * n - n_subjets
    found, chosen = 0, np.empty(n_subjets, dtype=np.int64)
    for k in range(made_before):
        if not is_exclusive(child, n, n_subjets, k):
            continue
        place = found
        while place > 0 and nodes[PT2, chosen[place - 1]] < nodes[PT2, k]:
            chosen[place] = chosen[place - 1]
            place -= 1
        chosen[place] = k
        found += 1
    rank[: 2 * n - 1] = -1
    for s in range(n_subjets):
        subjets[s] = nodes[:4, chosen[s]]
        rank[chosen[s]] = s
    for k in range(made_before - 1, -1, -1):  # a node is made before its child
        if rank[k] < 0:
            rank[k] = rank[child[k]]


@compiled
def flat_exclusive_subjets(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    n_subjets: int,
    algorithm: int,
) -> tuple[FloatArray, IntArray, IntArray]:
    """Exclusive subjets of every jet.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    n_subjets : int
        Number of subjets; a jet of fewer particles has one subjet a particle.
    algorithm : int
        ``clustering.KT`` or ``clustering.CAMBRIDGE``.

    Returns
    -------
    subjets : array (n_found, 4)
        Four-momenta px, py, pz, E (GeV) of the subjets of all jets, end to end, in a jet the hardest (pT) first.
    counts : array (n_jets,)
        Number of subjets of each jet.
    index : array (n_particles,)
        Place in its jet of the subjet of each particle; −1 for particles without transverse momentum.
    """
    n_jets = len(offsets) - 1
    subjets, counts = np.empty((n_jets * n_subjets, 4), dtype=np.float64), np.zeros(n_jets, dtype=np.int64)
    index = np.full(len(px), -1, dtype=np.int64)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents, rank = np.empty((2, 2 * largest + 2), dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    row = 0
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        cluster(nodes, n, algorithm, parents, child)
        counts[jet] = min(n_subjets, n)
        fill_subjets(nodes, child, n, counts[jet], subjets[row : row + counts[jet]], rank)
        row += counts[jet]
        for k in range(n):
            index[origin[k]] = rank[k]
    return subjets[:row].copy(), counts, index
