"""Jets as images and as arrays of constituents, for networks, from awkward arrays jets × particles."""

import math
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, InputError
from data.types import BoolArray, FloatArray
from processors.kernels.buffers import flat_jets
from processors.kernels.images import flat_images
from processors.momenta import pt_eta_phi
from processors.option_checks import check_counts, check_positive
from processors.ragged import owners, wrap

Float32Array = npt.NDArray[np.float32]

MANTISSA_BITS = 24
"""Bits of a float32's mantissa."""
MAX_ADDENDS = 2**28
"""So many integers of 24 bits (and a sign) add up exactly in float64."""


def jet_image(
    particles: Any,
    *,
    pixels: int = 40,
    width: float = 1.6,
    centre: bool = True,
    rotate: bool = True,
    flip: bool = True,
    normalise: bool = True,
    weights: Any = None,
) -> Float32Array:
    """pT-weighted image of each jet in rapidity and azimuth.

    The window has a side of ``width`` with the origin in its middle; particles outside are left out. Centring, turning
    and flipping are done on the particles, before pixels are made.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    pixels : int
        Pixels on a side.
    width : float
        Side of the window (rad).
    centre : bool
        Put the pT-weighted mean direction at the origin; else the axis of the jet (the sum of the momenta).
    rotate : bool
        Turn the principal axis of the pT-weighted second moments to the vertical, by at most a right angle.
    flip : bool
        Mirror both axes so that the hardest quadrant is the one of high rows and high columns.
    normalise : bool
        Divide by the sum of the pixels; else they are in GeV.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    array (n_jets, pixels, pixels) of float32
        Rows are azimuth and columns rapidity (before the turn), both rising with the index. All 0 for jets without
        particles in the window, empty jets included.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.

    References
    ----------
    L. de Oliveira, M. Kagan, L. Mackey, B. Nachman, A. Schwartzman, JHEP 07 (2016) 069; S. Macaluso, D. Shih,
    JHEP 10 (2018) 121.
    """
    check_counts(pixels=pixels)
    check_positive(width=width)
    jets = flat_jets(particles, weights)
    return flat_images(*jets, int(pixels), float(width), (centre, rotate, flip, normalise))


def constituent_array(
    particles: Any,
    *,
    n: int = 100,
    coordinates: Literal["px_py_pz", "pt_eta_phi"] = "px_py_pz",
    weights: Any = None,
) -> Float32Array:
    """The ``n`` particles of largest pT of each jet as an array, zero padded.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    n : int
        Number of particles, at least 1.
    coordinates : {"px_py_pz", "pt_eta_phi"}
        Momenta (GeV); or pT (GeV) with Δη and Δφ (rad) from the axis of the jet (the sum of all its momenta).
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    array (n_jets, n, 3) of float32
        The hardest first, equal pT in the order of the particles; particles without transverse momentum are left
        out. Rows after the last particle are 0.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.
    """
    check_counts(n=n)
    if coordinates not in {"px_py_pz", "pt_eta_phi"}:
        msg = f"coordinates = {coordinates!r} must be 'px_py_pz' or 'pt_eta_phi'"
        raise ConfigError(msg)
    jets = flat_jets(particles, weights)
    counts = np.diff(jets.offsets)
    jet = owners(counts)
    pt = np.hypot(jets.px, jets.py)
    # stable, and in the precision of files: px and py round equal pT apart
    order = np.lexsort((-pt.astype(np.float32), jet))
    rank = np.arange(order.size) - jets.offsets[jet]
    chosen = (rank < n) & (pt[order] > 0.0)
    rows, jet, rank = order[chosen], jet[chosen], rank[chosen]
    momenta = np.stack([jets.px, jets.py, jets.pz], axis=1)
    values: FloatArray = momenta[rows]
    if coordinates == "pt_eta_phi":
        axis: FloatArray = np.zeros((counts.size, 3), dtype=np.float64)
        np.add.at(axis, owners(counts), momenta)
        pt, eta, phi = pt_eta_phi(values)
        _, axis_eta, axis_phi = pt_eta_phi(axis[jet])
        values = np.stack([pt, eta - axis_eta, wrap(phi - axis_phi)], axis=1)
    out = np.zeros((counts.size, n, 3), dtype=np.float32)
    out[jet, rank] = values
    return out


def _is_particle(array: Float32Array) -> BoolArray:
    """Which rows (n_jets, n) of a constituent array are particles and not padding."""
    return np.asarray(np.any(array != 0, axis=-1))


def _exact_sum(mantissas: FloatArray, exponents: npt.NDArray[np.int32]) -> Fraction:
    """Sum of integers of at most 24 bits times powers of two, without rounding."""
    lowest = int(exponents.min())
    sums = np.bincount(exponents - lowest, weights=mantissas)
    return sum((Fraction(int(s)) * Fraction(2) ** (lowest + k) for k, s in enumerate(sums)), Fraction(0))


def mean_std(array: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of each coordinate over the particles of a constituent array.

    Sums are made without rounding, so that the result does not depend on the order of jets or particles.

    Parameters
    ----------
    array : array (n_jets, n, coordinates) of float32
        As from `constituent_array`; rows of 0 are padding and are left out.

    Returns
    -------
    mean, std : array (coordinates,)
        In the units of the coordinates; the standard deviation of the population.

    Raises
    ------
    InputError
        If the array is not float32, holds no particles or more than 2²⁸ of them, or a value is not finite.
    """
    if array.dtype != np.float32:
        msg = f"the array is {array.dtype}, not float32: pass what constituent_array returns"
        raise InputError(msg)
    values = array[_is_particle(array)].astype(np.float64)
    n = len(values)
    if not 0 < n <= MAX_ADDENDS or not np.all(np.isfinite(values)):
        msg = (
            f"the array holds {n} particles: give at least one, at most {MAX_ADDENDS}, and finite values only"
        )
        raise InputError(msg)
    mean, std = np.empty(values.shape[1]), np.empty(values.shape[1])
    for q, column in enumerate(values.T):
        mantissa, exponent = np.frexp(column)
        mantissa, exponent = np.ldexp(mantissa, MANTISSA_BITS), exponent - MANTISSA_BITS
        high, low = np.divmod(mantissa * mantissa, 2.0**MANTISSA_BITS)
        first = _exact_sum(mantissa, exponent) / n
        second = (_exact_sum(high, 2 * exponent + MANTISSA_BITS) + _exact_sum(low, 2 * exponent)) / n
        mean[q], std[q] = float(first), math.sqrt(second - first * first)
    return mean, std


def standardise(array: Float32Array, mean: FloatArray, std: FloatArray) -> Float32Array:
    """Subtract the mean and divide by the standard deviation; padding stays 0.

    Parameters
    ----------
    array : array (n_jets, n, coordinates) of float32
        As from `constituent_array`.
    mean, std : array (coordinates,)
        As from `mean_std` of the training jets.

    Returns
    -------
    array (n_jets, n, coordinates) of float32

    Raises
    ------
    InputError
        If a standard deviation is not positive, or their number is not that of the coordinates.
    """
    if np.shape(mean) != array.shape[-1:] or np.shape(std) != array.shape[-1:]:
        msg = f"mean {np.shape(mean)} and std {np.shape(std)} must be one number for each of {array.shape[-1]} columns"
        raise InputError(msg)
    if not np.all(np.asarray(std) > 0):
        msg = f"std = {np.asarray(std).tolist()} must be positive: a coordinate that is constant cannot be standardised"
        raise InputError(msg)
    scaled = (array.astype(np.float64) - mean) / std
    return np.where(_is_particle(array)[..., np.newaxis], scaled, 0.0).astype(np.float32)
