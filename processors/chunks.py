"""One chunk of one file: branches as flat arrays, checked for damage and for values that are not numbers."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import IntArray
from processors.resolve import FileSchema
from processors.root_files import damaged, named


@dataclass(frozen=True)
class Chunk:
    """Entries ``start`` … ``start + size − 1`` of a file, read branch by branch on demand.

    ``events`` gives the array of a branch, one element an entry: coffea's array of virtual columns, for one. ``sample``
    is None for a file that belongs to none.
    """

    sample: str | None
    file: str
    start: int
    size: int
    schema: FileSchema
    events: Any

    def column(self, branch: str) -> npt.NDArray[Any]:
        """A branch with one value an entry.

        Parameters
        ----------
        branch
            Its name.

        Returns
        -------
        array (size,)
            In the branch's own type and unit.

        Raises
        ------
        InputError
            If the bytes are damaged; the message names file, branch and entries.
        """
        try:
            values: npt.NDArray[Any] = ak.to_numpy(ak.materialize(self.events[branch]))
        except Exception as error:  # whatever a decoder meets in damaged bytes
            raise self._damaged(branch, error) from error
        return values

    def jagged(self, branch: str) -> tuple[npt.NDArray[Any], IntArray]:
        """A branch with any number of values an entry.

        Parameters
        ----------
        branch
            Its name.

        Returns
        -------
        values
            Those of all entries in one row, in the branch's own type and unit.
        counts
            int64, shape (size,): how many each entry has.

        Raises
        ------
        InputError
            If the bytes are damaged; the message names file, branch and entries.
        """
        try:
            array = ak.materialize(self.events[branch])
            counts = ak.to_numpy(ak.num(array, axis=1)).astype(np.int64)
            values: npt.NDArray[Any] = ak.to_numpy(ak.flatten(array, axis=1))
        except Exception as error:  # whatever a decoder meets in damaged bytes
            raise self._damaged(branch, error) from error
        return values, counts

    def jagged_as(self, role: str, pattern: str, counts: IntArray) -> npt.NDArray[Any]:
        """The values of a role in one row; each entry must have as many as the role ``pattern``.

        Parameters
        ----------
        role
            The quantity.
        pattern
            The quantity that it goes along with.
        counts
            Shape (size,): values of ``pattern`` in each entry.

        Returns
        -------
        array
            Shape (sum of ``counts``,), in the branch's own type and unit.

        Raises
        ------
        InputError
            If an entry has not; the message names file, branch and entry.
        """
        values, own = self.jagged(self.schema.roles[role])
        if not np.array_equal(own, counts):
            entry = int(np.flatnonzero(own != counts)[0])
            other = self.schema.roles[pattern]
            self.refuse(role, f"has {own[entry]} values where {other} has {counts[entry]}", entry)
        return values

    def role(self, role: str) -> npt.NDArray[Any]:
        """The column of a role with one value an entry.

        Parameters
        ----------
        role
            The quantity.

        Returns
        -------
        array (size,)
            In the branch's own type and unit.
        """
        return self.column(self.schema.roles[role])

    def check_finite(self, role: str, values: npt.NDArray[Any], entries: IntArray) -> None:
        """Refuse NaN and inf.

        Parameters
        ----------
        role
            What the values are.
        values
            Values of any shape (n, …).
        entries
            For each of the n values, its entry in the chunk.

        Raises
        ------
        InputError
            Naming file, branch and the first such entry.
        """
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            self.refuse(role, f"holds {values[bad[0]]}", int(entries[bad[0]]))

    def refuse_outside(
        self,
        role: str,
        kind: str,
        indices: npt.NDArray[np.integer],
        entries: IntArray,
        counts: IntArray,
        *,
        lowest: int | None = None,
    ) -> None:
        """Refuse indices that point to nothing.

        Parameters
        ----------
        role
            What the indices are.
        kind
            What they point to, in one word.
        indices, entries
            The indices within their entries, and these; shape (n,).
        counts
            How many there are to point to in each entry.
        lowest
            The smallest index allowed; None where negative ones stand for nothing.

        Raises
        ------
        InputError
            Naming file, branch and the first such entry.
        """
        bad = indices >= counts[entries]
        if lowest is not None:
            bad |= indices < lowest
        if bad.any():
            first = int(np.argmax(bad))
            self.refuse(role, f"points to {kind} {indices[first]}, which is not there", int(entries[first]))

    def refuse(self, role: str, what: str, entry: int) -> None:
        """Raise the error for a value that cannot be right.

        Raises
        ------
        InputError
            Always.
        """
        out = " or take it out of the sample definition" if self.sample else ""
        msg = (
            f"{named(self.file, self.sample)}: branch {self.schema.roles[role]} {what} in entry "
            f"{self.start + entry}; repair the file{out}"
        )
        raise InputError(msg)

    def _damaged(self, branch: str, error: BaseException) -> InputError:
        stop = self.start + self.size
        return damaged(
            self.file, self.sample, f"branch {branch} in entries {self.start} to {stop - 1}", error
        )
