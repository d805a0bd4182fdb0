"""Correction files of correctionlib: opened once a process; errors name file, correction and input."""

import difflib
import functools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from correctionlib.highlevel import CompoundCorrection, Correction, CorrectionSet

from data.errors import InputError
from data.files import sha256_file
from data.types import FloatArray

Value = npt.NDArray[Any] | str | int | float | None
"""What one input of a correction gets: one number an element, or the same for all; None is not available."""
Naming = Callable[[int], str]
"""Says which jet or event stands at a position, for messages."""

_REFUSALS = (RuntimeError, IndexError, TypeError, ValueError)  # of correctionlib


@dataclass(frozen=True)
class CorrectionTable:
    """One correction of a file, simple or compound, and the names of its inputs in order."""

    path: Path
    name: str
    inputs: tuple[str, ...]
    correction: Correction | CompoundCorrection

    def __str__(self) -> str:
        return f"{self.path}: correction '{self.name}'"

    def evaluate(self, values: Mapping[str, Value], size: int, naming: Naming) -> FloatArray:
        """Evaluate the correction.

        Parameters
        ----------
        values
            Name of an input to its values; more than the correction needs may be offered.
        size
            Number of elements of the result.
        naming
            Names the element at a position, for messages.

        Returns
        -------
        numpy.ndarray
            float64, ``size`` finite numbers.

        Raises
        ------
        InputError
            If an input is not available or not a number, lies outside of what the file covers, or the result
            is not finite.
        """
        arguments: list[Any] = [self._argument(name, values, naming) for name in self.inputs]
        if size == 0:
            return np.empty(0)
        try:
            # correctionlib declares scalars and awkward arrays too; here it gets numpy arrays or constants.
            result: Any = self.correction.evaluate(*arguments)
        except _REFUSALS as error:
            where = naming(self._first_refused(arguments, size))
            msg = f"{self} cannot be evaluated for {where}: {error}; use a file that covers these events and inputs"
            raise InputError(msg) from None
        factors: FloatArray = np.broadcast_to(np.asarray(result, dtype=np.float64), (size,))
        bad = np.flatnonzero(~np.isfinite(factors))
        if len(bad):
            msg = (
                f"{self} gives {factors[bad[0]]} for {naming(int(bad[0]))}; use another file, or leave it out"
            )
            raise InputError(msg)
        return factors

    def _first_refused(self, arguments: list[Any], size: int) -> int:
        """Position of the first element that the correction refuses, where it refuses them together."""
        low, high = 0, size
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self.correction.evaluate(
                    *(part[low:middle] if isinstance(part, np.ndarray) else part for part in arguments)
                )
            except _REFUSALS:
                high = middle
            else:
                low = middle
        return low

    def _argument(self, name: str, values: Mapping[str, Value], naming: Naming) -> Value:
        value = values.get(name)
        if value is None:
            offered = ", ".join(sorted(key for key, given in values.items() if given is not None))
            msg = f"{self} needs the input '{name}', which is not available here; available: {offered}"
            raise InputError(msg)
        # correctionlib itself sorts NaN into some bin without a word.
        if isinstance(value, np.ndarray) and not np.isfinite(value).all():
            bad = np.flatnonzero(~np.isfinite(value))
            where = naming(int(bad[0]))
            msg = f"{self}: its input '{name}' is not a finite number for {where}; repair the input file"
            raise InputError(msg)
        return value


def correction_table(path: Path, name: str) -> CorrectionTable:
    """Find a correction in a file.

    Parameters
    ----------
    path
        ``.json`` or ``.json.gz`` in the format of correctionlib.
    name
        Name of a simple or compound correction.

    Returns
    -------
    CorrectionTable
        The file is read once a process as long as its contents stay the same.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no such correction: the nearest names are listed.
    """
    corrections = _read(path, content_hash(path))
    found: Correction | CompoundCorrection
    # Lists, because correctionlib's own "in" raises where the name is not there.
    simple, compound = list(corrections), list(corrections.compound)
    if name in simple:
        found = corrections[name]
    elif name in compound:
        found = corrections.compound[name]
    else:
        known = sorted(simple + compound)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
        msg = f"{path}: holds no correction '{name}'; choose one of its {len(known)}, the nearest: {', '.join(near)}"
        raise InputError(msg)
    return CorrectionTable(path, name, tuple(entry.name for entry in found.inputs), found)


def content_hash(path: Path) -> str:
    """SHA-256 of a correction file; hashed again only when its size or time of change is another.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check the path of the correction file"
        raise InputError(msg) from None
    return _hash(path, status.st_mtime_ns, status.st_size)


@functools.cache
def _hash(path: Path, changed: int, size: int) -> str:  # noqa: ARG001 - part of the key of the cache
    return sha256_file(path)


@functools.cache
def _read(path: Path, sha256: str) -> CorrectionSet:  # noqa: ARG001 - part of the key of the cache
    try:
        return CorrectionSet.from_file(str(path))
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        msg = f"{path}: not a correction file ({error}); give a .json or .json.gz of correctionlib, whole"
        raise InputError(msg) from None
