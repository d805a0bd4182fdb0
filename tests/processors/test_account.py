import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import IncompleteError
from data.samples import Sample
from processors.account import Account, ChunkFailure, Range, account_of, covered, settle
from processors.preflight import FileFacts, SamplePlan
from processors.weights import DATA_SCALE, GeneratedSums

SAMPLE = Sample(name="mock", kind="data", process="data", year="2017", files={"a": 100, "b": 0})
PLAN = SamplePlan(
    SAMPLE,
    tuple(
        FileFacts(path, entries, path.encode(), None, GeneratedSums(0, 0, 0), None, "TTree")
        for path, entries in (("a", 100), ("b", 0))
    ),
    DATA_SCALE,
)


@given(st.sets(st.integers(1, 99)), st.randoms())
def test_any_partition_in_any_order_is_complete(cuts, random):
    edges = [0, *sorted(cuts), 100]
    ranges = [Range("a", start, stop, 1) for start, stop in itertools.pairwise(edges)]
    random.shuffle(ranges)
    account = settle(PLAN, ranges)
    nothing = {"retried": 0, "failed": 0}
    assert account.to_json() == {
        "files": [
            {"sample": "mock", "file": "a", "expected": 100, "processed": 100, "selected": len(ranges)}
            | nothing,
            {"sample": "mock", "file": "b", "expected": 0, "processed": 0, "selected": 0} | nothing,
        ],
        "expected": 100,
        "processed": 100,
        "selected": len(ranges),
        **nothing,
        "complete": True,
        "failures": [],
    }


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ([], "'a': entries 0–99 missing"),
        ([(0, 40), (60, 100)], "'a': entries 40–59 missing"),
        ([(0, 40)], "'a': entries 40–99 missing"),
        ([(0, 60), (40, 100)], "'a': entries 40–59 processed in two chunks"),
        ([(0, 50), (0, 50), (50, 100)], "'a': entries 0–49 processed 2 times"),
        ([(0, 100), (100, 110)], "'a': entries 100–109 are beyond the end"),
    ],
)
def test_gap_overlap_and_duplicate_are_named(ranges, message):
    with pytest.raises(IncompleteError, match=message):
        settle(PLAN, [Range("a", *ends) for ends in ranges])


def test_foreign_file_is_named():
    with pytest.raises(IncompleteError, match="'c': entries 0–9 of a file that is not in the sample"):
        settle(PLAN, [Range("a", 0, 100), Range("c", 0, 10)])


def test_long_lists_are_cut():
    with pytest.raises(IncompleteError, match="and 30 more"):
        settle(PLAN, [Range("a", k, k + 1) for k in range(0, 100, 2)])


def test_failures_count_in_entries():
    failures = [
        ChunkFailure("mock", "a", 0, 40, "no answer", 3, recovered=True),
        ChunkFailure("mock", "a", 40, 60, "no answer", 4, recovered=False),
        ChunkFailure("mock", "a", 60, 70, "branch holds nan", 1, recovered=False),
    ]
    chunks = [("a", 0, 40), ("a", 40, 60), ("a", 60, 70), ("a", 70, 100)]
    account = account_of(PLAN, chunks, [Range("a", 0, 40, 7), Range("a", 70, 100, 1)], failures)
    assert account.totals() == {
        "files": 2,
        "expected": 100,
        "processed": 70,
        "selected": 8,
        "retried": 60,
        "failed": 30,
    }
    assert not account.complete
    assert account.to_json()["failures"][1] == {
        "sample": "mock",
        "file": "a",
        "start": 40,
        "stop": 60,
        "reason": "no answer",
        "attempts": 4,
        "recovered": False,
    }


def test_a_range_that_failed_twice_counts_once():
    """In the pass that a sample is looked through in first, and in the one that follows."""
    found = [
        ChunkFailure("mock", "a", *ends, reason, 2, recovered=True)
        for ends, reason in (((0, 60), "no answer"), ((0, 60), "survey: no answer"), ((40, 100), "survey: x"))
    ]
    account = account_of(PLAN, [("a", 0, 100)], [Range("a", 0, 100)], found)
    assert account.totals()["retried"] == 100
    lost = [ChunkFailure("mock", "a", 0, 40, reason, 1, recovered=False) for reason in ("one", "two")]
    account = account_of(PLAN, [("a", 0, 100)], [Range("a", 40, 100)], lost)
    assert account.totals()["failed"] == 40
    assert len(account.failures) == 2


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted), max_size=6))
def test_entries_in_several_ranges_count_once(ranges):
    assert covered(ranges) == len({entry for start, stop in ranges for entry in range(start, stop)})


def test_accounts_add_up():
    account = settle(PLAN, [Range("a", 0, 100, 3)])
    assert (account + account).processed == 200


def test_an_account_of_nothing_is_not_complete():
    assert Account(()).to_json()["complete"] is False
