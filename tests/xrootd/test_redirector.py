"""A redirector sends readers to other servers: those that they may not read from are refused."""

import os
import shutil
import socket
import subprocess
import time

import pytest

from data.errors import InputError, ReadError
from data.samples import Access
from processors.remote import _avoiding
from processors.root_files import open_root

pytestmark = pytest.mark.slow
TIMEOUT = 20


@pytest.fixture
def cluster(serve, free_port):
    """A redirector and the one data server behind it."""
    if not shutil.which("cmsd"):
        pytest.skip("needs the server cmsd (Debian: xrootd-server)")
    manager = free_port()
    common = f"all.manager 127.0.0.1:{manager}\n"
    redirector = serve(
        common + f"all.role manager\nif exec cmsd\nxrd.port {manager}\nfi\ncms.delay startup 2\n"
    )
    server = serve(common + f"all.role server\nif exec cmsd\nxrd.port {free_port()}\nfi\n")
    helpers = []
    for one in (redirector, server):
        user = ["-R", "xrootd"] if os.geteuid() == 0 else []
        command = ["cmsd", "-c", str(one.config), "-l", str(one.folder / "admin" / "cmslog"), *user]
        helpers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    yield redirector, server
    for helper in helpers:
        helper.kill()
        helper.wait()


def test_blocked_sites_behind_a_redirector(cluster, tmp_path, make_nano_file):
    redirector, server = cluster
    server.put(make_nano_file(tmp_path / "a.root", 100))
    address = redirector.address("a.root").replace("127.0.0.1", "localhost")
    end = time.monotonic() + 120
    while True:  # until the two know each other
        try:
            file = open_root(address, access=Access((address,), (), TIMEOUT))
            break
        except ReadError:
            assert time.monotonic() < end
            time.sleep(0.5)
    with file:
        assert file["Events"].num_entries == 100
        assert file.file.source._server == f"127.0.0.1:{server.port}"
    with pytest.raises(
        InputError, match=rf"its redirector offers blocked sites only \(127\.0\.0\.1:{server.port}\)"
    ):
        open_root(address, access=Access((address,), ("127.*",), TIMEOUT))
    name = socket.gethostbyaddr("127.0.0.1")[0]
    with pytest.raises(InputError, match=r"its redirector offers blocked sites only"):
        open_root(address, access=Access((address,), (f"{name[:3]}*",), TIMEOUT))


def test_redirectors_are_told_whom_to_avoid():
    assert _avoiding("root://r//a", []) == "root://r//a"
    assert _avoiding("root://r//a", ["h:1", "g:2", "h:1"]) == "root://r//a?tried=h,g&triedrc=resel"
    assert _avoiding("root://r//a", ["[2001:db8::1]:1"]) == "root://r//a?tried=[2001:db8::1]&triedrc=resel"
    assert _avoiding("root://r//a?x=y", ["h:1"]) == "root://r//a?x=y&tried=h&triedrc=resel"
