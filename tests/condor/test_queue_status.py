"""What HTCondor's commands say, in words that name the job, the reason and the log."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from condor.campaign import (
    Campaign,
    Folder,
    StageRecord,
    check_place,
    list_missing,
    set_memory,
    write_campaign,
)
from condor.jobs import OUT, JobManifest, JobSpec
from condor.pending import pending
from condor.profile import Profile
from condor.queue import check_tools, has_queue, let_go, parse_queue, queued, release, submit_dag
from condor.status import last_line, status_lines, status_of
from condor.submit_file import LATER, SKIP
from data.errors import BatchError, ConfigError, InputError
from data.locks import run_lock

HELD = {
    "ClusterId": 7, "ProcId": 1, "JobUniverse": 5, "OddjetJob": "skim.b", "JobStatus": 5, "NumShadowStarts": 3,
    "HoldReason": "exit code 1", "HoldReasonCode": 3, "HoldReasonSubCode": 1,
}  # fmt: skip
DAGMAN = {"ClusterId": 6, "ProcId": 0, "JobUniverse": 7, "JobStatus": 2}
RUNNING = {"ClusterId": 7, "ProcId": 2, "JobUniverse": 5, "OddjetJob": "skim.c", "JobStatus": 2}


def spec(name: str) -> JobSpec:
    return JobSpec(name=name, stage="skim", task={}, config_hash="c", code_version="v")


def campaign(**changed: object) -> Campaign:
    jobs = tuple(spec(f"skim.{letter}") for letter in "abcd")
    facts = {
        "title": "t", "code_version": "v", "commit": "0123", "config_hash": "c", "profile": Profile(),
        "container": None, "stages": {"skim": StageRecord(jobs=jobs, memory_mb=1000)},
    }  # fmt: skip
    return Campaign(**(facts | changed))


@pytest.fixture
def folder(tmp_path):
    work = Folder(tmp_path / "run" / "condor")
    write_campaign(work, campaign(), {"config": {}})
    return work


def finish(folder: Folder, name: str) -> None:
    job = spec(name)
    JobManifest(
        job=name, spec_hash=job.digest(), config_hash="c", code_version="v", commit="0", entries=(),
        entries_read=0, outputs={}, attempt=1, host="h", seconds=1.0,
    ).write(folder.jobs / name / OUT)  # fmt: skip


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins for HTCondor's commands: each says what it is told to, and writes down how it was called."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")

    def make(name: str, says: str = "", code: int = 0) -> None:
        (bin_folder / f"{name}.out").write_text(says)
        file = bin_folder / name
        file.write_text(
            f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/calls\ncat {bin_folder}/{name}.out\nexit {code}\n'
        )
        file.chmod(0o755)

    make.calls = lambda: [
        line.rpartition("/bin/")[2] for line in (tmp_path / "calls").read_text().splitlines()
    ]
    return make


def test_an_empty_queue_is_an_empty_text():
    assert parse_queue("") == []


def test_the_status_names_held_jobs_with_reason_and_log(folder):
    finish(folder, "skim.a")
    log = folder.jobs / "skim.b" / "job.err"
    log.write_text("Traceback\nerror: file 'x.root' cannot be read\n\n")
    status = status_of(folder, campaign(), parse_queue(json.dumps([DAGMAN, HELD, RUNNING])))
    (stage,) = status.stages
    assert (stage.jobs, stage.done, stage.running, stage.idle, stage.held, stage.waiting) == (
        4,
        1,
        1,
        0,
        1,
        1,
    )
    assert status.stuck
    text = "\n".join(status_lines(status, folder))
    assert "held: job 'skim.b' (7.1) after 3 tries: exit code 1 [code 3, subcode 1]" in text
    assert str(log) in text
    assert "last line: error: file 'x.root' cannot be read" in text
    assert "oddjet resubmit" in text


def test_a_held_job_whose_manifest_is_there_keeps_its_stage_from_its_end(folder):
    for letter in "abcd":
        finish(folder, f"skim.{letter}")
    crashed = HELD | {"HoldReason": "exit code 139", "HoldReasonSubCode": 139}
    status = status_of(folder, campaign(), parse_queue(json.dumps([DAGMAN, crashed])))
    assert status.complete
    assert status.stuck
    assert [job.name for job in status.spare] == ["skim.b"]
    (stage,) = status.stages
    assert (stage.done, stage.held) == (4, 0)
    text = "\n".join(status_lines(status, folder))
    assert "held: job 'skim.b' (7.1) after 3 tries: exit code 139 [code 3, subcode 139]" in text
    assert "its output is whole: `oddjet resubmit` lets it leave the queue" in text


def test_a_held_job_without_a_manifest_is_not_spare(folder):
    status = status_of(folder, campaign(), parse_queue(json.dumps([DAGMAN, HELD])))
    assert [job.name for job in status.held] == ["skim.b"]
    assert status.spare == ()
    assert "its output is whole" not in "\n".join(status_lines(status, folder))


def test_what_was_only_written_is_not_submitted_yet(folder):
    status = status_of(folder, campaign(), [])
    assert status.stuck
    assert status_lines(status, folder)[-1] == "not submitted yet: `oddjet submit` does it"


def test_a_submission_without_its_dagman_is_stuck_until_all_is_done(folder):
    (folder.path / "oddjet.dag.dagman.out").touch()
    status = status_of(folder, campaign(), [])
    assert status.stuck
    assert "DAGMan has left the queue: see " in status_lines(status, folder)[-1]
    for letter in "abcd":
        finish(folder, f"skim.{letter}")
    status = status_of(folder, campaign(), [])
    assert status.complete
    assert not status.stuck


def test_what_is_missing_is_listed_and_the_rest_of_earlier_tries_removed(folder):
    finish(folder, "skim.a")
    left = folder.jobs / "skim.b" / OUT / "half"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    assert [job.name for job in list_missing(folder, "skim")] == ["skim.b", "skim.c", "skim.d"]
    assert (folder.path / "skim.list").read_text() == "skim.b, 1000\nskim.c, 1000\nskim.d, 1000\n"
    assert not left.exists()
    assert (folder.jobs / "skim.a" / OUT / "manifest.json").is_file()


def test_the_memory_of_what_is_missing_can_be_raised(folder):
    set_memory(folder, folder.read(), ["skim"], 3000)
    list_missing(folder, "skim")
    assert (folder.path / "skim.list").read_text().splitlines()[0] == "skim.a, 3000"


def test_everything_that_a_submission_needs_is_written(folder):
    for name in (
        "oddjet.dag",
        "dagman.config",
        "skim.sub",
        "skim.list",
        "job.sh",
        "script.sh",
        "payload.json",
    ):
        assert (folder.path / name).is_file()
    assert (folder.jobs / "skim.d" / "spec.json").is_file()
    assert (folder.path / "job.sh").stat().st_mode & 0o111
    assert folder.read() == campaign()
    assert (folder.path / "dagman.config").read_text() == "DAGMAN_MAX_JOB_HOLDS = 0\n"


@pytest.mark.parametrize(("key", "word"), [("code_version", "code"), ("config_hash", "configuration")])
def test_a_folder_holds_one_submission(folder, key, word):
    write_campaign(folder, campaign(), {})
    with pytest.raises(
        ConfigError, match=f"holds a submission of other {word}; give this one another folder"
    ):
        write_campaign(folder, campaign(**{key: "other"}), {})


def test_a_folder_without_a_submission_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="run `oddjet submit` with this configuration first"):
        Folder(tmp_path).read()


def test_folders_that_cannot_be_submitted_from_are_refused():
    eos = Profile(never_from=(Path("/eos"),))
    with pytest.raises(ConfigError, match="nothing can be submitted from /eos"):
        check_place(Folder(Path("/eos/user/run/condor")), eos)
    with pytest.raises(ConfigError, match="DAGMan keeps no logs in temporary folders"):
        check_place(Folder(Path("/tmp/run/condor")), eos)  # noqa: S108
    check_place(Folder(Path("/afs/run/condor")), eos)


def test_the_queue_is_asked_for_this_run_only(folder, tools):
    tools("condor_q", json.dumps([HELD]))
    (job,) = queued(folder.path)
    assert (job.number, job.name, job.state, job.starts) == ("7.1", "skim.b", "held", 3)
    assert f'OddjetRun == "{folder.path}"' in tools.calls()[0]


def test_a_command_that_refuses_is_quoted(folder, tools):
    tools("condor_submit_dag", "ERROR: no schedd", code=1)
    with pytest.raises(
        BatchError, match=r"condor_submit_dag refused \(exit code 1\); see why: ERROR: no schedd"
    ):
        submit_dag(folder.path, "t")


def test_a_command_that_does_not_answer_is_given_up(folder, tools, tmp_path, monkeypatch):
    tools("condor_q")
    (tmp_path / "bin" / "condor_q").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr("condor.queue._TIMEOUT", 0.2)
    with pytest.raises(BatchError, match=r"condor_q has not answered for 0\.2 s; try again, or ask"):
        queued(folder.path)


def test_without_htcondor_the_message_says_so(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_queue()
    with pytest.raises(BatchError, match=r"condor_q is not on this machine: .* not installed here"):
        queued(folder.path)


def test_a_command_that_a_submission_needs_is_missed_at_once(folder, tools):
    tools("condor_q")
    tools("condor_submit")
    with pytest.raises(BatchError, match="condor_submit_dag is not on this machine"):
        check_tools()
    tools("condor_submit_dag")
    check_tools()


def test_held_jobs_are_released_with_more_memory(tools):
    tools("condor_qedit")
    tools("condor_release")
    release(parse_queue(json.dumps([HELD, DAGMAN])), "max({4000, 1})")
    own, dagman = "(ClusterId == 7 && ProcId == 1)", "(ClusterId == 6 && ProcId == 0)"
    assert tools.calls() == [
        f"condor_qedit -constraint JobStatus == 5 && ({own}) RequestMemory max({{4000, 1}})",
        f"condor_release -constraint JobStatus == 5 && ({own} || {dagman})",
    ]
    release(parse_queue(json.dumps([DAGMAN])), "4000")
    assert tools.calls()[2:] == [f"condor_release -constraint JobStatus == 5 && ({dagman})"]


def test_held_jobs_whose_output_is_whole_are_marked_and_started_to_end_at_once(tools):
    tools("condor_qedit")
    tools("condor_release")
    let_go(parse_queue(json.dumps([HELD])))
    held = "-constraint JobStatus == 5 && ((ClusterId == 7 && ProcId == 1))"
    assert tools.calls() == [
        f'condor_qedit {held} OddjetDone True TransferInput ""',
        f"condor_release {held}",
    ]


def test_held_jobs_that_were_released_meanwhile_are_no_failure(tools):
    jobs = parse_queue(json.dumps([HELD]))
    for name in ("condor_qedit", "condor_release"):
        tools(name, "Couldn't find/release all jobs matching constraint", code=1)
    tools("condor_q")
    let_go(jobs)
    release(jobs, "4000")
    assert [line.split()[0] for line in tools.calls()] == [
        *("condor_qedit", "condor_q", "condor_release", "condor_q")
    ] * 2
    tools("condor_q", json.dumps([HELD]))
    with pytest.raises(
        BatchError, match=r"condor_release refused \(exit code 1\); see why: Couldn't find/release all"
    ):
        release(jobs)


def test_thousands_of_held_jobs_are_named_in_parts(tools):
    tools("condor_release")
    release(
        parse_queue(json.dumps([HELD | {"ClusterId": 10**7, "ProcId": number} for number in range(1201)]))
    )
    calls = tools.calls()
    assert [line.count("ProcId") for line in calls] == [500, 500, 201]
    assert max(map(len, calls)) < 2**17  # what Linux takes as one word
    assert all(sum(f"ProcId == {number})" in line for line in calls) == 1 for number in (0, 499, 500, 1200))


def test_a_refusal_is_not_lost_in_the_names_of_hundreds_of_jobs(tools):
    held = [HELD | {"ProcId": number} for number in range(100)]
    these = " || ".join(f"(ClusterId == 7 && ProcId == {number})" for number in range(100))
    tools(
        "condor_release", f"not allowed\nCouldn't find/release all of (JobStatus == 5 && ({these}))", code=1
    )
    tools("condor_q", json.dumps(held))
    with pytest.raises(
        BatchError,
        match=r"refused \(exit code 1\); see why: not allowed\nCouldn't find/release all of \(…\)$",
    ):
        release(parse_queue(json.dumps(held)))


def test_the_script_before_a_stage_lists_waits_or_says_that_nothing_is_missing(folder, caplog):
    finish(folder, "skim.a")
    caplog.set_level("INFO")
    assert pending(folder.path, "skim") == 0
    assert "stage skim: 3 of 4 jobs to run" in caplog.text
    assert (folder.path / "skim.list").read_text().startswith("skim.b, ")
    (folder.path / "skim.list").write_text("untouched")
    with run_lock(folder.path.parent):
        assert pending(folder.path, "skim") == LATER
    assert "stage skim, pending: later, as " in caplog.text
    assert (folder.path / "skim.list").read_text() == "untouched"
    for letter in "bcd":
        finish(folder, f"skim.{letter}")
    assert pending(folder.path, "skim") == SKIP


def test_the_script_before_a_stage_needs_no_method_and_no_plot(folder):
    words = "import sys, condor.pending as p; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    heavy = {"matplotlib", "scipy", "sympy", "torch", "uproot", "analysis", "processors", "models"}
    assert not heavy & set(done.stdout.split())
    (folder.path / "campaign.json").write_text("{")
    start = "from condor.pending import main; main()"
    failed = subprocess.run(
        [sys.executable, "-c", start, "skim", folder.path], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert "campaign.json: not valid JSON" in failed.stderr


def test_a_held_dagman_needs_help(folder):
    stopped = DAGMAN | {
        "JobStatus": 5,
        "HoldReason": "disk full",
        "HoldReasonCode": 6,
        "HoldReasonSubCode": 0,
    }
    status = status_of(folder, campaign(), parse_queue(json.dumps([stopped, RUNNING])))
    assert status.stuck
    assert [job.number for job in status.all_held] == ["6.0"]
    text = status_lines(status, folder)
    assert any("held: DAGMan's own job (6.0): disk full [code 6, subcode 0]" in line for line in text)
    assert "oddjet resubmit" in text[-1]
    for letter in "abcd":  # the last stage is not merged yet
        finish(folder, f"skim.{letter}")
    assert status_of(folder, campaign(), parse_queue(json.dumps([stopped]))).stuck


def test_jobs_that_wait_for_another_machine_are_told(folder):
    idle = RUNNING | {"JobStatus": 1}
    queue = [DAGMAN, idle | {"NumShadowStarts": 2}, idle | {"OddjetJob": "skim.d", "ProcId": 3}]
    text = "\n".join(status_lines(status_of(folder, campaign(), parse_queue(json.dumps(queue))), folder))
    assert "1 idle jobs were started before; with avoid_last_machine of the profile each waits" in text
    queue = [DAGMAN, idle]
    text = "\n".join(status_lines(status_of(folder, campaign(), parse_queue(json.dumps(queue))), folder))
    assert "avoid_last_machine" not in text


def test_jobs_that_were_let_go_and_still_wait_are_told(folder):
    for letter in "abcd":
        finish(folder, f"skim.{letter}")
    waiting = HELD | {"JobStatus": 1}
    status = status_of(folder, campaign(), parse_queue(json.dumps([DAGMAN, waiting])))
    assert not status.stuck
    text = "\n".join(status_lines(status, folder))
    assert "1 idle jobs whose output is whole wait for a machine to end on at once; until they do" in text
    assert "avoid_last_machine" not in text
    told = status_lines(status_of(folder, campaign(), parse_queue(json.dumps([DAGMAN]))), folder)
    assert "output is whole" not in "\n".join(told)


def test_jobs_whose_dagman_has_left_are_told(folder):
    status = status_of(folder, campaign(), parse_queue(json.dumps([RUNNING])))
    assert [job.number for job in status.strays] == ["7.2"]
    assert status.stuck
    removal = f"condor_rm -constraint 'OddjetRun == \"{folder.path}\"'"
    assert f"remove them with `{removal}`, then `oddjet resubmit`" in status_lines(status, folder)[-1]
    leaving = RUNNING | {"JobStatus": 3}
    assert status_of(folder, campaign(), parse_queue(json.dumps([leaving]))).strays == ()


def test_the_code_of_a_submission_is_never_half_there(folder, monkeypatch):
    before = sorted(path.relative_to(folder.path) for path in (folder.path / "code").rglob("*.py"))
    assert Path("code/condor/campaign.py") in before

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.extractall", full)
    with pytest.raises(OSError, match="No space left"):
        write_campaign(folder, campaign(), {})
    after = sorted(path.relative_to(folder.path) for path in (folder.path / "code").rglob("*.py"))
    assert after == before
    assert not [path.name for path in folder.path.iterdir() if path.name.startswith(".")]


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"x" * 10_000 + b"\nerror: \xff late\n\n")
    assert last_line(log) == "error: \ufffd late"
