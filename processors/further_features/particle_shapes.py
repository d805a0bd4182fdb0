"""Shapes of jets that need their particles: pT dispersion, jet charge, and energy correlators of the groomed jet."""

from typing import Any

import awkward as ak
import numpy as np

from data.types import FloatArray, IntArray
from processors.chunks import Chunk
from processors.correlators import energy_correlators
from processors.further import jet_feature
from processors.jet_shapes import jet_charge, pt_dispersion
from processors.jets import Jets
from processors.particles import counted_records
from processors.subjets import soft_drop_mask


@jet_feature("pt_dispersion", "√(Σ pT²) / Σ pT of the jet's particles", particles=True)
def dispersion(_chunk: Chunk, jets: Jets, jet: IntArray) -> FloatArray:
    """PT dispersion of some jets; see `processors.jet_shapes.pt_dispersion`.

    Parameters
    ----------
    jets
        Jets of the chunk.
    jet
        Positions of some of them, shape (n,).

    Returns
    -------
    array (n,)
        In (0, 1]; 0 without particles.
    """
    return pt_dispersion(counted_records(jets.particle_jets.particles_of(jet))[0])


@jet_feature(
    "jet_charge", "pT-weighted charge of the jet's particles, κ = 0.5, in units of e", particles=True
)
def charge(_chunk: Chunk, jets: Jets, jet: IntArray) -> FloatArray:
    """Charge of some jets; see `processors.jet_shapes.jet_charge`.

    Parameters
    ----------
    jets
        Jets of the chunk.
    jet
        Positions of some of them, shape (n,).

    Returns
    -------
    array (n,)
        Units of e.
    """
    return jet_charge(*counted_records(jets.particle_jets.particles_of(jet)))


@jet_feature("d2", "energy correlator ratio D2 of the groomed jet, β = 1", particles=True)
def d2(_chunk: Chunk, jets: Jets, jet: IntArray) -> FloatArray:
    """D2 of some jets; see `processors.correlators.energy_correlators`.

    Parameters
    ----------
    jets
        Jets of the chunk.
    jet
        Positions of some of them, shape (n,).

    Returns
    -------
    array (n,)
        0 for a jet of too few particles.
    """
    return _correlator("d2", jets, jet)


@jet_feature("n2", "energy correlator ratio N2 of the groomed jet, β = 1", particles=True)
def n2(_chunk: Chunk, jets: Jets, jet: IntArray) -> FloatArray:
    """N2 of some jets; see `processors.correlators.energy_correlators`.

    Parameters
    ----------
    jets
        Jets of the chunk.
    jet
        Positions of some of them, shape (n,).

    Returns
    -------
    array (n,)
        0 for a jet of too few particles.
    """
    return _correlator("n2", jets, jet)


def _correlator(name: str, jets: Jets, jet: IntArray) -> FloatArray:
    records, _ = counted_records(jets.particle_jets.particles_of(jet))
    config = jets.config
    kept: Any = soft_drop_mask(records, z_cut=config.z_cut, beta=config.soft_drop_beta, R0=config.radius)
    values = ak.to_numpy(energy_correlators(records[kept])[name])
    return np.asarray(values, dtype=np.float64)
