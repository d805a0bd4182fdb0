"""Subjets of awkward arrays jets × particles, and which particles they are made of."""

from typing import TYPE_CHECKING, Any, Literal

import awkward as ak
import numpy as np

from data.errors import ConfigError
from data.later import later
from processors.kernels.buffers import flat_jets
from processors.kernels.clustering import CAMBRIDGE, KT
from processors.kernels.subjets import flat_exclusive_subjets, flat_soft_drop_mask
from processors.option_checks import check_counts, check_soft_drop

if TYPE_CHECKING:
    import vector
else:
    vector = later("vector")


def exclusive_subjets(
    particles: Any, n: int, *, algorithm: Literal["kt", "cambridge"] = "kt", weights: Any = None
) -> tuple[Any, Any]:
    """Exclusive subjets: reclustering (E-scheme, R → ∞) until ``n`` are left.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    n : int
        Number of subjets, at least 1.
    algorithm : {"kt", "cambridge"}
        kT or Cambridge/Aachen.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    subjets : awkward array (n_jets, ≤ n) of momentum records ``px py pz E``
        Four-momenta (GeV), the hardest (pT) first; one a particle in jets of fewer than ``n`` particles.
    index : awkward array (n_jets, particles) of int
        Place of each particle's subjet; −1 for particles without transverse momentum.
        ``particles[index == k]`` are the particles of the subjets ``k``.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.

    References
    ----------
    S. Catani, Y. Dokshitzer, M. Seymour, B. Webber, Nucl. Phys. B 406 (1993) 187.
    """
    check_counts(n=n)
    if algorithm not in {"cambridge", "kt"}:
        msg = f"algorithm = {algorithm!r} must be 'kt' or 'cambridge'"
        raise ConfigError(msg)
    jets = flat_jets(particles, weights)
    momenta, counts, index = flat_exclusive_subjets(*jets, int(n), KT if algorithm == "kt" else CAMBRIDGE)
    columns = dict(zip(("px", "py", "pz", "E"), momenta.T, strict=True))
    subjets = ak.zip(
        {name: ak.unflatten(values, counts) for name, values in columns.items()},
        with_name="Momentum4D",
        behavior=vector.backends.awkward.behavior,
    )
    return subjets, ak.unflatten(index, np.diff(jets.offsets))


def soft_drop_mask(
    particles: Any, *, z_cut: float = 0.1, beta: float = 0.0, R0: float = 0.8, weights: Any = None
) -> Any:
    """Which particles soft drop keeps; ``particles[mask]`` is the groomed jet.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    z_cut, beta : float
        Threshold (in [0, 0.5]) and angular exponent.
    R0 : float
        Jet radius (rad).
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    awkward array (n_jets, particles) of bool
        One particle where no declustering passes; False for particles without transverse momentum.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.

    References
    ----------
    A. Larkoski, S. Marzani, G. Soyez, J. Thaler, JHEP 05 (2014) 146.
    """
    check_soft_drop(z_cut, beta, R0)
    jets = flat_jets(particles, weights)
    mask = flat_soft_drop_mask(*jets, float(z_cut), float(beta), float(R0))
    return ak.unflatten(mask, np.diff(jets.offsets))
