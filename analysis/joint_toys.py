"""Toy spectra of several selections of the same events: what they share is drawn once.

Selections overlap: windows share events at masses that are in both fits, methods select the same odd events. The
events of all selections fall into cells, one for each set of selections that an event passes; cells are disjoint, so
that their counts are independent Poisson numbers, and a selection's counts are the sum over its cells.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data.errors import InputError
from data.types import FloatArray, IntArray

BLOCK = 250
"""Toys that are drawn from one random stream, so that results depend on no number of workers."""
_MAX_ROUNDS = 500
_PRECISION = 1e-6
_MAX_MISMATCH = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """Events that pass exactly one set of selections.

    Attributes
    ----------
    members
        Numbers of the selections.
    expected
        Expected events a bin, shape (n,).
    """

    members: tuple[int, ...]
    expected: FloatArray


def cells(
    names: Sequence[str], expected: FloatArray, shared: Mapping[tuple[str, ...], int] | None = None
) -> list[Cell]:
    """Cells whose sums are the expectations of all selections in every bin.

    Parameters
    ----------
    names
        Names of the selections.
    expected
        Their expected events a bin, shape (selections, n).
    shared
        Events of the data that pass exactly the selections named, by the set of their names: those that pass one
        selection only as well as those that pass two or more. Their shares are those of the cells at all masses, but
        for what the spectra of the selections themselves ask for in each bin (iterative proportional fitting, W. E.
        Deming, F. F. Stephan, Ann. Math. Stat. 11 (1940) 427). None: no event is shared.

    Returns
    -------
    list of Cell
        Those that hold events, in the order of the numbers of their members.

    Raises
    ------
    InputError
        If a name is unknown or repeated, a count is negative, a selection has no events, or no cells with these
        shares add up to the expectations.
    """
    if shared is None:
        return [Cell((number,), row) for number, row in enumerate(expected)]
    number_of = {name: number for number, name in enumerate(names)}
    events: dict[tuple[int, ...], float] = {}
    for members, count in shared.items():
        unknown = [name for name in members if name not in number_of]
        if unknown or len(set(members)) != len(members) or not members or count < 0:
            msg = (
                f"shared events of ({', '.join(members)}): {count}; give counts of 0 or more by different names of "
                f"{', '.join(names)}"
            )
            raise InputError(msg)
        key = tuple(sorted(number_of[name] for name in members))
        if key in events:
            msg = f"shared events of ({', '.join(members)}) are given twice; give them once"
            raise InputError(msg)
        events[key] = float(count)
    filled = sorted(key for key, count in events.items() if count > 0)
    membership = np.array([[number in key for key in filled] for number in range(len(names))], dtype=np.bool_)
    for name, row in zip(names, membership.reshape(len(names), -1), strict=True):
        if not row.any():
            msg = f"shared events: selection '{name}' has none; count the events that pass it alone too"
            raise InputError(msg)
    fitted = _fit_margins(np.array([events[key] for key in filled]), membership, expected)
    _check_margins(names, membership.astype(np.float64) @ fitted, expected)
    return [Cell(key, values) for key, values in zip(filled, fitted, strict=True)]


def _fit_margins(shares: FloatArray, membership: np.ndarray, expected: FloatArray) -> FloatArray:
    """Expected events of the cells, shape (cells, n): scaled in turn to the expectation of each selection."""
    values = np.outer(shares / shares.sum(), expected.max(axis=0))
    for _ in range(_MAX_ROUNDS):
        worst = 0.0
        for row, wanted in zip(membership, expected, strict=True):
            factor = wanted / np.maximum(values[row].sum(axis=0), 1e-300)
            values[row] *= factor
            worst = max(worst, float(np.abs(factor - 1).max()))
        if worst < _PRECISION:
            break
    return np.asarray(values)


def _check_margins(names: Sequence[str], found: FloatArray, expected: FloatArray) -> None:
    """Selections inside another one, say, cannot hold more events than it."""
    off = np.abs(found.sum(axis=1) / expected.sum(axis=1) - 1)
    if off.max() > _MAX_MISMATCH:
        msg = (
            f"shared events: no such sets add up to the spectrum of '{names[int(off.argmax())]}'; "
            "check that the counts are of the events of these spectra"
        )
        raise InputError(msg)


def draw(parts: Sequence[Cell], n_selections: int, n_toys: int, seed: int) -> Iterator[IntArray]:
    """Toy counts of all selections, block by block.

    Parameters
    ----------
    parts
        Cells (see `cells`).
    n_selections
        Number of selections.
    n_toys
        Toys altogether.
    seed
        Of the random streams, one a block of `BLOCK` toys.

    Yields
    ------
    IntArray
        Shape (selections, toys of the block, n).
    """
    for block, start in enumerate(range(0, n_toys, BLOCK)):
        rng = np.random.default_rng([seed, block])
        size = min(BLOCK, n_toys - start)
        counts = np.zeros((n_selections, size, parts[0].expected.size), dtype=np.int64)
        for cell in parts:
            drawn = rng.poisson(cell.expected, (size, cell.expected.size))
            for member in cell.members:
                counts[member] += drawn
        yield counts


def overlaps(passed: Mapping[str, np.ndarray]) -> dict[tuple[str, ...], int]:
    """Events of each set of selections, from which events pass which.

    Parameters
    ----------
    passed
        Name of a selection to whether each event passes it, all of one shape (events,).

    Returns
    -------
    dict
        As `cells` takes it; sets that no event passes are left out.

    Raises
    ------
    InputError
        If the lengths differ.
    """
    names = tuple(passed)
    if len({np.shape(values) for values in passed.values()}) != 1:
        msg = (
            f"overlaps: the selections {', '.join(names)} are not of the same events; give one entry an event"
        )
        raise InputError(msg)
    table = np.stack([np.asarray(passed[name], dtype=np.bool_) for name in names])
    patterns, counts = np.unique(table, axis=1, return_counts=True)
    return {
        tuple(itertools.compress(names, pattern)): int(count)
        for pattern, count in zip(patterns.T, counts, strict=True)
        if pattern.any()
    }
