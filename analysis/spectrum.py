"""A binned dijet mass spectrum: fine bins for the likelihood, coarse bins for χ² and plots."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.bin_edges import edge_array
from analysis.spectrum_document import SpectrumDocument
from data.errors import InputError
from data.files import write_json
from data.types import FloatArray, IntArray

COARSE_EDGES: tuple[float, ...] = (
    1181, 1246, 1313, 1383, 1460, 1530, 1607, 1687, 1770, 1856, 1945, 2037, 2132, 2231, 2332, 2438, 2546, 2659,
    2775, 2895, 3019, 3147, 3279, 3416, 3558, 3704, 3854, 4010, 4171, 4337, 4509, 4700, 4900, 5100, 5300, 5500,
    5800, 6100, 6400, 6800, 7320, 7866, 8447, 9067, 9726, 10430, 11179, 11977, 12827,
)  # fmt: skip
"""Coarse bin edges in GeV: those of the CMS search from 1460 to 6800 (arXiv:2412.03747), every second edge
of the CMS dijet binning above (arXiv:1911.03947) and single ones below."""
_MAX_COUNT = 2.0**53
"""Whole numbers above are not exact in double precision."""


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """Event counts in bins of the dijet mass.

    Parameters
    ----------
    edges
        Bin edges in GeV, shape (n + 1,), strictly increasing, positive.
    counts
        Events a bin, shape (n,): whole numbers ≥ 0, of integer or floating type; kept as int64.
    coarse_edges
        Edges in GeV of the bins used for χ² and plots before merging; those of `COARSE_EDGES` if None.

    Raises
    ------
    InputError
        If the edges are not increasing, the lengths differ, or a count is negative, fractional or not finite.
    """

    edges: FloatArray
    counts: npt.NDArray[Any]
    coarse_edges: FloatArray | None = None

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges, dtype=np.float64)
        counts = np.asarray(self.counts, dtype=np.float64)
        _check_edges(edges, "edges")
        if counts.shape != (edges.size - 1,):
            msg = f"spectrum: {edges.size} edges need {edges.size - 1} counts, found {counts.size}"
            raise InputError(msg)
        _check_counts(edges, counts)
        object.__setattr__(self, "edges", _frozen(edges))
        object.__setattr__(self, "counts", _frozen(counts.astype(np.int64)))
        if self.coarse_edges is not None:
            coarse = np.asarray(self.coarse_edges, dtype=np.float64)
            _check_edges(coarse, "coarse_edges")
            object.__setattr__(self, "coarse_edges", _frozen(coarse))

    @classmethod
    def from_json(cls, path: Path | str) -> "Spectrum":
        """Read the spectrum of a spectrum file; what else the file holds is for its analysis.

        Parameters
        ----------
        path
            JSON with ``edges`` (a list in GeV, or ``{"lo", "width", "n"}``), ``counts`` (trailing zeros may be
            left out) and, if wanted, ``coarse_edges``; see `SpectrumDocument` for its other keys.

        Returns
        -------
        Spectrum
            Edges in GeV, counts with their trailing zeros.

        Raises
        ------
        InputError
            If the file cannot be read or its numbers are not a spectrum.
        ConfigError
            If a key is unknown, missing or of the wrong type.
        """
        document = SpectrumDocument.read(path)
        try:
            return cls.from_document(document)
        except InputError as error:
            msg = f"{path}: {error}"
            raise InputError(msg) from None

    @classmethod
    def from_document(cls, document: SpectrumDocument) -> "Spectrum":
        """The spectrum of a document, with its trailing zeros.

        Parameters
        ----------
        document
            Of a spectrum file.

        Returns
        -------
        Spectrum
            Edges in GeV, counts with their trailing zeros.

        Raises
        ------
        InputError
            If its numbers are not a spectrum.
        """
        edges = edge_array(document.edges)
        counts = np.asarray(document.counts, dtype=np.float64)
        missing = max(edges.size - 1 - counts.size, 0)
        coarse = (
            None if document.coarse_edges is None else np.asarray(document.coarse_edges, dtype=np.float64)
        )
        return cls(edges, np.concatenate([counts, np.zeros(missing)]), coarse)

    def to_json(self, path: Path | str) -> None:
        """Write the spectrum as `from_json` reads it."""
        document: dict[str, Any] = {"edges": self.edges.tolist(), "counts": self.counts.tolist()}
        if self.coarse_edges is not None:
            document["coarse_edges"] = self.coarse_edges.tolist()
        write_json(Path(path), document)

    @property
    def n_events(self) -> int:
        """Events in all bins."""
        return int(self.counts.sum())

    @property
    def lo(self) -> float:
        """Lower end in GeV."""
        return float(self.edges[0])

    @property
    def hi(self) -> float:
        """Upper end in GeV."""
        return float(self.edges[-1])

    @property
    def last_filled(self) -> float:
        """Upper edge in GeV of the last bin that holds an event (the lower end if none does)."""
        filled = np.flatnonzero(self.counts)
        return float(self.edges[filled[-1] + 1]) if filled.size else self.lo

    def snap(self, mass: float, *, up: bool = False) -> float:
        """Bin edge nearest to a mass, or the first one not below it.

        Parameters
        ----------
        mass
            In GeV.
        up
            Take the first edge not below ``mass`` (the last edge if there is none).

        Returns
        -------
        float
            In GeV.
        """
        if up:
            index = min(int(np.searchsorted(self.edges, mass - 1e-9)), self.edges.size - 1)
        else:
            index = int(np.argmin(np.abs(self.edges - mass)))
        return float(self.edges[index])

    def between(self, lo: float, hi: float) -> "Spectrum":
        """Part of the spectrum between two of its edges.

        Parameters
        ----------
        lo, hi
            In GeV; each must be an edge of the spectrum (see `snap`).

        Returns
        -------
        Spectrum
            The bins between them, with the same coarse edges.

        Raises
        ------
        InputError
            If one of them is not an edge, or nothing lies between them.
        """
        first, last = (int(np.argmin(np.abs(self.edges - end))) for end in (lo, hi))
        for end, index in ((lo, first), (hi, last)):
            if abs(self.edges[index] - end) > 1e-6:
                msg = (
                    f"spectrum: {end:g} GeV is not a bin edge; take the nearest, {self.edges[index]:g} GeV "
                    f"(spectrum from {self.lo:g} to {self.hi:g} GeV)"
                )
                raise InputError(msg)
        if first >= last:
            msg = f"spectrum: no bins between {lo:g} and {hi:g} GeV; give a range that rises"
            raise InputError(msg)
        return Spectrum(self.edges[first : last + 1], self.counts[first:last], self.coarse_edges)

    def merged_edges(self, minimum: int = 5) -> IntArray:
        """Coarse bins as indices of fine edges, merged from the right until each holds enough events.

        The coarse edges are snapped to the fine grid first (the published ones lie on no 4 GeV grid).

        Parameters
        ----------
        minimum
            Events that every coarse bin must hold.

        Returns
        -------
        IntArray
            Indices into `edges`, increasing, first 0, last n; shape (coarse bins + 1,).
        """
        wanted = (
            self.coarse_edges if self.coarse_edges is not None else np.asarray(COARSE_EDGES, dtype=np.float64)
        )
        inside = wanted[(wanted > self.lo) & (wanted < self.hi)]
        snapped = np.abs(self.edges[None, :] - inside[:, None]).argmin(axis=1)
        index = np.unique(np.concatenate([[0], snapped, [self.edges.size - 1]])).astype(np.int64)
        return merge_from_right(self.counts, index, minimum)


def merge_from_right(counts: IntArray, index: IntArray, minimum: int) -> IntArray:
    """Drop inner bin edges, from the right, until every bin holds at least ``minimum`` events.

    Parameters
    ----------
    counts
        Events a fine bin, shape (n,).
    index
        Coarse edges as indices into the fine edges, increasing, shape (m + 1,).
    minimum
        Events that every bin must hold.

    Returns
    -------
    IntArray
        The indices kept; one bin is left where there are fewer than ``minimum`` events altogether.
    """
    cumulated = np.concatenate([[0], np.cumsum(counts)])
    kept = [int(index[-1])]
    for edge in index[-2:0:-1]:
        if cumulated[kept[-1]] - cumulated[edge] >= minimum:
            kept.append(int(edge))
    first = int(index[0])
    while len(kept) > 1 and cumulated[kept[-1]] - cumulated[first] < minimum:
        kept.pop()
    return np.asarray([first, *reversed(kept)], dtype=np.int64)


def sum_between(values: npt.NDArray[Any], index: IntArray) -> npt.NDArray[Any]:
    """Sums of fine-bin values in coarse bins.

    Parameters
    ----------
    values
        Shape (n, …).
    index
        Coarse edges as indices into the fine edges, shape (m + 1,).

    Returns
    -------
    array
        Shape (m, …).
    """
    return np.asarray(np.add.reduceat(values[: index[-1]], index[:-1], axis=0))


def _frozen(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    copy = values.copy()
    copy.setflags(write=False)
    return copy


def _check_edges(edges: FloatArray, name: str) -> None:
    if edges.ndim != 1 or edges.size < 2:
        msg = f"spectrum: {name} need at least two numbers in one list, found an array of shape {edges.shape}"
        raise InputError(msg)
    if not np.isfinite(edges).all() or edges[0] <= 0:
        msg = f"spectrum: {name} must be finite and positive (GeV)"
        raise InputError(msg)
    falling = np.flatnonzero(np.diff(edges) <= 0)
    if falling.size:
        at = falling[0]
        msg = f"spectrum: {name} must increase, but {edges[at]:g} GeV is followed by {edges[at + 1]:g} GeV; sort them"
        raise InputError(msg)


def _check_counts(edges: FloatArray, counts: FloatArray) -> None:
    for bad, what in (
        (~np.isfinite(counts), "not a finite number"),
        (counts < 0, "negative"),
        (counts > _MAX_COUNT, "too large to be exact"),
        (counts != np.floor(counts), "not a whole number (a weighted histogram cannot be fitted as counts)"),
    ):
        at = np.flatnonzero(bad)
        if at.size:
            where = f"{edges[at[0]]:g}–{edges[at[0] + 1]:g} GeV"
            msg = f"spectrum: the count {counts[at[0]]:g} in bin {where} is {what}; give the events of data, unweighted"
            raise InputError(msg)
