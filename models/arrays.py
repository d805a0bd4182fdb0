"""Named arrays: what a trained method is made of, and how a bundle's arrays are checked."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


def take(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: str, *shape: int | None
) -> npt.NDArray[Any]:
    """An array of a bundle with the type and shape that it must have.

    Parameters
    ----------
    arrays
        Arrays by name.
    name
        The one wanted.
    dtype
        Its type.
    shape
        Its shape; None where any length is allowed.

    Returns
    -------
    numpy.ndarray
        The array itself, not a copy.

    Raises
    ------
    ValueError
        If it is missing or different.
    """
    if name not in arrays:
        msg = f"array '{name}' is missing"
        raise ValueError(msg)
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        msg = f"array '{name}' is {array.dtype} of shape {array.shape}, expected {dtype} of shape {shape}"
        raise ValueError(msg)
    return array


def below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> Arrays:
    """The arrays whose names begin with a prefix, without it.

    Parameters
    ----------
    arrays
        Arrays by name.
    prefix
        Beginning of the names wanted.

    Returns
    -------
    dict
        Name without the prefix to array, those of other names left out.
    """
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def without(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> Arrays:
    """The arrays whose names do not begin with a prefix.

    Parameters
    ----------
    arrays
        Arrays by name.
    prefix
        Beginning of the names left out.

    Returns
    -------
    dict
        The other arrays, by their names.
    """
    return {name: array for name, array in arrays.items() if not name.startswith(prefix)}


def prefixed(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """The same arrays with a prefix before their names.

    Parameters
    ----------
    prefix
        What goes before each name.
    arrays
        Arrays by name.

    Returns
    -------
    dict
        The arrays themselves, by the longer names.
    """
    return {f"{prefix}{name}": array for name, array in arrays.items()}
