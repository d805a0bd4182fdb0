"""The merge of chunks' tables: memory bounded, the files those of one sort of everything."""

import logging
import resource
import tracemalloc
import weakref

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError, OutputError
from processors import merging
from processors.merging import merge_tables
from processors.skim import read_features

EMPTY = {
    "run": np.zeros(0, np.uint32),
    "luminosity_block": np.zeros(0, np.uint32),
    "event": np.zeros(0, np.uint64),
    "mjj": np.zeros(0),
    "image": np.zeros((0, 2, 3), np.float32),
}
ROW_BYTES = 48


class Watched(dict):
    """A table that a weak reference may point to."""


def events(ids, seed=0):
    random = np.random.default_rng(seed)
    run, block, event = np.array(ids, dtype=np.int64).reshape(-1, 3).T
    return Watched(
        run=run.astype(np.uint32),
        luminosity_block=block.astype(np.uint32),
        event=event.astype(np.uint64),
        mjj=random.integers(0, 3, len(run)).astype(np.float64),
        image=random.integers(0, 2, (len(run), 2, 3)).astype(np.float32),
    )


def numbered(rows, seed=0):
    """Events of different ids, in random order."""
    order = np.random.default_rng(seed).permutation(rows)
    return events(np.stack([order % 3, order % 7, order], axis=1), seed)


def cut(table, edges):
    """Pieces of a table."""
    return [
        {name: column[start:stop] for name, column in table.items()}
        for start, stop in zip([0, *edges], [*edges, len(table["mjj"])], strict=True)
    ]


def small(monkeypatch, buffer_rows, batch_rows, group_rows=merging.ROWS_PER_GROUP, file_rows=1_000_000):
    monkeypatch.setattr(merging, "BUFFER_BYTES", buffer_rows * ROW_BYTES)
    monkeypatch.setattr(merging, "BATCH_BYTES", batch_rows * ROW_BYTES)
    monkeypatch.setattr(merging, "ROWS_PER_GROUP", group_rows)
    monkeypatch.setattr(merging, "ROWS_PER_FILE", file_rows)


def merged_bytes(tables, folder):
    return [path.read_bytes() for path in merge_tables(tables, folder, EMPTY, "mock", unique=False)]


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 12)), max_size=60),
    edges=st.lists(st.integers(0, 60), max_size=8),
    buffer_rows=st.integers(1, 70),
    batch_rows=st.integers(1, 9),
    group_rows=st.integers(1, 30),
    file_rows=st.integers(5, 60),
    seed=st.integers(0, 5),
)
def test_spills_do_not_change_a_bit(
    ids, edges, buffer_rows, batch_rows, group_rows, file_rows, seed, tmp_path_factory
):
    """Ids that many rows share, their order decided by their contents, wherever buffers, batches and groups end."""
    table, folder = events(ids, seed), tmp_path_factory.mktemp("merge")
    order = np.random.default_rng(seed).permutation(len(ids))
    shuffled = {name: column[order] for name, column in table.items()}
    pieces = cut(shuffled, sorted(min(edge, len(ids)) for edge in edges))
    with pytest.MonkeyPatch.context() as patch:
        small(patch, 1000, 1000, group_rows, file_rows)
        at_once = merged_bytes([table], folder / "at_once")
        small(patch, buffer_rows, batch_rows, group_rows, file_rows)
        assert merged_bytes(iter(pieces), folder / "spilled") == at_once
    assert sorted(path.name for path in folder.iterdir()) == ["at_once", "spilled"]
    again = read_features(folder / "spilled")
    expected = np.lexsort([table[name] for name in ("event", "luminosity_block", "run")])
    for name in ("run", "luminosity_block", "event"):
        assert again[name].tolist() == table[name][expected].tolist()
    assert len(again["mjj"]) == len(ids)


def test_files_and_groups_have_the_lengths_promised(tmp_path, monkeypatch):
    small(monkeypatch, 30, 4, group_rows=25, file_rows=60)
    files = merge_tables(cut(numbered(130), [10, 50, 51]), tmp_path / "f", EMPTY, "mock", unique=True)
    metadata = [pq.read_metadata(file) for file in files]
    lengths = [[one.row_group(k).num_rows for k in range(one.num_row_groups)] for one in metadata]
    assert lengths == [[25, 25, 10], [25, 25, 10], [10]]
    assert read_features(tmp_path / "f")["event"].tolist() != sorted(range(130))  # the run counts first
    monkeypatch.setattr(merging, "GROUP_BYTES", 7 * ROW_BYTES)
    (file,) = merge_tables([numbered(20)], tmp_path / "f", EMPTY, "mock", unique=True)
    assert [pq.read_metadata(file).row_group(k).num_rows for k in range(3)] == [7, 7, 6]


def test_nothing_selected_is_one_empty_file(tmp_path):
    (file,) = merge_tables([], tmp_path / "f", EMPTY, "mock", unique=True)
    assert pq.read_metadata(file).num_rows == 0
    table = read_features(tmp_path / "f")
    assert {name: (column.dtype, column.shape) for name, column in table.items()} == {
        name: (column.dtype, column.shape) for name, column in EMPTY.items()
    }


def test_one_table_is_held_at_a_time(tmp_path, monkeypatch):
    small(monkeypatch, 100, 10)
    alive = []

    def chunks():
        for number in range(50):
            table = numbered(30, seed=number)
            table["run"][:] = number
            alive.append(weakref.ref(table))
            yield table
            del table
            assert sum(one() is not None for one in alive) <= 1

    merge_tables(chunks(), tmp_path / "f", EMPTY, "mock", unique=True)
    assert len(read_features(tmp_path / "f")["mjj"]) == 1500


def test_memory_does_not_grow_with_the_sample(tmp_path, monkeypatch):
    small(monkeypatch, 2000, 100, group_rows=2000)

    def peak(chunks):
        def tables():
            for number in range(chunks):
                table = numbered(500, seed=number)
                table["run"][:] = (np.arange(500) * 7 + number) % 40  # every chunk reaches everywhere
                table["event"] += np.uint64(1000 * number)
                yield table

        tracemalloc.start()
        merge_tables(tables(), tmp_path / "f", EMPTY, "mock", unique=True)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(10), peak(60)
    assert many < 1.3 * few
    assert many < 30_000 * ROW_BYTES / 2


def test_duplicates_are_named_wherever_they_lie(tmp_path, monkeypatch, caplog):
    """Ids that stand 1, 2, 3 … 9 times, in other chunks, spills and row groups."""
    ids = [(1, 1, number) for number in range(1, 10) for _ in range(number)]
    table = events(ids)
    order = np.random.default_rng(1).permutation(len(ids))
    pieces = cut({name: column[order] for name, column in table.items()}, [11, 30])
    for buffer_rows, group_rows in ((1000, 1000), (7, 1), (10, 4)):
        small(monkeypatch, buffer_rows, 2, group_rows=group_rows)
        kept = tmp_path / "f"
        kept.mkdir(exist_ok=True)
        (kept / "earlier").write_text("stays")
        with pytest.raises(
            InputError,
            match=r"sample 'mock': 36 selected events .* of another one: 1:1:2, 1:1:3, 1:1:4, 1:1:5, 1:1:6 and 3 more; "
            "primary datasets overlap",
        ):
            merge_tables(pieces, kept, EMPTY, "mock", unique=True)
        assert [path.name for path in tmp_path.iterdir()] == ["f"]
        assert (kept / "earlier").read_text() == "stays"
    with caplog.at_level(logging.WARNING, logger="oddjet"):
        merge_tables(pieces, kept, EMPTY, "mock", unique=False)
    assert "36 selected events" in caplog.text
    assert "some generators number events anew" in caplog.text
    assert [path.name for path in kept.iterdir()] == ["part_00000.parquet"]


def test_a_single_doubled_event_is_named_alone(tmp_path):
    pieces = [events([(0, 0, 0)]), events([(0, 0, 0), (0, 0, 1)])]
    with pytest.raises(InputError, match=r": 1 selected events .* of another one: 0:0:0; primary datasets"):
        merge_tables(pieces, tmp_path / "f", EMPTY, "mock", unique=True)


def test_what_a_killed_merge_left_is_removed(tmp_path):
    left = tmp_path / ".f.merging"
    (left / "f").mkdir(parents=True)
    (left / "f" / "part_00007.parquet").write_text("half")
    (left / "0.arrow").write_text("half")
    merge_tables([numbered(20)], tmp_path / "f", EMPTY, "mock", unique=True)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["part_00000.parquet"]


@pytest.mark.parametrize("buffer_rows", [200, 100_000])
def test_a_disk_that_takes_no_more(tmp_path, monkeypatch, buffer_rows):
    """The system refuses files of more than 4 kB, spills and results alike; the earlier table stays, then all is done."""
    merge_tables([numbered(20)], tmp_path / "f", EMPTY, "mock", unique=True)
    earlier = (tmp_path / "f" / "part_00000.parquet").read_bytes()
    small(monkeypatch, buffer_rows, 10)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(
            OutputError,
            match=r"cannot be written to \(.*\); make room or mend its permissions, then run again",
        ):
            merge_tables([numbered(1000)], tmp_path / "f", EMPTY, "mock", unique=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f" / "part_00000.parquet").read_bytes() == earlier
    merge_tables([numbered(1000)], tmp_path / "f", EMPTY, "mock", unique=True)
    assert len(read_features(tmp_path / "f")["mjj"]) == 1000
