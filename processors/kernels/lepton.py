"""Lepton subjet fraction on flat buffers (C. Brust et al., JHEP 04 (2015) 079)."""

import math

import numpy as np

from data.types import BoolArray, FloatArray, IntArray
from processors.kernels.clustering import KT, PT2, cluster, is_exclusive, load_jet, new_nodes
from processors.kernels.compiled import compiled


@compiled
def _hardest_lepton(nodes: FloatArray, origin: IntArray, n: int, is_lepton: BoolArray) -> int:
    """Node of the particle of largest pT among the leptons, −1 without one."""
    best = -1
    for k in range(n):
        if is_lepton[origin[k]] and (best < 0 or nodes[PT2, k] > nodes[PT2, best]):
            best = k
    return best


@compiled
def flat_lsf(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    is_lepton: BoolArray,
    n_subjets: int,
) -> FloatArray:
    """Lepton subjet fraction of every jet.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    is_lepton : array (n_particles,)
        Which particles are electrons or muons.
    n_subjets : int
        Number of exclusive kT subjets; a jet of fewer particles has one subjet a particle.

    Returns
    -------
    array (n_jets,)
        pT of the hardest lepton over pT of the subjet that it is in; 0 without a lepton.
    """
    n_jets = len(offsets) - 1
    fraction = np.zeros(n_jets, dtype=np.float64)
    largest = 0
    for jet in range(n_jets):
        largest = max(largest, offsets[jet + 1] - offsets[jet])
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents = np.empty((2, 2 * largest + 2), dtype=np.int64)
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        lepton = _hardest_lepton(nodes, origin, n, is_lepton)
        if lepton < 0:
            continue
        cluster(nodes, n, KT, parents, child)
        k = lepton
        while not is_exclusive(child, n, min(n_subjets, n), k):
            k = child[k]
        if nodes[PT2, k] > 0.0:
            fraction[jet] = math.sqrt(nodes[PT2, lepton] / nodes[PT2, k])
    return fraction
