"""The shipped sample through a real HTCondor pool, with jobs that are removed, held, starved of input, and broken.

Run on a submit machine: ``pytest -m htcondor``.
"""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import yaml

from condor.queue import queued

MINI = Path(__file__).resolve().parent.parent.parent / "data" / "mini"
RESULTS = (
    "features/**/*",
    "models/**/*",
    "histograms*",
    "histograms/*",
    "*.json",
    "workspaces/*",
    "manifests/*",
)
HOW_IT_WENT = {"account.json", "report.json"}
"""Also say which entries were read again."""
SKIM_MB, GREEDY_MB = 900, 1500
FILE_ENTRIES = 54_306
"""Of the first of the sample's two files; each is one chunk."""
PATIENCE_S = 420

# What the profile calls Python: the first or every start of some jobs goes wrong, as on a grid.
FAULTS = """#!/usr/bin/env bash
set -euo pipefail
job=$(grep -o '"name": "[^"]*"' spec.json | head -n 1 | cut -d '"' -f 4)
first() { [[ $1 == -c && ! -e {here}/$job.$2 ]] && touch "{here}/$job.$2"; }
case $job in
  skim.mock.00000) # its input is away at the first start
    if first "$1" starved; then mv {here}/mock_0.root {here}/away
    elif [[ $1 == -c && -e {here}/away ]]; then mv {here}/away {here}/mock_0.root; fi ;;
  skim.mock.00001) # waits to be removed
    if first "$1" waiting; then sleep 600; fi ;;
  skim.signal*) # takes more memory than it asked for
    if first "$1" greedy; then exec {python} -c 'import time; x = bytearray({greedy} << 20); time.sleep(600)'; fi ;;
  hist.mock.00000) # crashes at its end, when all is written, as often as it is started
    if [[ $1 == -c ]]; then {python} "$@"; exit 139; fi ;;
  train.cwola.B3.0-2) # fails until somebody mends it
    if [[ $1 == -c && ! -e {here}/mended ]]; then echo "error: no luck today" >&2; exit 1; fi ;;
esac
exec {python} "$@"
"""

# What dask's workers run first: the one that begins a pass over the data stops there, and says which process it is.
WAITING = r"""
import os, re, time
from pathlib import Path
from processors.histograms import Fill
from processors.skim import Skim

def waiting(work):
    call = work.__call__
    def wait_once(self, events):
        told = Path("{here}") / f"{work.__name__}.worker"
        try:
            descriptor = os.open(told, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return call(self, events)
        about = Path(os.environ["_CONDOR_JOB_AD"]).read_text()
        number = ".".join(re.search(rf"^{key} = (\d+)", about, re.M)[1] for key in ("ClusterId", "ProcId"))
        os.write(descriptor, f"{os.getpid()} {number} {events.metadata['filename']}\n".encode())
        time.sleep(600)
    work.__call__ = wait_once

waiting(Skim)
waiting(Fill)
"""

pytestmark = [
    pytest.mark.htcondor,
    pytest.mark.skipif(shutil.which("condor_submit_dag") is None, reason="no HTCondor on this machine"),
]


@pytest.fixture(scope="module")
def place():
    """A folder of the user's: DAGMan refuses those of temporary files."""
    folder = Path.home() / f"oddjet-test-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    yield folder
    run = folder / "run" / "condor"
    subprocess.run(["condor_rm", "-constraint", f'OddjetRun == "{run}"'], check=False, capture_output=True)
    wait_for(lambda: not queued(run), 60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def config(place):
    """Configuration, samples and the profile of a pool of one machine, in a folder of their own."""
    samples = yaml.safe_load((MINI / "samples.yaml").read_text())["samples"]
    chosen = {name: samples[name] for name in ("mock", "signal_3000_400_400")}
    for sample in chosen.values():
        for file in sample["files"]:
            shutil.copy(MINI / file, place / file)
    python = place / "python"
    words = {"{here}": str(place), "{python}": sys.executable, "{greedy}": str(GREEDY_MB)}
    python.write_text(replaced(FAULTS, words))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    documents = {
        "samples.yaml": {"samples": chosen},
        "profile.yaml": {
            "python": [str(python)], "tries": 3, "pause_s": 1, "avoid_last_machine": False,
            "request": {"memory_mb": 1500, "disk_mb": 500, "memory_most_mb": 4000}, "visible": [str(place)],
        },
        "search.yaml": {
            "run": {"title": "pool", "output": str(place / "run"), "seed": 1},
            "samples": "samples.yaml",
            "search": {"data": "mock", "signals": ["signal_3000_400_400"]},
            "processing": {"chunk_size": 60_000, "retries": 1},
            "methods": {"cwola": {"classifier": "trees", "trees": {"bags": 1, "iterations": 5, "patience": 5}}},
            "scan": {"masses": [3000], "fit_start": 2232, "candidates": [2, 3]},
            "batch": {
                "profile": str(place / "profile.yaml"), "chunks_per_job": 1, "trainings_per_job": 3,
                "memory_mb": {"skim": SKIM_MB},
            },
        },
    }  # fmt: skip
    for name, content in documents.items():
        (place / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return place / "search.yaml"


@pytest.fixture(scope="module")
def local(place, config):
    """What one process on this machine makes of it, while the pool is at work: started now, waited for when asked."""
    own = place / "local_files"  # those of the jobs go away for a time
    own.mkdir()
    for file in [place / "samples.yaml", config, *place.glob("*.root")]:
        shutil.copy(file, own / file.name)
    with (place / "local.log").open("w") as log:
        process = subprocess.Popen(
            command("run", own / config.name, "--out", place / "local"), stdout=log, stderr=log
        )

    def made() -> dict[str, str]:
        assert process.wait(PATIENCE_S) == 0, (place / "local.log").read_text()
        return digests(place / "local")

    yield made
    process.kill()
    process.wait()


def replaced(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def command(*words: object) -> list[str]:
    return [str(Path(sys.executable).with_name("oddjet")), *map(str, words)]


def oddjet(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False)


def wait_for(what, seconds: float = PATIENCE_S):
    """The first true answer of a question asked again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(1)
    raise AssertionError(what)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in RESULTS
        for path in folder.glob(pattern)
        if path.is_file() and path.name not in HOW_IT_WENT
    }


def assert_same(ours: dict[str, str], theirs: dict[str, str]):
    assert len(ours) > 20
    assert ours == {name: theirs[name] for name in ours}


def memory_held(events: str) -> bool:
    """Whether a job was held for its memory: by the pool (with control groups or without) or by its own policy."""
    return any(code in events for code in ("Code 34", "Code 21 Subcode 102", "Code 3 Subcode 34"))


def past(work: Path, name: str, *attributes: str) -> list[dict[str, int]]:
    """Jobs of a name that have left the queue."""
    constraint = f'OddjetRun == "{work}" && OddjetJob == "{name}"'
    words = ["condor_history", "-constraint", constraint, "-json", "-attributes", ",".join(attributes)]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return json.loads(text) if text.strip() else []


def attempts(work: Path) -> dict[str, int]:
    """How often each job with a manifest had been started by then."""
    manifests = work.glob("jobs/*/out/manifest.json")
    return {path.parent.parent.name: json.loads(path.read_text())["attempt"] for path in manifests}


def let_go(config: Path, name: str):
    """A job that is held although its output is whole leaves the queue without running again."""
    status = oddjet("status", config)
    assert status.returncode == 1
    assert "its output is whole: `oddjet resubmit` lets it leave the queue" in status.stdout
    again = oddjet("resubmit", config)
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == f"let go, as their output is whole: {name}"


def test_every_fault_ends_in_the_result_of_the_local_run(place, config, local):
    work = place / "run" / "condor"
    done = oddjet("submit", config)
    assert done.returncode == 0, done.stderr
    assert "9 jobs (3 skim, 2 train, 3 hist, 1 analyse)" in done.stdout

    def in_queue() -> dict[str, object]:
        return {job.name: job for job in queued(work)}

    # one job is held because its input is away, one for its memory; both are started again by HTCondor
    starved, greedy, removed = "skim.mock.00000", "skim.signal_3000_400_400.00000", "skim.mock.00001"
    wait_for(lambda: {starved, greedy} <= attempts(work).keys())
    assert attempts(work) == {starved: 2, greedy: 2}
    events = (work / "logs" / "skim.log").read_text()
    assert "exit code 1" in events
    assert memory_held(events)

    # then somebody removes a third one while it runs: DAGMan submits what is missing of the stage again
    wait_for((place / f"{removed}.waiting").exists)
    job = in_queue()[removed]
    subprocess.run(["condor_rm", job.number], check=True, capture_output=True)

    # the job that always fails is all that is left of the trainings; it is held when its tries are over
    def given_up(name: str) -> object:
        job = in_queue().get(name)
        return job if job is not None and job.state == "held" and job.starts == 3 else None

    job = wait_for(lambda: given_up("train.cwola.B3.0-2"))
    assert (job.code, job.subcode, job.reason) == (3, 1, "exit code 1")
    assert {starved: 2, greedy: 2, removed: 1}.items() <= attempts(work).items()
    (memory,) = past(work, greedy, "MemoryProvisioned", "NumJobStarts")
    assert memory["NumJobStarts"] == 2
    assert memory["MemoryProvisioned"] > GREEDY_MB > SKIM_MB
    wait_for((work / "jobs/train.cwola.B3.3-4/out/manifest.json").is_file)
    status = oddjet("status", config)
    assert status.returncode == 1
    assert "held: job 'train.cwola.B3.0-2'" in status.stdout
    assert "after 3 tries: exit code 1" in status.stdout
    assert f"log: {work}/jobs/train.cwola.B3.0-2/job.err" in status.stdout
    assert "last line: error: no luck today" in status.stdout

    refused = oddjet("merge", config)
    assert refused.returncode == 1
    assert "stage 'train'" in refused.stderr
    assert "job 'train.cwola.B3.0-2' has no manifest; its log:" in refused.stderr
    assert not (place / "run" / "scan.json").exists()

    (place / "mended").touch()
    again = oddjet("resubmit", config)
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == "released: train.cwola.B3.0-2"
    crashing = "hist.mock.00000"
    assert wait_for(lambda: given_up(crashing)).reason == "exit code 139"
    let_go(config, crashing)
    wait_for(lambda: not queued(work))
    merged = oddjet("merge", config)
    assert merged.returncode == 0, merged.stderr
    account = json.loads((place / "run" / "account.json").read_text())
    assert account["complete"]
    assert account["stages"]["skim mock"]["retried"] == FILE_ENTRIES
    assert_same(local(), digests(place / "run"))


def test_workers_of_dask_that_are_killed_and_removed_change_nothing(place, config, local):
    pytest.importorskip("dask_jobqueue")
    preload = place / "waiting.py"
    preload.write_text(replaced(WAITING, {"{here}": str(place)}))
    options = {
        "memory": "1500 MB",
        "disk": "500 MB",
        "log_directory": str(place / "logs"),
        "worker_extra_args": ["--preload", str(preload)],
    }
    document = yaml.safe_load(config.read_text())
    document["processing"] |= {
        "executor": "dask",
        "workers": 2,
        "dask": {"cluster": "htcondor", "options": options},
    }
    own = place / "dask.yaml"
    own.write_text(yaml.safe_dump(document))
    with (place / "dask.log").open("w") as log:
        process = subprocess.Popen(command("run", own, "--out", place / "dask"), stdout=log, stderr=log)

    def told(work: str) -> tuple[int, str, str] | None:
        """Process, job and file of the worker that waits."""
        assert process.poll() is None, (place / "dask.log").read_text()
        text = (place / f"{work}.worker").read_text() if (place / f"{work}.worker").exists() else ""
        words = text.split()
        return (int(words[0]), words[1], words[2]) if text.endswith("\n") else None

    try:
        killed = wait_for(lambda: told("Skim"))
        os.kill(killed[0], signal.SIGKILL)
        removed = wait_for(lambda: told("Fill"))
        subprocess.run(["condor_rm", removed[1]], check=True, capture_output=True)
        assert process.wait(PATIENCE_S) == 0, (place / "dask.log").read_text()
    finally:
        process.kill()
        process.wait()
    account = json.loads((place / "dask" / "account.json").read_text())
    assert account["complete"]
    assert account["expected"] == account["processed"]
    failures = {(one["file"], one["start"], one["stop"]): one for one in account["failures"]}
    for _, _, file in (killed, removed):
        failure = failures[file, 0, FILE_ENTRIES]
        assert failure["recovered"]
        assert failure["attempts"] == 2
        assert "worker process died" in failure["reason"]
    assert account["stages"]["skim mock"]["retried"] >= FILE_ENTRIES
    assert account["stages"]["hist mock"]["retried"] >= FILE_ENTRIES
    assert_same(local(), digests(place / "dask"))
