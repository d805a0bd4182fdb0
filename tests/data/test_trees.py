from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from data.sections import Section
from data.trees import as_tree, fingerprint, from_tree
from data.types import FloatArray


class Cuts(Section):
    pt: float = 300.0
    file: Path | None = None


@dataclass(frozen=True)
class Inner:
    name: str
    values: FloatArray


@dataclass(frozen=True)
class Outer:
    inner: Inner | None
    parts: tuple[Inner, ...]
    pair: tuple[int, float]
    labels: frozenset[str]
    counts: dict[str, int]
    cuts: Cuts
    uuid: bytes
    place: Path


def outer(**changes):
    one = Inner("a", np.array([1.0, 2.0]))
    made = Outer(
        one, (one, one), (1, 2.0), frozenset("ba"), {"x": 1}, Cuts(pt=5.0), b"\x00\xff", Path("/a/b")
    )
    return replace(made, **changes)


def test_a_record_comes_back():
    tree = as_tree(outer())
    assert tree["labels"] == ["a", "b"]
    back = from_tree(Outer, tree)
    assert np.array_equal(back.inner.values, [1.0, 2.0])
    assert len(back.parts) == 2
    whole = {name: getattr(back, name) for name in ("pair", "labels", "counts", "cuts", "uuid", "place")}
    assert whole == {name: getattr(outer(), name) for name in whole}
    assert from_tree(Outer, as_tree(outer(inner=None))).inner is None


def test_a_value_of_another_type_is_refused():
    with pytest.raises(TypeError, match="expected int, found 'x'"):
        from_tree(Outer, as_tree(outer()) | {"pair": ["x", 2.0]})
    with pytest.raises(KeyError, match="uuid"):
        from_tree(Outer, {name: value for name, value in as_tree(outer()).items() if name != "uuid"})
    with pytest.raises(TypeError, match="object has no plain form"):
        as_tree({"x": object()})


def test_numbers_of_numpy_become_plain():
    tree = as_tree({"a": np.float64(0.1), "b": np.int32(2), "c": np.bool_(1)})
    assert [type(value) for value in tree.values()] == [float, int, bool]


@pytest.mark.parametrize(
    "change",
    [
        {"inner": None},
        {"parts": ()},
        {"pair": (1, np.nextafter(2.0, 3.0))},
        {"labels": frozenset("abc")},
        {"counts": {"x": 2}},
        {"cuts": Cuts(pt=6.0)},
        {"uuid": b""},
        {"inner": Inner("a", np.array([1.0, np.nextafter(2.0, 3.0)]))},
        {"inner": Inner("a", np.array([1.0, 2.0], dtype=np.float32))},
    ],
)
def test_any_change_changes_the_fingerprint(tmp_path, change):
    place = tmp_path / "a"
    place.write_text("x")
    assert fingerprint(outer(place=place)) == fingerprint(outer(place=place))
    assert fingerprint(outer(place=place, **change)) != fingerprint(outer(place=place))


def test_a_file_counts_by_its_contents(tmp_path):
    for name, content in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(content)
    a, b, c = (fingerprint(Cuts(file=tmp_path / name)) for name in "abc")
    assert a == b != c
    with pytest.raises(InputError, match="gone: cannot be read"):
        fingerprint(Cuts(file=tmp_path / "gone"))
