"""The spectrum: validation, JSON, merging of coarse bins."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.spectrum import Spectrum, merge_from_right, sum_between
from data.errors import ConfigError, InputError

EDGES = np.arange(2232.0, 4001.0, 4.0)


def flat(count=3):
    return Spectrum(EDGES, np.full(EDGES.size - 1, count))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, -1, 2], r"count -1 in bin 4–8 GeV is negative"),
        ([1, 1.5, 2], r"count 1.5 in bin 4–8 GeV is not a whole number"),
        ([1, np.nan, 2], r"not a finite number"),
        ([1, 2], r"4 edges need 3 counts, found 2"),
    ],
)
def test_bad_counts_are_refused(counts, message):
    with pytest.raises(InputError, match=message):
        Spectrum(np.array([1.0, 4.0, 8.0, 12.0]), np.array(counts))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([1.0, 8.0, 4.0], r"edges must increase, but 8 GeV is followed by 4 GeV"),
        ([0.0, 4.0, 8.0], r"finite and positive"),
        ([1.0, np.inf, 8.0], r"finite and positive"),
        ([1.0], r"at least two numbers"),
    ],
)
def test_bad_edges_are_refused(edges, message):
    with pytest.raises(InputError, match=message):
        Spectrum(np.array(edges), np.ones(max(len(edges) - 1, 0)))


def test_json_there_and_back(tmp_path):
    path = tmp_path / "spectrum.json"
    spectrum = Spectrum(EDGES, np.arange(EDGES.size - 1), np.array([2232.0, 3000.0]))
    spectrum.to_json(path)
    again = Spectrum.from_json(path)
    assert np.array_equal(again.edges, spectrum.edges)
    assert np.array_equal(again.counts, spectrum.counts)
    assert again.coarse_edges is not None
    assert again.coarse_edges.tolist() == [2232.0, 3000.0]


def test_json_regular_edges_and_missing_trailing_zeros(tmp_path):
    path = tmp_path / "spectrum.json"
    path.write_text(json.dumps({"edges": {"lo": 1460, "width": 4, "n": 5}, "counts": [3, 2]}))
    spectrum = Spectrum.from_json(path)
    assert spectrum.edges.tolist() == [1460, 1464, 1468, 1472, 1476, 1480]
    assert spectrum.counts.tolist() == [3, 2, 0, 0, 0]
    assert spectrum.last_filled == 1468


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        ({"edges": [1, 2], "count": [1]}, ConfigError, r"unknown key 'count'.*'counts'"),
        ({"edges": [1, 2], "counts": [0.5]}, InputError, r"spectrum.json: .*not a whole number"),
        (
            {"edges": {"lo": 1, "width": -4, "n": 5}, "counts": [1]},
            ConfigError,
            r"'edges.width': expected a number greater than 0, found ",
        ),
        ([1, 2], ConfigError, r"expected a mapping"),
    ],
)
def test_bad_files_are_named(tmp_path, document, error, message):
    path = tmp_path / "spectrum.json"
    path.write_text(json.dumps(document))
    with pytest.raises(error, match=message):
        Spectrum.from_json(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none.json: cannot be read"):
        Spectrum.from_json(tmp_path / "none.json")


def test_published_coarse_edges_are_snapped_to_the_grid():
    index = flat(100).merged_edges()
    edges = EDGES[index]
    assert edges[0] == 2232
    assert edges[-1] == 4000
    assert 2332 in edges  # on the grid
    assert 2436 in edges or 2440 in edges  # 2438 is not
    assert np.all((edges - 2232) % 4 == 0)


def test_between_needs_edges():
    part = flat().between(2332, 2832)
    assert (part.lo, part.hi) == (2332, 2832)
    assert part.counts.size == 125
    with pytest.raises(InputError, match=r"2333 GeV is not a bin edge; take the nearest, 2332 GeV"):
        flat().between(2333, 2832)
    with pytest.raises(InputError, match="no bins between"):
        flat().between(2832, 2832)


def test_snap():
    assert flat().snap(2333) == 2332
    assert flat().snap(2333, up=True) == 2336
    assert flat().snap(2332, up=True) == 2332
    assert flat().snap(9000, up=True) == 4000


def test_merging_by_hand():
    counts = np.array([9, 9, 4, 0, 3, 1, 0])
    assert merge_from_right(counts, np.arange(8), 5).tolist() == [0, 1, 2, 7]
    assert merge_from_right(np.array([1, 9, 9]), np.arange(4), 5).tolist() == [0, 2, 3]
    assert merge_from_right(np.array([1, 1]), np.arange(3), 5).tolist() == [0, 2]


@given(st.lists(st.integers(0, 12), min_size=2, max_size=40), st.integers(1, 9))
def test_merged_bins_hold_enough_and_lose_nothing(counts, minimum):
    counts = np.array(counts)
    index = merge_from_right(counts, np.arange(counts.size + 1), minimum)
    merged = sum_between(counts, index)
    assert merged.sum() == counts.sum()
    assert merged.size == 1 or merged.min() >= minimum


def test_arrays_are_frozen():
    spectrum = Spectrum(np.array([1.0, 2.0]), np.array([3]))
    with pytest.raises(ValueError, match="read-only"):
        spectrum.counts[0] = 5


def test_counts_up_to_the_precision_of_numbers_are_exact():
    counts = np.array([2**53, 2**53 - 1, 0])
    spectrum = Spectrum(np.array([1.0, 2.0, 3.0, 4.0]), counts)
    assert spectrum.counts.tolist() == counts.tolist()
    assert spectrum.n_events == 2**54 - 1
    with pytest.raises(InputError, match="too large to be exact"):
        Spectrum(np.array([1.0, 2.0]), np.array([1e300]))


def test_own_coarse_edges_are_merged_and_the_ends_of_the_range_close_them():
    edges = np.arange(2000.0, 3001.0, 100.0)
    spectrum = Spectrum(
        edges, np.array([50, 40, 30, 20, 10, 4, 3, 2, 1, 0]), np.array([2200.0, 2510.0, 2700.0, 2900.0])
    )
    # 2510 snaps to 2500; from the right 2900–3000 (0) and 2700–2900 (3) join 2500–2700 (7).
    assert edges[spectrum.merged_edges()].tolist() == [2000, 2200, 2500, 3000]
    assert edges[spectrum.merged_edges(0)].tolist() == [2000, 2200, 2500, 2700, 2900, 3000]
