"""Toys of overlapping selections: margins, shared events, streams."""

import numpy as np
import pytest

from analysis.joint_toys import BLOCK, Overlaps, draw
from data.errors import InputError

FALLING = np.geomspace(400.0, 2.0, 30)


def shared(names, **sets):
    """Overlaps from events by set, the names of its selections joined: ``ab=250``."""
    table = np.array([[name in members for name in names] for members in sets], dtype=bool)
    return Overlaps.count(tuple(names), table, np.array([*sets.values()]))


def together(expected, n_toys, overlaps=None, seed=1):
    return np.concatenate(list(draw(np.asarray(expected), n_toys, seed, overlaps)), axis=1)


def test_without_overlaps_each_selection_fluctuates_alone():
    first, second = together([FALLING, 0.5 * FALLING], 4000)
    assert first.mean(axis=0) == pytest.approx(FALLING, abs=4 * np.sqrt(400 / 4000))
    assert second.mean(axis=0) == pytest.approx(0.5 * FALLING, abs=4 * np.sqrt(200 / 4000))
    covariance = np.cov(first.sum(axis=1), second.sum(axis=1))[0, 1]
    assert abs(covariance) < 3 * FALLING.sum() * np.sqrt(0.5 / 4000)


def test_every_selection_has_its_spectrum_in_every_bin():
    expected = np.stack([FALLING, 0.4 * FALLING * np.linspace(1, 2, 30), 0.1 * FALLING])
    known = shared("abc", a=700, b=200, c=5, ab=250, abc=60, ac=35)
    counts = together(expected, 4000, known)
    deviation = (counts.mean(axis=1) - expected) / np.sqrt(expected / 4000)
    assert np.abs(deviation).max() < 4.5
    assert deviation.std() == pytest.approx(1, abs=0.2)
    # counts of a bin are Poisson numbers, too
    ratio = counts.var(axis=1) / expected
    assert ratio == pytest.approx(
        np.ones_like(ratio), abs=5 * np.sqrt(2 / 4000 + 1 / (4000 * expected.min()))
    )


def test_shared_events_fluctuate_together():
    known = shared("ab", a=700, b=300, ab=300)  # the shares of the spectra: margins 1000 and 600
    covariance = np.cov(together([FALLING, 0.6 * FALLING], 4000, known).sum(axis=2))
    total = FALLING.sum()
    error = 3 * np.sqrt(2 / 4000) * total
    assert covariance[0, 0] == pytest.approx(total, abs=error)
    assert covariance[1, 1] == pytest.approx(0.6 * total, abs=error)
    assert covariance[0, 1] == pytest.approx(0.3 * total, abs=error)


def test_rare_sets_share_their_events_too():
    """Sets of far less than one event a bin are drawn event by event: the covariance is what they expect."""
    spectrum = np.full(200, 0.05)
    known = shared("abc", a=30, b=20, c=10, ab=20, abc=30)
    covariance = np.cov(together([0.8 * spectrum, 0.7 * spectrum, 0.4 * spectrum], 10_000, known).sum(axis=2))
    exact = 10 * np.array([[0.8, 0.5, 0.3], [0.5, 0.7, 0.3], [0.3, 0.3, 0.4]])
    assert covariance == pytest.approx(exact, abs=0.4)


def test_the_same_selection_twice_has_the_same_events():
    first, second = together([FALLING, FALLING], 10, shared("ab", ab=500))
    assert np.array_equal(first, second)


def test_a_selection_is_looked_at_in_its_own_range_only():
    """Where b expects nothing it has no events, and a and c still share theirs."""
    a, b, c = np.full(10, 50.0), np.full(10, 40.0), np.full(10, 30.0)
    b[7:] = 0
    counts = together([a, b, c], 6000, shared("abc", a=20, abc=60, ab=20))
    assert counts[1, :, 7:].sum() == 0
    assert counts.mean(axis=1) == pytest.approx(np.stack([a, b, c]), abs=0.4)
    for place in (0, 8):
        assert np.cov(counts[0, :, place], counts[2, :, place])[0, 1] == pytest.approx(30, abs=3)


def test_spectra_that_do_not_fit_into_one_another_are_kept():
    """All events of a pass b, but in the last bin a expects more, and in the one before b is not looked at."""
    a, b = np.full(10, 10.0), np.full(10, 100.0)
    a[8], b[8], a[9], b[9] = 5.0, 0.0, 200.0, 100.0
    counts = together([a, b], 6000, shared("ab", ab=90, b=810))
    assert counts.mean(axis=1) == pytest.approx(np.stack([a, b]), abs=0.7)
    covariance = [np.cov(counts[0, :, place], counts[1, :, place])[0, 1] for place in (0, 8, 9)]
    assert covariance == pytest.approx([10, 0, 100], abs=8)


def test_toys_do_not_depend_on_how_many_follow():
    known = shared("ab", a=5, ab=5)
    expected = [FALLING, 0.5 * FALLING]
    long = together(expected, 2 * BLOCK + 7, known)
    assert long.shape == (2, 2 * BLOCK + 7, 30)
    assert np.array_equal(together(expected, 2 * BLOCK, known), long[:, : 2 * BLOCK])
    assert not np.array_equal(long[:, :BLOCK], long[:, BLOCK : 2 * BLOCK])
    assert not np.array_equal(together(expected, 5, known, seed=2), long[:, :5])


def events_of(overlaps):
    sets = ["".join(np.array(overlaps.names)[row]) for row in overlaps.passed]
    return dict(zip(sets, overlaps.events.tolist(), strict=True))


def test_overlaps_are_counted_from_events():
    passed = {"a": np.array([1, 1, 1, 0, 0, 0]), "b": np.array([1, 1, 0, 1, 0, 0])}
    assert events_of(Overlaps.of(passed)) == {"ab": 2, "a": 1, "b": 1}
    many = {f"{number:02}": np.arange(40) == number for number in range(20)}  # more than a byte has bits
    assert events_of(Overlaps.of(many)) == dict.fromkeys(many, 1)
    with pytest.raises(InputError, match="selections a, b are not of the same events"):
        Overlaps.of({"a": np.zeros(3), "b": np.zeros(4)})


def test_some_of_the_selections_have_the_overlaps_that_are_left():
    known = shared("abc", a=7, b=2, c=5, ab=3, abc=6, ac=4)
    assert events_of(known.among("cb")) == {"c": 9, "cb": 6, "b": 5}
    for names, message in (("ax", "of a, x: they are known of a, b, c"), ("aa", "name each selection once")):
        with pytest.raises(InputError, match=message):
            known.among(names)
    with pytest.raises(InputError, match="selection 'b' has none"):
        shared("ab", a=5).among("ab")
