"""Lepton subjet fraction on flat buffers (C. Brust et al., JHEP 04 (2015) 079)."""

import math

import numpy as np

from data.types import BoolArray, FloatArray, IntArray
from processors.kernels.clustering import (
    KT,
    PT2,
    cluster,
    is_exclusive,
    largest_jet,
    load_jet,
    new_nodes,
)
from processors.kernels.compiled import compiled


@compiled
def hardest_leptons(px: FloatArray, py: FloatArray, offsets: IntArray, is_lepton: BoolArray) -> IntArray:
    """Row of the lepton of largest pT of each jet.

    Parameters
    ----------
    px, py : array (n_particles,)
        Transverse momenta (GeV) of the particles of all jets, end to end.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    is_lepton : array (n_particles,)
        Which particles are electrons or muons.

    Returns
    -------
    array (n_jets,)
        Row in the flat buffers; −1 in a jet without a lepton.
    """
    rows = np.full(len(offsets) - 1, -1, dtype=np.int64)
    for jet in range(len(rows)):
        largest = 0.0
        for row in range(offsets[jet], offsets[jet + 1]):
            pt2 = px[row] * px[row] + py[row] * py[row]
            if is_lepton[row] and pt2 > largest:
                rows[jet], largest = row, pt2
    return rows


@compiled
def nearest_particles(
    px: FloatArray, py: FloatArray, pz: FloatArray, offsets: IntArray, eta: FloatArray, phi: FloatArray
) -> IntArray:
    """Row of the particle of each jet that is nearest, in pseudorapidity and azimuth, to a direction.

    Parameters
    ----------
    px, py, pz : array (n_particles,)
        Momenta (GeV) of the particles of all jets, end to end.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    eta, phi : array (n_jets,)
        A direction (rad) for each jet; NaN for none.

    Returns
    -------
    array (n_jets,)
        Row in the flat buffers; −1 without a direction, or without a particle with transverse momentum.
    """
    rows = np.full(len(offsets) - 1, -1, dtype=np.int64)
    for jet in range(len(rows)):
        smallest = np.inf
        for row in range(offsets[jet], offsets[jet + 1]):
            pt = math.hypot(px[row], py[row])
            if pt == 0.0:
                continue
            d_phi = math.atan2(py[row], px[row]) - phi[jet]
            d_phi = math.atan2(math.sin(d_phi), math.cos(d_phi))  # from −π to π
            distance = math.hypot(math.asinh(pz[row] / pt) - eta[jet], d_phi)
            if distance < smallest:  # never so for NaN
                rows[jet], smallest = row, distance
    return rows


@compiled
def _subjet_pt(
    nodes: FloatArray, origin: IntArray, child: IntArray, n: int, n_subjets: int, row: int
) -> float:
    """Transverse momentum (GeV) of the exclusive subjet that particle ``row`` is in; 0 if it was left out."""
    k = int(np.searchsorted(origin[:n], row))  # particles are loaded in the order of their rows
    if k == n or origin[k] != row:
        return 0.0
    while not is_exclusive(child, n, min(n_subjets, n), k):
        k = child[k]
    return math.sqrt(nodes[PT2, k])


@compiled
def flat_lepton_fraction(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    lepton_row: IntArray,
    lepton_pt: FloatArray,
    n_subjets: int,
) -> FloatArray:
    """Lepton subjet fraction of every jet, for leptons that are known.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    lepton_row : array (n_jets,)
        Row in the flat buffers of the particle that is the lepton of a jet; −1 for none.
    lepton_pt : array (n_jets,)
        Transverse momentum (GeV) of the lepton, measured as a particle of the jet or apart from it.
    n_subjets : int
        Number of exclusive kT subjets; a jet of fewer particles has one subjet a particle.

    Returns
    -------
    array (n_jets,)
        pT of the lepton over pT of the subjet that it is in; 0 without a lepton.
    """
    fraction = np.zeros(len(offsets) - 1, dtype=np.float64)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents = np.empty((2, 2 * largest + 2), dtype=np.int64)
    for jet in range(len(fraction)):
        if lepton_row[jet] < 0:
            continue
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        cluster(nodes, n, KT, parents, child)
        below = _subjet_pt(nodes, origin, child, n, n_subjets, lepton_row[jet])
        if below > 0.0:
            fraction[jet] = lepton_pt[jet] / below
    return fraction


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
    """Lepton subjet fraction of every jet, for its hardest lepton.

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
    rows = hardest_leptons(px, py, offsets, is_lepton)
    pt = np.zeros(len(rows), dtype=np.float64)
    for jet in range(len(rows)):
        if rows[jet] >= 0:
            pt[jet] = math.hypot(px[rows[jet]], py[rows[jet]])
    return flat_lepton_fraction(px, py, pz, e, offsets, rows, pt, n_subjets)
