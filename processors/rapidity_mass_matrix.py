"""The rapidity–mass matrix of an event: masses, rapidities and transverse energies of all its objects.

Rows and columns are the missing transverse momentum, jets, b jets, muons, electrons and photons, each type in
falling E_T = E sin θ. On the diagonal: MET / √s, E_T / √s of the first object of a type, and for the k-th one the
imbalance (E_T,k−1 − E_T,k) / (E_T,k−1 + E_T,k). First row: m_T / √s with the missing momentum (0 if there is
none). First column: cosh y − 1. Above the diagonal: invariant masses m_ij / √s; below: cosh((y_i − y_j) / 2) − 1.
Slots without an object are 0; of more objects than slots, those of least E_T are dropped.

Three forms of it: ``full`` is the matrix. ``reduced`` are the inputs of arXiv:2307.01612 in the order of `reduced_index`, the
matrix without the nine masses that are searched: of the two leading jets, the two leading b jets, and the leading jet
or b jet with the leading object of each following type. ``compact`` is RMM-C46 of arXiv:2602.17563 in the order of
`compact_index`, the missing momentum and one number for each zone: the diagonal, the part of the first row and of the
first column of each type, and the rapidity and mass cells of each pair of types.

S. Chekanov, Nucl. Instrum. Meth. A 931 (2019) 92 (arXiv:1805.11650); ATLAS, Phys. Rev. Lett. 132 (2024) 081801
(arXiv:2307.01612); W. Islam, S. Chekanov, arXiv:2602.17563.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, InputError
from data.types import FloatArray, IntArray
from processors.event_objects import MOMENTUM, finite_column, missing_momentum, refuse_values
from processors.kernels.rapidity_mass import flat_matrices
from processors.option_checks import check_positive

Form = Literal["full", "reduced", "compact"]
Slots = int | Mapping[str, int]

SYMBOLS = {"jets": "j", "bjets": "b", "muons": "mu", "electrons": "e", "photons": "g"}
"""The types in the order of the matrix, and how names of cells call them."""
FULL_SLOTS = 10
REDUCED_SLOTS = {"jets": 10, "bjets": 10, "muons": 5, "electrons": 5, "photons": 5}
BLOCK = 64
"""Events whose matrices are held in float64 at a time: few enough for the cache."""
ETA_MAX = 50.0
"""Beyond, the hyperbolic functions leave the range of float32."""


def _slots(n: Slots | None, form: Form) -> dict[str, int]:
    """Rows of each type, in the order of the matrix."""
    if form not in {"full", "reduced", "compact"}:
        msg = f"form = {form!r} must be 'full', 'reduced' or 'compact'"
        raise ConfigError(msg)
    if n is None:
        n = REDUCED_SLOTS if form == "reduced" else FULL_SLOTS
    slots = dict(n) if isinstance(n, Mapping) else dict.fromkeys(SYMBOLS, n)
    if slots.keys() != SYMBOLS.keys() or any(type(k) is not int or not 1 <= k <= 100 for k in slots.values()):
        msg = f"n = {n!r} must be an integer from 1 to 100, or one for each of {', '.join(SYMBOLS)}"
        raise ConfigError(msg)
    if form == "reduced" and min(slots["jets"], slots["bjets"]) < 2:
        msg = f"n = {n!r} must have two jets and two bjets: the reduced form drops m(j1,j2) and m(b1,b2)"
        raise ConfigError(msg)
    return {kind: slots[kind] for kind in SYMBOLS}


def cell_names(n: Slots | None = None, form: Literal["full", "reduced"] = "full") -> npt.NDArray[np.str_]:
    """Name every cell of the matrix, or every input of the reduced form.

    ``met``; ``mt(j1)``: m_T with the missing momentum; ``hl(j1)``: cosh y − 1; ``et(j1)``; ``det(j2)``: imbalance of
    j1 and j2; ``m(j1,mu2)``: invariant mass; ``h(j1,mu2)``: cosh(Δy / 2) − 1. Objects: ``j b mu e g``, from 1.

    Parameters
    ----------
    n : int or mapping of str to int, optional
        Slots of each type, as in ``rapidity_mass_matrix``.
    form : {"full", "reduced"}

    Returns
    -------
    array (size, size) of str, or (n_inputs,) for the reduced form

    Raises
    ------
    ConfigError
        If an option is out of range.
    """
    slots = _slots(n, form)
    objects = [(SYMBOLS[kind], k + 1) for kind in slots for k in range(slots[kind])]
    labels = [f"{symbol}{k}" for symbol, k in objects]
    names = [["met", *(f"mt({a})" for a in labels)]]
    for i, a in enumerate(labels):
        diagonal = f"et({a})" if objects[i][1] == 1 else f"det({a})"
        below, above = [f"h({b},{a})" for b in labels[:i]], [f"m({a},{b})" for b in labels[i + 1 :]]
        names.append([f"hl({a})", *below, diagonal, *above])
    full = np.array(names)
    return full if form == "full" else full.ravel()[_kept_cells(slots)]


def reduced_index(n: Slots | None = None) -> tuple[str, ...]:
    """Names of the inputs of the reduced form, in order; 1287 with the default slots.

    Parameters
    ----------
    n : int or mapping of str to int, optional
        Slots of each type.

    Returns
    -------
    tuple of str
    """
    return tuple(cell_names(n, "reduced").tolist())


def compact_index() -> tuple[str, ...]:
    """Names of the 46 numbers of the compact form, in order.

    Returns
    -------
    tuple of str
        ``met``, ``et(j)`` …, ``t(j)`` …, ``l(j)`` …, ``h(j,j)``, ``h(j,b)``, ``h(b,b)`` …, ``m(j,j)`` …
    """
    kinds = list(SYMBOLS.values())
    pairs = [f"{a},{b}" for k, b in enumerate(kinds) for a in kinds[: k + 1]]
    singles = [f"{zone}({kind})" for zone in ("et", "t", "l") for kind in kinds]
    return ("met", *singles, *(f"{zone}({pair})" for zone in ("h", "m") for pair in pairs))


def _starts(slots: Mapping[str, int]) -> dict[str, int]:
    """First row of each type."""
    ends = 1 + np.cumsum([*slots.values()])
    return {kind: int(end) - slots[kind] for kind, end in zip(slots, ends, strict=True)}


def _kept_cells(slots: Mapping[str, int]) -> IntArray:
    """Cells of the reduced form: all but the masses that are searched, those of leading jets and b jets."""
    start = _starts(slots)
    size = 1 + sum(slots.values())
    dropped = [(start[kind], start[kind] + 1) for kind in ("jets", "bjets")]
    dropped += [
        (start[kind], start[other])
        for kind in ("jets", "bjets")
        for other in list(slots)[list(slots).index(kind) + 1 :]
    ]
    kept: IntArray = np.delete(np.arange(size * size), [i * size + j for i, j in dropped])
    return kept


def _zones(slots: Mapping[str, int]) -> IntArray:
    """Position in ``compact_index`` of the zone of each cell."""
    kind = np.concatenate([[-1], np.repeat(np.arange(len(slots)), [*slots.values()])])
    row, column = np.meshgrid(kind, kind, indexing="ij")
    low, high = np.minimum(row, column), np.maximum(row, column)
    pair = high * (high + 1) // 2 + low
    size = len(kind)
    upper = np.arange(size)[:, None] < np.arange(size)[None, :]
    n, n_pairs = len(slots), len(slots) * (len(slots) + 1) // 2
    zone: IntArray = np.where(upper, 1 + 3 * n + n_pairs + pair, 1 + 3 * n + pair)
    zone[0], zone[:, 0] = 1 + n + kind, 1 + 2 * n + kind
    zone[np.arange(size), np.arange(size)] = 1 + kind
    return zone


def _cast(slots: Mapping[str, int], form: Form, aggregate: str) -> Callable[[FloatArray], FloatArray]:
    """Give the function from matrices (events, size, size) to the rows of the form."""
    if form == "full":
        return lambda matrices: matrices.reshape(len(matrices), matrices.shape[1] ** 2)
    if form == "reduced":
        keep = _kept_cells(slots)
        return lambda matrices: matrices.reshape(len(matrices), matrices.shape[1] ** 2)[:, keep]
    zone = _zones(slots).ravel()
    order = np.argsort(zone, kind="stable")
    starts = np.searchsorted(zone[order], np.arange(len(compact_index())))

    def zones(matrices: FloatArray) -> FloatArray:
        cells = matrices.reshape(len(matrices), matrices.shape[1] ** 2)[:, order]
        if aggregate == "sum":
            return np.add.reduceat(cells, starts, axis=1)
        return np.sqrt(np.add.reduceat(cells * cells, starts, axis=1))

    return zones


Columns = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
FlatObjects = tuple[Columns, IntArray, FloatArray, FloatArray]


def _flat_objects(objects: Mapping[str, Any]) -> FlatObjects:
    """Momenta of all types end to end, their offsets (types, events + 1), MET and its azimuth."""
    missing = [name for name in (*SYMBOLS, "met") if name not in objects]
    if missing:
        msg = (
            f"objects have no {', '.join(missing)}: give an empty list an event for a type that is not there"
        )
        raise InputError(msg)
    n_events = len(objects["met"])
    columns: list[list[FloatArray]] = []
    offsets = np.zeros((len(SYMBOLS), n_events + 1), dtype=np.int64)
    for k, kind in enumerate(SYMBOLS):
        if len(objects[kind]) != n_events:
            msg = f"{kind} hold {len(objects[kind])} events, the missing momentum {n_events}: give the same events"
            raise InputError(msg)
        found = {field: finite_column(objects[kind], kind, field) for field in MOMENTUM}
        pt, offsets[k] = found["pt"]
        refuse_values(pt <= 0.0, pt, offsets[k], (kind, "pt"))
        eta = found["eta"][0]
        refuse_values(np.abs(eta) > ETA_MAX, eta, offsets[k], (kind, "eta"))
        columns.append([found[field][0] for field in MOMENTUM])
    counts = offsets[:, -1]
    offsets = offsets + (np.cumsum(counts) - counts)[:, None]
    met_pt, met_phi = missing_momentum(objects["met"])
    pt, eta, phi, mass = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return (pt, eta, phi, mass), offsets, met_pt, met_phi


def rapidity_mass_matrix(
    objects: Mapping[str, Any],
    *,
    sqrt_s: float,
    n: Slots | None = None,
    form: Form = "full",
    angular_scale: float = 0.15,
    aggregate: Literal["frobenius", "sum"] = "frobenius",
    dtype: npt.DTypeLike = np.float32,
) -> npt.NDArray[Any]:
    """Rapidity–mass matrix of every event, as the text of this module defines it.

    Parameters
    ----------
    objects : mapping of str to awkward array
        ``jets``, ``bjets``, ``muons``, ``electrons``, ``photons``: (n_events, objects) of records ``pt eta phi mass``
        (GeV, rad), in any order; ``met``: (n_events,) of records ``pt phi``. A negative mass counts as 0.
    sqrt_s : float
        Centre-of-mass energy, GeV.
    n : int or mapping of str to int, optional
        Slots of each type, or one number for all. Default: 10; for the reduced form 10 jets, 10 b jets and 5 of each
        other type.
    form : {"full", "reduced", "compact"}
        The matrix, the inputs of ``reduced_index``, or those of ``compact_index``.
    angular_scale : float
        Factor of the first column and of all cells below the diagonal, to bring them to the size of the others; 1
        gives the definition above, 0.15 is the value of arXiv:2307.01612.
    aggregate : {"frobenius", "sum"}
        Of the compact form: root of the sum of squares over a zone, or the sum.
    dtype : float32 or float64

    Returns
    -------
    array (n_events, 1 + slots, 1 + slots), (n_events, n_inputs) or (n_events, 46)
        With the default slots 10, 5 and 0.2 kB an event in float32.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If a type or field is not there, types hold different numbers of events, or a value is missing, not finite or
        out of range (pT ≤ 0, |η| > 50); the message names object and event.
    """
    slots = _slots(n, form)
    check_positive(sqrt_s=sqrt_s, angular_scale=angular_scale)
    if np.dtype(dtype) not in {np.dtype(np.float32), np.dtype(np.float64)}:
        msg = f"dtype = {dtype!r} must be float32 or float64"
        raise ConfigError(msg)
    if aggregate not in {"frobenius", "sum"}:
        msg = f"aggregate = {aggregate!r} must be 'frobenius' or 'sum'"
        raise ConfigError(msg)
    size = 1 + sum(slots.values())
    blocks = _matrices(_flat_objects(objects), slots, float(sqrt_s), float(angular_scale))
    cast = _cast(slots, form, aggregate)
    out = np.empty((len(objects["met"]), cast(np.zeros((0, size, size))).shape[1]), dtype=dtype)
    for block, matrices in blocks:
        out[block] = cast(matrices)
    return out.reshape(len(out), size, size) if form == "full" else out


def _matrices(
    flat: FlatObjects, slots: Mapping[str, int], sqrt_s: float, angular_scale: float
) -> Iterator[tuple[slice, FloatArray]]:
    """Matrices (events, size, size) of some events at a time."""
    columns, offsets, met_pt, met_phi = flat
    rows, size, n_events = np.array([*slots.values()]), 1 + sum(slots.values()), len(met_pt)
    for first in range(0, n_events, BLOCK):
        block = slice(first, min(first + BLOCK, n_events))
        matrices = np.empty((block.stop - first, size, size))
        flat_matrices(
            columns,
            # of one memory layout, or the kernel would be compiled twice
            np.ascontiguousarray(offsets[:, first : block.stop + 1]),
            met_pt[block],
            met_phi[block],
            rows,
            sqrt_s,
            angular_scale,
            matrices,
        )
        yield block, matrices
