import gzip

import numpy as np
import pytest

from data.errors import InputError
from processors.corrections import files
from processors.corrections.files import correction_table


def naming(position):
    return f"jet {position}"


def test_evaluates_by_name_of_input(write_corrections, nodes):
    path = write_corrections({"ratio": (("a", "b"), nodes["formula"]("x/y", "a", "b"))})
    table = correction_table(path, "ratio")
    values = {"b": np.array([2.0, 4.0]), "unused": None, "a": np.array([1, 2], dtype=np.float32)}
    np.testing.assert_array_equal(table.evaluate(values, 2, naming), [0.5, 0.5])


def test_no_element_and_constants_only(write_corrections, nodes):
    path = write_corrections({"c": (("systematic",), nodes["category"]("systematic", {"up": 1.5}))})
    table = correction_table(path, "c")
    assert table.evaluate({"systematic": "up"}, 0, naming).shape == (0,)
    np.testing.assert_array_equal(table.evaluate({"systematic": "up"}, 3, naming), [1.5, 1.5, 1.5])


def test_a_file_is_read_once_until_it_changes(write_corrections, nodes, monkeypatch):
    reads = []
    original = files.CorrectionSet.from_file
    monkeypatch.setattr(files.CorrectionSet, "from_file", lambda path: reads.append(path) or original(path))
    path = write_corrections({"c": (("a",), nodes["formula"]("x", "a"))})
    for _ in range(3):
        assert correction_table(path, "c").evaluate({"a": np.array([2.0])}, 1, naming) == 2
    assert len(reads) == 1
    write_corrections({"c": (("a",), nodes["formula"]("10*x", "a"))})
    assert correction_table(path, "c").evaluate({"a": np.array([2.0])}, 1, naming) == 20
    assert len(reads) == 2


def test_missing_file(tmp_path):
    with pytest.raises(
        InputError, match=r"none\.json: cannot be read \(No such file.*check the path of the corr"
    ):
        correction_table(tmp_path / "none.json", "c")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.json", b'{"schema_version": 2,'),
        ("other.json", b'{"a": 1}'),
        ("text.txt", b"{}"),
        ("truncated.json.gz", gzip.compress(b'{"schema_version": 2}' * 100, mtime=0)[:40]),
        ("flipped.json.gz", gzip.compress(b"{}" * 100, mtime=0)[:10] + b"\xff" * 30),
        ("not.json.gz", b"{}"),
    ],
)
def test_damaged_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: not a correction file \(.*give a \.json or \.json\.gz"):
        correction_table(path, "c")


def test_unknown_correction_lists_the_nearest(jerc_file):
    with pytest.raises(
        InputError, match=r"no correction 'Summer22_.*Totl_AK4PFPuppi'.*V3_MC_Total_AK4PFPuppi"
    ):
        correction_table(jerc_file, "Summer22_22Sep2023_V3_MC_Totl_AK4PFPuppi")


def test_unavailable_input_is_named(write_corrections, nodes):
    path = write_corrections({"c": (("Rho",), nodes["formula"]("x", "Rho"))})
    values = {"JetPt": np.ones(1), "Rho": None}
    with pytest.raises(InputError, match=r"correction 'c' needs the input 'Rho', .* available: JetPt"):
        correction_table(path, "c").evaluate(values, 1, naming)


def test_not_a_number_is_refused(write_corrections, nodes):
    content = nodes["binning"]("a", [0.0, 1.0, 2.0], [5.0, 6.0], flow="clamp")
    path = write_corrections({"c": (("a",), content)})
    with pytest.raises(
        InputError, match="correction 'c': its input 'a' is not a finite number for jet 1; repair"
    ):
        correction_table(path, "c").evaluate({"a": np.array([0.5, np.nan])}, 2, naming)


def test_outside_of_the_file(write_corrections, nodes):
    content = nodes["binning"]("a", [0.0, 1.0, 2.0], [5.0, 6.0])
    path = write_corrections({"c": (("a",), content)})
    with pytest.raises(
        InputError, match=r"corrections\.json: correction 'c' cannot be evaluated for jet 0: Index above"
    ):
        correction_table(path, "c").evaluate({"a": np.array([3.0])}, 1, naming)
    for first in range(6):
        values = np.full(6, 0.5)
        values[first:] = np.resize([3.0, 1.5], 6 - first)
        with pytest.raises(InputError, match=f"cannot be evaluated for jet {first}: Index above"):
            correction_table(path, "c").evaluate({"a": values}, 6, naming)
    path = write_corrections({"c": (("systematic",), nodes["category"]("systematic", {"nom": 1.0}))})
    with pytest.raises(InputError, match=r"'c' cannot be evaluated for jet 0: Index not available.*nominal"):
        correction_table(path, "c").evaluate({"systematic": "nominal"}, 1, naming)


def test_infinite_result(write_corrections, nodes):
    path = write_corrections({"c": (("a",), nodes["formula"]("1/x", "a"))})
    with pytest.raises(InputError, match="correction 'c' gives inf for jet 1"):
        correction_table(path, "c").evaluate({"a": np.array([1.0, 0.0])}, 2, naming)
