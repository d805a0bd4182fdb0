import contextlib
import os
import resource
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from data.errors import OutputError, PartialError, ReadError
from data.partials import PartialStore, dump, read_partial
from data.trees import as_tree, from_tree
from data.types import FloatArray

KINDS = ("f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
TREE = {
    "range": [0, 10, 3],
    "cutflow": {"all": {"events": 10, "weighted": 0.1 + 0.2}},
    "note": None,
    "tables": {kind: np.arange(7).astype(kind) for kind in KINDS}
    | {"none": np.zeros((0, 3), dtype=np.float32)},
    "sections": [np.array(5), np.arange(6.0).reshape(2, 3).T],
}


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


def test_a_tree_comes_back_with_the_same_bits(tmp_path):
    path = tmp_path / "a.partial"
    path.write_bytes(dump(TREE))
    back = read_partial(path)
    assert same(TREE, back)
    assert dump(TREE) == dump(back)
    with pytest.raises(ValueError, match="read-only"):
        back["tables"]["f8"][0] = 1


def test_behind_its_first_line_a_file_is_a_safetensors_document():
    content = dump(TREE)
    assert np.array_equal(load(content[96:])["1/tables/f4"], TREE["tables"]["f4"])
    assert content[:96].decode().startswith("oddjet partial 1 sha256 ")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_flipped_byte_goes_unseen(tmp_path_factory, place, flip):
    content = bytearray(dump(TREE))
    content[place % len(content)] ^= flip
    path = tmp_path_factory.mktemp("damaged") / "a.partial"
    path.write_bytes(content)
    with pytest.raises(PartialError, match=r"a\.partial: damaged partial result; remove it"):
        read_partial(path)


@pytest.mark.parametrize("size", [0, 5, 96, 200, -1])
def test_truncated_file(tmp_path, size):
    path = tmp_path / "a.partial"
    path.write_bytes(dump(TREE)[:size])
    with pytest.raises(PartialError, match=r"a\.partial: .*partial result"):
        read_partial(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_has_not_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({"a": value})
    with pytest.raises(ValueError, match="begins with 'array:'; choose another name"):
        dump({"a": "array:0"})


def test_store_finds_what_was_put_and_drops_what_is_damaged(tmp_path, caplog):
    store = PartialStore(tmp_path / "run" / "partials" / "skim.mock")
    assert store.find("ab12") is None
    store.put("ab12", dump(TREE))
    assert same(store.find("ab12"), TREE)
    assert store.path("ab12") == store.folder / "ab" / "ab12.partial"
    store.path("ab12").write_bytes(dump(TREE)[:-1])
    assert store.find("ab12") is None
    assert "damaged partial result" in caplog.text
    assert not store.path("ab12").exists()
    store.remove()
    assert not (tmp_path / "run" / "partials").exists()


def test_a_result_under_another_name_is_dropped(tmp_path, caplog):
    store = PartialStore(tmp_path)
    for key in ("ab12", "cd34"):
        store.put(key, dump(TREE | {"key": "ab12"}))
    assert same(store.find("ab12"), TREE | {"key": "ab12"})
    assert store.find("cd34") is None
    assert "cd34.partial: the result of something else" in caplog.text
    assert not store.path("cd34").exists()


@contextlib.contextmanager
def few_files(number):
    """No more than so many files can be opened beside those that are open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(number + 1)]
    for descriptor in free:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_result_that_cannot_be_opened_now_is_kept(tmp_path):
    store = PartialStore(tmp_path)
    store.put("ab12", dump(TREE))
    message = r"ab12.partial: this partial result cannot be read now \(Too many open files\); mend"
    with few_files(0), pytest.raises(ReadError, match=message):
        store.find("ab12")
    assert same(store.find("ab12"), TREE)


def test_a_result_on_a_storage_that_fails_is_kept(tmp_path, monkeypatch):
    """A storage that answers with an error of its own."""
    store = PartialStore(tmp_path)
    store.put("ab12", dump(TREE))
    real = type(tmp_path).open

    def stale(path, *arguments):
        if path.suffix == ".partial":
            raise OSError(116, "Stale file handle")
        return real(path, *arguments)

    monkeypatch.setattr(type(tmp_path), "open", stale)
    with pytest.raises(ReadError, match="Stale file handle"):
        store.find("ab12")
    monkeypatch.undo()
    assert same(store.find("ab12"), TREE)


@dataclass(frozen=True)
class Part:
    values: FloatArray


def test_many_records_are_held_without_their_files(tmp_path):
    store = PartialStore(tmp_path)
    for number in range(40):
        store.put(f"ab{number}", dump({"part": as_tree(Part(np.full(3, float(number))))}))
    paths = [store.path(f"ab{number}") for number in range(40)]
    with few_files(10):
        parts = [from_tree(Part, read_partial(path)["part"]) for path in paths]
    assert [part.values.tolist() for part in parts] == [[float(number)] * 3 for number in range(40)]


def test_a_worker_knows_the_folder_by_its_mark(tmp_path):
    store = PartialStore(tmp_path / "here")
    with store.marked() as mark:
        assert store.sees(mark)
        assert not PartialStore(tmp_path / "there").sees(mark)
    assert not store.sees(mark)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    store = PartialStore(tmp_path / "file" / "store")
    with pytest.raises(OutputError, match=r"file/store: cannot be written to.*what is finished is kept"):
        store.put("ab12", dump(TREE))
    with pytest.raises(OutputError, match="cannot be written to"), store.marked():
        pass


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_leaves_no_half_result(small_disk):
    store = PartialStore(small_disk / "store")
    content = dump({"a": np.random.default_rng(1).random(10_000)})

    def fill():
        for number in range(10):
            store.put(f"ab{number}", content)

    with pytest.raises(OutputError, match="No space left on device"):
        fill()
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert 0 < len(files) < 10
    assert all(len(read_partial(path)["a"]) == 10_000 for path in files)
