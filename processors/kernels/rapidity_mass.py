"""Rapidity–mass matrices on flat buffers (S. Chekanov, Nucl. Instrum. Meth. A 931 (2019) 92, arXiv:1805.11650).

The objects of all types stand end to end in one buffer: those of type t in event k are the rows ``offsets[t, k]`` …
``offsets[t, k + 1] - 1``. Only sums of terms ≥ 0 are made, so that light, collinear pairs lose no digits.
"""

import math

import numpy as np

from data.types import FloatArray, IntArray
from processors.kernels.compiled import compiled

ET, PT, MASS2, MT, EXP, COS, SIN = range(7)
N_QUANTITIES = 7


@compiled
def _transverse_energy(pt: float, eta: float, mass: float) -> float:
    """E_T = E sin θ; a negative mass counts as 0."""
    ratio = max(mass, 0.0) / (pt * math.cosh(eta))
    return pt * math.sqrt(1.0 + ratio * ratio)


@compiled
def _hardest(
    columns: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    start: int,
    stop: int,
    room: int,
    rows: IntArray,
    energies: FloatArray,
) -> int:
    """Rows of the up to ``room`` objects of largest E_T, the largest first; of equal ones the earlier first."""
    pt, eta, _, mass = columns
    n = 0
    for row in range(start, stop):
        energy = _transverse_energy(pt[row], eta[row], mass[row])
        k = min(room, n)
        while k > 0 and energies[k - 1] < energy:
            k -= 1
        if k == room:
            continue
        n = min(n + 1, room)
        for moved in range(n - 1, k, -1):
            rows[moved], energies[moved] = rows[moved - 1], energies[moved - 1]
        rows[k], energies[k] = row, energy
    return n


@compiled
def _load_object(
    columns: tuple[FloatArray, FloatArray, FloatArray, FloatArray], row: int, objects: FloatArray, k: int
) -> None:
    """Fill what the pairs need of one object into column ``k``."""
    pt, eta, phi, mass = columns
    mass2 = max(mass[row], 0.0) ** 2
    transverse_mass = math.sqrt(mass2 + pt[row] ** 2)
    rapidity = math.asinh(pt[row] * math.sinh(eta[row]) / transverse_mass)
    objects[ET, k] = _transverse_energy(pt[row], eta[row], mass[row])
    objects[PT, k], objects[MASS2, k], objects[MT, k] = pt[row], mass2, transverse_mass
    objects[EXP, k] = math.exp(0.25 * rapidity)
    objects[COS, k], objects[SIN, k] = math.cos(phi[row]), math.sin(phi[row])


@compiled
def _cosh_less_one(a: float, b: float) -> float:
    """Give cosh((y_a − y_b) / 2) − 1 = 2 sinh²((y_a − y_b) / 4) from exp(y / 4)."""
    sinh = (a - b) * (a + b) / (2.0 * a * b)
    return 2.0 * sinh * sinh


@compiled
def _one_less_cos(cos_a: float, sin_a: float, cos_b: float, sin_b: float) -> float:
    """1 − cos Δφ."""
    return 0.5 * ((cos_a - cos_b) ** 2 + (sin_a - sin_b) ** 2)


@compiled
def _pair_mass(objects: FloatArray, a: int, b: int, h: float) -> float:
    """Invariant mass (GeV) of two objects with h = cosh(Δy / 2) − 1.

    m² = m_a² + m_b² + 2 [m_T,a m_T,b cosh Δy − p_T,a p_T,b cos Δφ], with cosh Δy − 1 = 2 h (h + 2).
    """
    mt2, pt2 = objects[MT, a] * objects[MT, b], objects[PT, a] * objects[PT, b]
    difference = objects[MASS2, a] * objects[MT, b] ** 2 + objects[PT, a] ** 2 * objects[MASS2, b]
    angle = _one_less_cos(objects[COS, a], objects[SIN, a], objects[COS, b], objects[SIN, b])
    product = difference / (mt2 + pt2) + mt2 * 2.0 * h * (h + 2.0) + pt2 * angle
    return math.sqrt(objects[MASS2, a] + objects[MASS2, b] + 2.0 * product)


@compiled
def _met_mass(objects: FloatArray, k: int, met: float, cos_met: float, sin_met: float) -> float:
    """m_T of an object and the missing momentum: m_T² = (E_T + MET)² − (p_x + MET_x)² − (p_y + MET_y)²."""
    energy, pt = objects[ET, k], objects[PT, k]
    square = (energy - pt) * (energy + pt)
    angle = _one_less_cos(objects[COS, k], objects[SIN, k], cos_met, sin_met)
    return math.sqrt(max(square + 2.0 * met * ((energy - pt) + pt * angle), 0.0))


@compiled
def _fill_matrix(
    matrix: FloatArray,
    objects: FloatArray,
    counts: IntArray,
    slots: IntArray,
    met: tuple[float, float],
    sqrt_s: float,
    angular_scale: float,
    cells: IntArray,
) -> None:
    """Fill one event's matrix; the objects of all types, sorted, are the first columns of ``objects``."""
    matrix[:] = 0.0
    n, first_cell = 0, 1
    for kind in range(len(slots)):
        for k in range(counts[kind]):
            cells[n] = first_cell + k
            energy = objects[ET, n]
            before = objects[ET, n - 1] if k > 0 else 0.0
            matrix[cells[n], cells[n]] = (before - energy) / (before + energy) if k > 0 else energy / sqrt_s
            n += 1
        first_cell += slots[kind]
    cos_met, sin_met = math.cos(met[1]), math.sin(met[1])
    matrix[0, 0] = met[0] / sqrt_s
    for a in range(n):
        if met[0] > 0.0:
            matrix[0, cells[a]] = _met_mass(objects, a, met[0], cos_met, sin_met) / sqrt_s
        # cosh y − 1 = 2 h (h + 2) with h = cosh(y / 2) − 1
        h = _cosh_less_one(objects[EXP, a], 1.0)
        matrix[cells[a], 0] = angular_scale * 2.0 * h * (h + 2.0)
        for b in range(a + 1, n):
            h = _cosh_less_one(objects[EXP, a], objects[EXP, b])
            matrix[cells[a], cells[b]] = _pair_mass(objects, a, b, h) / sqrt_s
            matrix[cells[b], cells[a]] = angular_scale * h


@compiled
def _load_event(
    columns: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    offsets: IntArray,
    event: int,
    slots: IntArray,
    objects: FloatArray,
    counts: IntArray,
    rows: IntArray,
    energies: FloatArray,
) -> None:
    """Choose and load the objects of one event, type by type."""
    n = 0
    for kind in range(len(slots)):
        start, stop = offsets[kind, event], offsets[kind, event + 1]
        counts[kind] = _hardest(columns, start, stop, slots[kind], rows, energies)
        for k in range(counts[kind]):
            _load_object(columns, rows[k], objects, n)
            n += 1


@compiled
def flat_matrices(
    columns: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    offsets: IntArray,
    met_pt: FloatArray,
    met_phi: FloatArray,
    slots: IntArray,
    sqrt_s: float,
    angular_scale: float,
    out: FloatArray,
) -> None:
    """Fill the matrix of every event.

    Parameters
    ----------
    columns : tuple of array (n_objects,)
        pT (GeV, positive), η, φ (rad), mass (GeV) of the objects of all types, end to end; finite.
    offsets : array (n_types, n_events + 1)
        First row of each event in each type, and the end.
    met_pt, met_phi : array (n_events,)
        Missing transverse momentum (GeV, rad).
    slots : array (n_types,)
        Rows of the matrix for each type.
    sqrt_s : float
        Centre-of-mass energy (GeV).
    angular_scale : float
        Factor of the cells below the diagonal.
    out : array (n_events, size, size)
        Filled; size is 1 + the sum of ``slots``.
    """
    size = out.shape[1]
    objects = np.empty((N_QUANTITIES, size))
    cells, counts = np.empty(size, dtype=np.int64), np.empty(len(slots), dtype=np.int64)
    rows, energies = np.empty(size, dtype=np.int64), np.empty(size)
    for event in range(len(met_pt)):
        _load_event(columns, offsets, event, slots, objects, counts, rows, energies)
        met = (met_pt[event], met_phi[event])
        _fill_matrix(out[event], objects, counts, slots, met, sqrt_s, angular_scale, cells)
