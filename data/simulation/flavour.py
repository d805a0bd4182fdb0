"""b-tag scores of subjets, drawn from published efficiencies by the true flavour of displaced hadrons.

The score stands for DeepCSV's P(b) + P(bb). Working points of 2017 and their probabilities for b, c and light jets in
tt̄ events (pT > 20 GeV): loose 0.1522 (84 %, 41 %, 11 %), medium 0.4941 (68 %, 12 %, 1.1 %), tight 0.8001 (50 %, 2.4 %,
0.1 %) [1]. Between them the survival function is interpolated, exponentially in the score. Subjets of any pT have
the same probabilities: a simplification, b tagging is worse in subjets above 1 TeV.

References
----------
[1] CMS, "Identification of heavy-flavour jets with the CMS detector in pp collisions at 13 TeV", arXiv:1712.07158.
"""

import numpy as np

from data.simulation.generator import Particles
from data.types import FloatArray, IntArray

MATCH_RADIUS = 0.4
_SCORES = np.array([0.0, 0.1522, 0.4941, 0.8001, 1.0])
_SURVIVAL = {  # probability to lie above each score; the last one ends the exponential
    5: np.array([1.0, 0.84, 0.68, 0.50, 0.05]),
    4: np.array([1.0, 0.41, 0.12, 0.024, 1e-3]),
    0: np.array([1.0, 0.11, 0.011, 0.001, 5e-5]),
}


def hadron_flavour(pdg_id: IntArray) -> IntArray:
    """Heaviest quark of a b or c hadron.

    Parameters
    ----------
    pdg_id
        PDG numbers, shape (n,).

    Returns
    -------
    array (n,) of int64
        5 or 4.
    """
    size = np.abs(pdg_id)
    flavour: IntArray = np.maximum((size // 100) % 10, (size // 1000) % 10)
    return flavour


def subjet_flavour(event: IntArray, eta: FloatArray, phi: FloatArray, heavy: Particles) -> IntArray:
    """Flavour of each subjet: 5 or 4 if such a hadron lies nearest to it within ΔR < 0.4, else 0.

    Parameters
    ----------
    event, eta, phi : array (n,)
        The subjets, sorted by event.
    heavy
        b and c hadrons, sorted by event.

    Returns
    -------
    array (n,) of int64
        5, 4 or 0.
    """
    flavour = np.zeros(len(event), dtype=np.int64)
    low, high = np.searchsorted(event, heavy.event), np.searchsorted(event, heavy.event, side="right")
    count = high - low
    pair_hadron = np.repeat(np.arange(len(count)), count)
    start = np.concatenate(([0], np.cumsum(count)))
    pair_subjet = low[pair_hadron] + np.arange(start[-1]) - start[pair_hadron]
    if len(pair_subjet) == 0:
        return flavour
    hadron_eta = np.arcsinh(heavy.pz / np.hypot(heavy.px, heavy.py))
    hadron_phi = np.arctan2(heavy.py, heavy.px)
    d_phi = np.abs(phi[pair_subjet] - hadron_phi[pair_hadron])
    distance = np.hypot(eta[pair_subjet] - hadron_eta[pair_hadron], np.minimum(d_phi, 2 * np.pi - d_phi))
    # A hadron tags one subjet: the nearest. Sorted so, the first pair of each hadron is that one.
    order = np.lexsort((distance, pair_hadron))
    hadron_first = pair_hadron[order]
    nearest = order[np.concatenate(([True], hadron_first[1:] != hadron_first[:-1]))]
    nearest = nearest[distance[nearest] < MATCH_RADIUS]
    np.maximum.at(flavour, pair_subjet[nearest], hadron_flavour(heavy.pdg_id)[pair_hadron[nearest]])
    return flavour


def b_score(flavour: IntArray, uniform: FloatArray) -> FloatArray:
    """b-tag score in [0, 1] from a flavour and a uniform random number.

    Parameters
    ----------
    flavour : array (n,)
        5, 4 or 0.
    uniform : array (n,)
        In (0, 1): the probability to lie above the score.

    Returns
    -------
    array (n,)
        The score.
    """
    score = np.empty(len(flavour), dtype=np.float64)
    for which, survival in _SURVIVAL.items():
        rows = flavour == which
        # np.interp needs an ascending abscissa: −ln of the survival probability.
        score[rows] = np.interp(-np.log(uniform[rows]), -np.log(survival), _SCORES)
    return score
