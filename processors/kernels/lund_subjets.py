"""Splittings of each exclusive subjet, and products of tables over them, on flat buffers."""

from typing import NamedTuple

import numpy as np

from data.types import BoolArray, FloatArray, IntArray
from processors.kernels.clustering import (
    CAMBRIDGE,
    KT,
    PX,
    E,
    cluster,
    complete_node,
    largest_jet,
    load_jet,
    new_nodes,
)
from processors.kernels.compiled import compiled
from processors.kernels.lund import N_LUND, primary_splittings
from processors.kernels.subjets import fill_subjets


class FlatSubjets(NamedTuple):
    """Subjets of all jets and the splittings of each, end to end.

    Attributes
    ----------
    momenta : array (n_subjets, 4)
        px, py, pz, E (GeV); in a jet the hardest (pT) first.
    counts : array (n_jets,)
        Subjets of each jet.
    delta, kt : array (n_splittings,)
        Angle (rad) and transverse momentum (GeV) of the splittings on the primary plane, the last recombination first.
    n_splittings : array (n_subjets,)
        Splittings of each subjet.
    """

    momenta: FloatArray
    counts: IntArray
    delta: FloatArray
    kt: FloatArray
    n_splittings: IntArray


@compiled
def _load_members(nodes: FloatArray, rank: IntArray, n: int, subjet: int, into: FloatArray) -> int:
    """Copy the particles of a subjet to the first nodes of another history; return their number."""
    size = 0
    for k in range(n):
        if rank[k] == subjet:
            for q in range(PX, E + 1):
                into[q, size] = nodes[q, k]
            complete_node(into, size)
            size += 1
    return size


@compiled
def flat_lund_subjets(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    n_subjets: IntArray,
    algorithm: int,
) -> FlatSubjets:
    """Exclusive kT subjets of every jet and the primary Lund splittings of each.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    n_subjets : array (n_jets,)
        Number of subjets of each jet, at least 1; a jet of fewer particles has one subjet a particle.
    algorithm : int
        ``CAMBRIDGE``: each subjet is reclustered; ``KT``: its part of the jet's history is followed.

    Returns
    -------
    FlatSubjets
    """
    n_jets = len(offsets) - 1
    most = max(1, n_subjets.max()) if n_jets else 1
    momenta, counts = np.empty((n_subjets.sum(), 4)), np.zeros(n_jets, dtype=np.int64)
    splittings, n_splittings = np.empty((N_LUND, len(px) + 1)), np.zeros(n_subjets.sum(), dtype=np.int64)
    largest = largest_jet(offsets)
    nodes, own = new_nodes(largest), new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents, rank = np.empty((2, 2 * largest + 2), dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    own_parents, own_child = np.empty_like(parents), np.empty_like(child)
    top = np.empty(most, dtype=np.int64)
    row, first = 0, 0
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        cluster(nodes, n, KT, parents, child)
        found = min(n_subjets[jet], n)
        fill_subjets(nodes, child, n, found, momenta[row : row + found], rank)
        for k in range(2 * n - found):  # a subjet is made after all that it is made of
            top[rank[k]] = k
        for s in range(found):
            if algorithm == CAMBRIDGE:
                size = _load_members(nodes, rank, n, s, own)
                cluster(own, size, CAMBRIDGE, own_parents, own_child)
                made = primary_splittings(own, own_parents, size, 2 * size - 2, splittings, first)
            else:
                made = primary_splittings(nodes, parents, n, top[s], splittings, first)
            n_splittings[row + s] = made
            first += made
        counts[jet] = found
        row += found
    delta, kt = splittings[0, :first].copy(), splittings[1, :first].copy()
    return FlatSubjets(momenta[:row].copy(), counts, delta, kt, n_splittings[:row].copy())


@compiled
def _factor(
    ratio: FloatArray,
    coefficients: FloatArray,
    plane: int,
    cell: int,
    x: float,
    limits: tuple[float, float],
) -> float:
    """Factor of one splitting in one table: its cell's ratio, beyond the measured planes that of the polynomial in x."""
    if cell < 0:
        return 1.0
    if plane >= 0:
        return float(ratio[plane, cell])
    c = coefficients[-1 - plane, cell]
    return float(min(max(c[0] + x * (c[1] + x * c[2]), limits[0]), limits[1]))


@compiled
def flat_table_products(
    counts: IntArray,
    used: BoolArray,
    planes: IntArray,
    inverse_pt: FloatArray,
    offsets: IntArray,
    cells: IntArray,
    ratios: FloatArray,
    coefficients: FloatArray,
    factors: FloatArray,
    limits: tuple[float, float],
) -> FloatArray:
    """Products of several tables over the splittings of the subjets of each jet.

    Parameters
    ----------
    counts : array (n_jets,)
        Subjets of each jet.
    used : array (n_subjets,)
        Whether a subjet counts.
    planes : array (n_subjets,)
        Plane of each subjet's pT; −1 and −2 for one below and above all that are measured, where the first and second
        set of ``coefficients`` counts.
    inverse_pt : array (n_subjets,)
        1/pT (1/GeV) of each subjet.
    offsets : array (n_subjets + 1,)
        First splitting of each subjet, and the end.
    cells : array (n_splittings,)
        Cell in the plane; negative ones give no factor.
    ratios : array (n_tables, n_planes, n_cells)
        Factors, within ``limits``.
    coefficients : array (n_tables, 2, n_cells, 3)
        Polynomials in 1/pT of the factors beyond the measured range.
    factors : array (n_planes,)
        One more factor of each subjet; beyond the measured range that of the first or last plane.
    limits : (float, float)
        Range that the polynomials' values are clipped to.

    Returns
    -------
    array (n_tables, n_jets)
    """
    n_tables, n_planes = ratios.shape[0], ratios.shape[1]
    products = np.ones((n_tables, len(counts)))
    for table in range(n_tables):
        subjet = -1
        for jet in range(len(counts)):
            product = 1.0
            for _ in range(counts[jet]):
                subjet += 1
                if not used[subjet]:
                    continue
                plane, x = planes[subjet], inverse_pt[subjet]
                product *= factors[plane if plane >= 0 else (-1 - plane) * (n_planes - 1)]
                for row in range(offsets[subjet], offsets[subjet + 1]):
                    product *= _factor(ratios[table], coefficients[table], plane, cells[row], x, limits)
            products[table, jet] = product
    return products


@compiled
def nearest_subjets(
    eta: FloatArray,
    phi: FloatArray,
    counts: IntArray,
    quark_eta: FloatArray,
    quark_phi: FloatArray,
    quark_counts: IntArray,
) -> tuple[IntArray, FloatArray, IntArray, FloatArray]:
    """For each subjet the nearest quark of its jet, and for each quark the nearest subjet.

    Parameters
    ----------
    eta, phi : array (n_subjets,)
        Pseudorapidity and azimuth (rad) of the subjets of all jets, end to end.
    counts : array (n_jets,)
        Subjets of each jet.
    quark_eta, quark_phi : array (n_quarks,)
        The same of the quarks.
    quark_counts : array (n_jets,)
        Quarks of each jet.

    Returns
    -------
    quark, quark_distance : array (n_subjets,)
        Row of the quark, −1 for none, and its ΔR (rad), inf for none.
    subjet, subjet_distance : array (n_quarks,)
        Row of the subjet, −1 for none, and its ΔR (rad), inf for none.
    """
    quark, quark_distance = np.full(len(eta), -1, dtype=np.int64), np.full(len(eta), np.inf)
    subjet, subjet_distance = np.full(len(quark_eta), -1, dtype=np.int64), np.full(len(quark_eta), np.inf)
    first, first_quark = 0, 0
    for jet in range(len(counts)):
        for s in range(first, first + counts[jet]):
            for q in range(first_quark, first_quark + quark_counts[jet]):
                d_phi = abs(phi[s] - quark_phi[q]) % (2.0 * np.pi)
                distance = np.hypot(eta[s] - quark_eta[q], min(d_phi, 2.0 * np.pi - d_phi))
                if distance < quark_distance[s]:
                    quark[s], quark_distance[s] = q, distance
                if distance < subjet_distance[q]:
                    subjet[q], subjet_distance[q] = s, distance
        first += counts[jet]
        first_quark += quark_counts[jet]
    return quark, quark_distance, subjet, subjet_distance
