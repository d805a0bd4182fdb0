"""A redirector sends readers to other servers: those that they may not read from are refused."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from data.addresses import expand
from data.errors import ConfigError, InputError, ReadError
from data.samples import Access
from data.xrootd import path_of
from processors.remote import _avoiding
from processors.root_files import open_root

pytestmark = pytest.mark.slow
TIMEOUT = 20


SERVERS = 2
LOCATE, PREFER_NAMES = (3027).to_bytes(2), (0x100).to_bytes(2)
"""Of the protocol."""


@pytest.fixture
def cluster(serve, free_port):
    """A redirector and the data servers behind it."""
    if not shutil.which("cmsd"):
        pytest.skip("needs the server cmsd (Debian: xrootd-server)")
    manager = free_port()
    common = f"all.manager 127.0.0.1:{manager}\n"
    redirector = serve(
        common + f"all.role manager\nif exec cmsd\nxrd.port {manager}\nfi\ncms.delay startup 2\n"
    )
    servers = [
        serve(common + f"all.role server\nif exec cmsd\nxrd.port {free_port()}\nfi\n") for _ in range(SERVERS)
    ]
    helpers = []
    for one in (redirector, *servers):
        user = ["-R", "xrootd"] if os.geteuid() == 0 else []
        command = ["cmsd", "-c", str(one.config), "-l", str(one.folder / "admin" / "cmslog"), *user]
        helpers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    yield redirector, servers
    for helper in helpers:
        helper.kill()
        helper.wait()


def when_known(answer, wanted=lambda _: True):
    """What is answered once the redirector and its servers know each other."""
    end = time.monotonic() + 120
    while True:
        try:
            found = answer()
        except (ReadError, ConfigError):
            found = None
        if found is not None and wanted(found):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.5)


def recorded(port):
    """A port that leads to another one, and what is sent to it."""
    listening, told = socket.create_server(("127.0.0.1", 0)), bytearray()

    def carry(source, target, record):
        with source, target, contextlib.suppress(OSError):  # the other direction may have closed both
            while data := source.recv(1 << 16):
                record.extend(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def lead():
        with listening:
            here = listening.accept()[0]
        there = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=carry, args=(there, here, bytearray()), daemon=True).start()
        carry(here, there, told)

    threading.Thread(target=lead, daemon=True).start()
    return listening.getsockname()[1], told


def test_blocked_sites_behind_a_redirector(cluster, tmp_path, make_nano_file):
    redirector, (server, _) = cluster
    server.put(make_nano_file(tmp_path / "a.root", 100))
    address = redirector.address("a.root").replace("127.0.0.1", "localhost")
    with when_known(lambda: open_root(address, access=Access((address,), (), TIMEOUT))) as file:
        assert file["Events"].num_entries == 100
        assert file.file.source._server == f"127.0.0.1:{server.port}"
    with pytest.raises(
        InputError, match=rf"its redirector offers blocked sites only \(127\.0\.0\.1:{server.port}\)"
    ):
        open_root(address, access=Access((address,), ("127.*",), TIMEOUT))
    name = socket.gethostbyaddr("127.0.0.1")[0]
    with pytest.raises(InputError, match=r"its redirector offers blocked sites only"):
        open_root(address, access=Access((address,), (f"{name[:3]}*",), TIMEOUT))


def test_folders_behind_a_redirector_are_those_of_all_servers(cluster, tmp_path):
    redirector, (one, two) = cluster
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for server, names in ((one, ["d/1.root", "d/2.root"]), (two, ["d/2.root", "d/3.root", "d/sub/4.root"])):
        for name in names:
            server.put(empty, name)

    def listed(pattern):
        return list(expand(redirector.address(pattern), tmp_path, "samples.yaml", (), TIMEOUT).files)

    every = [redirector.address(f"d/{number}.root") for number in (1, 2, 3)]
    assert when_known(lambda: listed("d/"), lambda found: len(found) >= len(every)) == every
    assert listed("[d]/*.root") == every
    through, told = recorded(redirector.port)
    server = f"root://127.0.0.1:{through}/"
    assert [
        file.removeprefix(server) for file in expand(f"{server}/store/d/", tmp_path, "", (), TIMEOUT).files
    ] == [path_of(address) for address in every]
    assert LOCATE + PREFER_NAMES in told  # certificates are made out to names
    with pytest.raises(ReadError, match="no such file or directory"):
        listed("none/")
    assert listed("d/s*/") == [redirector.address("d/sub/4.root")]
    two.stop()
    with pytest.raises(ReadError, match=rf"d/\*\.root' cannot be listed \(.*:{two.port}\b"):
        listed("d/")  # and not without a word what the other server has
    two.start()
    assert when_known(lambda: listed("d/")) == every


def test_redirectors_are_told_whom_to_avoid():
    assert _avoiding("root://r//a", []) == "root://r//a"
    assert _avoiding("root://r//a", ["h:1", "g:2", "h:1"]) == "root://r//a?tried=h,g&triedrc=resel"
    assert _avoiding("root://r//a", ["[2001:db8::1]:1"]) == "root://r//a?tried=[2001:db8::1]&triedrc=resel"
    assert _avoiding("root://r//a?x=y", ["h:1"]) == "root://r//a?x=y&tried=h&triedrc=resel"
