"""All substructure of a jet from one kT and one Cambridge/Aachen history, on flat buffers."""

from typing import NamedTuple

import numpy as np

from data.types import FloatArray, IntArray
from processors.kernels.clustering import CAMBRIDGE, KT, cluster, largest_jet, load_jet, new_nodes
from processors.kernels.compiled import compiled
from processors.kernels.grooming import groom
from processors.kernels.lepton import flat_lepton_fraction
from processors.kernels.lund import N_LUND, primary_splittings
from processors.kernels.taus import fill_taus


class FlatFeatures(NamedTuple):
    """Substructure of all jets.

    Attributes
    ----------
    taus : array (n_jets, n_tau)
        N-subjettiness τ_1, τ_2, … with one-pass kT axes, β = 1.
    groomed : array (n_jets, 4)
        px, py, pz, E (GeV) of the soft-drop jet.
    prongs : array (n_jets, 2, 4)
        The same of its prongs, the harder (pT) first; 0 where no declustering passes.
    delta_r, z : array (n_jets,)
        Distance (rad) and momentum share of the prongs; 0 where there are none.
    lsf : array (n_jets,)
        Lepton subjet fraction; 0 without a lepton.
    n_particles : array (n_jets,)
        Number of particles, those of weight 0 included.
    lund : array (7, n_splittings)
        Primary Cambridge/Aachen splittings of all jets, end to end; rows as of ``kernels.lund``.
    n_lund : array (n_jets,)
        Number of splittings of each jet.
    """

    taus: FloatArray
    groomed: FloatArray
    prongs: FloatArray
    delta_r: FloatArray
    z: FloatArray
    lsf: FloatArray
    n_particles: IntArray
    lund: FloatArray
    n_lund: IntArray


@compiled
def flat_features(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    weights: FloatArray,
    lepton_row: IntArray,
    lepton_pt: FloatArray,
    n_tau: int,
    n_subjets: int,
    cut: tuple[float, float, float],
) -> FlatFeatures:
    """Substructure of every jet, each jet loaded and clustered once for all of it.

    The lepton subjet fraction alone is of the momenta without their weights, and takes a history of its own for the
    jets with a lepton.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end, without weights; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    weights : array (n_particles,)
        Weights of the momenta (PUPPI), at least 0.
    lepton_row, lepton_pt : array (n_jets,)
        Row of the particle that is the jet's lepton, −1 for none, and the lepton's pT (GeV).
    n_tau, n_subjets : int
        Largest N of τ_N and number of subjets of the lepton subjet fraction.
    cut : (float, float, float)
        z_cut and β of soft drop, and R0 (rad), of τ_N too.

    Returns
    -------
    FlatFeatures
    """
    n_jets = len(offsets) - 1
    taus, groomed, prongs = np.zeros((n_jets, n_tau)), np.zeros((n_jets, 4)), np.zeros((n_jets, 2, 4))
    delta_r, z, n_lund = np.zeros(n_jets), np.zeros(n_jets), np.zeros(n_jets, dtype=np.int64)
    lund = np.empty((N_LUND, len(px)), dtype=np.float64)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, child = np.empty(largest, dtype=np.int64), np.empty(2 * largest + 2, dtype=np.int64)
    parents = np.empty((2, 2 * largest + 2), dtype=np.int64)
    momenta, row = (px * weights, py * weights, pz * weights, e * weights), 0
    for jet in range(n_jets):
        n = load_jet(nodes, origin, momenta, offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        cluster(nodes, n, KT, parents, child)
        fill_taus(nodes, child, n, cut[2], 1.0, True, taus[jet])  # noqa: FBT003 - compiled: no keywords
        cluster(nodes, n, CAMBRIDGE, parents, child)
        delta_r[jet], z[jet] = groom(nodes, parents, n, cut, groomed[jet], prongs[jet])
        n_lund[jet] = primary_splittings(nodes, parents, n, 2 * n - 2, lund, row)
        row += n_lund[jet]
    lsf = flat_lepton_fraction(px, py, pz, e, offsets, lepton_row, lepton_pt, n_subjets)
    n_particles = offsets[1:] - offsets[:-1]
    return FlatFeatures(taus, groomed, prongs, delta_r, z, lsf, n_particles, lund[:, :row].copy(), n_lund)
