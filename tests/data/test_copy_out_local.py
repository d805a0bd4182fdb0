"""Outputs copied to another folder."""

import pytest

from data.errors import InputError, TransferError
from data.manifest import Manifest, hash_outputs
from data.remote_files import copy_out


@pytest.fixture
def stage(tmp_path):
    root = tmp_path / "run"
    for name in ("a.json", "deep/b.h5"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    facts = {"stage": "scan", "config_hash": "c", "code_version": "v", "inputs": {}}
    outputs = hash_outputs(root, [root / "a.json", root / "deep/b.h5"])
    manifest = root / "manifests" / "scan.json"
    Manifest(**facts, entries_expected=0, entries_read=0, outputs=outputs).write(manifest)
    return root, manifest


def test_all_files_arrive_once(stage, tmp_path):
    root, manifest = stage
    assert copy_out(root, manifest, str(tmp_path / "copy")) == 3
    assert copy_out(root, manifest, str(tmp_path / "copy")) == 0
    (tmp_path / "copy" / "a.json").write_text("rotten")
    assert copy_out(root, manifest, str(tmp_path / "copy")) == 2
    for name in ("a.json", "deep/b.h5", "manifests/scan.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (root / name).read_bytes()


def test_what_cannot_be_copied_is_named(stage, tmp_path):
    root, manifest = stage
    (tmp_path / "copy").write_text("a file, not a folder")
    with pytest.raises(
        TransferError,
        match=r"scan\.json cannot be copied to .*copy/manifests/scan\.json: .*you may write there",
    ):
        copy_out(root, manifest, str(tmp_path / "copy"))
    with pytest.raises(InputError, match=r"none\.json"):
        copy_out(root, root / "none.json", str(tmp_path / "copy"))
