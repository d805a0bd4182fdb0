import pytest

from data import manifest
from data.errors import ConfigError, InputError
from data.manifest import Manifest, hash_outputs, is_current, read_manifest


@pytest.fixture
def finished(tmp_path):
    output = tmp_path / "features" / "part.parquet"
    output.parent.mkdir()
    output.write_bytes(b"table")
    path = tmp_path / "manifests" / "skim.json"
    record = Manifest(
        stage="skim",
        config_hash="c",
        code_version=manifest.code_version(),
        inputs={"a.root": "1"},
        entries_expected=10,
        entries_read=10,
        outputs=hash_outputs(tmp_path, [output]),
    )
    record.write(path)
    return path, tmp_path, output


def test_a_finished_stage_is_current_until_something_changes(finished):
    path, root, output = finished
    assert is_current(path, root, "skim", "c", {"a.root": "1"})
    assert not is_current(path, root, "hist", "c", {"a.root": "1"})
    assert not is_current(path, root, "skim", "d", {"a.root": "1"})
    assert not is_current(path, root, "skim", "c", {"a.root": "2"})
    assert not is_current(path, root, "skim", "c", {"a.root": "1", "b.root": "1"})
    output.write_bytes(b"tabl")
    assert not is_current(path, root, "skim", "c", {"a.root": "1"})
    output.unlink()
    assert not is_current(path, root, "skim", "c", {"a.root": "1"})


def test_other_code_is_not_current(finished, monkeypatch):
    path, root, _ = finished
    monkeypatch.setattr(manifest, "code_version", lambda: "0.0.0+other")
    assert not is_current(path, root, "skim", "c", {"a.root": "1"})


def test_a_truncated_manifest_means_not_finished(finished):
    path, root, _ = finished
    path.write_text(path.read_text()[:40])
    assert not is_current(path, root, "skim", "c", {"a.root": "1"})
    with pytest.raises(InputError, match="not valid JSON"):
        read_manifest(path)


def test_unknown_keys_in_a_manifest_are_errors(finished):
    path, _, _ = finished
    path.write_text('{"stagge": "skim"}')
    with pytest.raises(ConfigError, match="unknown key 'stagge'; did you mean 'stage'"):
        read_manifest(path)


def test_identity_follows_the_outputs(finished):
    path, root, output = finished
    before = read_manifest(path)
    output.write_bytes(b"other")
    after = before.model_copy(update={"outputs": hash_outputs(root, [output])})
    assert before.identity() != after.identity()
