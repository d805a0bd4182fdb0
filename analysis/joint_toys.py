"""Toy spectra of several selections of the same events: what they share is drawn once.

Selections overlap: windows share events at masses that are in both fits, methods select the same odd events. The
events of all selections fall into cells, one for each set of selections that an event passes; cells are disjoint, so
that their counts are independent Poisson numbers, and a selection's counts are the sum over its cells.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from data.errors import InputError
from data.types import BoolArray, FloatArray, IntArray

BLOCK = 250
"""Toys that are drawn from one random stream, so that results depend on no number of workers."""
_BINS = 64
"""Bins that are worked on at once: cells may be many."""
_ROUNDS = 200
_PRECISION = 1e-3
_ALONE = 1e-6
"""Share of a selection's events that is added to those that pass it alone: it can then hold what those around it cannot.
Where more is not needed, ten times as much is taken as none."""
_EMPTY = 1e-9
"""Expected events of a bin that is taken as empty."""
_MANY = 1.0
"""Expected events a bin from which a cell's toys are drawn bin by bin, not event by event."""


@dataclasses.dataclass(frozen=True, eq=False)
class Overlaps:
    """How many events of the data pass which set of selections.

    Attributes
    ----------
    names
        Names of the selections.
    passed
        The sets, each once and none empty; shape (sets, selections).
    events
        Events that pass exactly these selections, shape (sets,).
    """

    names: tuple[str, ...]
    passed: BoolArray
    events: IntArray

    @classmethod
    def count(cls, names: Sequence[str], passed: npt.NDArray[np.bool_], events: IntArray) -> "Overlaps":
        """Bring equal sets together, and leave out the empty one.

        Parameters
        ----------
        names
            Names of the selections.
        passed
            Shape (sets or events, selections).
        events
            Shape (sets or events,).

        Returns
        -------
        Overlaps
            Each set once, with the events of all its entries.
        """
        packed = np.packbits(passed, axis=1)
        keys = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1])))[:, 0]
        _, first, number = np.unique(keys, return_index=True, return_inverse=True)
        total = np.bincount(number, weights=events, minlength=first.size).astype(np.int64)
        sets = passed[first]
        kept = sets.any(axis=1) & (total > 0)
        return cls(tuple(names), sets[kept], total[kept])

    @classmethod
    def of(cls, passed: Mapping[str, BoolArray]) -> "Overlaps":
        """From which events pass which selections.

        Parameters
        ----------
        passed
            Name of a selection to whether each event passes it, all of one shape (events,).

        Returns
        -------
        Overlaps
            Each set once, with its number of events.

        Raises
        ------
        InputError
            If the lengths differ.
        """
        if len({np.shape(values) for values in passed.values()}) != 1:
            msg = f"overlaps: the selections {', '.join(passed)} are not of the same events; give one entry an event"
            raise InputError(msg)
        table = np.stack([np.asarray(values, dtype=np.bool_) for values in passed.values()], axis=1)
        return cls.count(tuple(passed), table, np.ones(len(table), dtype=np.int64))

    def among(self, names: Sequence[str]) -> "Overlaps":
        """Those of some of the selections, in another order.

        Raises
        ------
        InputError
            If a name is unknown or stands twice, or no event passes a selection.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown or len(set(names)) != len(names):
            msg = (
                f"shared events of {', '.join(names)}: they are known of {', '.join(self.names)}; name each "
                "selection once"
            )
            raise InputError(msg)
        columns = [self.names.index(name) for name in names]
        found = Overlaps.count(names, self.passed[:, columns], self.events)
        for number, name in enumerate(names):
            if not found.passed[:, number].any():
                msg = f"shared events: selection '{name}' has none; count the events that pass it alone too"
                raise InputError(msg)
        return found


def draw(
    expected: FloatArray, n_toys: int, seed: int, overlaps: Overlaps | None = None
) -> Iterator[IntArray]:
    """Toy counts of all selections, block by block.

    Parameters
    ----------
    expected
        Expected events a bin of each selection, shape (selections, n); 0 where a selection is not looked at.
    n_toys
        Toys altogether.
    seed
        Of the random streams, one a block of `BLOCK` toys.
    overlaps
        Of these selections. The shares of the sets are those of the data at all masses, but for what the spectra of
        the selections themselves ask for in each bin (iterative proportional fitting, W. E. Deming, F. F. Stephan,
        Ann. Math. Stat. 11 (1940) 427); where spectra do not fit into one another, as that of a selection above that
        of another which holds all its events, the rest fluctuates alone. None: no event is shared.

    Yields
    ------
    IntArray
        Shape (selections, toys of the block, n).
    """
    wanted = np.where(expected < _EMPTY, 0.0, expected)
    cells = None if overlaps is None or len(expected) == 1 else Cells(overlaps, wanted)
    alone = expected if cells is None else cells.alone
    for block, start in enumerate(range(0, n_toys, BLOCK)):
        rng = np.random.default_rng([seed, block])
        size = min(BLOCK, n_toys - start)
        counts = np.stack([rng.poisson(row, (size, row.size)) for row in alone])
        if cells is not None:
            cells.add(counts, rng)
            counts *= (wanted > 0)[:, None]  # cells may reach beyond where a selection is looked at
        yield counts


class Cells:
    """Sets of selections and their expected events in every bin, which add up to the spectra of the selections.

    A cell expects its share of the data times one factor for each of its selections, a function of the bin. Only these
    factors are kept: there may be as many cells as events.

    Parameters
    ----------
    overlaps
        Of the selections.
    expected
        Of each selection, shape (selections, n).

    Attributes
    ----------
    alone
        Expected events that each selection shares with none, shape (selections, n).
    """

    def __init__(self, overlaps: Overlaps, expected: FloatArray) -> None:
        sizes = overlaps.passed.sum(axis=1)
        events = np.array([overlaps.events[column].sum() for column in overlaps.passed.T], dtype=np.float64)
        single = _ALONE * events
        single[overlaps.passed[sizes == 1].argmax(axis=1)] += overlaps.events[sizes == 1]
        shared = overlaps.passed[sizes > 1]
        self._shares = overlaps.events[sizes > 1].astype(np.float64)
        # The sum of all cells is fitted to nothing: spectra with the shares of the data must have it from the start.
        all_there = (events[:, None] * (expected > 0)).sum(axis=0)
        self._start = expected.sum(axis=0) / np.maximum(all_there, 1)
        self._members = csr_array(shared, dtype=np.float64)
        self._cells_of = [np.flatnonzero(column) for column in shared.T]
        self._log_factors = np.empty_like(expected)
        self.alone = np.empty_like(expected)
        for bins in self._chunks():
            self._fit(single, expected[:, bins], bins)

    def _chunks(self) -> list[slice]:
        stop = self._start.size
        return [slice(first, min(first + _BINS, stop)) for first in range(0, stop, _BINS)]

    def _fit(self, single: FloatArray, wanted: FloatArray, bins: slice) -> None:
        """Scale in turn to the spectrum of each selection, where it has one."""
        values, own = np.outer(self._shares, self._start[bins]), np.outer(single, self._start[bins])
        factors = np.ones_like(wanted)

        def scale(number: int, most: float) -> float:
            """Returns the largest relative change."""
            cells = self._cells_of[number]
            found = own[number] + values[cells].sum(axis=0)
            there = (wanted[number] > 0) & (found > 0)
            by = np.divide(wanted[number], found, out=np.ones_like(found), where=there)
            by = np.minimum(by, most)
            for array in (own, factors):
                array[number] *= by
            values[cells] *= by
            return float(np.abs(by - 1).max())

        for _ in range(_ROUNDS):
            if max([scale(number, np.inf) for number in range(len(wanted))]) < _PRECISION:
                break
        for number in range(len(wanted)):  # what is too much now goes, and what is then missing is alone
            scale(number, 1.0)
        shared = np.stack([values[cells].sum(axis=0) for cells in self._cells_of])
        self._log_factors[:, bins] = np.log(factors)
        alone = wanted - shared
        self.alone[:, bins] = np.where(alone > 10 * _ALONE * wanted, alone, 0.0)

    def add(self, counts: IntArray, rng: np.random.Generator) -> None:
        """Draw the events that selections share.

        Parameters
        ----------
        counts
            Events drawn so far, shape (selections, toys, n); the shared ones are added.
        rng
            Source of the random numbers.
        """
        for bins in self._chunks():
            factors = np.exp(self._members @ self._log_factors[:, bins])
            values = self._shares[:, None] * self._start[bins] * factors
            many = values.max(axis=1) > _MANY
            for cell in np.flatnonzero(many).tolist():
                drawn = rng.poisson(values[cell], (counts.shape[1], values.shape[1]))
                start, stop = self._members.indptr[cell : cell + 2]
                for member in self._members.indices[start:stop].tolist():
                    counts[member, :, bins] += drawn
            few = np.flatnonzero(~many)
            for place, row in enumerate(values[few].T, bins.start):
                self._add_events(counts[:, :, place], few, row, rng)

    def _add_events(
        self, counts: IntArray, cells: IntArray, expected: FloatArray, rng: np.random.Generator
    ) -> None:
        """The events of one bin in cells that expect few, drawn one by one; counts of shape (selections, toys)."""
        below = np.cumsum(expected)
        if not below.size:
            return
        events = np.asarray(rng.poisson(below[-1], counts.shape[1]), dtype=np.int64)
        at = np.searchsorted(below, rng.random(int(events.sum())) * below[-1], side="right")
        cell = cells[np.minimum(at, cells.size - 1)]
        first, sizes = self._members.indptr[cell], np.diff(self._members.indptr)[cell]
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        members = self._members.indices[np.repeat(first, sizes) + inside]
        toys = np.repeat(np.repeat(np.arange(counts.shape[1]), events), sizes)
        np.add.at(counts, (members, toys), 1)
