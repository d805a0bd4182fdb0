import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.simulation.columns import Collection, Events, concatenate, load_block, reduce_precision, save_block
from data.simulation.rootfile import RunSummary, write_root

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


@given(value=NUMBERS, bits=st.integers(1, 22))
def test_rounding_keeps_the_promised_precision(value, bits):
    rounded = float(reduce_precision(value, bits))
    assert abs(rounded - value) <= abs(value) * 2.0 ** -(bits + 1)
    assert float(reduce_precision(rounded, bits)) == rounded


@given(value=NUMBERS, bits=st.integers(1, 22))
def test_dropped_bits_are_zero(value, bits):
    raw = int(reduce_precision(value, bits).view(np.uint32))
    # Next to the largest float32 rounding up would overflow: such a number is left alone.
    assert raw % (1 << (23 - bits)) == 0 or abs(value) > 1e38


def test_what_is_not_finite_stays():
    values = reduce_precision([np.nan, np.inf, -np.inf, np.finfo(np.float32).max], 10)
    assert np.isnan(values[0])
    assert values[1:].tolist() == [np.inf, -np.inf, np.finfo(np.float32).max]


def events(counts, offset=0):
    total = sum(counts)
    return Events(
        {"genWeight": np.arange(len(counts), dtype=np.float32) + offset},
        {
            "FatJet": Collection(
                np.array(counts, dtype=np.int64), {"pt": np.arange(total, dtype=np.float32) + offset}
            )
        },
    )


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=8), data=st.data())
def test_take_moves_objects_with_their_events(counts, data):
    chosen = np.array(data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8)), dtype=np.int64)
    taken = events(counts).take(chosen)
    bounds = np.concatenate(([0], np.cumsum(counts)))
    expected = [pt for i in chosen for pt in range(bounds[i], bounds[i + 1])]
    assert taken.collections["FatJet"].fields["pt"].tolist() == expected
    assert taken.columns["genWeight"].tolist() == chosen.tolist()


def test_concatenated_events_keep_their_order():
    both = concatenate([events([2, 0]), events([1], offset=10)])
    assert both.collections["FatJet"].counts.tolist() == [2, 0, 1]
    assert both.collections["FatJet"].fields["pt"].tolist() == [0, 1, 10]


def test_a_block_comes_back_as_it_was_saved(tmp_path):
    save_block(tmp_path / "b.npz", events([2, 0, 1]), {"generated": 7.0})
    loaded, meta = load_block(tmp_path / "b.npz")
    assert meta == {"generated": 7.0}
    assert loaded.collections["FatJet"].counts.tolist() == [2, 0, 1]
    assert loaded.columns["genWeight"].dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_broken_block_says_what_to_do(tmp_path, content):
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"b\.npz: not a readable block .* delete it and simulate again"):
        load_block(tmp_path / "b.npz")


def test_a_truncated_block_says_what_to_do(tmp_path):
    save_block(tmp_path / "b.npz", events([2, 0, 1]), {"generated": 7.0})
    whole = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="delete it and simulate again"):
        load_block(tmp_path / "b.npz")


def test_a_root_file_is_a_ttree_as_nanoaod_names_it(tmp_path):
    write_root(tmp_path / "f.root", events([2, 0, 1]), RunSummary(run=5, generated=9))
    with uproot.open(tmp_path / "f.root") as file:
        assert file["Events"].classname == "TTree"
        assert file["Events"]["nFatJet"].array(library="np").tolist() == [2, 0, 1]
        assert file["Events"]["FatJet_pt"].array().tolist() == [[0, 1], [], [2]]
        assert file["Runs"]["genEventCount"].array(library="np").tolist() == [9]
        assert file["Runs"]["genEventSumw2"].array(library="np").tolist() == [9.0]


def test_data_have_no_sum_of_weights(tmp_path):
    write_root(tmp_path / "f.root", events([1]), RunSummary(run=5, generated=None))
    with uproot.open(tmp_path / "f.root") as file:
        assert file["Runs"].keys() == ["run"]


def test_the_same_events_give_the_same_bytes(tmp_path):
    # Broken by an uproot that stamps the time elsewhere: adapt rootfile.py then.
    for folder in ("a", "b"):
        write_root(tmp_path / folder / "f.root", events([2, 0, 1]), RunSummary(run=5, generated=9))
    assert (tmp_path / "a" / "f.root").read_bytes() == (tmp_path / "b" / "f.root").read_bytes()


def test_new_columns_take_the_place_of_old_ones_of_their_name():
    old = Events({"a": np.arange(3), "b": np.arange(3)}, {})
    new = old.with_columns(b=np.arange(3) + 10)
    assert new.columns["b"].tolist() == [10, 11, 12]
    assert new.columns["a"].tolist() == [0, 1, 2]
    assert old.columns["b"].tolist() == [0, 1, 2]
