"""Jet charge, pT dispersion and multiplicity of awkward arrays jets × particles."""

from typing import Any

import numpy as np

from data.errors import InputError
from data.types import FloatArray
from processors.kernels.buffers import FlatJets, flat_column, flat_jets
from processors.option_checks import check_positive
from processors.ragged import owners


def _sums(values: FloatArray, jets: FlatJets) -> FloatArray:
    """Sum of ``values`` (n_particles,) over the particles of each jet, in their order."""
    counts = np.diff(jets.offsets)
    # bincount adds up in order; counts of no particle at all would be integers
    return np.bincount(owners(counts), weights=values, minlength=counts.size).astype(np.float64)


def jet_charge(particles: Any, charge: Any, *, kappa: float = 0.5, weights: Any = None) -> FloatArray:
    """Jet charge Q_κ = Σ q pT^κ / pT,jet^κ, with the pT of the sum of the particles below.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    charge : awkward array (n_jets, particles)
        Electric charges in units of e.
    kappa : float
        Exponent, positive.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    array (n_jets,)
        0 for a jet without transverse momentum, an empty jet included.

    Raises
    ------
    ConfigError
        If ``kappa`` is not a positive number.
    InputError
        If momenta, charges or weights are missing, not finite or of another shape than the particles; the message
        names the jet.

    References
    ----------
    D. Krohn, M. Schwartz, T. Lin, W. Waalewijn, Phys. Rev. Lett. 110 (2013) 212001.
    """
    check_positive(kappa=kappa)
    jets = flat_jets(particles, weights)
    charges, offsets = flat_column(charge, "charge")
    if not np.array_equal(offsets, jets.offsets):
        msg = "charge has not one value for each particle of each jet: take it from the same particles"
        raise InputError(msg)
    charges = charges.astype(np.float64)
    if not np.all(np.isfinite(charges)):
        jet = int(np.searchsorted(offsets, np.argmin(np.isfinite(charges)), side="right")) - 1
        msg = f"charge of a particle in jet {jet} is not finite: drop the particle or jet (particles[mask])"
        raise InputError(msg)
    pt_jet = np.hypot(_sums(jets.px, jets), _sums(jets.py, jets))
    above = _sums(charges * np.hypot(jets.px, jets.py) ** kappa, jets)
    return np.divide(above, pt_jet**kappa, out=np.zeros_like(above), where=pt_jet > 0.0)


def pt_dispersion(particles: Any, *, weights: Any = None) -> FloatArray:
    """PT dispersion pTD = √(Σ pT²) / Σ pT: 1 for one particle, 1/√n for n particles of the same pT.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    array (n_jets,)
        0 for a jet without transverse momentum, an empty jet included.

    Raises
    ------
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.

    References
    ----------
    CMS Collaboration, CMS-PAS-JME-13-002.
    """
    jets = flat_jets(particles, weights)
    pt = np.hypot(jets.px, jets.py)
    above, below = np.sqrt(_sums(pt * pt, jets)), _sums(pt, jets)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)


def multiplicity(particles: Any, *, weights: Any = None) -> FloatArray:
    """Number of particles of each jet, or the sum of their weights (the PUPPI multiplicity).

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    weights : awkward array (n_jets, particles), optional
        Weights of the particles.

    Returns
    -------
    array (n_jets,)
        Without weights, particles without transverse momentum count, too.

    Raises
    ------
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.
    """
    jets = flat_jets(particles, weights)
    if weights is None:
        return np.diff(jets.offsets).astype(np.float64)
    return _sums(flat_column(weights, "weight")[0].astype(np.float64), jets)
