"""Which jobs count as done, and that a stage is merged from all of its entries once or not at all."""

import itertools
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condor.account import complete, gaps, missing
from condor.jobs import MANIFEST, OUT, Entries, JobManifest, JobSpec, finished, read_spec, write_spec
from data.errors import ConfigError, IncompleteError, InputError
from data.files import sha256_file

FILES = {"data": {"aa": 100, "bb": 50}}


def entries(uuid: str, start: int, stop: int) -> Entries:
    return Entries(sample="data", file=f"/data/{uuid}.root", uuid=uuid, start=start, stop=stop)


def spec(name: str, *parts: Entries) -> JobSpec:
    return JobSpec(
        name=name, stage="skim", task={"sample": "data"}, entries=parts, config_hash="c", code_version="v"
    )


def done(folder: Path, job: JobSpec, /, **changed: object) -> JobManifest:
    """What a job that went well leaves, with some fields changed."""
    out = folder / job.name / OUT
    out.mkdir(parents=True, exist_ok=True)
    (out / "result").write_text(job.name)
    facts = {
        "job": job.name, "spec_hash": job.digest(), "config_hash": "c", "code_version": "v", "commit": "0",
        "entries": job.entries, "entries_read": sum(part.stop - part.start for part in job.entries),
        "outputs": {"result": sha256_file(out / "result")}, "attempt": 1, "host": "h", "seconds": 1.0,
    }  # fmt: skip
    manifest = JobManifest(**(facts | changed))
    manifest.write(out)
    return manifest


@pytest.fixture
def jobs():
    return [spec("a", entries("aa", 0, 60)), spec("b", entries("aa", 60, 100), entries("bb", 0, 50))]


def test_a_stage_with_all_manifests_is_complete(tmp_path, jobs):
    manifests = [done(tmp_path, job) for job in jobs]
    assert complete(jobs, tmp_path, FILES) == manifests
    assert missing(jobs, tmp_path) == []


def test_a_specification_comes_back_as_it_was_written(tmp_path, jobs):
    write_spec(tmp_path, jobs[1])
    assert read_spec(tmp_path / "b" / "spec.json") == jobs[1]


def test_a_missing_manifest_is_a_gap_and_named_with_its_log(tmp_path, jobs):
    done(tmp_path, jobs[0])
    assert missing(jobs, tmp_path) == [jobs[1]]
    with pytest.raises(IncompleteError, match=r"job 'b' has no manifest; its log: .*/b/job.err"):
        complete(jobs, tmp_path, FILES)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"code_version": "w"}, r"was run by other code \(w, not v\)"),
        ({"config_hash": "d"}, "was run with another configuration"),
        ({"spec_hash": "0"}, "was run for another task"),
        ({"job": "a"}, "holds the manifest of job 'a'"),
        ({"entries_read": 89}, "read 89 entries of 90"),
        ({"outputs": {"other": "0"}}, "lacks its output other"),
        ({"outputs": {"result": "0"}}, "has a damaged output result"),
        ({"outputs": {"../../a/out/result": "0"}}, "which is not its own"),
    ],
)
def test_a_manifest_of_something_else_does_not_count(tmp_path, jobs, changed, reason):
    done(tmp_path, jobs[0])
    done(tmp_path, jobs[1], **changed)
    assert missing(jobs, tmp_path) == [jobs[1]]
    with pytest.raises(IncompleteError, match=reason):
        complete(jobs, tmp_path, FILES)


@pytest.mark.parametrize("damage", ["", "{", '{"job": "b"}', "[]"])
def test_a_truncated_manifest_does_not_count(tmp_path, jobs, damage):
    done(tmp_path, jobs[1])
    (tmp_path / "b" / OUT / MANIFEST).write_text(damage)
    assert "damaged manifest" in str(finished(jobs[1], tmp_path))


def test_an_output_that_changed_does_not_count(tmp_path, jobs):
    done(tmp_path, jobs[1])
    (tmp_path / "b" / OUT / "result").write_text("x")
    assert finished(jobs[1], tmp_path) == "has a damaged output result"


def test_a_truncated_specification_is_named(tmp_path, jobs):
    write_spec(tmp_path, jobs[0])
    file = tmp_path / "a" / "spec.json"
    file.write_text(file.read_text()[:50])
    with pytest.raises(InputError, match=r"spec\.json: not valid JSON"):
        read_spec(file)
    file.write_text(json.dumps({"name": "a"}))
    with pytest.raises(ConfigError, match=r"spec\.json"):
        read_spec(file)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([entries("aa", 0, 60)], "entries 60–99 were read by no job"),
        ([entries("aa", 0, 60), entries("aa", 70, 100)], "entries 60–69 were read by no job"),
        (
            [entries("aa", 0, 60), entries("aa", 50, 100)],
            "entries 50–59 were read by job 'job0' and by job 'job1'",
        ),
        (
            [entries("aa", 0, 100), entries("aa", 0, 100)],
            "entries 0–99 were read by job 'job0' and by job 'job1'",
        ),
        ([entries("aa", 0, 101)], "entries 100–100 are beyond the end of the file"),
        ([entries("aa", 0, 100), entries("cc", 0, 1)], "'/data/cc.root', which is no file of sample 'data'"),
    ],
)
def test_gaps_overlaps_and_duplicates_are_named(tmp_path, parts, problem):
    jobs = [spec(f"job{number}", part) for number, part in enumerate([*parts, entries("bb", 0, 50)])]
    for job in jobs:
        done(tmp_path, job)
    with pytest.raises(IncompleteError, match=problem):
        complete(jobs, tmp_path, FILES)


def test_an_empty_file_needs_no_job():
    assert gaps([], {"data": {"aa": 0}}) == []


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    seed=st.integers(0, 2**32 - 1),
    fate=st.sampled_from(["whole", "lost", "doubled", "shifted"]),
)
def test_whatever_the_split_and_the_order_the_entries_are_exact_or_refused(sizes, cuts, seed, fate):
    files = {"data": {f"{number:02d}": size for number, size in enumerate(sizes)}}
    ranges = [
        (uuid, start, stop) for uuid, size in files["data"].items() for start, stop in _pieces(size, cuts)
    ]
    chance = random.Random(seed)  # noqa: S311 - no secret
    chance.shuffle(ranges)
    if not ranges:
        assert gaps([], files) == []
        return
    victim = chance.randrange(len(ranges))
    if fate == "lost":
        del ranges[victim]
    elif fate == "doubled":
        ranges.append(ranges[victim])
    elif fate == "shifted":
        uuid, start, stop = ranges[victim]
        ranges[victim] = (uuid, start + 1, stop + 1)
    manifests = [
        JobManifest(
            job=f"job{number}", spec_hash="", config_hash="c", code_version="v", commit="0",
            entries=(entries(*part),), entries_read=part[2] - part[1], outputs={}, attempt=1, host="h", seconds=0,
        )
        for number, part in enumerate(ranges)
    ]  # fmt: skip
    assert (gaps(manifests, files) == []) == (fate == "whole")


def _pieces(size: int, cuts: list[int]) -> list[tuple[int, int]]:
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})
    return list(itertools.pairwise(edges))
