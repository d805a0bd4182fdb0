import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.eventid import (
    N_BATCHES,
    N_FOLDS,
    batch_number,
    duplicate_ids,
    event_seed,
    fold_of,
    inner_split,
    row_batch,
    row_hashes,
    splitmix64,
)

IDS = st.integers(min_value=0, max_value=2**63 - 1)


def test_splitmix64_gives_the_published_sequence():
    # First outputs for seed 1234567: https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64 (test values).
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    step = 0x9E3779B97F4A7C15
    states = [(1234567 + k * step) % 2**64 for k in range(5)]
    assert [int(value) for value in splitmix64(np.array(states, dtype=np.uint64))] == expected


@given(run=IDS, block=IDS, event=IDS)
def test_an_event_has_the_same_batch_alone_and_in_company(run, block, event):
    alone = batch_number([run], [block], [event])
    company = batch_number([1, run, 2], [1, block, 2], [1, event, 2])
    assert alone[0] == company[1]
    assert 0 <= alone[0] < N_BATCHES


def test_batches_are_equally_likely_for_consecutive_events():
    n = 80_000
    counts = np.bincount(batch_number(np.ones(n), np.ones(n), np.arange(n)), minlength=N_BATCHES)
    chi2 = float(np.sum((counts - n / N_BATCHES) ** 2) / (n / N_BATCHES))
    assert 16 < chi2 < 70  # 39 degrees of freedom: both tails beyond 0.1 %


def test_each_part_of_the_id_matters_and_so_does_its_place():
    seeds = event_seed([1, 2, 1, 1], [1, 1, 2, 1], [1, 1, 1, 2])
    assert len(set(seeds.tolist())) == 4
    assert event_seed([1], [1], [1], seed=5)[0] != event_seed([1], [1], [1], seed=6)[0]


def test_folds_hold_eight_batches_and_inner_splits_share_the_other_32_equally():
    batches = np.arange(N_BATCHES)
    assert np.bincount(fold_of(batches)).tolist() == [8] * N_FOLDS
    for held_out in range(N_FOLDS):
        split = inner_split(batches, held_out)
        assert np.array_equal(split == -1, fold_of(batches) == held_out)
        assert np.bincount(split[split >= 0]).tolist() == [8] * 4
    assert inner_split(batches, 1)[:12].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, -1, -1, -1, -1]


def test_a_row_of_a_bare_table_keeps_its_batch_in_a_subset_and_in_another_precision():
    rng = np.random.default_rng(1)
    table = {"mjj": rng.normal(size=500), "m_j1": rng.normal(size=500)}
    whole = row_batch(row_hashes(table))
    subset = row_batch(
        row_hashes({name: table[name][100:200].astype(np.float32) for name in ("m_j1", "mjj")})
    )
    assert np.array_equal(whole[100:200], subset)
    assert len(np.unique(whole)) == N_BATCHES


def test_minus_zero_is_zero():
    assert row_hashes({"a": np.array([0.0])})[0] == row_hashes({"a": np.array([-0.0])})[0]


def test_columns_of_different_length_are_named():
    with pytest.raises(InputError, match=r"one length, found \{'a': 2, 'b': 3\}"):
        row_hashes({"a": np.zeros(2), "b": np.zeros(3)})


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), max_size=60))
def test_duplicates_are_all_but_the_first_of_each_id(ids):
    table = np.array(ids, dtype=np.int64).reshape(-1, 3)
    names = ("run", "luminosity_block", "event")
    found = duplicate_ids({name: table[:, k] for k, name in enumerate(names)})
    expected = [k for k, item in enumerate(ids) if item in ids[:k]]
    assert found.tolist() == expected
