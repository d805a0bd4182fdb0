"""Jet substructure of awkward arrays jets × particles: N-subjettiness, soft drop, lepton subjet fraction."""

from collections.abc import Sequence
from typing import Any, Literal

import awkward as ak
import numpy as np
import vector

from data.errors import ConfigError, InputError
from data.types import FloatArray
from processors.kernels.buffers import flat_column, flat_jets
from processors.kernels.grooming import flat_soft_drop
from processors.kernels.lepton import flat_lsf
from processors.kernels.taus import flat_nsubjettiness


def _check_positive(**options: float) -> None:
    """Refuse options that are not positive numbers."""
    for name, value in options.items():
        if not (np.isfinite(value) and value > 0):
            msg = f"{name} = {value!r} must be a positive number"
            raise ConfigError(msg)


def nsubjettiness(
    particles: Any,
    n: int | Sequence[int],
    *,
    R0: float = 0.8,
    beta: float = 1.0,
    axes: Literal["kt", "onepass_kt"] = "onepass_kt",
) -> FloatArray:
    """N-subjettiness τ_N = Σ pT min(ΔR_1, …, ΔR_N)^β / Σ pT R0^β.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    n : int or sequence of int
        Number or numbers of axes, each at least 1.
    R0 : float
        Jet radius (rad) of the normalisation.
    beta : float
        Angular exponent; at most 2 with ``axes="onepass_kt"``.
    axes : {"onepass_kt", "kt"}
        Exclusive kT axes (E-scheme), moved to the next minimum of τ_N or left as they are.

    Returns
    -------
    array (n_jets,), or (n_jets, len(n)) if ``n`` is a sequence
        0 for jets of no more than N particles (with pT > 0), empty jets included.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta are missing, not finite or negative; the message names the jet.

    References
    ----------
    J. Thaler, K. Van Tilburg, JHEP 03 (2011) 015; JHEP 02 (2012) 093.
    """
    numbers = np.atleast_1d(np.asarray(n))
    if numbers.ndim != 1 or not numbers.size or numbers.dtype.kind not in "iu" or numbers.min() < 1:
        msg = f"n = {n!r} must be an integer of at least 1, or a sequence of such"
        raise ConfigError(msg)
    if axes not in {"kt", "onepass_kt"}:
        msg = f"axes = {axes!r} must be 'kt' or 'onepass_kt'"
        raise ConfigError(msg)
    _check_positive(R0=R0, beta=beta)
    if axes == "onepass_kt" and beta > 2.0:
        msg = f"beta = {beta} is above 2, where the minimisation need not converge: use axes='kt'"
        raise ConfigError(msg)
    jets = flat_jets(particles)
    taus = flat_nsubjettiness(*jets, int(numbers.max()), float(R0), float(beta), axes == "onepass_kt")
    chosen = taus[:, numbers - 1]
    return chosen[:, 0] if np.ndim(n) == 0 else chosen


def _pt_eta_phi_mass(momenta: FloatArray) -> dict[str, FloatArray]:
    """Turn px, py, pz, E (n, 4) in GeV into pT, η, φ, mass (GeV, rad); 0 for a null vector."""
    px, py, pz, energy = momenta.T
    pt = np.hypot(px, py)
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pt), where=pt > 0.0))
    mass2 = (energy - pz) * (energy + pz) - pt * pt
    return {"pt": pt, "eta": eta, "phi": np.arctan2(py, px), "mass": np.sqrt(np.maximum(mass2, 0.0))}


def soft_drop(particles: Any, *, z_cut: float = 0.1, beta: float = 0.0, R0: float = 0.8) -> Any:
    """Soft-drop groomed jets: Cambridge/Aachen reclustering (E-scheme, R → ∞), then z > z_cut (ΔR / R0)^β.

    ΔR is in rapidity and azimuth, z = min(pT1, pT2) / (pT1 + pT2); the harder branch is followed, and a jet
    without a passing declustering is groomed down to one particle.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    z_cut, beta : float
        Threshold (in [0, 0.5]) and angular exponent.
    R0 : float
        Jet radius (rad).

    Returns
    -------
    awkward array (n_jets,) of records
        ``pt eta phi mass`` of the groomed jet (GeV, rad), ``delta_r`` (rad) and ``z`` of the passing declustering,
        ``subjet1`` and ``subjet2``: its prongs, the harder first, as momentum records ``pt eta phi mass``. Prongs,
        ``delta_r`` and ``z`` are 0 where nothing passes, all is 0 for an empty jet.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta are missing, not finite or negative; the message names the jet.

    References
    ----------
    A. Larkoski, S. Marzani, G. Soyez, J. Thaler, JHEP 05 (2014) 146.
    """
    if not 0.0 <= z_cut <= 0.5:
        msg = f"z_cut = {z_cut!r} must lie in [0, 0.5]"
        raise ConfigError(msg)
    if not np.isfinite(beta):
        msg = f"beta = {beta!r} must be a finite number"
        raise ConfigError(msg)
    _check_positive(R0=R0)
    jets = flat_jets(particles)
    groomed, first, second, delta_r, z = flat_soft_drop(*jets, float(z_cut), float(beta), float(R0))
    prongs = {
        name: ak.zip(
            _pt_eta_phi_mass(momenta), with_name="Momentum4D", behavior=vector.backends.awkward.behavior
        )
        for name, momenta in (("subjet1", first), ("subjet2", second))
    }
    return ak.zip({**_pt_eta_phi_mass(groomed), "delta_r": delta_r, "z": z, **prongs}, depth_limit=1)


def lsf(particles: Any, lepton_mask: Any, n: int = 3) -> FloatArray:
    """Lepton subjet fraction LSF_n: pT of the hardest lepton over pT of the exclusive kT subjet that it is in.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    lepton_mask : awkward array (n_jets, particles) of bool
        Which particles are electrons or muons.
    n : int
        Number of subjets, at least 1.

    Returns
    -------
    array (n_jets,)
        0 for a jet without a lepton.

    Raises
    ------
    ConfigError
        If ``n`` is less than 1.
    InputError
        If momenta are missing, not finite or negative (the message names the jet), or if the mask has another
        shape than the particles.

    References
    ----------
    C. Brust, P. Maksimovic, A. Sady, P. Saraswat, M. Walters, Y. Xin, JHEP 04 (2015) 079.
    """
    if n < 1:
        msg = f"n = {n!r} must be at least 1"
        raise ConfigError(msg)
    jets = flat_jets(particles)
    is_lepton, offsets = flat_column(lepton_mask, "lepton_mask")
    if not np.array_equal(offsets, jets.offsets):
        msg = "lepton_mask has not one value for each particle of each jet: build it from the particles"
        raise InputError(msg)
    return flat_lsf(*jets, is_lepton.astype(np.bool_), n)
