"""Outputs copied to a server: whole under their names with the manifest last, or not there."""

import os
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest

from data import remote_files
from data.errors import TransferError
from data.manifest import Manifest, hash_outputs
from data.remote_files import checksum_of, copy_file, copy_out
from data.xrootd import ExistsError

TIMEOUT = 30
"""Seconds for servers that answer, on a machine that may be busy."""


@pytest.fixture
def stage(tmp_path):
    """A run folder with a finished stage: its root and its manifest."""
    root = tmp_path / "run"
    for name, size in (("features/a.parquet", 20_000_000), ("features/b.parquet", 0), ("account.json", 12)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(np.random.default_rng(size).bytes(size))
    return root, finish(root)


def finish(root):
    outputs = hash_outputs(root, [*(root / "features").iterdir(), root / "account.json"])
    facts = {"stage": "skim a", "config_hash": "c", "code_version": "v", "inputs": {}}
    manifest = root / "manifests" / "skim.a.json"
    Manifest(**facts, entries_expected=1, entries_read=1, outputs=outputs).write(manifest)
    return manifest


def there(server):
    top = server.on_disk("out")
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def here(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("settings", ["xrootd.chksum adler32\n", "xrootd.chksum md5\n", ""])
def test_all_files_arrive_whatever_checksums_the_server_has(serve, stage, settings):
    server, (root, manifest) = serve(settings), stage
    assert copy_out(root, manifest, server.address("out/"), timeout=TIMEOUT) == 4
    assert there(server) == here(root)


def test_only_what_is_missing_or_changed_is_copied_again(serve, stage):
    server, (root, manifest) = serve(), stage
    target = server.address("out")
    copy_out(root, manifest, target, timeout=TIMEOUT)
    assert copy_out(root, manifest, target, timeout=TIMEOUT) == 0
    server.on_disk("out/features/b.parquet").unlink()
    with server.on_disk("out/features/a.parquet").open("r+b") as stream:
        stream.write(b"rotten")
    assert copy_out(root, manifest, target, timeout=TIMEOUT) == 3
    (root / "account.json").write_bytes(b"new")
    finish(root)
    assert copy_out(root, manifest, target, timeout=TIMEOUT) == 2
    assert there(server) == here(root)


def test_no_manifest_above_outputs_that_changed(serve, stage, monkeypatch):
    server, (root, manifest) = serve(), stage
    target = server.address("out")
    copy_out(root, manifest, target, timeout=TIMEOUT)
    (root / "account.json").write_bytes(b"new")
    finish(root)
    monkeypatch.setattr(remote_files, "_check_arrival", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        copy_out(root, manifest, target, timeout=TIMEOUT)
    assert "manifests/skim.a.json" not in there(server)
    assert not [name for name in there(server) if "/." in f"/{name}"]
    monkeypatch.undo()
    copy_out(root, manifest, target, timeout=TIMEOUT)
    assert there(server) == here(root)


def test_bytes_that_change_on_the_way(serve, stage, monkeypatch):
    server, (root, _) = serve(), stage
    send = remote_files._send

    def spoil(source, address, timeout):
        sent = send(source, address, timeout)
        (name,) = server.on_disk("out").glob(".*.parquet")
        with name.open("r+b") as stream:
            stream.write(b"x")
        return sent

    monkeypatch.setattr(remote_files, "_send", spoil)
    address = server.address("out/a.parquet")
    message = (
        r"a\.parquet cannot be copied to root://.*20000000 bytes with checksum \w{8} were sent, 20000000 with"
    )
    with pytest.raises(TransferError, match=message):
        copy_file(root / "features" / "a.parquet", address, timeout=TIMEOUT)
    assert there(server) == {}


def test_a_server_that_dies_on_the_way(serve, stage, monkeypatch):
    server, (root, manifest) = serve(), stage
    target = server.address("out")
    ask, calls = remote_files.ask, []

    def die(*args, **options):
        calls.append(args[1].__name__)
        if calls.count("write") == 2:
            server.stop()
        return ask(*args, **options)

    monkeypatch.setattr(remote_files, "ask", die)
    with pytest.raises(
        TransferError, match=r"account\.json|a\.parquet cannot be copied to root://.*see that there is"
    ):
        copy_out(root, manifest, target, timeout=TIMEOUT)
    monkeypatch.undo()
    assert "manifests/skim.a.json" not in there(server)
    server.start()
    copy_out(root, manifest, target, timeout=TIMEOUT)
    names = {name for name in there(server) if "/." not in f"/{name}"}  # what the crash left has another name
    assert {name: there(server)[name] for name in names} == here(root)


def test_a_server_that_falls_silent(serve, stage):
    server, (root, manifest) = serve(), stage
    server.freeze()
    start = time.monotonic()
    with pytest.raises(TransferError, match="no answer within 2 s"):
        copy_out(root, manifest, server.address("out"), timeout=2)
    assert time.monotonic() - start < TIMEOUT
    server.thaw()


def test_a_folder_that_may_not_be_written(serve, stage):
    server, (root, manifest) = serve(), stage
    target = server.address().replace("/store/", "/fixed/out")
    with pytest.raises(TransferError, match=r"to root://.*/fixed/out/.*\[30\d\d\].*you may write there"):
        copy_out(root, manifest, target, timeout=TIMEOUT)


def test_a_server_that_refuses_to_rename_keeps_what_it_has(serve, tmp_path):
    server = serve(
        "ofs.authorize\nacc.authdb {folder}/rights\n", rights="u * /store irlwdk\n"
    )  # all but renaming
    source = tmp_path / "x"
    source.write_text("old")
    address = server.put(source, "out/x")
    source.write_text("new")
    with pytest.raises(
        TransferError, match=r"out/x: .*\[3010\].*renaming.*permission denied .*valid proxy or token"
    ):
        copy_file(source, address, timeout=TIMEOUT)
    assert there(server) == {"x": b"old"}


def test_a_server_that_does_not_rename_onto_a_file(serve, tmp_path, monkeypatch):
    server, ask = serve(), remote_files.ask
    source = tmp_path / "x"
    source.write_text("old")
    address = server.put(source, "out/x")
    source.write_text("new")

    def refuse(place, call, *args, **options):
        if call.__name__ == "mv" and server.on_disk("out/x").exists():
            msg = f"{place}: [3018] file exists"
            raise ExistsError(msg)
        return ask(place, call, *args, **options)

    monkeypatch.setattr(remote_files, "ask", refuse)
    copy_file(source, address, timeout=TIMEOUT)
    assert there(server) == {"x": b"new"}


def test_what_a_server_says_of_a_file_that_is_there(serve, stage):
    server, (root, _) = serve(), stage
    address = server.put(root / "account.json", "out/x")
    with pytest.raises(ExistsError, match=r"\[3018\]"):
        remote_files._send(root / "account.json", address, TIMEOUT)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root may mount a small disk")
def test_a_full_disk(serve, stage):
    server, (root, manifest) = serve(), stage
    store = server.on_disk("")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=10m,mode=777", "tmpfs", store], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(TransferError, match=r"a\.parquet cannot be copied.*no space left.*there is room"):
            copy_out(root, manifest, server.address("out"), timeout=TIMEOUT)
        assert "manifests/skim.a.json" not in there(server)
    finally:
        subprocess.run(["umount", "-l", store], check=True)


def test_two_that_write_one_file_leave_one_whole(serve, tmp_path):
    server = serve()
    contents = [bytes([number]) * 9_000_000 for number in range(2)]
    threads = []
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
        arguments = (tmp_path / str(number), server.address("out/x"))
        threads.append(threading.Thread(target=copy_file, args=arguments, kwargs={"timeout": TIMEOUT}))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.on_disk("out/x").read_bytes() in contents
    assert checksum_of(server.address("out/x")) in {f"{checksum:08x}" for checksum in map(adler, contents)}


def adler(content):
    import zlib

    return zlib.adler32(content)
