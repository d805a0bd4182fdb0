"""A classification problem with its inner splits."""

from dataclasses import dataclass

from data.eventid import N_INNER
from data.types import BoolArray, FloatArray, IntArray
from models.preprocessing import Inputs


@dataclass(frozen=True)
class Problem:
    """One classification problem with its inner splits.

    Parameters
    ----------
    x
        float32, shape (events, inputs).
    target
        True for the class whose probability is wanted.
    weight
        Not negative.
    split
        Inner split 0 … 3: the network of split s validates on its events and trains on the others.
    """

    x: Inputs
    target: BoolArray
    weight: FloatArray
    split: IntArray

    def parts(self) -> list[tuple[BoolArray, BoolArray]]:
        """Training and validation events of each inner split.

        Returns
        -------
        list of tuple
            Two masks a split, bool, shape (events,).
        """
        return [(self.split != number, self.split == number) for number in range(N_INNER)]
