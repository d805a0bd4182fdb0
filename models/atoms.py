"""Inputs with atoms: integers, and values that many events share, such as a b score clipped at 0.

A density cannot describe an atom: a flow collapses on it. Here each atom is spread over the interval of ranks that it
fills, evenly, so that the input becomes continuous; the way back gives the atom's very value again. Data and generated
events that are compared afterwards therefore hold the same atoms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from data.eventid import row_hashes, splitmix64
from data.types import FloatArray
from models.arrays import Arrays, below, prefixed, take
from models.preprocessing import Inputs

LEAST_SHARE, LEAST_COUNT = 2e-3, 10
"""A value is an atom where as many events share it, as a share and as a number."""
MEAN_COUNT = 10
"""Inputs whose distinct values stand in as many events each are discrete: all their values are atoms."""
KNOTS = 500
"""Quantiles that describe the continuous part of an input with atoms."""
EDGE = 1e-6


@dataclass(frozen=True)
class Steps:
    """Distribution function of one input: flat between its atoms, upright at them.

    Parameters
    ----------
    values
        float64, ascending; an atom stands twice.
    ranks
        float64, ascending: the distribution function there, below and above an atom.
    """

    values: FloatArray
    ranks: FloatArray

    @classmethod
    def fit(cls, values: FloatArray) -> "Steps | None":
        """The distribution function of a sample with atoms.

        Parameters
        ----------
        values
            One input, in its units, finite, shape (rows,), at least one.

        Returns
        -------
        Steps or None
            None where no value is an atom.
        """
        distinct, counts = np.unique(values, return_counts=True)
        discrete = len(values) >= MEAN_COUNT * len(distinct)
        atom = (
            np.ones(len(distinct), dtype=bool)
            if discrete
            else counts >= max(LEAST_SHARE * len(values), LEAST_COUNT)
        )
        if not atom.any():
            return None
        steps = np.concatenate([[0], np.cumsum(counts)]) / len(values)
        beneath, above = steps[:-1], steps[1:]
        other = np.flatnonzero(~atom)
        kept = (
            other[np.unique(np.linspace(0, len(other) - 1, KNOTS).round().astype(np.int64))]
            if len(other)
            else other
        )
        places = np.concatenate([distinct[atom], distinct[atom], distinct[kept]])
        ranks = np.concatenate([beneath[atom], above[atom], 0.5 * (beneath + above)[kept]])
        order = np.lexsort((ranks, places))
        return cls(places[order], ranks[order])

    def spread(self, values: FloatArray, uniform: FloatArray) -> FloatArray:
        """Normal quantiles of the ranks of values.

        Parameters
        ----------
        values
            The input, in its units, shape (rows,).
        uniform
            In [0, 1), shape (rows,): where in its interval of ranks an atom lands; other values take no
            notice of it.

        Returns
        -------
        numpy.ndarray
            float64, shape (rows,).
        """
        first = np.searchsorted(self.values, values, "left")
        last = np.searchsorted(self.values, values, "right") - 1
        rank = np.interp(values, self.values, self.ranks)
        atom = last > first
        low, high = self.ranks[first[atom]], self.ranks[last[atom]]
        rank[atom] = low + uniform[atom] * (high - low)
        return ndtri(np.clip(rank, EDGE, 1.0 - EDGE))

    def gathered(self, spread: FloatArray) -> FloatArray:
        """The values of normal quantiles, atoms among them.

        Parameters
        ----------
        spread
            Normal quantiles, shape (rows,).

        Returns
        -------
        numpy.ndarray
            float64, shape (rows,), in units of the input, inside the range of the sample.
        """
        rank = ndtr(spread)
        at = np.clip(np.searchsorted(self.ranks, rank, "right"), 1, len(self.ranks) - 1)
        low, high = self.ranks[at - 1], self.ranks[at]
        share = np.clip((rank - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
        left, right = self.values[at - 1], self.values[at]
        return np.where(left == right, left, left + share * (right - left))


@dataclass(frozen=True)
class Atoms:
    """The inputs of a sample that have atoms.

    Parameters
    ----------
    steps
        Column number to the distribution function of that input; other inputs stay as they are.
    """

    steps: Mapping[int, Steps]

    @classmethod
    def fit(cls, x: Inputs) -> "Atoms":
        """Find the atoms of a sample.

        Parameters
        ----------
        x
            float32, shape (rows, inputs), finite.

        Returns
        -------
        Atoms
            Holds the inputs with atoms only.
        """
        found = {number: Steps.fit(values.astype(np.float64)) for number, values in enumerate(x.T)}
        return cls({number: steps for number, steps in found.items() if steps is not None})

    def spread(self, x: Inputs, mjj: FloatArray) -> Inputs:
        """Continuous inputs: atoms are spread by random numbers that follow from the row's contents alone.

        Parameters
        ----------
        x
            float32, shape (rows, inputs).
        mjj
            GeV, shape (rows,): tells rows of equal inputs apart.

        Returns
        -------
        numpy.ndarray
            float32, shape (rows, inputs): normal quantiles for inputs with atoms, the others as they are.
        """
        if not self.steps:
            return x
        columns = {f"{number:03d}": values for number, values in enumerate(x.T)}
        hashes = row_hashes({**columns, "mjj": mjj})
        spread = x.copy()
        for number, steps in self.steps.items():
            uniform = (splitmix64(hashes ^ np.uint64(number)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            spread[:, number] = steps.spread(x[:, number].astype(np.float64), uniform)
        return spread

    def gathered(self, spread: Inputs) -> Inputs:
        """Inputs with their atoms again, of continuous ones.

        Parameters
        ----------
        spread
            What `spread` gives, float32, shape (rows, inputs).

        Returns
        -------
        numpy.ndarray
            float32, shape (rows, inputs).
        """
        x = spread.copy()
        for number, steps in self.steps.items():
            x[:, number] = steps.gathered(spread[:, number].astype(np.float64))
        return x

    def arrays(self) -> Arrays:
        """What `from_arrays` reads.

        Returns
        -------
        dict
            For each input with atoms ``N/values`` and ``N/ranks``, float64, of equal length.
        """
        named: Arrays = {}
        for number, steps in self.steps.items():
            named |= prefixed(f"{number}/", {"values": steps.values, "ranks": steps.ranks})
        return named

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> "Atoms":
        """From saved arrays, checked.

        Parameters
        ----------
        arrays
            As `arrays` gives them.
        n_inputs
            Number of all inputs, with atoms or without.

        Returns
        -------
        Atoms
            As it was fitted.

        Raises
        ------
        ValueError
            If `arrays` could not have given them.
        """
        numbers = {name.partition("/")[0] for name in arrays}
        if not numbers <= {str(number) for number in range(n_inputs)}:
            msg = f"atoms of inputs {', '.join(sorted(numbers))}, but there are {n_inputs} inputs"
            raise ValueError(msg)
        steps = {}
        for number in sorted(numbers):
            own = below(arrays, f"{number}/")
            values = take(own, "values", "float64", None)
            ranks = take(own, "ranks", "float64", len(values))
            rising = all(np.isfinite(part).all() and np.all(np.diff(part) >= 0) for part in (values, ranks))
            if len(values) < 2 or not rising or ranks[0] < 0 or ranks[-1] > 1:
                msg = f"the steps of input {number} are not a distribution function"
                raise ValueError(msg)
            steps[int(number)] = Steps(values, ranks)
        return cls(steps)
