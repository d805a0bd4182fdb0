"""Lund declustering on flat buffers (F. Dreyer, G. Salam, G. Soyez, JHEP 12 (2018) 064)."""

import math

import numpy as np

from data.types import FloatArray, IntArray
from processors.kernels.clustering import PHI, PT2, PZ, RAPIDITY, E, cluster, largest_jet, load_jet, new_nodes
from processors.kernels.compiled import compiled
from processors.kernels.taus import wrapped

N_LUND = 7
"""Quantities of a splitting: ΔR (rad), kT (GeV), z, mass (GeV), ψ (rad), pT of the harder and softer (GeV)."""


@compiled
def _write_splitting(nodes: FloatArray, parents: IntArray, k: int, splittings: FloatArray, row: int) -> int:
    """Fill column ``row`` with the declustering of node ``k``; return which of its parents is the harder."""
    which = 0 if nodes[PT2, parents[0, k]] >= nodes[PT2, parents[1, k]] else 1
    hard, soft = parents[which, k], parents[1 - which, k]
    pt_hard, pt_soft = math.sqrt(nodes[PT2, hard]), math.sqrt(nodes[PT2, soft])
    d_phi = wrapped(nodes[PHI, soft] - nodes[PHI, hard])
    d_rapidity = nodes[RAPIDITY, soft] - nodes[RAPIDITY, hard]
    delta = math.sqrt(d_rapidity * d_rapidity + d_phi * d_phi)
    mass2 = (nodes[E, k] - nodes[PZ, k]) * (nodes[E, k] + nodes[PZ, k]) - nodes[PT2, k]
    splittings[0, row] = delta
    splittings[1, row] = pt_soft * delta
    splittings[2, row] = pt_soft / (pt_hard + pt_soft) if pt_hard > 0.0 else 0.0
    splittings[3, row] = math.sqrt(max(0.0, mass2))
    splittings[4, row] = math.atan2(d_rapidity, d_phi)
    splittings[5, row], splittings[6, row] = pt_hard, pt_soft
    return which


@compiled
def primary_splittings(
    nodes: FloatArray, parents: IntArray, n: int, start: int, splittings: FloatArray, first: int
) -> int:
    """Decluster node ``start`` along its harder (pT) branch down to a particle.

    Parameters
    ----------
    nodes, parents : array (7, ≥ 2n), (2, ≥ 2n)
        History of a jet, as ``clustering.cluster`` fills it.
    n : int
        Number of particles of the history.
    start : int
        Node to begin with; 2n − 2 is the jet.
    splittings : array (N_LUND, ≥ first + n − 1)
        Columns from ``first`` on are filled, the widest splitting first (Cambridge/Aachen).
    first : int
        First column to fill.

    Returns
    -------
    int
        Number of splittings written; 0 for a particle.
    """
    row, k = first, start
    while k >= n:
        k = parents[_write_splitting(nodes, parents, k, splittings, row), k]
        row += 1
    return row - first


@compiled
def _all_splittings(
    nodes: FloatArray, parents: IntArray, n: int, splittings: FloatArray, order: IntArray, first: int
) -> int:
    """Decluster a whole history from the last recombination to the first; return the number of splittings.

    ``order`` is filled with the plane of each splitting: 1 on the harder branch of the jet, one more each time
    that a softer branch is taken.
    """
    plane = np.ones(2 * n, dtype=np.int64)
    row = first
    for k in range(2 * n - 2, n - 1, -1):  # a node is made after its parents: its plane is known by now
        which = _write_splitting(nodes, parents, k, splittings, row)
        plane[parents[which, k]], plane[parents[1 - which, k]] = plane[k], plane[k] + 1
        order[row] = plane[k]
        row += 1
    return row - first


@compiled
def flat_lund(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    algorithm: int,
    primary: bool,
) -> tuple[FloatArray, IntArray, IntArray]:
    """Lund splittings of every jet.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    algorithm : int
        ``clustering.CAMBRIDGE`` or ``clustering.KT``.
    primary : bool
        Follow the harder branch only; else all branches.

    Returns
    -------
    splittings : array (N_LUND, n_splittings)
        Quantities of the splittings of all jets, end to end.
    order : array (n_splittings,)
        Lund plane of each, 1 the primary.
    counts : array (n_jets,)
        Number of splittings of each jet.
    """
    n_jets = len(offsets) - 1
    splittings, order = np.empty((N_LUND, len(px)), dtype=np.float64), np.ones(len(px), dtype=np.int64)
    counts = np.zeros(n_jets, dtype=np.int64)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents = np.empty((2, 2 * largest + 2), dtype=np.int64)
    row = 0
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        cluster(nodes, n, algorithm, parents, child)
        if primary:
            counts[jet] = primary_splittings(nodes, parents, n, 2 * n - 2, splittings, row)
        else:
            counts[jet] = _all_splittings(nodes, parents, n, splittings, order, row)
        row += counts[jet]
    return splittings[:, :row].copy(), order[:row].copy(), counts
