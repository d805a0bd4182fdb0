"""Sequential recombination of one jet's particles, with the whole history kept.

The distance is d_ij = min(pT_i, pT_j)^(2p) ΔR_ij² in rapidity and azimuth: p = 1 is the exclusive kT algorithm
(S. Catani, Y. Dokshitzer, M. Seymour, B. Webber, Nucl. Phys. B 406 (1993) 187), p = 0 Cambridge/Aachen
(Y. Dokshitzer, G. Leder, S. Moretti, B. Webber, JHEP 08 (1997) 001). There is no beam distance (R → ∞): all
particles end in one jet. Four-momenta are added (E-scheme). The smallest distance always belongs to a pair of
geometrical nearest neighbours, which makes the cost O(n²) (M. Cacciari, G. Salam, Phys. Lett. B 641 (2006) 57).

A history is a pair of arrays over nodes. The nodes 0 … n−1 are the particles; the k-th recombination (k = 0, 1, …)
makes node n + k.
"""

import math

import numpy as np

from data.types import FloatArray, IntArray
from processors.kernels.compiled import compiled

PX, PY, PZ, E, RAPIDITY, PHI, PT2 = range(7)
N_QUANTITIES = 7
LARGEST_RAPIDITY = 1e5
"""Rapidity of a particle along the beam."""

KT = 1
CAMBRIDGE = 0


@compiled
def complete_node(nodes: FloatArray, k: int) -> None:
    """Fill rapidity, azimuth and pT² of node ``k`` from its four-momentum (GeV, rad, GeV²)."""
    px, py, pz, energy = nodes[PX, k], nodes[PY, k], nodes[PZ, k], nodes[E, k]
    pt2 = px * px + py * py
    # an energy rounded to below |p| counts as massless: the rapidity stays finite
    mass2 = max(0.0, (energy - pz) * (energy + pz) - pt2)
    sum2 = (energy + abs(pz)) ** 2
    rapidity = LARGEST_RAPIDITY
    if pt2 + mass2 > 0.0:
        rapidity = 0.5 * math.log(max(sum2, pt2 + mass2) / (pt2 + mass2))
    nodes[RAPIDITY, k] = rapidity if pz > 0.0 else -rapidity
    nodes[PHI, k] = math.atan2(py, px) if pt2 > 0.0 else 0.0
    nodes[PT2, k] = pt2


@compiled
def distance2(rapidity_a: float, phi_a: float, rapidity_b: float, phi_b: float) -> float:
    """Squared distance ΔR² of two directions; azimuths within [−π, π]."""
    d_phi = abs(phi_a - phi_b)
    if d_phi > math.pi:
        d_phi = 2.0 * math.pi - d_phi
    d_rapidity = rapidity_a - rapidity_b
    return d_rapidity * d_rapidity + d_phi * d_phi


@compiled
def new_nodes(n: int) -> FloatArray:
    """Room for the history of a jet of up to ``n`` particles, shape (7, 2n)."""
    return np.empty((N_QUANTITIES, 2 * n + 2), dtype=np.float64)


@compiled
def load_jet(
    nodes: FloatArray,
    origin: IntArray,
    momenta: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    start: int,
    stop: int,
) -> int:
    """Fill the first nodes with the particles ``start`` … ``stop`` and return their number.

    Particles without transverse momentum (a PUPPI weight of 0) have no direction and are left out;
    ``origin[k]`` is the row of node ``k`` in the flat buffers.
    """
    px, py, pz, energy = momenta
    n = 0
    for row in range(start, stop):
        if px[row] * px[row] + py[row] * py[row] == 0.0:
            continue
        nodes[PX, n], nodes[PY, n], nodes[PZ, n], nodes[E, n] = px[row], py[row], pz[row], energy[row]
        complete_node(nodes, n)
        origin[n] = row
        n += 1
    return n


@compiled
def _distances(i: int, m: int, rapidity: FloatArray, phi: FloatArray, d2: FloatArray) -> None:
    """Fill ``d2`` with ΔR² of slot ``i`` to each of the first ``m`` slots, infinite to itself."""
    rapidity_i, phi_i = rapidity[i], phi[i]
    for k in range(m):  # without branches, so that it runs as vector instructions
        d_phi = abs(phi[k] - phi_i)
        d_phi = min(d_phi, 2.0 * math.pi - d_phi)
        d_rapidity = rapidity[k] - rapidity_i
        d2[k] = d_rapidity * d_rapidity + d_phi * d_phi
    d2[i] = np.inf


@compiled
def _smallest(values: FloatArray, m: int) -> int:
    """Index of the smallest of the first ``m`` values."""
    best, best_k = np.inf, 0
    for k in range(m):
        if values[k] < best:
            best, best_k = values[k], k
    return best_k


@compiled
def _first_neighbours(
    n: int, rapidity: FloatArray, phi: FloatArray, nearest: FloatArray, neighbour: IntArray, d2: FloatArray
) -> None:
    """Nearest neighbours of all slots, each pair looked at once; ``d2`` has room for n + 1 values."""
    nearest[:n] = np.inf
    for i in range(1, n):
        _distances(i, i, rapidity, phi, d2)
        best, best_k = np.inf, 0
        for k in range(i):
            if d2[k] < best:
                best, best_k = d2[k], k
            if d2[k] < nearest[k]:
                nearest[k], neighbour[k] = d2[k], i
        nearest[i], neighbour[i] = best, best_k


@compiled
def _mend_neighbours(
    m: int,
    i: int,
    j: int,
    slots: tuple[FloatArray, FloatArray, FloatArray],
    nearest: FloatArray,
    neighbour: IntArray,
    d_ij: FloatArray,
    d2: FloatArray,
    stale: IntArray,
) -> None:
    """Neighbours after slot ``i`` became the sum of ``i`` and ``j`` and slot ``m`` moved to ``j``."""
    rapidity, phi, weight = slots
    _distances(i, m, rapidity, phi, d2)
    nearest[i] = -1.0  # is set below
    best, best_k, n_stale = np.inf, 0, 0
    for k in range(m):
        if d2[k] < best:
            best, best_k = d2[k], k
        # no closer slot than the old neighbour: if the sum is as close, it is the new neighbour
        if d2[k] <= nearest[k]:
            nearest[k], neighbour[k] = d2[k], i
            d_ij[k] = d2[k] * min(weight[k], weight[i])
        elif neighbour[k] == m and j != m:
            neighbour[k] = j
        elif k != i and (neighbour[k] == i or neighbour[k] == j):
            stale[n_stale] = k
            n_stale += 1
    nearest[i], neighbour[i] = best, best_k
    d_ij[i] = best * min(weight[i], weight[best_k])
    for k in stale[:n_stale]:
        _distances(k, m, rapidity, phi, d2)
        neighbour[k] = _smallest(d2, m)
        nearest[k] = d2[neighbour[k]]
        d_ij[k] = nearest[k] * min(weight[k], weight[neighbour[k]])


@compiled
def _recombine(nodes: FloatArray, new: int, a: int, b: int, parents: IntArray, child: IntArray) -> None:
    """Make node ``new`` the sum of the nodes ``a`` and ``b``."""
    for q in range(4):
        nodes[q, new] = nodes[q, a] + nodes[q, b]
    complete_node(nodes, new)
    parents[0, new], parents[1, new] = a, b
    child[a], child[b], child[new] = new, new, -1


@compiled
def cluster(nodes: FloatArray, n: int, algorithm: int, parents: IntArray, child: IntArray) -> None:
    """Recombine ``n`` ≥ 1 particles into one jet.

    Parameters
    ----------
    nodes : array (7, ≥ 2n)
        px, py, pz, E (GeV), rapidity, azimuth (rad), pT² (GeV²); the first ``n`` columns are the particles,
        the others are filled with the recombined nodes in order.
    n : int
        Number of particles.
    algorithm : int
        ``KT`` or ``CAMBRIDGE``.
    parents : array (2, ≥ 2n)
        Filled with the two nodes that each recombined node was made of.
    child : array (≥ 2n)
        Filled with the node that each node went into, −1 for the last.
    """
    rapidity, phi = nodes[RAPIDITY, :n].copy(), nodes[PHI, :n].copy()
    weight = nodes[PT2, :n].copy() if algorithm == KT else np.ones(n)
    nearest, d_ij, d2 = np.empty(n), np.empty(n), np.empty(n + 1)
    neighbour, stale, node_of = np.zeros(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.arange(n)
    child[:n] = -1
    _first_neighbours(n, rapidity, phi, nearest, neighbour, d2)
    for i in range(n):
        d_ij[i] = nearest[i] * min(weight[i], weight[neighbour[i]])
    for m in range(n - 1, 0, -1):  # m: slots left after this step, and the slot that falls free
        i = _smallest(d_ij, m + 1)
        j = neighbour[i]
        if i > j:
            i, j = j, i
        new = 2 * n - 1 - m
        _recombine(nodes, new, node_of[i], node_of[j], parents, child)
        node_of[i], node_of[j] = new, node_of[m]
        rapidity[j], phi[j], weight[j] = rapidity[m], phi[m], weight[m]
        nearest[j], neighbour[j], d_ij[j] = nearest[m], neighbour[m], d_ij[m]
        rapidity[i], phi[i] = nodes[RAPIDITY, new], nodes[PHI, new]
        weight[i] = nodes[PT2, new] if algorithm == KT else 1.0
        _mend_neighbours(m, i, j, (rapidity, phi, weight), nearest, neighbour, d_ij, d2, stale)


@compiled
def is_exclusive(child: IntArray, n: int, n_jets: int, k: int) -> bool:
    """Whether node ``k`` is one of the ``n_jets`` ≤ n exclusive jets of a history of ``n`` particles."""
    made_before = 2 * n - n_jets
    return bool(k < made_before and (child[k] < 0 or child[k] >= made_before))
