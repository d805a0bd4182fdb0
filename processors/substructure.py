"""Jet substructure of awkward arrays jets × particles: N-subjettiness, soft drop, lepton subjet fraction.

Momenta may be of any kind that awkward array knows: plain records, vector's, coffea's; float32 or float64. Sums
and minimisations are in float64.
"""

from collections.abc import Sequence
from typing import Any, Literal

import awkward as ak
import numpy as np
import vector

from data.errors import ConfigError, InputError
from data.types import FloatArray, IntArray
from processors.kernels.buffers import FlatJets, flat_column, flat_jets, flat_weights
from processors.kernels.clustering import KT, WTA_KT
from processors.kernels.combined import FlatFeatures, flat_features
from processors.kernels.grooming import flat_soft_drop
from processors.kernels.lepton import flat_lepton_fraction, hardest_leptons, nearest_particles
from processors.kernels.taus import flat_nsubjettiness
from processors.lund import splitting_records
from processors.momenta import mass_of, pt_eta_phi
from processors.option_checks import are_counts, check_counts, check_positive, check_soft_drop

AXES = ("kt", "onepass_kt", "wta_kt", "onepass_wta_kt")


def nsubjettiness(
    particles: Any,
    n: int | Sequence[int],
    *,
    R0: float = 0.8,
    beta: float = 1.0,
    axes: Literal["kt", "onepass_kt", "wta_kt", "onepass_wta_kt"] = "onepass_kt",
    weights: Any | None = None,
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
        Angular exponent; at most 2 with one-pass axes.
    axes : {"onepass_kt", "kt", "onepass_wta_kt", "wta_kt"}
        Axes of the exclusive kT jets: added four-momenta (E-scheme) or the direction of the harder particle in each
        recombination (winner takes all). One-pass axes move on to the next minimum of τ_N.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI), at least 0; none if not given.

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
    J. Thaler, K. Van Tilburg, JHEP 03 (2011) 015; JHEP 02 (2012) 093; D. Bertolini, T. Chan, J. Thaler,
    JHEP 04 (2014) 013 (winner takes all).
    """
    numbers = np.atleast_1d(np.asarray(n))
    if numbers.ndim != 1 or not are_counts(numbers):
        msg = f"n = {n!r} must be an integer of at least 1, or a sequence of such"
        raise ConfigError(msg)
    check_positive(R0=R0, beta=beta)
    onepass, algorithm = _axes(axes, beta)
    jets = flat_jets(particles, weights)
    taus = flat_nsubjettiness(*jets, int(numbers.max()), float(R0), float(beta), onepass, algorithm)
    chosen = taus[:, numbers - 1]
    return chosen[:, 0] if np.ndim(n) == 0 else chosen


def _axes(axes: str, beta: float) -> tuple[bool, int]:
    """Whether the axes are moved to a minimum, and the algorithm that gives the first ones."""
    if axes not in AXES:
        msg = f"axes = {axes!r} must be one of {', '.join(AXES)}"
        raise ConfigError(msg)
    onepass = axes.startswith("onepass")
    if onepass and beta > 2.0:
        plain = axes.removeprefix("onepass_")
        msg = f"beta = {beta} is above 2, where the minimisation need not converge: use axes={plain!r}"
        raise ConfigError(msg)
    return onepass, WTA_KT if "wta" in axes else KT


def _pt_eta_phi_mass(momenta: FloatArray) -> dict[str, FloatArray]:
    """Turn px, py, pz, E (n, 4) in GeV into pT, η, φ, mass (GeV, rad); 0 for a null vector."""
    pt, eta, phi = pt_eta_phi(momenta)
    return {"pt": pt, "eta": eta, "phi": phi, "mass": mass_of(*momenta.T)}


def _momenta(components: FloatArray) -> Any:
    """Momentum records ``pt eta phi mass`` of px, py, pz, E (n, 4)."""
    columns = _pt_eta_phi_mass(components)
    return ak.zip(columns, with_name="Momentum4D", behavior=vector.backends.awkward.behavior)


def _groomed(
    groomed: FloatArray, first: FloatArray, second: FloatArray, delta_r: FloatArray, z: FloatArray
) -> Any:
    """Records of groomed jets, from px, py, pz, E (n, 4)."""
    prongs = {"subjet1": _momenta(first), "subjet2": _momenta(second)}
    return ak.zip({**_pt_eta_phi_mass(groomed), "delta_r": delta_r, "z": z, **prongs}, depth_limit=1)


def soft_drop(
    particles: Any,
    *,
    z_cut: float = 0.1,
    beta: float = 0.0,
    R0: float = 0.8,
    weights: Any | None = None,
) -> Any:
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
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI), at least 0; none if not given.

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
    check_soft_drop(z_cut, beta, R0)
    jets = flat_jets(particles, weights)
    return _groomed(*flat_soft_drop(*jets, float(z_cut), float(beta), float(R0)))


def mmdt(particles: Any, *, z_cut: float = 0.1, weights: Any | None = None) -> Any:
    """Jets groomed by the modified mass-drop tagger: soft drop with β = 0, the condition z > z_cut.

    Parameters
    ----------
    particles, z_cut, weights
        As of `soft_drop`.

    Returns
    -------
    awkward array (n_jets,) of records
        As of `soft_drop`.

    References
    ----------
    M. Dasgupta, A. Fregoso, S. Marzani, G. Salam, JHEP 09 (2013) 029.
    """
    return soft_drop(particles, z_cut=z_cut, beta=0.0, weights=weights)


def _leptons(jets: FlatJets, leptons: Any) -> tuple[IntArray, FloatArray]:
    """Row of the particle that is the hardest lepton of each jet, −1 for none, and the lepton's pT (GeV)."""
    n_jets = len(jets.offsets) - 1
    if len(leptons) != n_jets:
        msg = f"leptons are given for {len(leptons)} jets, particles for {n_jets}: give one list a jet"
        raise InputError(msg)
    if not ak.fields(leptons):
        is_lepton, offsets = flat_column(leptons, "lepton")
        if not np.array_equal(offsets, jets.offsets):
            msg = "the mask of leptons has not one value for each particle of each jet: build it from the particles"
            raise InputError(msg)
        rows = hardest_leptons(jets.px, jets.py, offsets, is_lepton.astype(np.bool_))
        pt = np.zeros(n_jets)
        pt[rows >= 0] = np.hypot(jets.px, jets.py)[rows[rows >= 0]]
        return rows, pt
    hardest = ak.firsts(leptons[ak.argmax(leptons.pt, axis=1, keepdims=True)])
    pt, eta, phi = (
        ak.to_numpy(ak.fill_none(q, np.nan)).astype(np.float64)
        for q in (hardest.pt, hardest.eta, hardest.phi)
    )
    bad = ~(np.isfinite(pt) & np.isfinite(eta) & np.isfinite(phi)) & ~ak.to_numpy(ak.is_none(hardest))
    if bad.any():
        msg = f"the hardest lepton of jet {int(np.argmax(bad))} has a pt, eta or phi that is not finite: drop it"
        raise InputError(msg)
    return nearest_particles(jets.px, jets.py, jets.pz, jets.offsets, eta, phi), pt


def lsf(particles: Any, leptons: Any, n: int = 3, *, weights: Any | None = None) -> FloatArray:
    """Lepton subjet fraction LSF_n: pT of the hardest lepton over pT of the exclusive kT subjet that it is in.

    CMS's ``FatJet_lsf3`` is of all particles as they are, without weights, and of muons and electrons as they are
    reconstructed, given here from outside (electrons before the energy correction: ``pt / eCorr``).

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    leptons : awkward array (n_jets, particles) of bool, or (n_jets, leptons) of records ``pt eta phi``
        Which particles are electrons or muons; or the leptons of each jet (GeV, rad), in the subjet of the particle
        that is nearest in pseudorapidity and azimuth.
    n : int
        Number of subjets, at least 1.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta, at least 0; none if not given.

    Returns
    -------
    array (n_jets,)
        0 for a jet without a lepton; above 1 only for a lepton harder than its particles.

    Raises
    ------
    ConfigError
        If ``n`` is not an integer of at least 1.
    InputError
        If momenta are missing, not finite or negative (the message names the jet), or if leptons are not given for
        each jet.

    References
    ----------
    C. Brust, P. Maksimovic, A. Sady, P. Saraswat, M. Walters, Y. Xin, JHEP 04 (2015) 079.
    """
    check_counts(n=n)
    jets = flat_jets(particles, weights)
    return flat_lepton_fraction(*jets, *_leptons(jets, leptons), int(n))


def jet_substructure(
    particles: Any,
    *,
    n_tau: int = 4,
    n_subjets: int = 3,
    z_cut: float = 0.1,
    beta: float = 0.0,
    R0: float = 0.8,
    leptons: Any | None = None,
    weights: Any | None = None,
) -> Any:
    """All of τ_N, soft drop, LSF, number of particles and primary Lund plane, each jet clustered once for all.

    The same numbers as of `nsubjettiness` (one-pass kT axes, β = 1), `soft_drop`, `lsf` (of the momenta without
    weights) and `processors.lund.lund_declustering`, at less than half the cost.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    n_tau, n_subjets : int
        Largest N of τ_N and number of subjets of the lepton subjet fraction, at least 1.
    z_cut, beta : float
        Threshold (in [0, 0.5]) and angular exponent of soft drop.
    R0 : float
        Jet radius (rad).
    leptons : awkward array, optional
        As of `lsf`; none if not given.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI), at least 0; none if not given.

    Returns
    -------
    awkward array (n_jets,) of records
        ``tau1 tau2 …``; ``groomed``, a record as of `soft_drop`; ``lsf``; ``n_particles``, those of weight 0
        included; ``lund``, a list of records as of `processors.lund.lund_declustering`.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.
    """
    check_counts(n_tau=n_tau, n_subjets=n_subjets)
    check_soft_drop(z_cut, beta, R0)
    jets = flat_jets(particles)
    n_jets = len(jets.offsets) - 1
    rows, pt = np.full(n_jets, -1), np.zeros(n_jets)
    if leptons is not None:
        rows, pt = _leptons(jets, leptons)
    weight = np.ones(len(jets.px)) if weights is None else flat_weights(weights, jets)
    cut = (float(z_cut), float(beta), float(R0))
    return _all_records(flat_features(*jets, weight, rows, pt, int(n_tau), int(n_subjets), cut), R0)


def _all_records(found: FlatFeatures, R0: float) -> Any:
    """Records of jets of what was computed of them."""
    prongs = found.prongs
    return ak.zip(
        {
            **{f"tau{n + 1}": taus for n, taus in enumerate(found.taus.T)},
            "groomed": _groomed(found.groomed, prongs[:, 0], prongs[:, 1], found.delta_r, found.z),
            "lsf": found.lsf,
            "n_particles": found.n_particles,
            "lund": splitting_records(found.lund, found.n_lund, R0),
        },
        depth_limit=1,
    )
