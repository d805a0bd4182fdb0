"""What a batch job writes down of the events that it read, also where it fails."""

import errno
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from analysis import batch_job, batch_merge
from analysis.batch_folder import folder_of
from analysis.batch_job import ACCOUNT, run_job
from analysis.batch_merge import account_of_jobs, merge_stage
from analysis.batch_plan import campaign_of, look, payload_of, site_of, write_plans
from analysis.cli_common import prepare
from analysis.pipeline import skim
from condor.campaign import PAYLOAD, Folder, list_missing, write_campaign
from condor.jobs import MANIFEST, OUT, Entries, JobSpec
from data.errors import IncompleteError, InputError
from data.files import read_json, write_json
from data.partials import PartialStore
from processors.account import Account, ChunkFailure, FileAccount
from tests.analysis.boxes import run_in_boxes, submitted
from tests.analysis.test_batch import write_maps


@pytest.fixture
def box(tmp_path, make_nano_file):
    """The folder of a job that skims two files; and these."""
    files = [
        make_nano_file(tmp_path / f"data_{n}.root", 300, seed=n, first_event=1 + 1000 * n) for n in range(2)
    ]
    mock = {"kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0}
    mock["files"] = {str(file): 300 for file in files}
    documents = {
        "samples": {"samples": {"mock": mock}},
        "profile": {"visible": [str(tmp_path)]},
        "search": {
            "samples": "samples.yaml",
            "search": {"data": "mock"},
            "scan": {"masses": [3000], "fit_start": 1960},
            "processing": {"chunk_size": 100, "retries": 0},
            "batch": {"profile": str(tmp_path / "profile.yaml"), "chunks_per_job": 6},
        },
    }
    for name, content in documents.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    run = prepare(tmp_path / "search.yaml", tmp_path / "run", None, None)
    plans = look(run)
    work, campaign = folder_of(run), campaign_of(run, plans, site_of(run.config.batch))
    write_plans(run, plans)
    write_campaign(work, campaign, payload_of(run))
    (spec,) = list_missing(work, "skim")
    shutil.copytree(work.jobs / spec.name, tmp_path / "box")
    for name in (PAYLOAD, "mock.plan.json"):
        shutil.copyfile(next(work.path.rglob(name)), tmp_path / "box" / name)
    return tmp_path / "box", files


def test_a_job_that_fails_says_what_it_read_and_what_not(box):
    folder, (_, second) = box
    content = second.read_bytes()
    second.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"data_1.root"):
        run_job(folder / "spec.json")
    account = read_json(folder / OUT / ACCOUNT)
    assert not account["complete"]
    assert {file["file"].rsplit("/", 1)[1]: file["processed"] for file in account["files"]} == {
        "data_0.root": 300, "data_1.root": 0,
    }  # fmt: skip
    assert account["failed"] == 300
    assert {one["file"] for one in account["failures"]} == {str(second)}
    assert not (folder / OUT / MANIFEST).exists()
    second.write_bytes(content)
    assert run_job(folder / "spec.json").entries_read == 600
    assert read_json(folder / OUT / ACCOUNT)["complete"]


def test_a_job_that_reads_fewer_entries_than_it_was_given_is_not_done(box, monkeypatch):
    folder, _ = box
    monkeypatch.setitem(batch_job._WORK, "skim", lambda *_: 599)
    with pytest.raises(
        IncompleteError, match=r"job 'skim.*': 599 of 600 entries were read; look at the lines"
    ):
        run_job(folder / "spec.json")
    assert not (folder / OUT / MANIFEST).exists()


def test_an_account_that_cannot_be_written_does_not_hide_what_went_wrong(box, caplog, monkeypatch):
    folder, (_, second) = box
    content = second.read_bytes()
    second.write_bytes(content[: len(content) // 2])

    def full(path, value):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("analysis.batch_job.write_json", full)
    with pytest.raises(InputError, match=r"data_1.root"):
        run_job(folder / "spec.json")
    assert "the account of job 'skim.mock.00000' is not written" in caplog.text
    # a job that has read everything is not done without it
    second.write_bytes(content)
    with pytest.raises(OSError, match="No space left"):
        run_job(folder / "spec.json")
    assert not (folder / OUT / MANIFEST).exists()


def made(folder, stage, number, failures=(), attempt=1):
    """A job that has read a hundred entries of a file."""
    ends = {"start": 100 * number, "stop": 100 * number + 100}
    spec = JobSpec(
        name=f"{stage}.{number}",
        stage=stage,
        task={"sample": "signal"},
        entries=(Entries(sample="signal", file="a", uuid="", **ends),),
        config_hash="",
        code_version="",
    )
    lines = (FileAccount("signal", "a", 100, 100, 7, sum(one.stop - one.start for one in failures)),)
    out = folder.jobs / spec.name / OUT
    write_json(out / ACCOUNT, Account(lines, tuple(failures)).to_json())
    write_json(out / MANIFEST, {"attempt": attempt, "outputs": {}})
    return spec


def test_what_the_jobs_of_the_survey_tried_again_stands_in_the_account(tmp_path):
    folder = Folder(tmp_path)
    again = ChunkFailure("signal", "a", 0, 60, "no answer", 2, recovered=True)
    jobs = [made(folder, "skim", 0, [again]), made(folder, "skim", 1)]
    surveys = [made(folder, "survey", 0, [again]), made(folder, "survey", 1, attempt=3)]
    account = account_of_jobs(folder, jobs, surveys)
    assert account.totals() == {
        "files": 1, "expected": 200, "processed": 200, "selected": 14, "retried": 160, "failed": 0,
    }  # fmt: skip
    assert [one.reason for one in account.failures] == [
        "looked through for Lund-plane weights: no answer", "no answer",
    ]  # fmt: skip
    assert account_of_jobs(folder, jobs).totals()["retried"] == 60


@pytest.mark.parametrize(("stage", "retried"), [("skim", 60), ("hist", 0)])
def test_the_first_pass_tells_what_went_wrong_in_the_survey(tmp_path, monkeypatch, stage, retried):
    """As in a local run: it is the one that looks through the sample."""
    folder = Folder(tmp_path)
    again = ChunkFailure("signal", "a", 0, 60, "no answer", 2, recovered=True)
    stages = {"survey": SimpleNamespace(jobs=[made(folder, "survey", 0, [again])])}
    monkeypatch.setattr(Folder, "read", lambda _: SimpleNamespace(stages=stages))
    kept = {}
    monkeypatch.setattr(batch_merge, "keep_account", lambda run, name, account: kept.update({name: account}))
    monkeypatch.setattr(batch_merge, "passes", lambda _: {stage: ["signal"]})
    run = SimpleNamespace(store=lambda name: PartialStore(tmp_path / "partials" / name))
    batch_merge._merge_events(lambda _: None, run, folder, [made(folder, stage, 0)])
    assert kept[f"{stage} signal"].totals()["retried"] == retried


@pytest.fixture
def with_empty(tmp_path, make_nano_file):
    """A search with a simulated background without any event: a skim may well have left none."""
    generated = {
        "run": np.array([1], dtype=np.uint32), "genEventCount": np.array([1000]),
        "genEventSumw": np.array([1000.0]), "genEventSumw2": np.array([1000.0]),
    }  # fmt: skip
    make_nano_file(tmp_path / "data.root", 300)
    make_nano_file(tmp_path / "empty.root", 0, simulation=True, trees={"Runs": generated})
    samples = {
        "mock": {
            "kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0, "files": {"data.root": 300},
        },
        "empty": {
            "kind": "simulation", "process": "qcd", "year": "2017", "cross_section_pb": 0.01,
            "files": {"empty.root": 0}, "without_corrections": ["prefiring"],
        },
    }  # fmt: skip
    documents = {
        "samples": {"samples": samples},
        "profile": {"visible": [str(tmp_path)]},
        "search": {
            "samples": "samples.yaml",
            "search": {"data": "mock", "background": ["empty"]},
            "scan": {"masses": [3000], "fit_start": 1960},
            "batch": {"profile": str(tmp_path / "profile.yaml")},
        },
    }
    for name, content in documents.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "search.yaml"


def test_a_sample_without_any_event_has_the_account_of_the_local_run(with_empty, tmp_path):
    run, work, campaign = submitted(with_empty, tmp_path / "run")
    assert [job.task["sample"] for job in campaign.stages["skim"].jobs] == ["mock"]
    run_in_boxes(work, "skim", tmp_path / "boxes")
    merge_stage(run, work, campaign, "skim")
    local = prepare(with_empty, tmp_path / "local", None, None)
    skim(local)
    account = read_json(run.root / "account.json")
    assert account == read_json(local.root / "account.json")
    assert account["complete"]
    assert account["stages"]["skim empty"]["files"] == 1


def test_where_there_is_no_event_to_look_through_the_merge_says_so_and_no_job_is_held(with_empty, tmp_path):
    """Nothing makes the folder that jobs are given what was found in."""
    maps = write_maps(tmp_path / "maps.json")
    lund = f"corrections={{'2017': {{lund: {{file: {maps}, toys: 2, sources: [pt]}}}}}}"
    run, work, campaign = submitted(with_empty, tmp_path / "run", lund)
    assert campaign.order() == ["skim", "hist", "analyse"]
    assert str(run.root / "partials") not in campaign.stages["skim"].inputs
    run_in_boxes(work, "skim", tmp_path / "boxes")
    with pytest.raises(InputError, match=r"sample 'empty': no event is selected whose Lund-plane weights"):
        merge_stage(run, work, campaign, "skim")
