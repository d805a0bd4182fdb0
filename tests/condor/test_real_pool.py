"""The shipped sample through a real HTCondor pool, with jobs that are removed, held, starved of input, and broken.

Run on a submit machine: ``pytest -m htcondor``.
"""

import hashlib
import shutil
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
HOURS_AT_MOST = 0.5

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
    if first "$1" greedy; then exec {python} -c 'import time; x = bytearray(2_000_000_000); time.sleep(600)'; fi ;;
  train.cwola.B3.0-2) # fails until somebody mends it
    if [[ $1 == -c && ! -e {here}/mended ]]; then echo "error: no luck today" >&2; exit 1; fi ;;
esac
exec {python} "$@"
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
    python.write_text(FAULTS.replace("{here}", str(place)).replace("{python}", sys.executable))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    documents = {
        "samples.yaml": {"samples": chosen},
        "profile.yaml": {
            "python": [str(python)], "tries": 3, "pause_s": 5, "avoid_last_machine": False,
            "request": {"memory_mb": 1500, "disk_mb": 500, "memory_most_mb": 4000}, "visible": [str(place)],
        },
        "search.yaml": {
            "run": {"title": "pool", "output": str(place / "run"), "seed": 1},
            "samples": "samples.yaml",
            "search": {"data": "mock", "signals": ["signal_3000_400_400"]},
            "processing": {"chunk_size": 60_000},
            "methods": {"cwola": {"classifier": "trees", "trees": {"bags": 1, "iterations": 5, "patience": 5}}},
            "scan": {"masses": [3000], "fit_start": 2232, "candidates": [2, 3]},
            "batch": {
                "profile": str(place / "profile.yaml"), "chunks_per_job": 1, "trainings_per_job": 3,
            },
        },
    }  # fmt: skip
    for name, content in documents.items():
        (place / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return place / "search.yaml"


def oddjet(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("oddjet")), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def wait_for(what, seconds: float = HOURS_AT_MOST * 3600):
    """The first true answer of a question asked again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(2)
    raise AssertionError(what)


def memory_held(events: str) -> bool:
    """Whether a job was held for its memory: by the pool (with control groups or without) or by its own policy."""
    return any(code in events for code in ("Code 34", "Code 21 Subcode 102", "Code 3 Subcode 34"))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in RESULTS
        for path in folder.glob(pattern)
        if path.is_file() and path.name not in {"account.json", "report.json"}
    }


def test_every_fault_ends_in_the_result_of_the_local_run(place, config):
    work = place / "run" / "condor"
    done = oddjet("submit", config)
    assert done.returncode == 0, done.stderr
    assert "9 jobs (3 skim, 2 train, 3 hist, 1 analyse)" in done.stdout

    def in_queue() -> dict[str, object]:
        return {job.name: job for job in queued(work)}

    # one job is held for its memory, one because its input is away; both are started again by HTCondor
    events = work / "logs" / "skim.log"
    wait_for(events.is_file)
    wait_for(lambda: "exit code 1" in events.read_text() and memory_held(events.read_text()))

    # then somebody removes a third one while it runs: DAGMan submits what is missing of the stage again
    wait_for((place / "skim.mock.00001.waiting").exists)
    removed = wait_for(lambda: in_queue().get("skim.mock.00001"))
    subprocess.run(["condor_rm", removed.number], check=True, capture_output=True)

    # the job that always fails is all that is left of the trainings; it is held when its tries are over
    def broken() -> object:
        job = in_queue().get("train.cwola.B3.0-2")
        return job if job is not None and job.state == "held" and job.starts == 3 else None

    job = wait_for(broken)
    assert (job.code, job.subcode, job.reason) == (3, 1, "exit code 1")
    wait_for((work / "jobs/train.cwola.B3.3-4/out/manifest.json").is_file)
    status = oddjet("status", config)
    assert status.returncode == 1
    assert "held: job 'train.cwola.B3.0-2'" in status.stdout
    assert "after 3 tries: exit code 1" in status.stdout
    assert f"log: {work}/jobs/train.cwola.B3.0-2/job.err" in status.stdout
    assert "last line: error: no luck today" in status.stdout

    # the three others came through by themselves
    assert "Job was aborted" in events.read_text()
    for name in ("mock.00000.starved", "mock.00001.waiting", "signal_3000_400_400.00000.greedy"):
        assert (place / f"skim.{name}").exists()
    assert len(list(work.glob("jobs/skim.*/out/manifest.json"))) == 3

    refused = oddjet("merge", config)
    assert refused.returncode == 1
    assert "stage 'train'" in refused.stderr
    assert "job 'train.cwola.B3.0-2' has no manifest; its log:" in refused.stderr
    assert not (place / "run" / "scan.json").exists()

    (place / "mended").touch()
    again = oddjet("resubmit", config)
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == "released: train.cwola.B3.0-2"
    wait_for(lambda: not queued(work))
    merged = oddjet("merge", config)
    assert merged.returncode == 0, merged.stderr
    assert "all jobs are done" in oddjet("status", config).stdout

    local = oddjet("run", config, "--out", place / "local")
    assert local.returncode == 0, local.stderr
    ours, theirs = digests(place / "local"), digests(place / "run")
    assert len(ours) > 20
    assert ours == {name: theirs[name] for name in ours}
