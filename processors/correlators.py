"""Energy correlation functions of awkward arrays jets × particles, and the ratios C2, D2, N2 and N3."""

from typing import Any

import awkward as ak
import numpy as np

from data.types import FloatArray
from processors.kernels.buffers import flat_jets
from processors.kernels.correlators import flat_energy_correlators
from processors.option_checks import check_positive


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Quotient, 0 where nothing is below."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)


def energy_correlators(
    particles: Any, *, beta: float = 1.0, weights: Any = None, four_points: bool = False
) -> Any:
    """Energy correlation functions v_e_n^(β) = Σ z_1 … z_n Π (the v smallest ΔR)^β, and ratios of them.

    The sum is over all sets of n particles of a jet, z = pT / Σ pT, ΔR is in rapidity and azimuth. The cost grows as
    n³ with the number of particles, and as n⁴ with ``four_points``: for jets of 70 particles some 0.05 ms and
    0.7 ms, for jets of 400 particles 8 ms and 0.4 s. N2 and N3 are usually taken of groomed jets:
    ``energy_correlators(particles[soft_drop_mask(particles)])``.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    beta : float
        Angular exponent, positive.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).
    four_points : bool
        Whether to sum over sets of four particles, which N3 needs.

    Returns
    -------
    awkward array (n_jets,) of records
        ``e2`` = 1e2; ``e3_1 e3_2 e3`` with the smallest, the two smallest and all three angles;
        ``c2`` = e3 / e2², ``d2`` = e3 / e2³, ``n2`` = 2e3 / (1e2)²; with ``four_points`` ``e4_2`` with the two
        smallest of six angles and ``n3`` = 2e4 / (1e3)². All 0 for jets of too few particles (with pT > 0), empty
        jets included.

    Raises
    ------
    ConfigError
        If ``beta`` is not a positive number.
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.

    References
    ----------
    A. Larkoski, G. Salam, J. Thaler, JHEP 06 (2013) 108 (C2); A. Larkoski, I. Moult, D. Neill, JHEP 12 (2014) 009
    (D2); I. Moult, L. Necib, J. Thaler, JHEP 12 (2016) 153 (N2, N3).
    """
    check_positive(beta=beta)
    jets = flat_jets(particles, weights)
    e2, e3_1, e3_2, e3, e4_2 = flat_energy_correlators(*jets, float(beta), four_points).T
    columns = {
        "e2": e2,
        "e3_1": e3_1,
        "e3_2": e3_2,
        "e3": e3,
        "c2": _ratio(e3, e2**2),
        "d2": _ratio(e3, e2**3),
        "n2": _ratio(e3_2, e2**2),
    }
    if four_points:
        columns |= {"e4_2": e4_2, "n3": _ratio(e4_2, e3_1**2)}
    return ak.zip(columns)
