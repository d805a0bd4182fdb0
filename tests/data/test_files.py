import errno
import json
import math

import pytest

from data.errors import ConfigError, InputError
from data.files import atomic_path, hash_json, read_json, sha256_file, write_json


def _write_half_and_fail(path):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        msg = "disk full"
        raise RuntimeError(msg)


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk full"):
        _write_half_and_fail(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("named", [True, False])
def test_what_the_disk_refuses_is_told_of_the_file_not_of_its_temporary_name(tmp_path, named):
    path = tmp_path / "x.json"
    with pytest.raises(PermissionError) as caught, atomic_path(path) as temporary:
        raise PermissionError(errno.EPERM, "Operation not permitted", *([str(temporary)] if named else []))
    assert caught.value.filename == str(path)


def test_a_place_where_no_file_can_be_is_named(tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path} is a folder, .* give the name of a file"):
        write_json(tmp_path, {})
    (tmp_path / "file").write_text("old")
    with pytest.raises(ConfigError, match=r"file: this folder cannot be made \(File exists\)"):
        write_json(tmp_path / "file" / "result.json", {})
    with pytest.raises(ConfigError, match=r"deep: this folder cannot be made \(Not a directory\)"):
        write_json(tmp_path / "file" / "deep" / "result.json", {})
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_json_round_trip_refuses_not_a_number(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"τ": [1, 2.5, None]})
    assert read_json(path) == {"τ": [1, 2.5, None]}
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"z": math.nan})
    assert read_json(path) == {"τ": [1, 2.5, None]}


def test_bad_json_is_named(tmp_path):
    path = tmp_path / "scan.json"
    with pytest.raises(InputError, match=r"scan\.json: cannot be read"):
        read_json(path)
    path.write_text('{"z": ')
    with pytest.raises(InputError, match=r"scan\.json: not valid JSON .* truncated"):
        read_json(path)
    path.write_text('{"a": {"z": 1, "y": 2, "z": 3}}')
    with pytest.raises(InputError, match=r"scan\.json: the key 'z' stands twice"):
        read_json(path)


def test_hashes_do_not_depend_on_key_order_and_match_the_standard(tmp_path):
    assert hash_json({"a": 1, "b": [2]}) == hash_json(json.loads('{"b": [2], "a": 1}'))
    assert hash_json({"a": 1}) != hash_json({"a": 2})
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # FIPS 180-2, example B.1
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputError, match="none: cannot be read"):
        sha256_file(tmp_path / "none")
