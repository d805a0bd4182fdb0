import os
import signal
import socket
import subprocess
import sys

import pytest

from data.errors import ConfigError, LockedError
from data.locks import LOCK, clear_leftovers, run_lock

HOLD = "import sys, time, pathlib\nfrom data.locks import run_lock\nwith run_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_holds_the_folder(tmp_path, holder):
    message = rf"another run is at work here \(process {holder.pid} on {socket.gethostname()} since 2.*--out"
    with pytest.raises(LockedError, match=message), run_lock(tmp_path):
        pass


def test_a_killed_holder_lets_go(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with run_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    with run_lock(tmp_path):  # and so does a block that ends
        pass


def test_two_blocks_of_one_process_exclude_each_other(tmp_path):
    told = rf"{tmp_path}: another run is at work here \(process {os.getpid()} on "
    with run_lock(tmp_path), pytest.raises(LockedError, match=told), run_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigError, match=r"cannot be written to.*--out"),
        run_lock(tmp_path / "file" / "run"),
    ):
        pass


def test_leftovers_of_the_killed_go_and_nothing_else(tmp_path):
    kept = ["a.txt", ".lock", "features/x.parquet", "condor/.12345678.x", ".1234567.x", "deep/.git/x"]
    gone = [".0123abcd.scan.json", "features/.0123abcd.mock/part.parquet", "deep/er/.ffffffff.x"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clear_leftovers(tmp_path, but=("condor",))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)
    clear_leftovers(tmp_path / "not there")
