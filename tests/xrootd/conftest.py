"""XRootD servers on loopback, started and disturbed by the tests."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MISSING = [
    what
    for what, there in (
        ("the server xrootd (Debian: xrootd-server)", shutil.which("xrootd")),
        ("the Python package XRootD", importlib.util.find_spec("XRootD")),
    )
    if not there
]


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xrootd)
            if MISSING:
                item.add_marker(pytest.mark.skip(reason=f"needs {' and '.join(MISSING)}"))


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_server(folder: Path, command: list[str]) -> list[str]:
    """A command with the user that a server runs as, who owns its folder then: none runs as root."""
    if os.geteuid() != 0:
        return command
    owner = pwd.getpwnam("xrootd")
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, owner.pw_uid, owner.pw_gid)
    return [*command, "-R", "xrootd"]


class Server:
    """A server of one folder: ``/store`` for everyone to write, ``/fixed`` to read only."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.port = a_free_port()
        self.folder = folder
        self.root = folder / "root"
        for part in ("root/store", "root/fixed", "admin"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self.config = folder / "xrootd.cfg"
        self.config.write_text(
            f"all.export /store\nall.export /fixed r/o\noss.localroot {self.root}\nxrd.port {self.port}\n"
            f"xrd.network nodnr\nall.adminpath {folder}/admin\nall.pidpath {folder}/admin\n{settings}"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = ["xrootd", "-c", str(self.config), "-l", str(self.folder / "admin" / "log")]
        command = as_server(self.folder, command)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, "the server ended at once"
            time.sleep(0.05)
        pytest.fail(f"the server of {self.folder} does not listen")

    def stop(self) -> None:
        """As a crash does: without a word to anyone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def put(self, path: Path, name: str = "") -> str:
        """Give the server a copy of a file; its address."""
        copy = self.root / "store" / (name or path.name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
        return self.address(name or path.name)

    def address(self, name: str = "") -> str:
        return f"root://127.0.0.1:{self.port}//store/{name}"

    def on_disk(self, name: str) -> Path:
        return self.root / "store" / name


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server; each call another one."""
    servers: list[Server] = []
    with tempfile.TemporaryDirectory(
        prefix="oddjet-xrootd-"
    ) as top:  # pytest's own folders are closed to others
        Path(top).chmod(0o755)

        def start(settings: str = "") -> Server:
            servers.append(Server(Path(top) / str(len(servers)), settings))
            return servers[-1]

        yield start
        for server in servers:
            server.stop()


@pytest.fixture
def free_port() -> Callable[[], int]:
    return a_free_port


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never answers; its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"root://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture(autouse=True)
def forget_failures() -> None:
    """What a test did to a server is nothing to the next one, whose server may get the same port."""
    from processors.remote import FAILURES

    FAILURES.when.clear()
