"""Runs that are killed, starved of disk or started twice: nothing is lost, nothing is half, the bits are the same."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.files import read_json

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "analysis" / "configs" / "demo.yaml"
CHUNKS = 2 * (28 + 3)  # in both passes
SETTINGS = (
    "methods={}",
    "scan.masses=[3000]",
    "search.signals=[signal_3000_400_400]",
    "processing.chunk_size=4000",
)
RUN = "from analysis.cli import main\nmain()"
LOGGED = f"""
import os
from processors import tasks
real = tasks.open_events
def logged(item, *arguments):
    with open(os.environ["CHUNK_LOG"], "a") as log:
        log.write(f"{{item.filename}} {{item.entrystart}}\\n")
    return real(item, *arguments)
tasks.open_events = logged
{RUN}
"""
RESULTS = ("features/**/*.parquet", "histograms.h5", "histograms/*", "cutflow.json", "scan.json", "fits.json")


def command(out, *, code=RUN, workers=1, step="run"):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return [
        sys.executable,
        "-c",
        code,
        step,
        str(CONFIG),
        "--out",
        str(out),
        "--workers",
        str(workers),
        *settings,
    ]


def finish(out, **options):
    return subprocess.run(command(out, **options), capture_output=True, text=True, check=False)


def digests(out):
    files = [path for pattern in RESULTS for path in sorted(out.glob(pattern)) if path.is_file()]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = finish(out)
    assert done.returncode == 0, done.stderr
    return out


def holds(out, process):
    """Whether a process has begun to work in a run folder."""
    try:
        return json.loads((out / ".lock").read_text())["pid"] == process.pid
    except (OSError, ValueError):
        return False


def lines(log):
    return len(log.read_text().splitlines()) if log.is_file() else 0


def killed(out, chunks, delay, log, *, workers=1):
    """Kill a run a while after it began to work on some further chunks; whether it lived that long."""
    line = command(out, workers=workers, code=LOGGED)
    target = lines(log) + chunks
    with subprocess.Popen(
        line,
        env=os.environ | {"CHUNK_LOG": str(log)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and not (holds(out, process) and lines(log) >= target):
            time.sleep(0.005)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
    return False


def test_kills_at_random_moments(tmp_path, whole):
    """Ten kills; each costs one chunk at most, the one that was at work."""
    out, log = tmp_path / "run", tmp_path / "log"
    rng = random.Random(6)  # noqa: S311 - moments, no secrets
    kills = sum(killed(out, rng.randint(0, 9), rng.uniform(0, 0.3), log) for _ in range(10))
    assert kills >= 5
    done = subprocess.run(
        command(out, code=LOGGED),
        env=os.environ | {"CHUNK_LOG": str(log)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(whole)
    assert CHUNKS <= lines(log) <= CHUNKS + kills
    account = read_json(out / "account.json")
    assert account["complete"]
    assert account["processed"] == read_json(whole / "account.json")["processed"]
    assert not (out / "partials").exists()
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


def test_kills_of_a_run_with_workers(tmp_path, whole):
    """The workers of a killed process end what they have begun, or not: the bits are the same."""
    out = tmp_path / "run"
    rng = random.Random(7)  # noqa: S311 - moments, no secrets
    for _ in range(3):  # its workers do not write the log
        killed(out, 0, rng.uniform(1, 8), tmp_path / "log", workers=2)
    done = finish(out, workers=2)
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(whole)


def test_the_second_of_two_runs_refuses(tmp_path):
    out = tmp_path / "run"
    with subprocess.Popen(command(out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as first:
        while not holds(out, first):
            assert first.poll() is None
            time.sleep(0.02)
        second = finish(out)
        first.kill()
    assert second.returncode == 1
    assert f"another run is at work here (process {first.pid} on" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.fixture
def disk(tmp_path):
    """A disk of a given size, which can be made larger or read-only; needs the rights of root."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        line = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(line, check=False, capture_output=True).returncode:
            pytest.skip("no right to mount a small disk")
        return folder

    mount("size=600k")
    yield folder, lambda *options: mount("remount", *options)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_a_larger_one_completes_the_run(disk, whole):
    folder, remount = disk
    full = finish(folder / "run")
    assert full.returncode == 1
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr
    kept = len(list(folder.rglob("*.partial")))
    remount("size=200m")
    again = finish(folder / "run")
    assert again.returncode == 0, again.stderr
    assert kept == 0 or f"{kept} of " in again.stderr
    assert digests(folder / "run") == digests(whole)


def test_a_read_only_disk_is_said(disk):
    folder, remount = disk
    (folder / "run").mkdir()
    remount("ro")
    done = finish(folder / "run")
    assert done.returncode == 1
    assert (
        "run: this run folder cannot be written to (Read-only file system); name another one with --out"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
