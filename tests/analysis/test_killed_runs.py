"""Runs that are killed, starved of disk or started twice: nothing is lost, nothing is half, the bits are the same."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from analysis.config import load_config
from analysis.pipeline import histogram, skim
from analysis.run import Run
from data.files import read_json, sha256_file
from data.manifest import read_manifest
from data.partials import read_partial

DEMO = Path(__file__).parents[2] / "analysis" / "configs" / "demo.yaml"
SETTINGS = (
    "methods={cwola: {trees: {bags: 1, iterations: 5}}}",
    "scan.masses=[3000]",
    "search.signals=[signal_3000_400_400]",
    "processing.chunk_size=4000",
)
CHUNKS = 28 + 3
"""Of each pass with these settings."""
PASSES = ("skim", "hist")
LOGGED = """
import json, os, sys, time
from analysis import pipeline
from analysis.cli import main
from data.partials import PartialStore
from processors import loop
from processors.tasks import process_chunk

def note(what, kind, stage, unit):
    line = {"run": int(os.environ["RUN_NUMBER"]), "what": what, "kind": kind, "stage": stage, "unit": unit}
    with open(os.environ["WORK_LOG"], "a") as log:
        log.write(json.dumps(line | {"time": time.monotonic()}) + "\\n")

def wait_for_the_kill():
    time.sleep(600)

def chunks_begun(stage):
    said = {"run": int(os.environ["RUN_NUMBER"]), "what": "begin", "kind": "chunk", "stage": stage}
    with open(os.environ["WORK_LOG"]) as log:
        return log.read().count(json.dumps(said)[:-1])

def noted_chunk(work, task, target, attempt):
    stage = target.folder.name.split(".")[0]
    if PartialStore(target.folder).path(task.key).is_file():
        return process_chunk(work, task, target, attempt)
    if stage == killed_in and chunks_begun(stage) > killed_after:
        wait_for_the_kill()
    note("begin", "chunk", stage, task.key)
    outcome = process_chunk(work, task, target, attempt)
    if outcome.error is None and outcome.bug is None:
        note("end", "chunk", stage, task.key)
    return outcome

def noted_stage(run, name, inputs, options, work):
    def noted():
        note("begin", "stage", name.split()[0], name)
        product = work()
        note("end", "stage", name.split()[0], name)
        if name.split()[0] == killed_in and killed_in not in ("skim", "hist"):
            wait_for_the_kill()
        return product
    run_stage(run, name, inputs, options, noted)

killed_in, killed_after = os.environ.get("KILLED_IN", ""), int(os.environ.get("KILLED_AFTER", 0))
run_stage = pipeline.run_stage
pipeline.run_stage, loop.process_chunk = noted_stage, noted_chunk
steps, rest = sys.argv[1].split("+"), sys.argv[2:]
for step in steps:
    sys.argv = ["oddjet", step, *rest]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
RESULTS = (
    "features/**/*",
    "models/**/*",
    "histograms.h5",
    "histograms/*",
    "cutflow.json",
    "*.json",
    "workspaces/*",
    "report/**/*",
    "plots/**/*",
)
HOW_IT_WENT = {"account.json"}
"""Also says which chunks were tried again."""


def command(out, *settings, config=DEMO, workers=1, step="run"):
    words = [word for setting in settings or SETTINGS for word in ("--set", setting)]
    return [
        sys.executable,
        "-c",
        LOGGED,
        step,
        str(config),
        "--out",
        str(out),
        "--workers",
        str(workers),
        *words,
    ]


def environment(log, number, moment=None):
    """For a run that notes what it does; one that is to be killed goes no further than that, however late the kill."""
    killed = {} if moment is None else {"KILLED_IN": moment.stage, "KILLED_AFTER": str(moment.chunks)}
    return os.environ | {"WORK_LOG": str(log), "RUN_NUMBER": str(number)} | killed


def finish(out, *settings, log=os.devnull, number=0, **options):
    line, around = command(out, *settings, **options), environment(log, number)
    return subprocess.run(line, env=around, capture_output=True, text=True, check=False)


def digests(out, made_in=None):
    """Of every result; the report names the folder that it was made in."""
    named = bytes(made_in or out)
    files = [path for pattern in RESULTS for path in sorted(out.glob(pattern)) if path.is_file()]
    return {
        name: hashlib.sha256(path.read_bytes().replace(bytes(out), b"RUN").replace(named, b"RUN")).hexdigest()
        for path in files
        if (name := str(path.relative_to(out))) not in HOW_IT_WENT
    }


def assert_nothing_half(out):
    """No partial result, no temporary file."""
    assert not (out / "partials").exists()
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


def notes(log, number=None):
    """What was noted, by one of the runs or all; a line that is being written is left for the next look."""
    text = log.read_text() if log.is_file() else ""
    found = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [note for note in found if number in (None, note["run"])]


def mean_seconds(log):
    """How long a chunk of each pass, or the work of each other stage, took on the average."""
    begun, lasted = {}, {}
    for note in notes(log):
        key = (note["kind"], note["stage"], note["unit"])
        if note["what"] == "begin":
            begun[key] = note["time"]
        elif (note["kind"] == "chunk") == (note["stage"] in PASSES):
            lasted.setdefault(note["stage"], []).append(note["time"] - begun[key])
    return {stage: sum(seconds) / len(seconds) for stage, seconds in lasted.items()}


@dataclass(frozen=True)
class Moment:
    """When a run is killed: a while after it has begun so many chunks of a pass, or the work of another stage."""

    stage: str
    chunks: int
    seconds: float
    workers: int = 1

    def has_come(self, seen):
        """Whether the work has begun; and whether the time is over, or the work done."""
        kind = "chunk" if self.stage in PASSES else "stage"
        own = [note for note in seen if (note["kind"], note["stage"]) == (kind, self.stage)]
        begun = [note["time"] for note in own if note["what"] == "begin"]
        if len(begun) <= self.chunks:
            return False
        over = time.monotonic() >= begun[self.chunks] + self.seconds
        return over or (kind == "stage" and own[-1]["what"] == "end")


def kill(out, moment, number, log, *settings, **options):
    """Kill a run at its moment; a run that ends before is an error of the test."""
    line, said = command(out, *settings, workers=moment.workers, **options), log.with_suffix(f".{number}")
    with (
        said.open("w") as stream,
        subprocess.Popen(line, env=environment(log, number, moment), stderr=stream, stdout=stream) as process,
    ):
        while not moment.has_come(notes(log, number)):
            assert process.poll() is None, f"not killed in {moment}, it ended before: {said.read_text()}"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert_all_gone(log, number)
    assert notes(log, number)[-1]["stage"] == moment.stage


def assert_all_gone(log, number):
    """A process that is killed takes its workers with it."""
    mark = {f"WORK_LOG={log}".encode(), f"RUN_NUMBER={number}".encode()}
    end = time.monotonic() + 60
    while left := [path.name for path in Path("/proc").glob("[0-9]*") if mark <= surroundings(path)]:
        assert time.monotonic() < end, f"processes {left} outlive run {number}, which was killed"
        time.sleep(0.1)


def surroundings(process):
    try:
        return set((process / "environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def assert_little_repeated(log, moments):
    """What a killed run had begun and a later one began again: a chunk a worker, or the work of one other stage."""
    for number, moment in enumerate(moments):
        own = [note for note in notes(log, number) if note["stage"] not in PASSES or note["kind"] == "chunk"]
        later = Counter(
            note["unit"] for note in notes(log) if note["run"] > number and note["what"] == "begin"
        )
        begun = {note["unit"] for note in own if note["what"] == "begin"}
        again = begun & later.keys()
        assert len(again) <= moment.workers, f"killed in {moment}: {len(again)} pieces of work were repeated"
        finished = {note["unit"] for note in own if (note["what"], note["kind"]) == ("end", "chunk")}
        assert not finished & later.keys(), f"killed in {moment}: chunks that were finished were made again"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbs, and what it did when."""
    folder = tmp_path_factory.mktemp("whole")
    done = finish(folder / "run", log=folder / "log")
    assert done.returncode == 0, done.stderr
    assert_nothing_half(folder / "run")
    return folder / "run", folder / "log"


@pytest.mark.slow
def test_ten_kills_at_random_moments(tmp_path, whole):
    """Three in each pass, two in the training, one in the scan, one in the report; with one worker or two."""
    out, log = tmp_path / "run", tmp_path / "log"
    undisturbed, its_log = whole
    seconds = mean_seconds(its_log)
    rng = random.Random(6)  # noqa: S311 - moments, no secrets
    stages = [*["skim"] * 3, *["train"] * 2, *["hist"] * 3, "scan", "report"]
    moments = [
        Moment(
            stage, rng.randint(0, 7) if stage in PASSES else 0, rng.uniform(0, seconds[stage]), 1 + number % 2
        )
        for number, stage in enumerate(stages)
    ]
    for number, moment in enumerate(moments):
        kill(out, moment, number, log)
    done = finish(out, log=log, number=len(moments))
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(undisturbed)
    assert_little_repeated(log, moments)
    chunks = {note["unit"] for note in notes(log) if note["kind"] == "chunk"}
    assert len(chunks) == 2 * CHUNKS
    assert chunks == {note["unit"] for note in notes(its_log) if note["kind"] == "chunk"}
    account = read_json(out / "account.json")
    assert account["complete"]
    assert account["processed"] == read_json(undisturbed / "account.json")["processed"]
    assert_nothing_half(out)


@pytest.fixture
def toy(tmp_path, make_nano_file):
    """A search of a few thousand events, in small chunks."""
    files = {}
    for number in range(2):
        make_nano_file(tmp_path / f"data_{number}.root", 1500, seed=number, first_event=1 + 10_000 * number)
        files[f"data_{number}.root"] = 1500
    mock = {"kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0, "files": files}
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": mock}}))
    search = {"samples": "samples.yaml", "search": {"data": "mock"}, "processing": {"chunk_size": 100}}
    search["scan"] = {"masses": [3000], "fit_start": 1960}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    return tmp_path / "search.yaml"


def test_a_kill_in_each_pass(toy, tmp_path):
    """The same with little data, for every day."""
    passes, settings = "+".join(PASSES), ("methods={}",)
    log, moments = tmp_path / "log", [Moment("skim", 5, 0.01), Moment("hist", 9, 0.02)]
    for number, moment in enumerate(moments):
        kill(tmp_path / "run", moment, number, log, *settings, config=toy, step=passes)
    done = finish(tmp_path / "run", *settings, log=log, number=2, config=toy, step=passes)
    assert done.returncode == 0, done.stderr
    whole = Run(*load_config(toy, (*settings, f"run.output={tmp_path / 'whole'}")))
    skim(whole)
    histogram(whole)
    assert len(digests(whole.root)) > 4
    assert digests(tmp_path / "run") == digests(whole.root)
    assert_little_repeated(log, moments)
    assert_nothing_half(tmp_path / "run")


@pytest.mark.slow
def test_the_second_of_two_runs_refuses_and_harms_nothing(toy, tmp_path):
    """The first one is stopped for as long as the second one needs to see it."""
    passes, log = "+".join(PASSES), tmp_path / "log"
    out, whole = tmp_path / "run", tmp_path / "whole"
    line = command(out, "methods={}", config=toy, step=passes)
    with subprocess.Popen(line, env=environment(log, 0), stderr=subprocess.DEVNULL) as first:
        while not notes(log):
            assert first.poll() is None
            time.sleep(0.005)
        first.send_signal(signal.SIGSTOP)
        before = everything(out)
        second = finish(out, "methods={}", log=log, number=1, config=toy, step=passes)
        after = everything(out)
        first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"{out}: another run is at work here (process {first.pid} on " in second.stderr
    assert "wait for it, end it, or name another folder with --out" in second.stderr
    assert "Traceback" not in second.stderr
    assert after == before
    assert not notes(log, 1)
    assert first.returncode == 0
    assert finish(whole, "methods={}", config=toy, step=passes).returncode == 0
    assert digests(out) == digests(whole)
    assert_nothing_half(out)


def everything(out):
    """Every file, with when it was written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*")}


@pytest.fixture
def disk(tmp_path):
    """Makes a disk of its own that is as large as wanted, or changes it; needs the rights of root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(*options):
        nonlocal mounted
        words = ["remount", *options] if mounted else options
        line = ["mount", "-t", "tmpfs", "-o", ",".join(words), "tmpfs", str(folder)]
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        if done.returncode and not mounted:
            pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


MADE_BY = {
    "skim": ("manifests/skim*", "features"),
    "train": ("manifests/train*", "models"),
    "hist": ("manifests/hist*", "histograms"),
    "scan": ("manifests/scan*", "scan.json", "workspaces"),
    "report": ("manifests/report*", "report", "plots"),
}
"""What a stage leaves; without its manifest it is made again."""
ROOM = {
    "some chunks": ("skim", 3072),
    "all chunks, but not their table": ("skim", 20480),
    "less than a bundle": ("train", 24),
    "some histograms": ("hist", 100),
    "some results": ("scan", 24),
    "some plots": ("report", 100),
}
"""KiB for a stage."""


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "room"), ROOM.values(), ids=ROOM)
def test_a_disk_that_is_full_is_said_and_with_more_room_the_run_completes(stage, room, disk, whole, tmp_path):
    undisturbed, _ = whole
    folder, log = disk("size=200m"), tmp_path / "log"
    out = folder / "run"
    shutil.copytree(undisturbed, out)
    for path in [path for pattern in MADE_BY[stage] for path in out.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    disk(f"size={shutil.disk_usage(folder).used + room * 1024}")
    full = finish(out, log=log)
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    (said,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert said.startswith(f"error: {out}")
    assert re.search(
        r": cannot be written to \(.*No space left on device\); make room .* then run again", said
    )
    assert notes(log)[-1]["stage"] == stage
    assert_nothing_damaged(out)
    disk("size=200m")
    again = finish(out, log=log, number=1)
    assert again.returncode == 0, again.stderr
    kept = {note["unit"] for note in notes(log, 0) if (note["what"], note["kind"]) == ("end", "chunk")}
    assert kept or stage not in PASSES
    assert not kept & {note["unit"] for note in notes(log, 1) if note["what"] == "begin"}
    assert digests(out, made_in=undisturbed) == digests(undisturbed)
    assert_nothing_half(out)


def assert_nothing_damaged(out):
    """No temporary file, every result of a chunk whole, every manifest true."""
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]
    for path in out.rglob("*.partial"):
        read_partial(path)
    for path in out.glob("manifests/*.json"):
        manifest = read_manifest(path)
        assert {name: sha256_file(out / name) for name in manifest.outputs} == manifest.outputs


@pytest.mark.slow
def test_a_folder_that_is_read_only_is_said(disk, toy, tmp_path):
    """Root may write whatever the mode of a folder says, but not on a disk that is mounted read-only."""
    as_root = os.geteuid() == 0
    folder = disk("size=1m") if as_root else tmp_path
    (folder / "run").mkdir()
    if as_root:
        disk("ro")
    else:
        (folder / "run").chmod(0o555)
    reason = "Read-only file system" if as_root else "Permission denied"
    wanted = f"this run folder cannot be written to ({reason}); name another one with --out"
    for out in (folder / "run", folder / "run" / "new"):
        done = finish(out, "methods={}", config=toy, step="skim")
        assert done.returncode == 1
        assert f"{out}: {wanted}" in done.stderr
        assert "Traceback" not in done.stderr
    assert not [*(folder / "run").iterdir()]
    if as_root:
        disk("rw")
    else:
        (folder / "run").chmod(0o755)
    assert finish(folder / "run", "methods={}", config=toy, step="skim").returncode == 0
    assert finish(tmp_path / "whole", "methods={}", config=toy, step="skim").returncode == 0
    assert digests(folder / "run") == digests(tmp_path / "whole")
