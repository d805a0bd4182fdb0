"""From Cartesian momenta to those of a collider."""

import numpy as np

from data.types import FloatArray


def pt_eta_phi(momenta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Transverse momentum, pseudorapidity and azimuth.

    Parameters
    ----------
    momenta : array (n, ≥ 3)
        px, py, pz (GeV), and what may follow.

    Returns
    -------
    pt, eta, phi : array (n,)
        GeV, –, rad; η is 0 where there is no transverse momentum.
    """
    px, py, pz = momenta[:, :3].T
    pt = np.hypot(px, py)
    slope = np.divide(pz, pt, out=np.zeros_like(pt), where=pt > 0.0)
    return pt, np.arcsinh(slope), np.arctan2(py, px)


def mass_of(px: FloatArray, py: FloatArray, pz: FloatArray, e: FloatArray) -> FloatArray:
    """Mass of momenta; 0 where rounding makes its square negative.

    Parameters
    ----------
    px, py, pz, e
        GeV, of one shape.

    Returns
    -------
    array
        GeV, of the same shape.
    """
    mass: FloatArray = np.sqrt(np.maximum((e - pz) * (e + pz) - px * px - py * py, 0.0))
    return mass
