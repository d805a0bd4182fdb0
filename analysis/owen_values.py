"""How much each input of a score moved it: Owen's values, exact, of features in groups."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from data.types import BoolArray, FloatArray

MOST_IN_GROUP = 10
"""Players of a group that exact values are made for: each more doubles the number of coalitions."""


def owen_values(
    worth: Callable[[BoolArray], FloatArray], groups: Sequence[Sequence[int]]
) -> tuple[FloatArray, float, float]:
    """Share of each player in what all together are worth beyond none.

    Groups enter one after the other in every order, and so do the players of a group; a player's value is the mean gain
    when it enters. The values add up to the worth of all less that of none. With one group, or with groups of one
    player, these are Shapley's values.

    Parameters
    ----------
    worth
        From coalitions, bool (coalitions, players), to what each is worth, float (coalitions,); called once.
    groups
        Numbers 0 … players − 1, each in one group.

    Returns
    -------
    values
        float64, shape (players,).
    none, all
        Worth of the empty and of the full coalition.

    References
    ----------
    G. Owen, "Values of games with a priori unions", in Mathematical Economics and Game Theory (Springer, 1977) 76;
    L. S. Shapley, Contributions to the Theory of Games II (1953) 307.
    """
    players = sum(map(len, groups))
    wanted: dict[frozenset[int], int] = {}
    terms: list[tuple[int, int, int, float]] = []
    for group, others in _group_and_others(groups):
        outer = _weights(len(others) + 1)
        inner = _weights(len(group))
        for present in _subsets(range(len(others))):
            before = frozenset(itertools.chain.from_iterable(others[k] for k in present))
            for some in _subsets(group):
                without = before.union(some)
                place = wanted.setdefault(without, len(wanted))
                for player in sorted(set(group).difference(some)):
                    gained = wanted.setdefault(without | {player}, len(wanted))
                    terms.append((player, gained, place, outer[len(present)] * inner[len(some)]))
    coalitions = np.zeros((len(wanted), players), dtype=np.bool_)
    for members, place in wanted.items():
        coalitions[place, sorted(members)] = True
    found = worth(coalitions)
    values = np.zeros(players)
    for player, gained, place, weight in terms:
        values[player] += weight * (found[gained] - found[place])
    ends = [float(found[wanted[frozenset(members)]]) for members in ((), range(players))]
    return values, ends[0], ends[1]


def _group_and_others(
    groups: Sequence[Sequence[int]],
) -> list[tuple[Sequence[int], list[Sequence[int]]]]:
    return [(group, [*groups[:place], *groups[place + 1 :]]) for place, group in enumerate(groups)]


def _subsets(members: Sequence[int]) -> itertools.chain[tuple[int, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(members, size) for size in range(len(members) + 1)
    )


def _weights(count: int) -> list[float]:
    """Probability that a certain set of each size stands before one of ``count`` members in a random order."""
    return [1 / (count * math.comb(count - 1, size)) for size in range(count)]
