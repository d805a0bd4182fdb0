"""One chunk of one file: branches as flat arrays, checked for damage and for values that are not numbers."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import IntArray
from processors.preflight import damaged
from processors.schema import COUNTED, FileSchema


@dataclass(frozen=True)
class Chunk:
    """Entries ``start`` … ``start + size − 1`` of a file, read branch by branch on demand.

    ``events`` is coffea's array of virtual columns, one an entry.
    """

    sample: str
    file: str
    start: int
    size: int
    schema: FileSchema
    events: Any

    def column(self, branch: str) -> npt.NDArray[Any]:
        """A branch with one value an entry."""
        try:
            values: npt.NDArray[Any] = ak.to_numpy(ak.materialize(self.events[branch]))
        except Exception as error:  # whatever a decoder meets in damaged bytes
            raise self._damaged(branch, error) from error
        return values

    def jagged(self, branch: str) -> tuple[npt.NDArray[Any], IntArray]:
        """A branch with any number of values an entry: the values in one row, and how many each entry has."""
        try:
            array = ak.materialize(self.events[branch])
            counts = ak.to_numpy(ak.num(array, axis=1)).astype(np.int64)
            values: npt.NDArray[Any] = ak.to_numpy(ak.flatten(array, axis=1))
        except Exception as error:  # whatever a decoder meets in damaged bytes
            raise self._damaged(branch, error) from error
        return values, counts

    def role(self, role: str) -> npt.NDArray[Any]:
        """The column of a role with one value an entry."""
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

    def refuse(self, role: str, what: str, entry: int) -> None:
        """Raise the error for a value that cannot be right.

        Raises
        ------
        InputError
            Always.
        """
        msg = (
            f"file '{self.file}' of sample '{self.sample}': branch {self.schema.roles[role]} {what} in entry "
            f"{self.start + entry}; repair the file or take it out of the sample definition"
        )
        raise InputError(msg)

    def _damaged(self, branch: str, error: BaseException) -> InputError:
        stop = self.start + self.size
        return damaged(
            self.file, self.sample, f"branch {branch} in entries {self.start} to {stop - 1}", error
        )


class Jets:
    """The AK8 jets of a chunk in one row.

    Attributes
    ----------
    counts
        int64, jets of each entry.
    entry
        int64, for each jet its entry in the chunk.
    """

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._read: dict[str, npt.NDArray[Any]] = {}
        self._read["pt"], self.counts = chunk.jagged(chunk.schema.roles["pt"])
        self.entry: IntArray = np.repeat(np.arange(len(self.counts)), self.counts)

    def __getitem__(self, role: str) -> npt.NDArray[Any]:
        """All jets' values of a role."""
        if role not in self._read:
            branch = self._chunk.schema.roles[role]
            if branch in COUNTED:
                self._read[role] = self._count(role)
            else:
                self._read[role] = self._same_length(role, *self._chunk.jagged(branch))
        return self._read[role]

    def of(self, role: str, jets: IntArray) -> npt.NDArray[Any]:
        """Finite values of a role for some jets, given by their positions in the row."""
        values = self[role][jets]
        if values.dtype.kind == "f":
            self._chunk.check_finite(role, values, self.entry[jets])
        return values

    def _same_length(self, role: str, values: npt.NDArray[Any], counts: IntArray) -> npt.NDArray[Any]:
        if not np.array_equal(counts, self.counts):
            entry = int(np.flatnonzero(counts != self.counts)[0])
            self._chunk.refuse(
                role, f"has {counts[entry]} jets where FatJet_pt has {self.counts[entry]}", entry
            )
        return values

    def _count(self, role: str) -> npt.NDArray[Any]:
        """Number of stored constituents of each jet."""
        jet, counts = self._chunk.jagged(self._chunk.schema.roles[role])
        entry = np.repeat(np.arange(len(counts)), counts)
        wrong = np.flatnonzero(jet >= self.counts[entry])
        if len(wrong):
            self._chunk.refuse(
                role, f"points to jet {jet[wrong[0]]}, which is not there", int(entry[wrong[0]])
            )
        first = np.cumsum(self.counts) - self.counts
        owned = jet >= 0
        return np.bincount(first[entry[owned]] + jet[owned], minlength=len(self.entry))
