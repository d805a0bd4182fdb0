"""The commands submit, status, resubmit and merge, and the scripts of the DAG, with stand-ins for HTCondor's own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from analysis.batch_cli import app, check_tokens, credentials_of_scripts, proxy_of
from analysis.cli_common import prepare
from analysis.pipeline import skim
from condor.campaign import Folder
from condor.jobs import OUT, JobManifest
from condor.pending import pending
from condor.profile import Profile
from condor.submit_file import LATER, memory_request
from data.errors import (
    BatchError,
    ConfigError,
    CredentialError,
    IncompleteError,
    InputError,
    LockedError,
)
from data.files import read_json
from data.locks import run_lock
from data.samples import Sites
from tests.analysis.boxes import run_in_boxes

SECRET = "SECRET-5b0e"  # noqa: S105 - nobody's
DAGMAN = {"ClusterId": 6, "ProcId": 0, "JobUniverse": 7, "JobStatus": 2}
HELD = {
    "ClusterId": 7, "ProcId": 1, "JobUniverse": 5, "OddjetJob": "skim.mock.00001", "JobStatus": 5,
    "NumShadowStarts": 3, "HoldReason": "exit code 1", "HoldReasonCode": 3, "HoldReasonSubCode": 1,
}  # fmt: skip


@pytest.fixture
def config(tmp_path, make_nano_file):
    """A search of one small file, with three jobs that skim it."""
    make_nano_file(tmp_path / "data.root", 600)
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {"data.root": None}}
    documents = {
        "samples.yaml": {"samples": {"mock": sample}},
        "profile.yaml": {"visible": [str(tmp_path)]},
        "search.yaml": {
            "run": {"output": str(tmp_path / "run")},
            "samples": "samples.yaml",
            "search": {"data": "mock"},
            "processing": {"chunk_size": 200},
            "scan": {"masses": [3000]},
            "batch": {"profile": str(tmp_path / "profile.yaml"), "chunks_per_job": 1},
        },
    }
    for name, content in documents.items():
        (tmp_path / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return tmp_path / "search.yaml"


@pytest.fixture
def work(tmp_path):
    return Folder(tmp_path / "run" / "condor")


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """HTCondor's commands, with these jobs in the queue; what they were called with is written down."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr("condor.campaign._TEMPORARY", ())  # where the tests work

    def make(*jobs):
        for name in ("condor_q", "condor_submit", "condor_submit_dag", "condor_release", "condor_qedit"):
            says = json.dumps(jobs) if name == "condor_q" and jobs else ""
            (folder / name).write_text(
                f"#!/bin/sh\necho {name} \"$@\" >> {calls}\ncat <<'END'\n{says}\nEND\n"
            )
            (folder / name).chmod(0o755)
        return lambda: [line for line in calls.read_text().splitlines() if not line.startswith("condor_q ")]

    return make


def oddjet(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finish(work: Folder, stage: str) -> None:
    """Manifests for all jobs of a stage, without any output."""
    for spec in work.read().stages[stage].jobs:
        JobManifest(
            job=spec.name, spec_hash=spec.digest(), config_hash=spec.config_hash, code_version=spec.code_version,
            commit="0", entries=spec.entries, entries_read=sum(one.stop - one.start for one in spec.entries),
            outputs={}, attempt=1, host="h", seconds=1.0,
        ).write(work.jobs / spec.name / OUT)  # fmt: skip


def test_a_submission_asks_for_its_dag_from_the_beginning(config, work, pool):
    calls = pool()
    done = oddjet("submit", config)
    assert done.exit_code == 0, done.output
    (call,) = calls()
    assert call.startswith("condor_submit_dag -f -AutoRescue 0 ")
    assert call.endswith(f"{work.path}/oddjet.dag")
    assert (work.path / "skim.list").read_text().count("\n") == 3


def test_a_refused_submission_leaves_the_one_before_as_it_was(config, work):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    before = contents(work.path)
    refused = oddjet("submit", config, "--dry-run", "--set", "run.seed=2")
    assert isinstance(refused.exception, ConfigError)
    assert "holds a submission of other configuration" in str(refused.exception)
    assert contents(work.path) == before


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_nothing_is_written_over_a_submission_that_is_in_the_queue(config, work, pool, options):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    pool(DAGMAN, HELD)
    marks = {path: path.stat().st_mtime_ns for path in work.path.rglob("*")}
    refused = oddjet("submit", config, *options)
    assert isinstance(refused.exception, BatchError)
    assert "2 jobs of this run are in the queue already; see `oddjet status`" in str(refused.exception)
    assert {path: path.stat().st_mtime_ns for path in work.path.rglob("*")} == marks


def test_a_dry_run_may_be_repeated_where_there_is_no_htcondor(config, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [oddjet("submit", config, "--dry-run").exit_code for _ in range(2)] == [0, 0]


def test_without_dagman_nothing_is_looked_at_before_the_message(config, work, pool, tmp_path):
    pool()
    (tmp_path / "bin" / "condor_submit_dag").unlink()
    refused = oddjet("submit", config)
    assert isinstance(refused.exception, BatchError)
    assert "condor_submit_dag is not on this machine" in str(refused.exception)
    assert not work.path.exists()


def test_without_htcondor_the_status_is_one_clear_message(config, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    told = oddjet("status", config)
    assert isinstance(told.exception, BatchError)
    assert "condor_q is not on this machine: HTCondor is not installed here" in str(told.exception)
    assert told.output == ""


def test_the_status_names_held_jobs_and_asks_for_help(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    (work.jobs / "skim.mock.00001" / "job.err").write_text("error: no luck today\n")
    pool(DAGMAN, HELD)
    told = oddjet("status", config)
    assert told.exit_code == 1
    assert "held: job 'skim.mock.00001' (7.1) after 3 tries: exit code 1 [code 3, subcode 1]" in told.output
    assert f"log: {work.jobs}/skim.mock.00001/job.err" in told.output
    assert "last line: error: no luck today" in told.output


def test_exactly_what_lacks_a_manifest_is_submitted_again(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    finish(work, "skim")
    shutil.rmtree(work.jobs / "skim.mock.00001" / OUT)
    calls = pool()
    done = oddjet("resubmit", config, "--memory", 5000)
    assert done.exit_code == 0, done.output
    assert (
        "5 of 7 jobs lack a valid manifest and run again" in done.output
    )  # one skim, three hist, one analyse
    assert calls()[0].startswith("condor_submit_dag ")
    assert pending(work.path, "skim") == 0
    assert (work.path / "skim.list").read_text().startswith("skim.mock.00001, 5000, ")
    assert (work.path / "skim.list").read_text().count("\n") == 1


def test_jobs_in_the_queue_without_dagman_do_not_run_twice(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    pool(HELD)
    refused = oddjet("resubmit", config)
    assert isinstance(refused.exception, BatchError)
    assert "1 jobs are in the queue without their DAGMan, and would run twice; remove them with" in str(
        refused.exception
    )


def test_held_jobs_and_a_held_dagman_are_released(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    calls = pool(DAGMAN | {"JobStatus": 5}, HELD)
    done = oddjet("resubmit", config, "--memory", 4000)
    assert done.output.strip() == "released: skim.mock.00001, DAGMan's own job 6.0"
    edited, released = calls()
    request = memory_request(work.read().profile, "4000")
    one = "(ClusterId == 7 && ProcId == 1)"
    assert edited == f"condor_qedit -constraint JobStatus == 5 && ({one}) RequestMemory {request}"
    both = f"{one} || (ClusterId == 6 && ProcId == 0)"
    assert released == f"condor_release -constraint JobStatus == 5 && ({both})"


def test_a_job_that_is_held_although_its_output_is_whole_only_leaves_the_queue(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    for stage in work.read().order():
        finish(work, stage)
    shutil.rmtree(work.jobs / "skim.mock.00002" / OUT)
    other = HELD | {"ProcId": 2, "OddjetJob": "skim.mock.00002"}
    calls = pool(DAGMAN, HELD, other)
    assert oddjet("status", config).exit_code == 1
    done = oddjet("resubmit", config, "--memory", 4000)
    assert done.output.splitlines() == [
        "let go, as their output is whole: skim.mock.00001",
        "released: skim.mock.00002",
    ]
    whole, lacking = (
        f"-constraint JobStatus == 5 && ((ClusterId == 7 && ProcId == {one}))" for one in (1, 2)
    )
    assert calls() == [
        f'condor_qedit {whole} OddjetDone True TransferInput ""',
        f"condor_release {whole}",
        f"condor_qedit {lacking} RequestMemory {memory_request(work.read().profile, '4000')}",
        f"condor_release {lacking}",
    ]


@pytest.mark.parametrize("command", ["submit", "resubmit"])
def test_queue_and_submission_are_seen_to_by_one_command_at_a_time(config, work, pool, tmp_path, command):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    calls = pool()
    free = f"flock -n {work.path.parent}/.lock true && echo free >> {tmp_path}/calls"
    for name in ("condor_q", "condor_submit_dag"):
        file = tmp_path / "bin" / name
        file.write_text(file.read_text() + free + "\ntrue\n")
    assert oddjet(command, config).exit_code == 0
    assert [line.split()[0] for line in calls()] == [
        "condor_submit_dag"
    ]  # nobody else could have worked here
    (tmp_path / "calls").unlink()
    with run_lock(work.path.parent):
        refused = oddjet(command, config)
    assert isinstance(refused.exception, LockedError)
    assert not (tmp_path / "calls").exists()


def test_a_submission_that_was_only_written_is_said_to_be(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    pool()
    told = oddjet("status", config)
    assert told.exit_code == 1
    assert told.output.splitlines()[-1] == "not submitted yet: `oddjet submit` does it"


def test_outputs_are_looked_at_once(config, work, pool, monkeypatch):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    looked = []
    monkeypatch.setattr(
        "condor.account.finished", lambda spec, _: looked.append(spec.name) or "has no manifest"
    )
    pool()
    assert oddjet("resubmit", config).exit_code == 0
    assert len(looked) == len(set(looked)) == work.read().job_count()


def test_where_nothing_is_held_nothing_is_submitted_twice(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    pool(DAGMAN, HELD | {"JobStatus": 2})
    done = oddjet("resubmit", config, "--memory", 4000)
    assert "nothing is held" in done.output
    assert "jobs that come there from now on ask for 4000 MB" in done.output
    assert pending(work.path, "skim") == 0
    assert (work.path / "skim.list").read_text().startswith("skim.mock.00000, 4000, ")


def test_a_finished_submission_is_not_resubmitted(config, work, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    for stage in work.read().order():
        finish(work, stage)
    pool()
    assert "nothing to submit; `oddjet merge` puts them together" in oddjet("resubmit", config).output


def test_a_submission_of_another_configuration_is_neither_resubmitted_nor_merged(config, pool):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    pool()
    for command in ("resubmit", "merge"):
        refused = oddjet(command, config, "--set", "run.seed=2")
        assert isinstance(refused.exception, ConfigError)
        assert "submitted with another configuration" in str(refused.exception)


def test_a_script_of_the_dag_waits_for_who_holds_the_folder(config, work, caplog):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    before = contents(work.path)
    with run_lock(work.path.parent):
        assert oddjet("node", "skim", work.path).exit_code == LATER
    assert "stage skim, merge: later, as " in caplog.text
    assert contents(work.path) == before


def test_stages_are_merged_while_the_storage_is_away(config, work, tmp_path):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    for stage in ("skim", "hist"):
        run_in_boxes(work, stage, tmp_path / "boxes")
    (tmp_path / "data.root").unlink()
    for stage in ("skim", "hist"):
        merged = oddjet("node", stage, work.path)
        assert merged.exit_code == 0, merged.exception
    assert read_json(work.path.parent / "account.json")["processed"] == 600
    # nor does who merges by hand read the files: the last stage is all that lacks
    (tmp_path / "data.root").write_text("no ROOT file")
    refused = oddjet("merge", config)
    assert isinstance(refused.exception, IncompleteError)
    assert "stage 'analyse'" in str(refused.exception)


def test_a_merge_leaves_what_a_local_run_takes_for_its_own(config, work, tmp_path):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    run_in_boxes(work, "skim", tmp_path / "boxes")
    assert oddjet("node", "skim", work.path).exit_code == 0
    run = prepare(config, None, None, None)
    manifest = run.manifest("skim mock")
    before = manifest.stat().st_mtime_ns
    skim(run)
    assert manifest.stat().st_mtime_ns == before


def test_no_credential_is_in_any_file_of_a_submission(config, work, tmp_path, monkeypatch, pool):
    pool()
    proxy, token = tmp_path / "my-proxy", tmp_path / "my-token"
    for file in (proxy, token):
        file.write_text(f"{SECRET} in {file.name}")
    variables = {"X509_USER_PROXY": str(proxy), "BEARER_TOKEN_FILE": str(token), "BEARER_TOKEN": SECRET}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert oddjet("submit", config).exit_code == 0
    # what the scripts of the DAG and a job say, too: this one cannot find its code
    script = subprocess.run([work.path / "script.sh", "merge", "skim"], check=False, env=os.environ)
    assert script.returncode == 1
    assert "no manifest" in (work.logs / "skim.script.log").read_text()
    own = work.jobs / "skim.mock.00000"
    with (own / "job.err").open("w") as errors:
        job = subprocess.run(
            [work.path / "job.sh"], cwd=own, stdout=errors, stderr=errors, check=False, env=os.environ
        )
    assert job.returncode != 0
    assert (own / "job.err").read_text()
    for name, content in contents(work.path.parent).items():
        for word in (SECRET, str(proxy), str(token)):
            assert word.encode() not in content, name


def remote(run, *, credential=None, hours=1.0):
    """A run whose file is on disk, with a replica on a server."""
    sample = run.data.model_copy(
        update={
            "replicas": dict.fromkeys(run.data.files, ("root://host//store/data.root",)),
            "sites": Sites(credential=credential, hours=hours),
        }
    )
    return type(run)(run.config, {"mock": sample})


def test_jobs_that_read_replicas_are_given_the_proxy(config, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("analysis.batch_cli.check_credentials", lambda *what: asked.append(what))
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    found = type("Found", (), {"kind": "proxy", "place": str(tmp_path / "proxy")})()
    monkeypatch.setattr("analysis.batch_cli.find_credentials", lambda *_: [found])
    run = prepare(config, None, None, None)
    site = Profile(proxy=True, proxy_hours=10)
    assert proxy_of(run, site) is None  # all on disk
    assert proxy_of(remote(run), site) == tmp_path / "proxy"
    assert proxy_of(remote(run, credential="token"), site) is None
    assert proxy_of(remote(run, hours=20), Profile()) is None
    # the servers demand one, whatever the site says
    assert proxy_of(remote(run, credential="proxy", hours=20), Profile(proxy_hours=10)) == tmp_path / "proxy"
    assert [(kind, hours) for _, kind, hours in asked] == [("proxy", 10), ("proxy", 20)]
    assert "root://host//store/data.root" in asked[0][0]
    assert proxy_of(remote(run), Profile(proxy=True, proxy_from=(tmp_path,))) == tmp_path / "proxy"
    with pytest.raises(
        CredentialError,
        match=r"does not see the proxy .*/proxy; copy it below /afs, and name the copy in X509",
    ):
        proxy_of(remote(run), Profile(proxy=True, proxy_from=(Path("/afs"),)))


def test_jobs_that_need_a_token_are_not_submitted_without_one(config):
    run = prepare(config, None, None, None)
    reads = remote(run, credential="token")
    with pytest.raises(
        CredentialError,
        match=r"sample 'mock': its servers demand a token \(sites.credential\), and jobs would be given none; "
        r".* as in submit: \{use_oauth_services: scitokens\}",
    ):
        check_tokens(reads, Profile())
    check_tokens(reads, Profile(submit={"Use_OAuth_Services": "scitokens"}))
    check_tokens(remote(run, credential="proxy"), Profile())
    on_disk = run.data.model_copy(update={"sites": Sites(credential="token")})
    check_tokens(type(run)(run.config, {"mock": on_disk}), Profile())


def test_scripts_of_the_dag_know_where_credentials_are(config, work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("X509_USER_PROXY", "my-proxy")  # a path from here
    monkeypatch.delenv("BEARER_TOKEN_FILE", raising=False)
    run = prepare(config, None, None, None)
    assert credentials_of_scripts(run, None) == {}
    assert credentials_of_scripts(remote(run), None) == {"X509_USER_PROXY": tmp_path / "my-proxy"}
    of_jobs = Path("/afs/proxy")
    assert credentials_of_scripts(remote(run), of_jobs) == {"X509_USER_PROXY": of_jobs}
    monkeypatch.setenv("BEARER_TOKEN_FILE", "/run/token")
    assert credentials_of_scripts(remote(run), None)["BEARER_TOKEN_FILE"] == Path("/run/token")
    monkeypatch.setattr("analysis.batch_cli.check_target", lambda *_: None)
    done = oddjet("submit", config, "--dry-run", "--set", "run.copy_to=root://host//store/run")
    assert done.exit_code == 0, done.exception
    script = (work.path / "script.sh").read_text()
    assert f"export X509_USER_PROXY={tmp_path}/my-proxy\n" in script
    assert "export BEARER_TOKEN_FILE=/run/token\n" in script
    assert "x509" not in (work.path / "skim.sub").read_text()  # its jobs read from disk


def test_a_proxy_that_jobs_need_and_is_not_there_is_told_before_anything_is_written(
    config, work, tmp_path, monkeypatch
):
    monkeypatch.setattr("os.getuid", lambda: 987654321)  # whose proxy in /tmp nobody has
    for name in ("X509_USER_PROXY", "BEARER_TOKEN", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    run = remote(prepare(config, None, None, None))
    with pytest.raises(
        CredentialError, match=r"jobs are given a proxy that is valid for 24 h \(proxy_hours .* there is none"
    ):
        proxy_of(run, Profile(proxy=True))


def test_whoever_may_not_copy_the_outputs_is_told_before_anything_is_submitted(
    config, work, tmp_path, monkeypatch
):
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "none"))
    refused = oddjet("submit", config, "--dry-run", "--set", "run.copy_to=root://host//store/run")
    assert isinstance(refused.exception, CredentialError)
    assert "outputs cannot be copied to root://host//store/run (run.copy_to)" in str(refused.exception)
    assert not work.path.exists()


def test_the_record_of_a_submission_says_what_was_submitted(config, work):
    assert oddjet("submit", config, "--dry-run").exit_code == 0
    campaign = work.read()
    assert campaign.order() == ["skim", "hist", "analyse"]
    (file,) = campaign.stages["skim"].files["mock"].values()
    assert file == 600
    shown = read_json(work.path / "run.json")["config"]["run"]["output"]
    assert shown == str(work.path.parent)
    (work.path / "campaign.json").write_text("{")
    told = oddjet("status", config)
    assert isinstance(told.exception, InputError)
    assert "campaign.json: not valid JSON" in str(told.exception)
