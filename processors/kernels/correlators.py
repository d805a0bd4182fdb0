"""Energy correlation functions on flat buffers.

A. Larkoski, G. Salam, J. Thaler, JHEP 06 (2013) 108; with the v smallest of the pairwise angles,
I. Moult, L. Necib, J. Thaler, JHEP 12 (2016) 153.

Sums over ordered tuples i < j < k (< l) run innermost over the last particle and are kept apart for each value of
it until the end: without branches and without a sum to carry, so that the loops run as vector instructions.
"""

import math

import numpy as np

from data.types import FloatArray, IntArray
from processors.kernels.clustering import PHI, PT2, RAPIDITY, distance2, largest_jet, load_jet, new_nodes
from processors.kernels.compiled import compiled

N_CORRELATORS = 5
"""1e2, 1e3, 2e3, 3e3, 2e4, in this order."""


@compiled
def _angles_and_shares(nodes: FloatArray, n: int, beta: float, angles: FloatArray, z: FloatArray) -> None:
    """Fill ``angles`` with ΔR^β of all pairs, and ``z`` with the shares of the sum of pT."""
    total = 0.0
    for i in range(n):
        z[i] = math.sqrt(nodes[PT2, i])
        total += z[i]
        angles[i, i] = 0.0
        for j in range(i):
            d2 = distance2(nodes[RAPIDITY, i], nodes[PHI, i], nodes[RAPIDITY, j], nodes[PHI, j])
            angles[i, j] = math.sqrt(d2) if beta == 1.0 else d2 ** (0.5 * beta)
            angles[j, i] = angles[i, j]
    for i in range(n):
        z[i] /= total


@compiled
def _two_and_three_points(
    n: int, angles: FloatArray, z: FloatArray, sums: FloatArray, out: FloatArray
) -> None:
    """Fill ``out[0:4]`` with 1e2, 1e3, 2e3 and 3e3; ``sums`` (4, ≥ n) is room to work in."""
    sums[:, :n] = 0.0
    for i in range(1, n):
        row_i = angles[i]
        for k in range(i):
            sums[0, k] += z[i] * row_i[k]
        for j in range(1, i):
            zz, s, row_j = z[i] * z[j], row_i[j], angles[j]
            for k in range(j):
                a, b = row_i[k], row_j[k]
                low, high = min(a, b), max(a, b)
                one = min(low, s)
                two = max(low, min(high, s))
                sums[1, k] += zz * one
                sums[2, k] += zz * (one * two)
                sums[3, k] += zz * (a * b * s)
    for q in range(4):
        total = 0.0
        for k in range(n):
            total += z[k] * sums[q, k]
        out[q] = total


@compiled
def _four_points(n: int, angles: FloatArray, z: FloatArray, work: FloatArray) -> float:
    """2e4: sum over quadruples of the product of the two smallest of six angles; ``work`` is (3, ≥ n).

    The two smallest of a quadruple are among the two smallest of the triangle (i, j, k) and the two smallest of
    the three angles to l; of the latter, the order of the angles of i and j to l is shared by all k.
    """
    low, high, sums = work[0], work[1], work[2]
    sums[:n] = 0.0
    for i in range(2, n):
        for j in range(2, i):
            s, row_i, row_j = angles[i, j], angles[i], angles[j]
            for m in range(j):
                low[m], high[m] = min(row_i[m], row_j[m]), max(row_i[m], row_j[m])
            for k in range(1, j):
                zzz, row_k = z[i] * z[j] * z[k], angles[k]
                first = min(low[k], s)
                second = max(low[k], min(high[k], s))
                for m in range(k):
                    c = row_k[m]
                    one = min(low[m], c)
                    two = min(high[m], max(low[m], c))
                    smaller = min(second, two)
                    sums[m] += zzz * (min(first, one) * min(max(first, one), smaller))
    total = 0.0
    for m in range(n):
        total += z[m] * sums[m]
    return total


@compiled
def flat_energy_correlators(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    beta: float,
    four: bool,
) -> FloatArray:
    """Energy correlation functions of every jet.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    beta : float
        Angular exponent.
    four : bool
        Whether to sum over quadruples, too.

    Returns
    -------
    array (n_jets, N_CORRELATORS)
        1e2, 1e3, 2e3, 3e3 and 2e4 (0 unless ``four``).
    """
    n_jets = len(offsets) - 1
    out = np.zeros((n_jets, N_CORRELATORS), dtype=np.float64)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, z = np.empty(largest, dtype=np.int64), np.empty(largest, dtype=np.float64)
    angles, work = np.empty((largest, largest), dtype=np.float64), np.empty((4, largest), dtype=np.float64)
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n < 2:
            continue
        _angles_and_shares(nodes, n, beta, angles, z)
        _two_and_three_points(n, angles, z, work, out[jet])
        if four:
            out[jet, 4] = _four_points(n, angles, z, work)
    return out
