"""Faults of files that were written by oddjet, and of simulation, as their messages tell them."""

import errno
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from data import addresses, remote_files
from data.credentials import check_credentials
from data.errors import ConfigError, OutputError, PartialError, TransferError
from data.locks import run_lock
from data.partials import read_partial
from data.remote_files import copy_file
from data.simulation.config import Generator
from data.simulation.generator import generate
from data.simulation.signals.xyy import Xyy
from data.xrootd import NoFileError, RemoteError, ask


def test_a_proxy_where_nothing_reads_certificates(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    proxy = tmp_path / "proxy"
    proxy.write_text("-----BEGIN CERTIFICATE-----")
    told = (
        r'/proxy: the lifetime of a proxy cannot be read without cryptography: pip install "oddjet\[xrootd\]"'
    )
    with pytest.raises(ConfigError, match=told):
        check_credentials(["root://host//a.root"], None, 1.0, {"X509_USER_PROXY": str(proxy)})


def test_a_full_disk_under_a_run_folder(tmp_path, monkeypatch):
    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    told = r"this run folder cannot be written to \(No space left on device\); make room, or name another one with --out"
    with pytest.raises(OutputError, match=told), run_lock(tmp_path):
        pass
    monkeypatch.undo()
    with run_lock(tmp_path):  # the lock was let go
        pass


def test_a_partial_result_that_is_gone(tmp_path):
    with pytest.raises(PartialError, match=r"a\.partial: no such partial result; run again"):
        read_partial(tmp_path / "a.partial")


def test_a_copy_that_differs_is_not_left_behind(tmp_path, monkeypatch):
    source, target = tmp_path / "scan.json", tmp_path / "copy" / "scan.json"
    source.write_text("results")

    def rotten(path: Path, copy: Path) -> None:
        shutil.copyfile(path, copy)
        copy.write_text("rotten")

    class Shutil:
        copyfile = staticmethod(rotten)

    monkeypatch.setattr(remote_files, "shutil", Shutil)
    told = r"scan\.json cannot be copied to .*copy/scan\.json: the copy of scan\.json has another checksum; copy it again"
    with pytest.raises(TransferError, match=told):
        copy_file(source, str(target))
    assert not target.exists()


def test_settings_that_pythia_cannot_begin_with():
    process = Xyy(type="xyy", mass=3000, mass_y=400, mass_y_prime=400)
    options = Generator(settings=("Beams:idA = 12",))
    with pytest.raises(ConfigError, match=r"pythia8 cannot be initialised for process .*mass=3000"):
        generate(process, (0.0, -1.0), 1, 1, 13000.0, options)


def test_answers_of_servers_that_have_nothing_to_read():
    absent = SimpleNamespace(ok=False, code=400, errno=3011, message="[ERROR] No such file")
    with pytest.raises(NoFileError, match="root://r//d/a: "):
        ask("root://r//d/a", lambda timeout: (absent, None), timeout=1)

    def broken(timeout: int) -> None:
        msg = "I/O operation on closed file"
        raise ValueError(msg)

    with pytest.raises(RemoteError, match="root://r//d/a: I/O operation on closed file"):
        ask("root://r//d/a", broken, timeout=1)


@pytest.mark.parametrize(
    ("places", "told"), [([SimpleNamespace(address="b:1", type=2)], "b:1"), ([], "it names none")]
)
def test_a_redirector_that_does_not_have_all_its_servers(monkeypatch, places, told):
    flags = SimpleNamespace(
        HostTypes=SimpleNamespace(IS_MANAGER=2), LocationType=SimpleNamespace(SERVER_ONLINE=1)
    )
    answers = iter([SimpleNamespace(hostinfo=2), places])
    monkeypatch.setattr(addresses, "client", lambda: SimpleNamespace(flags=flags))
    monkeypatch.setattr(
        addresses, "filesystem", lambda _address: SimpleNamespace(protocol=None, deeplocate=None)
    )
    monkeypatch.setattr(addresses, "ask", lambda *_arguments, **_options: next(answers))
    with pytest.raises(RemoteError, match=rf"root://r//d/: not all servers of it answered \({told}\)"):
        addresses._holders("root://r/", "/d/", 1)
