"""Sequential recombination of one jet's particles, with the whole history kept.

The distance is d_ij = min(pT_i, pT_j)^(2p) ΔR_ij² in rapidity and azimuth: p = 1 is the exclusive kT algorithm
(S. Catani, Y. Dokshitzer, M. Seymour, B. Webber, Nucl. Phys. B 406 (1993) 187), p = 0 Cambridge/Aachen
(Y. Dokshitzer, G. Leder, S. Moretti, B. Webber, JHEP 08 (1997) 001). There is no beam distance (R → ∞): all
particles end in one jet. Four-momenta are added (E-scheme), or the winner takes all: pT are added, the direction is
the harder particle's (D. Bertolini, T. Chan, J. Thaler, JHEP 04 (2014) 013). The smallest distance always belongs to a pair of
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

CAMBRIDGE, KT, WTA_KT = range(3)
"""Algorithms: Cambridge/Aachen and kT with added four-momenta, kT with winner-take-all recombination."""
LARGEST_KEY = 0x7FEFFFFFFFFFFFFF
"""Key of a free slot, or of one whose neighbour is to be found again: the largest finite distance."""
BLOCK = 32
"""Slots that a vectorised loop takes at a time, or a multiple of it."""
FAR = 1e150
"""Rapidity of a free slot: its distances are larger than all others, and finite."""


@compiled
def complete_node(nodes: FloatArray, k: int) -> None:
    """Fill rapidity, azimuth (rad) and pT² (GeV²) of a node from its four-momentum.

    Parameters
    ----------
    nodes
        Shape (7, …): px, py, pz, E (GeV), rapidity, azimuth (rad), pT² (GeV²); changed in place.
    k
        Column of the node.
    """
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
    """Squared distance ΔR² of two directions.

    Parameters
    ----------
    rapidity_a, rapidity_b
        Rapidities.
    phi_a, phi_b
        Azimuths (rad) within [−π, π].

    Returns
    -------
    float
        ΔR² (rad²).
    """
    d_phi = abs(phi_a - phi_b)
    if d_phi > math.pi:
        d_phi = 2.0 * math.pi - d_phi
    d_rapidity = rapidity_a - rapidity_b
    return d_rapidity * d_rapidity + d_phi * d_phi


@compiled
def new_nodes(n: int) -> FloatArray:
    """Room for the history of one jet.

    Parameters
    ----------
    n
        Most particles of a jet.

    Returns
    -------
    array (7, 2n + 2)
        Not filled.
    """
    return np.empty((N_QUANTITIES, 2 * n + 2), dtype=np.float64)


@compiled
def largest_jet(offsets: IntArray) -> int:
    """Number of particles of the largest jet.

    Parameters
    ----------
    offsets
        Shape (n_jets + 1,): first particle of each jet, and the end.

    Returns
    -------
    int
        0 without jets.
    """
    largest = 0
    for jet in range(len(offsets) - 1):
        largest = max(largest, offsets[jet + 1] - offsets[jet])
    return largest


@compiled
def load_jet(
    nodes: FloatArray,
    origin: IntArray,
    momenta: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    start: int,
    stop: int,
) -> int:
    """Fill the first nodes with the particles of a jet.

    Particles without transverse momentum (a PUPPI weight of 0) have no direction and are left out.

    Parameters
    ----------
    nodes
        Shape (7, ≥ stop − start): columns as of `cluster`; changed in place.
    origin
        Shape (≥ stop − start,): filled with the row of each node in the flat buffers.
    momenta
        px, py, pz, E (GeV) of all particles, each of shape (n_particles,).
    start, stop
        First row of the jet, and the end.

    Returns
    -------
    int
        Number of nodes filled.
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
def _key(distance: float, slot: int, mask: int) -> int:
    """Pack a distance ≥ 0 and the slot that it leads to into one integer, of the order of the distances.

    The last bits of the distance give way to the number of the slot. Bit patterns of positive floats are ordered
    as the floats are, and the least of many integers is found with vector instructions, which the least of many
    floats and its place are not.
    """
    return int((np.float64(distance).view(np.int64) & ~mask) | slot)


@compiled
def _distance_of(key: int, mask: int) -> float:
    """Undo ``_key``: the distance, but for its last bits."""
    return float(np.int64(key & ~mask).view(np.float64))


@compiled
def _mask_of_slots(n: int) -> int:
    """All bits that a slot number may take; no slot of ``n`` has them all set."""
    mask = 1
    while mask <= n:
        mask = 2 * mask + 1
    return mask


@compiled
def padded(m: int) -> int:
    """Round a number of slots up to whole blocks.

    Compilers unroll loops into blocks and run what is left over one by one, which would be all of a small jet.
    """
    return (m + BLOCK - 1) // BLOCK * BLOCK


@compiled
def _nearest(i: int, m: int, rapidity: FloatArray, phi: FloatArray, mask: int) -> int:
    """Key of the nearest neighbour of slot ``i`` among the first ``m`` slots and free ones."""
    best, rapidity_i, phi_i = LARGEST_KEY, rapidity[i], phi[i]
    for k in range(padded(m)):  # without branches, as the other loops, so that it runs as vector instructions
        d_phi = abs(phi[k] - phi_i)
        d_phi = min(d_phi, 2.0 * math.pi - d_phi)
        d_rapidity = rapidity[k] - rapidity_i
        key = _key(d_rapidity * d_rapidity + d_phi * d_phi, k, mask)
        best = min(best, LARGEST_KEY if k == i else key)
    return best


@compiled
def _mend_neighbours(
    m: int, i: int, j: int, rapidity: FloatArray, phi: FloatArray, near: IntArray, mask: int
) -> None:
    """Neighbours after slot ``i`` became the sum of ``i`` and ``j`` and slot ``m`` moved to ``j``."""
    rapidity_i, phi_i = rapidity[i], phi[i]
    for k in range(padded(m)):
        d_phi = abs(phi[k] - phi_i)
        d_phi = min(d_phi, 2.0 * math.pi - d_phi)
        d_rapidity = rapidity[k] - rapidity_i
        distance = _key(d_rapidity * d_rapidity + d_phi * d_phi, 0, mask)
        old = near[k]
        slot = old & mask
        kept = ((old & ~mask) | j) if slot == m else old
        kept = LARGEST_KEY if (slot == i) | (slot == j) else kept
        # no closer slot than the old neighbour: if the sum is as close, it is the new neighbour
        near[k] = (distance | i) if distance <= (old & ~mask) else kept
    near[i] = LARGEST_KEY
    for k in range(m):
        if near[k] == LARGEST_KEY:
            near[k] = _nearest(k, m, rapidity, phi, mask)


@compiled
def _closest_pair(near: IntArray, weight: FloatArray, m: int, algorithm: int, mask: int) -> tuple[int, int]:
    """Slots of the smallest distance d_ij among the first ``m`` slots, the smaller number first."""
    best = LARGEST_KEY
    if algorithm == CAMBRIDGE:
        for k in range(padded(m)):
            best = min(best, near[k])
    else:
        for k in range(padded(m)):
            d_ij = _distance_of(near[k], mask) * min(weight[k], weight[near[k] & mask])
            best = min(best, _key(d_ij, k, mask))
    i = best & mask
    j = near[i] & mask
    return min(i, j), max(i, j)


@compiled
def _recombine(nodes: FloatArray, new: int, a: int, b: int, algorithm: int) -> None:
    """Make node ``new`` the sum of the nodes ``a`` and ``b``."""
    if algorithm != WTA_KT:
        for q in range(4):
            nodes[q, new] = nodes[q, a] + nodes[q, b]
        complete_node(nodes, new)
        return
    hard = a if nodes[PT2, a] >= nodes[PT2, b] else b
    pt = math.sqrt(nodes[PT2, a]) + math.sqrt(nodes[PT2, b])
    for q in range(4):
        nodes[q, new] = nodes[q, hard] * (pt / math.sqrt(nodes[PT2, hard]))
    nodes[RAPIDITY, new], nodes[PHI, new], nodes[PT2, new] = nodes[RAPIDITY, hard], nodes[PHI, hard], pt * pt


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
        ``KT``, ``CAMBRIDGE`` or ``WTA_KT``.
    parents : array (2, ≥ 2n)
        Filled with the two nodes that each recombined node was made of.
    child : array (≥ 2n)
        Filled with the node that each node went into, −1 for the last.
    """
    room, mask = padded(n), _mask_of_slots(padded(n))
    rapidity, phi, weight = np.full(room, FAR), np.zeros(room), np.ones(mask + 1)
    rapidity[:n], phi[:n], weight[:n] = nodes[RAPIDITY, :n], nodes[PHI, :n], nodes[PT2, :n]
    near, node_of = np.full(room, LARGEST_KEY), np.arange(n)
    child[:n] = -1
    for i in range(n):
        near[i] = _nearest(i, n, rapidity, phi, mask)
    for m in range(n - 1, 0, -1):  # m: slots left after this step, and the slot that falls free
        i, j = _closest_pair(near, weight, m + 1, algorithm, mask)
        a, b, new = node_of[i], node_of[j], 2 * n - 1 - m
        _recombine(nodes, new, a, b, algorithm)
        parents[0, new], parents[1, new] = a, b
        child[a], child[b], child[new] = new, new, -1
        node_of[i], node_of[j] = new, node_of[m]
        rapidity[j], phi[j], weight[j], near[j] = rapidity[m], phi[m], weight[m], near[m]
        rapidity[m], near[m] = FAR, LARGEST_KEY
        rapidity[i], phi[i], weight[i] = nodes[RAPIDITY, new], nodes[PHI, new], nodes[PT2, new]
        _mend_neighbours(m, i, j, rapidity, phi, near, mask)


@compiled
def is_exclusive(child: IntArray, n: int, n_jets: int, k: int) -> bool:
    """Whether a node is one of the exclusive jets of a history.

    Parameters
    ----------
    child
        Shape (≥ 2n − 1,): the node that each node went into, as `cluster` fills it.
    n
        Particles of the history.
    n_jets
        Number of exclusive jets, at most n.
    k
        The node.

    Returns
    -------
    bool
        True for ``n_jets`` of the nodes.
    """
    made_before = 2 * n - n_jets
    return bool(k < made_before and (child[k] < 0 or child[k] >= made_before))
