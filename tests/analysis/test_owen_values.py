import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.owen_values import owen_values


def table_game(seed, players):
    """A game whose every coalition has a worth of its own."""
    worths = np.random.default_rng(seed).normal(size=2**players)
    return lambda coalitions: worths[coalitions @ (2 ** np.arange(players))]


def by_orders(worth, groups):
    """The definition: mean gain over all orders that keep each group together."""
    players = sum(map(len, groups))
    totals, count = np.zeros(players), 0
    for order in itertools.permutations(groups):
        for inner in itertools.product(*(itertools.permutations(group) for group in order)):
            present = np.zeros((1, players), dtype=bool)
            count += 1
            for player in itertools.chain.from_iterable(inner):
                before = worth(present)[0]
                present[0, player] = True
                totals[player] += worth(present)[0] - before
    return totals / count


@pytest.mark.parametrize(
    "groups", [[[0, 1, 2, 3]], [[0], [1], [2]], [[0, 2], [1, 3, 4]], [[3], [0, 1], [2, 4]]]
)
def test_values_are_mean_gains_over_all_orders(groups):
    worth = table_game(5, sum(map(len, groups)))
    values, _, _ = owen_values(worth, groups)
    np.testing.assert_allclose(values, by_orders(worth, groups), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_values_add_up(seed):
    worth = table_game(seed, 6)
    values, none, everyone = owen_values(worth, [[0, 5], [1, 2, 3], [4]])
    assert values.sum() == pytest.approx(everyone - none, abs=1e-12)
    assert none == worth(np.zeros((1, 6), dtype=bool))[0]
    assert everyone == worth(np.ones((1, 6), dtype=bool))[0]


def test_a_player_that_changes_nothing_has_no_value():
    values, _, _ = owen_values(lambda c: 2.0 * c[:, 0] + c[:, 2] * c[:, 0], [[0, 1], [2]])
    np.testing.assert_allclose(values, [2.5, 0.0, 0.5], atol=1e-14)


def test_each_coalition_is_asked_for_once():
    asked = []

    def worth(coalitions):
        asked.append(coalitions)
        return coalitions.sum(axis=1).astype(float)

    owen_values(worth, [list(range(7)), list(range(7, 14))])
    assert len(asked) == 1
    assert len(np.unique(asked[0], axis=0)) == len(asked[0])
    # Subsets of one jet beside none or all of the other, those that both have once.
    assert len(asked[0]) == 4 * 2**7 - 4
    assert math.log2(len(asked[0])) < 14
