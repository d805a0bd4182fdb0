"""Batch jobs without a batch system: what is written, what a job does in a folder of its own, what is merged."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from analysis.batch_cli import app
from analysis.batch_job import attempt, run_job
from analysis.batch_merge import _merge_survey, account_of_jobs, check_same, merge_stage
from analysis.batch_plan import (
    campaign_of,
    check_visible,
    folder_of,
    look,
    payload_of,
    side_files,
    site_of,
    write_plans,
)
from analysis.cli_common import prepare
from analysis.pipeline import histogram, scan, skim, train
from condor.campaign import Folder, list_missing, write_campaign
from condor.jobs import OUT
from condor.profile import Profile
from data.errors import ConfigError, IncompleteError, InputError
from data.files import read_json, write_json
from data.partials import PartialStore, dump

MINI = Path(__file__).resolve().parent.parent.parent / "data" / "mini"
RESULTS = (
    "features/**/*",
    "models/**/*",
    "histograms*",
    "histograms/*",
    "workspaces/*",
    "manifests/*",
    "scan.json",
)
SECRET = "SECRET-5b0e"  # noqa: S105 - nobody's


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A search without methods of two shipped samples, on a site that sees their folder."""
    folder = tmp_path_factory.mktemp("batch")
    samples = yaml.safe_load((MINI / "samples.yaml").read_text())["samples"]
    chosen = {name: samples[name] for name in ("mock", "signal_3000_400_400")}
    for sample in chosen.values():
        sample["files"] = {str(MINI / file): entries for file, entries in sample["files"].items()}
    documents = {
        "samples.yaml": {"samples": chosen},
        "profile.yaml": {"visible": [str(MINI)], "request": {"memory_mb": 700}},
        "search.yaml": {
            "run": {"output": "out", "seed": 1},
            "samples": "samples.yaml",
            "search": {"data": "mock", "signals": ["signal_3000_400_400"]},
            "processing": {"chunk_size": 30_000},
            "scan": {"masses": [3000], "fit_start": 2232, "candidates": [2, 3]},
            "batch": {
                "profile": str(folder / "profile.yaml"),
                "chunks_per_job": 3,
                "memory_mb": {"hist": 900},
            },
        },
    }
    for name, content in documents.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "search.yaml"


def submitted(config: Path, out: Path, *settings: str):
    """A run with everything written for its jobs."""
    run = prepare(config, out, None, list(settings))
    plans = look(run)
    campaign = campaign_of(run, plans, site_of(run.config.batch))
    write_plans(run, plans)
    write_campaign(folder_of(run), campaign, payload_of(run))
    return run, folder_of(run), campaign


def run_in_boxes(folder: Folder, stage: str, boxes: Path) -> None:
    """Run the jobs of a stage that are missing, each in a folder with nothing but its inputs."""
    record = folder.read().stages[stage]
    lines = (folder.path / f"{stage}.sub").read_text().splitlines()
    inputs = (
        next(line for line in lines if line.startswith("transfer_input_files")).split(" = ")[1].split(", ")
    )
    for spec in list_missing(folder, stage):
        own = folder.jobs / spec.name
        box = boxes / spec.name
        box.mkdir(parents=True)
        for name in inputs:
            path = own / name.replace("$(own)", record.own.get(spec.name, ""))
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, box / path.name)
        run_job(box / "spec.json")
        shutil.copytree(box / OUT, own / OUT)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in RESULTS
        for path in folder.glob(pattern)
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A run whose jobs are all done and merged, and the folders that they ran in."""
    folder = tmp_path_factory.mktemp("finished")
    run, work, campaign = submitted(config, folder / "run")
    for stage in campaign.order():
        run_in_boxes(work, stage, folder / "boxes")
        merge_stage(run, work, campaign, stage)
    return run, work, campaign


@pytest.fixture
def copied(finished, config, tmp_path):
    """A copy of the work folder of the finished run."""
    _, work, _ = finished
    shutil.copytree(work.path, tmp_path / "condor")
    return Folder(tmp_path / "condor")


def test_jobs_in_boxes_give_the_bits_of_the_local_run(finished, config, tmp_path):
    run, _, campaign = finished
    assert {stage: len(record.jobs) for stage, record in campaign.stages.items()} == {
        "skim": 3, "hist": 3, "analyse": 1,
    }  # fmt: skip
    local = prepare(config, tmp_path / "local", None, ["processing.chunk_size=100000"])
    for stage in (skim, train, histogram, scan):
        stage(local)
    ours = digests(local.root)
    assert len(ours) > 10
    assert ours == {name: digest for name, digest in digests(run.root).items() if name in ours}


def test_the_account_of_a_merged_run_is_complete(finished):
    run, _, _ = finished
    account = read_json(run.root / "account.json")
    assert account["complete"]
    assert account["expected"] == account["processed"] == 118_775
    assert [stage for stage, one in account["stages"].items() if one["complete"]] == [
        "skim mock", "skim signal_3000_400_400", "hist mock", "hist signal_3000_400_400",
    ]  # fmt: skip
    assert {file["selected"] > 0 for file in account["files"]} == {True}
    assert not list((run.root / "partials").glob("*"))


def test_the_entries_of_a_job_that_was_started_again_count_as_retried(finished, copied):
    _, _, campaign = finished
    jobs = [job for job in campaign.stages["skim"].jobs if job.task["sample"] == "mock"]
    file = copied.jobs / jobs[0].name / OUT / "manifest.json"
    write_json(file, read_json(file) | {"attempt": 2})
    account = account_of_jobs(copied, jobs)
    read = sum(part.stop - part.start for part in jobs[0].entries)
    assert account.totals() == {
        "files": 2, "expected": 108_612, "processed": 108_612, "selected": 95_777, "retried": read, "failed": 0,
    }  # fmt: skip


def test_a_manifest_says_what_was_read_by_which_code(finished):
    _, work, campaign = finished
    spec = campaign.stages["skim"].jobs[0]
    manifest = read_json(work.jobs / spec.name / OUT / "manifest.json")
    assert manifest["entries_read"] == sum(part.stop - part.start for part in spec.entries)
    assert manifest["code_version"] == campaign.code_version
    assert manifest["commit"] == campaign.commit
    assert all(name == "account.json" or name.startswith("partials/") for name in manifest["outputs"])


def test_a_gap_is_refused(finished, copied):
    run, _, campaign = finished
    shutil.rmtree(copied.jobs / "hist.mock.00000" / OUT)
    with pytest.raises(
        IncompleteError, match=r"(?s)stage 'hist': .*job 'hist\.mock\.00000' has no manifest; its log"
    ):
        merge_stage(run, copied, campaign, "hist")
    assert [spec.name for spec in list_missing(copied, "hist")] == ["hist.mock.00000"]


def test_the_output_of_another_job_is_refused(finished, copied):
    run, _, campaign = finished
    shutil.rmtree(copied.jobs / "hist.mock.00001" / OUT)
    shutil.copytree(copied.jobs / "hist.mock.00000" / OUT, copied.jobs / "hist.mock.00001" / OUT)
    with pytest.raises(
        IncompleteError, match=r"'hist\.mock\.00001' holds the manifest of job 'hist\.mock\.00000'"
    ):
        merge_stage(run, copied, campaign, "hist")


def test_a_truncated_output_is_refused(finished, copied):
    run, _, campaign = finished
    partial = next((copied.jobs / "skim.mock.00000" / OUT).rglob("*.partial"))
    partial.write_bytes(partial.read_bytes()[:-1])
    with pytest.raises(IncompleteError, match=r"'skim\.mock\.00000' has a damaged output partials/"):
        merge_stage(run, copied, campaign, "skim")


def test_a_manifest_of_other_code_is_refused(finished, copied):
    run, _, campaign = finished
    file = copied.jobs / "skim.mock.00000" / OUT / "manifest.json"
    write_json(file, read_json(file) | {"code_version": "0.0.1+0"})
    with pytest.raises(IncompleteError, match=r"'skim\.mock\.00000' was run by other code \(0\.0\.1\+0, not"):
        merge_stage(run, copied, campaign, "skim")


def test_a_submission_of_other_code_or_configuration_is_refused(finished, config, tmp_path):
    run, _, campaign = finished
    other = prepare(config, tmp_path / "run", None, ["run.seed=2"])
    with pytest.raises(ConfigError, match="submitted with another configuration"):
        check_same(other, campaign)
    with pytest.raises(ConfigError, match=r"submitted with code 0\.0\.1 \(commit .*\), here runs"):
        check_same(run, campaign.model_copy(update={"code_version": "0.0.1"}))
    moved = prepare(config, tmp_path / "run", None, ["processing.chunk_size=5000", "batch.chunks_per_job=1"])
    check_same(moved, campaign)  # neither decides any number


def test_a_job_refuses_other_code_than_that_of_the_submission(finished, tmp_path):
    _, _, campaign = finished
    spec = campaign.stages["skim"].jobs[0].model_dump(mode="json")
    write_json(tmp_path / "spec.json", spec | {"code_version": "0.0.1"})
    with pytest.raises(InputError, match=r"submitted with code 0\.0\.1, here runs .*same container or wheel"):
        run_job(tmp_path / "spec.json")


def test_a_job_refuses_another_configuration(finished, tmp_path):
    _, work, campaign = finished
    spec = campaign.stages["skim"].jobs[0].model_dump(mode="json")
    write_json(tmp_path / "spec.json", spec | {"config_hash": "0"})
    shutil.copyfile(work.path / "payload.json", tmp_path / "payload.json")
    with pytest.raises(InputError, match=r"payload\.json is of another configuration"):
        run_job(tmp_path / "spec.json")


def test_a_sample_that_is_looked_through_first_has_a_stage_of_its_own(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, None)
    name = "signal_3000_400_400"
    campaign = campaign_of(run, replace(look(run), surveyed=frozenset({name})), Profile(visible=(MINI,)))
    assert campaign.order() == ["survey", "skim", "hist", "analyse"]
    assert [job.task["sample"] for job in campaign.stages["survey"].jobs] == [name]
    found = str(run.root / "partials")
    assert [found in campaign.stages[stage].inputs for stage in campaign.order()] == [
        False,
        True,
        True,
        False,
    ]
    # what it finds goes to both passes
    folder = folder_of(run)
    job = campaign.stages["survey"].jobs[0]
    PartialStore(folder.jobs / job.name / OUT / "partials").put("ab" * 32, dump({"lund": []}))
    _merge_survey(run, folder, [job])
    assert all(run.store(f"{stage} {name}").find("ab" * 32) == {"lund": []} for stage in ("skim", "hist"))


def test_a_dry_run_writes_everything_and_asks_no_pool(config, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BEARER_TOKEN", SECRET)
    done = CliRunner().invoke(app, ["submit", str(config), "--out", str(tmp_path / "run"), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "7 jobs (3 skim, 3 hist, 1 analyse)" in done.output
    assert "dry run: nothing was submitted" in done.output
    work = tmp_path / "run" / "condor"
    assert (work / "hist.list").read_text().splitlines()[0].startswith("hist.mock.00000, 900, ")
    assert (work / "skim.list").read_text().splitlines()[0].startswith("skim.mock.00000, 700, ")
    texts = [path.read_bytes() for path in work.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text for text in texts)


def test_the_status_as_json(config, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.batch_cli.queued", lambda _: [])
    out = ["--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, ["submit", str(config), *out, "--dry-run"]).exit_code == 0
    done = CliRunner().invoke(app, ["status", str(config), *out, "--json"])
    content = json.loads(done.stdout)
    assert done.exit_code == 1  # nobody works on it
    assert (content["complete"], content["stuck"], content["dag"]) == (False, True, None)
    assert content["stages"][0]["stage"] == "skim"
    assert content["stages"][0]["waiting"] == content["stages"][0]["jobs"]


def test_status_of_nothing_says_what_to_do(config, tmp_path, monkeypatch):
    done = CliRunner().invoke(app, ["status", str(config), "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, InputError)
    assert "nothing was submitted from here; run `oddjet submit`" in str(done.exception)


def test_local_files_that_workers_do_not_see_are_refused(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, None)
    with pytest.raises(
        ConfigError, match=r"sample 'mock': file '.*mock_0\.root' is local, .* see these folders: /afs"
    ):
        check_visible(run, Profile(visible=(Path("/afs"),)))


def test_files_beside_the_events_need_names_of_their_own(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, None)
    golden = [tmp_path / "one" / "golden.json", tmp_path / "other" / "golden.json"]
    samples = list(run.samples.values())
    mock = samples[0].model_copy(update={"golden_json": golden[0], "luminosity_table": golden[1]})
    with pytest.raises(ConfigError, match=r"are called alike, and a job has them in one folder; rename one"):
        side_files(type(run)(run.config, {"mock": mock}))


def test_the_number_of_a_try_comes_from_the_job(tmp_path, monkeypatch):
    monkeypatch.delenv("_CONDOR_JOB_AD", raising=False)
    assert attempt() == 1
    monkeypatch.setenv("_CONDOR_JOB_AD", str(tmp_path / "ad"))
    (tmp_path / "ad").write_text('JobStatus = 2\nNumJobStarts = 2\nOwner = "me"\n')
    assert attempt() == 3
