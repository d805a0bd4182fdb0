"""Toys of overlapping selections: margins, shared events, streams."""

import numpy as np
import pytest

from analysis.joint_toys import BLOCK, cells, draw, overlaps
from data.errors import InputError

FALLING = np.geomspace(400.0, 2.0, 30)


def together(parts, n_selections, n_toys, seed=1):
    return np.concatenate(list(draw(parts, n_selections, n_toys, seed)), axis=1)


def test_without_overlaps_each_selection_is_a_cell():
    expected = np.stack([FALLING, 0.5 * FALLING])
    parts = cells(["a", "b"], expected)
    assert [part.members for part in parts] == [(0,), (1,)]
    assert np.array_equal(parts[1].expected, expected[1])


def test_cells_add_up_to_every_selection_in_every_bin():
    expected = np.stack([FALLING, 0.4 * FALLING * np.linspace(1, 2, 30), 0.1 * FALLING])
    shared = {("a",): 700, ("b",): 200, ("c",): 5, ("a", "b"): 250, ("c", "b", "a"): 60, ("a", "c"): 35}
    parts = cells(["a", "b", "c"], expected, shared)
    for number, row in enumerate(expected):
        assert np.allclose(sum(p.expected for p in parts if number in p.members), row, rtol=1e-5)
    # of the events of a, those that are in b too are as many as in the data, but for what the spectra ask for
    both = sum(p.expected.sum() for p in parts if {0, 1} <= set(p.members))
    assert both / expected[0].sum() == pytest.approx(310 / 1045, rel=0.3)


def test_shared_events_fluctuate_together():
    expected = np.stack([FALLING, 0.6 * FALLING])
    shared = {("a",): 700, ("b",): 300, ("a", "b"): 300}  # the shares of the spectra: margins 1000 and 600
    parts = cells(["a", "b"], expected, shared)
    n = together(parts, 2, 4000).sum(axis=2)
    covariance = np.cov(n)
    total = FALLING.sum()
    error = 3 * np.sqrt(2 / 4000) * total
    assert covariance[0, 0] == pytest.approx(total, abs=error)
    assert covariance[1, 1] == pytest.approx(0.6 * total, abs=error)
    assert covariance[0, 1] == pytest.approx(0.3 * total, abs=error)
    independent = np.cov(together(cells(["a", "b"], expected), 2, 4000).sum(axis=2))
    assert abs(independent[0, 1]) < error


def test_the_same_selection_twice_has_the_same_events():
    parts = cells(["a", "b"], np.stack([FALLING, FALLING]), {("a", "b"): 500})
    first, second = together(parts, 2, 10)
    assert np.array_equal(first, second)


def test_toys_do_not_depend_on_how_many_follow():
    parts = cells(["a"], FALLING[None])
    long = together(parts, 1, 2 * BLOCK + 7)
    assert long.shape == (1, 2 * BLOCK + 7, 30)
    assert np.array_equal(together(parts, 1, 2 * BLOCK)[0], long[0, : 2 * BLOCK])
    assert not np.array_equal(long[0, :BLOCK], long[0, BLOCK : 2 * BLOCK])
    assert not np.array_equal(together(parts, 1, 5, seed=2)[0], long[0, :5])


def test_overlaps_are_counted_from_events():
    passed = {"a": np.array([1, 1, 1, 0, 0, 0]), "b": np.array([1, 1, 0, 1, 0, 0])}
    assert overlaps(passed) == {("a", "b"): 2, ("a",): 1, ("b",): 1}
    with pytest.raises(InputError, match="selections a, b are not of the same events"):
        overlaps({"a": np.zeros(3), "b": np.zeros(4)})


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (
            {("a", "x"): 3},
            r"shared events of \(a, x\): 3; give counts of 0 or more by different names of a, b",
        ),
        ({("a", "a"): 3}, r"shared events of \(a, a\)"),
        ({("a",): -1}, r"shared events of \(a\): -1"),
        ({("a", "b"): 1, ("b", "a"): 1}, r"shared events of \(b, a\) are given twice"),
        ({("a",): 5}, "selection 'b' has none"),
        ({("a", "b"): 5}, "no such sets add up to the spectrum of '[ab]'"),
    ],
)
def test_overlaps_that_cannot_be_are_refused(shared, message):
    with pytest.raises(InputError, match=message):
        cells(["a", "b"], np.stack([FALLING, 0.5 * FALLING]), shared)
