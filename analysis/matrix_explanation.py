"""The objects that the cells of a rapidity–mass matrix tell of: what an explanation of a score exchanges."""

import numpy as np
import numpy.typing as npt

from data.types import BoolArray, FloatArray
from processors.rapidity_mass_matrix import cell_names, compact_index, reduced_index

MATRIX = "rmm"
"""Column of the matrix, in any of its forms."""
_MET = "missing momentum"
_KINDS = {"j": "small jets", "b": "b jets", "mu": "muons", "e": "electrons", "g": "photons"}
_LEADING = {"j1": "leading small jet", "j2": "second small jet"}


def matrix_objects(shape: tuple[int, ...]) -> dict[str, BoolArray]:
    """Which cells of a matrix tell of which objects; a cell of two objects tells of both.

    Parameters
    ----------
    shape
        Of one event's matrix.

    Returns
    -------
    dict of str to array
        Object, or kind of objects, in words, to a mask of the matrix' shape; empty where the shape is that of no form.
    """
    names = next((found for found in _forms() if found.shape == shape), None)
    if names is None:
        return {}
    told = [_told_by(name) for name in names.ravel().tolist()]
    objects = dict.fromkeys(one for found in told for one in found)
    return {one: np.array([one in found for found in told]).reshape(shape) for one in objects}


def exchanged(
    own: npt.NDArray[np.floating], others: FloatArray, objects: BoolArray, coalitions: BoolArray
) -> FloatArray:
    """An event's matrix with the objects beyond each coalition taken from other events.

    A cell is the event's own where all objects that it tells of are in the coalition.

    Parameters
    ----------
    own
        Matrix of the event, shape (…), that of one event's matrix.
    others
        Matrices of other events, shape (others, …).
    objects
        Cells that tell of each object, shape (objects, …).
    coalitions
        Shape (coalitions, objects).

    Returns
    -------
    numpy.ndarray
        Shape (coalitions · others, …), all others of the first coalition first.
    """
    found = np.repeat(others[None], len(coalitions), axis=0)
    for rows, coalition in zip(found, coalitions, strict=True):
        taken = ~objects[~coalition].any(axis=0)
        rows[:, taken] = own[taken]
    return found.reshape(-1, *own.shape)


def _forms() -> tuple[npt.NDArray[np.str_], ...]:
    return cell_names(), np.array(reduced_index()), np.array(compact_index())


def _told_by(name: str) -> tuple[str, ...]:
    """The objects of a cell by its name, e.g. of ``mt(j1)`` or ``m(j1,mu2)``; ``det(j2)`` is of j1 and j2."""
    zone, _, inside = name.rstrip(")").partition("(")
    labels = [label for label in inside.split(",") if label]
    if zone == "det":
        labels.insert(0, _one_before(inside))
    found = [_LEADING.get(label, _kind(label)) for label in labels]
    return (_MET, *found) if zone in {"met", "mt", "t"} else tuple(found)


def _one_before(label: str) -> str:
    """The object of the same type that is next in E_T above: of j2 it is j1."""
    symbol = label.rstrip("0123456789")
    return f"{symbol}{int(label.removeprefix(symbol)) - 1}"


def _kind(label: str) -> str:
    symbol = label.rstrip("0123456789")
    words = _KINDS[symbol]
    return f"other {words}" if symbol == "j" and label != symbol else words
