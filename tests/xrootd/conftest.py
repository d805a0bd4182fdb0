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


STARTING = 60.0
"""Seconds that a server may need to start on a busy machine."""
STARTS = 5
"""Debian's xrootd 5.5 crashes now and then before it has written a word (signal 11): not what is tested here."""


def reserved_port() -> tuple[socket.socket, int]:
    """A port that nobody else is given while the socket is open: it never listens, so a server may, beside it."""
    reserve = socket.socket()
    reserve.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserve.bind(("", 0))
    return reserve, reserve.getsockname()[1]


def as_server(folder: Path, command: list[str]) -> list[str]:
    """A command with the user that a server runs as, who owns its folder then: none runs as root."""
    if os.geteuid() != 0:
        return command
    owner = pwd.getpwnam("xrootd")
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, owner.pw_uid, owner.pw_gid)
    return [*command, "-R", "xrootd"]


def state_of(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


class Server:
    """A server of one folder: ``/store`` for everyone to write, ``/fixed`` to read only."""

    def __init__(self, folder: Path, settings: str = "", **files: str) -> None:
        self.reserve, self.port = reserved_port()
        self.folder = folder
        self.root = folder / "root"
        for part in ("root/store", "root/fixed", "admin"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self.config = folder / "xrootd.cfg"
        self.config.write_text(
            f"all.export /store\nall.export /fixed r/o\noss.localroot {self.root}\nxrd.port {self.port}\n"
            f"xrd.network nodnr\nall.adminpath {folder}/admin\nall.pidpath {folder}/admin\n"
            + settings.replace("{folder}", str(folder))
        )
        for name, content in files.items():
            (folder / name).write_text(content)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        for _ in range(STARTS):
            failure = self._failure_at_start()
            if failure is None:
                return
            if self.process.poll() != -signal.SIGSEGV:
                break
        self.close()
        pytest.fail(f"the server of {self.folder} {failure}")

    def _failure_at_start(self) -> str | None:
        """Start the server and wait until it is ready; why it is not."""
        log = self.folder / "admin" / "log"
        log.unlink(missing_ok=True)
        command = as_server(self.folder, ["xrootd", "-c", str(self.config), "-l", str(log)])
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + STARTING
        said = ""
        while f":{self.port} initialization completed." not in said:
            ended, late = self.process.poll() is not None, time.monotonic() > end
            said = log.read_text(errors="replace") if log.exists() else ""
            if ended or late:
                how = f"ended with {self.process.returncode}" if ended else f"is not ready after {STARTING} s"
                return f"{how}; its last words:\n" + "\n".join(said.splitlines()[-10:])
            time.sleep(0.02)
        return None

    def stop(self) -> None:
        """As a crash does: without a word to anyone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.stop()
        self.reserve.close()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        while any(state_of(thread) != "T" for thread in threads.iterdir()):  # each stops when it is its turn
            time.sleep(0.005)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def put(self, path: Path, name: str = "") -> str:
        """Give the server a copy of a file; its address."""
        copy = self.root / "store" / (name or path.name)
        if not copy.parent.exists():
            copy.parent.mkdir(parents=True)
            copy.parent.chmod(0o777)
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

        def start(settings: str = "", **files: str) -> Server:
            servers.append(Server(Path(top) / str(len(servers)), settings, **files))
            return servers[-1]

        yield start
        for server in servers:
            server.close()


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    """Ports for other servers."""
    reserved: list[socket.socket] = []

    def reserve() -> int:
        held, port = reserved_port()
        reserved.append(held)
        return port

    yield reserve
    for held in reserved:
        held.close()


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
