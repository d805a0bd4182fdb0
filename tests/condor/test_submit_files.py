"""Texts of submit files, DAGs, lists and wrappers, without any HTCondor."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from condor.config import BatchConfig
from condor.profile import SHIPPED, Profile, Request, read_profile, shipped
from condor.submit_file import (
    StageFiles,
    dag_file,
    job_list,
    memory_request,
    plain_path,
    script,
    submit_file,
    wrapper,
)
from data.errors import ConfigError

WORK = Path("/home/me/run/condor")
DIGEST = "docker://registry/image@sha256:" + "0" * 64


def commands(text: str) -> dict[str, str]:
    pairs = (line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return dict(pairs)


def made(profile: Profile | None = None, **options) -> dict[str, str]:
    files = StageFiles("skim", WORK, (WORK / "oddjet.whl", WORK / "payload.json"), **options)
    return commands(submit_file(files, profile or Profile()))


def test_a_stage_is_one_cluster_queued_from_its_list():
    text = submit_file(StageFiles("skim", WORK, ()), Profile())
    assert text.splitlines()[-1] == "queue job,memory from /home/me/run/condor/skim.list"
    assert text.count("queue ") == 1


def test_jobs_with_a_file_of_their_own_are_given_it():
    files = StageFiles("hist", WORK, (WORK / "payload.json",), own=True)
    text = submit_file(files, Profile())
    assert commands(text)["transfer_input_files"] == "spec.json, /home/me/run/condor/payload.json, $(own)"
    assert text.splitlines()[-1] == "queue job,memory,own from /home/me/run/condor/hist.list"


def test_a_list_has_a_line_a_job():
    assert job_list([("a", "100"), ("b", "200", "/x/plan.json")]) == "a, 100\nb, 200, /x/plan.json\n"


def test_outputs_come_back_into_the_folder_of_the_job():
    found = made()
    assert found["initialdir"] == "/home/me/run/condor/jobs/$(job)"
    assert found["transfer_output_files"] == "out"
    assert found["should_transfer_files"] == "YES"


def test_failures_are_held_with_their_exit_code_and_released_a_bounded_number_of_times():
    found = made(Profile(tries=4, pause_s=60))
    assert found["on_exit_hold"] == "ExitCode =!= 0"
    assert "ExitCode" in found["on_exit_hold_subcode"]
    release = found["periodic_release"]
    assert "NumShadowStarts < 4" in release
    assert "(time() - EnteredCurrentStatus) > 60" in release
    held = {"NumShadowStarts": 3, "EnteredCurrentStatus": 0, "time": lambda: 61}
    for code, subcode, released in (*((*hold, True) for hold in MEMORY_HOLDS), (3, 1, True), (12, 2, True), (13, 0, True),
                                    (1, 0, False), (21, 0, False)):  # fmt: skip
        facts = {**held, "HoldReasonCode": code, "HoldReasonSubCode": subcode}
        assert evaluate(release, facts) is released
        assert not evaluate(release, {**facts, "NumShadowStarts": 4})


MEMORY_HOLDS = [(34, 0), (21, 102), (3, 34)]
"""Codes and subcodes of holds for memory: the pool's, with and without control groups, and our own."""


def evaluate(expression: str, job: dict[str, object], memory: int = 1000) -> object:
    """What HTCondor makes of an expression for a job, attributes that it lacks undefined."""
    words = {
        "=?=": "==", "=!=": "!=", "||": " or ", "&&": " and ", "{": "[", "}": "]", "$(memory)": str(memory),
    }  # fmt: skip
    for condor, python in words.items():
        expression = expression.replace(condor, python)
    functions = {
        "ifThenElse": lambda test, one, other: one if test else other,
        "quantize": lambda value, step: -(-value // step) * step,
        "min": min, "max": max, "int": int, "undefined": None,
    }  # fmt: skip
    names = dict.fromkeys(
        (
            "JobStatus",
            "NumHolds",
            "MemoryUsage",
            "MemoryProvisioned",
            "LastHoldReasonCode",
            "LastHoldReasonSubCode",
        )
    )
    return eval(expression, {"__builtins__": {}}, names | functions | job)  # noqa: S307 - our own text


@pytest.mark.parametrize(("code", "subcode"), MEMORY_HOLDS)
def test_memory_grows_after_every_kind_of_memory_hold_up_to_a_limit(code, subcode):
    profile = Profile(request={"memory_mb": 1000, "memory_growth": 2, "memory_most_mb": 5000})
    request = made(profile)["request_memory"]
    held = {"NumHolds": 1, "LastHoldReasonCode": code, "LastHoldReasonSubCode": subcode}
    assert evaluate(request, {}) == 1000
    assert evaluate(request, {**held, "MemoryUsage": 1800, "MemoryProvisioned": 1024}) == 3840
    # killed at its limit before anybody looked how much it used
    assert evaluate(request, {**held, "MemoryUsage": 90, "MemoryProvisioned": 1024}) == 2048
    assert evaluate(request, {**held, "MemoryProvisioned": 1024}) == 2048
    assert evaluate(request, {**held, "MemoryUsage": 3000, "MemoryProvisioned": 3072}) == 5000


def test_memory_never_shrinks():
    profile = Profile(request={"memory_mb": 1000, "memory_growth": 2, "memory_most_mb": 5000})
    request = made(profile)["request_memory"]
    failed = {"NumHolds": 2, "LastHoldReasonCode": 3, "LastHoldReasonSubCode": 1}
    # a failure of another kind keeps what a hold for memory has brought, and adds nothing
    assert evaluate(request, {**failed, "MemoryUsage": 90, "MemoryProvisioned": 3072}) == 3072
    assert (
        evaluate(request, {**failed, "MemoryUsage": 90, "MemoryProvisioned": 2100}) == 2100
    )  # a slot of this size
    # nor does the request of a job that runs with more grow beyond its slot
    again = {"NumHolds": 1, "LastHoldReasonCode": 34, "JobStatus": 2}
    assert evaluate(request, {**again, "MemoryUsage": 90, "MemoryProvisioned": 2100}) == 2100
    # the configuration asks for more than the profile's most
    assert evaluate(request, {**failed, "MemoryUsage": 90, "MemoryProvisioned": 6144}, memory=6000) == 6000
    starved = {"NumHolds": 1, "LastHoldReasonCode": 34, "MemoryUsage": 6100, "MemoryProvisioned": 6144}
    assert evaluate(request, starved, memory=6000) == 6000


def test_memory_that_was_set_by_hand_still_grows():
    profile = Profile(request={"memory_mb": 1000, "memory_growth": 2, "memory_most_mb": 5000})
    request = memory_request(profile, "2500")
    assert "$" not in request
    starved = {"NumHolds": 1, "LastHoldReasonCode": 34}
    assert evaluate(request, {}) == 2500
    assert evaluate(request, {**starved, "MemoryProvisioned": 1024}) == 2500
    assert evaluate(request, {**starved, "MemoryProvisioned": 2500}) == 5000
    assert evaluate(memory_request(profile, "6000"), {**starved, "MemoryProvisioned": 2500}) == 6000


@pytest.mark.htcondor
@pytest.mark.skipif(shutil.which("classad_eval") is None, reason="no HTCondor on this machine")
@pytest.mark.parametrize(
    ("key", "job"),
    [
        ("request_memory", {}),
        *(("request_memory", {"JobStatus": status, "NumHolds": 1, "LastHoldReasonCode": code,
                              "LastHoldReasonSubCode": subcode, "MemoryUsage": 1509, "MemoryProvisioned": 1024})
          for status in (1, 2) for code, subcode in [*MEMORY_HOLDS, (3, 1)]),
        *(("periodic_release", {"HoldReasonCode": code, "HoldReasonSubCode": subcode, "NumShadowStarts": starts,
                                "EnteredCurrentStatus": 0})
          for code, subcode in [*MEMORY_HOLDS, (3, 1), (1, 0)] for starts in (2, 3)),
        *(("periodic_hold", {"JobStatus": 2, "MemoryUsage": usage, "MemoryProvisioned": 1024})
          for usage in (1024, 1025)),
    ],
)  # fmt: skip
def test_htcondor_reads_the_expressions_as_we_do(key, job):
    expression = made()[key]
    facts = [f"{name} = {value}" for name, value in job.items()]
    command = ["classad_eval", "-quiet", *facts, expression.replace("$(memory)", "1000")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert said == str(evaluate(expression, {**job, "time": time.time})).lower()


def test_a_job_over_its_memory_is_held_where_the_pool_does_not_do_it():
    hold = made()["periodic_hold"]
    running = {"JobStatus": 2, "MemoryProvisioned": 1024}
    assert evaluate(hold, {**running, "MemoryUsage": 1025})
    assert not evaluate(hold, {**running, "MemoryUsage": 1024})
    assert not evaluate(hold, running)
    assert made()["periodic_hold_subcode"] == "34"


def test_the_last_machine_is_avoided_unless_the_profile_says_no():
    assert "splitSlotName(LastRemoteHost)[1]" in made()["requirements"]
    assert "|| OddjetDone =?= True ||" in made()["requirements"]  # a job that was let go may end anywhere
    assert "requirements" not in made(Profile(avoid_last_machine=False))
    assert made(Profile(requirements="HasAVX2"))["requirements"].startswith(
        "(HasAVX2) && (LastRemoteHost =?="
    )


def test_a_container_needs_a_profile_that_knows_how():
    assert made(read_profile("generic"), container=DIGEST)["container_image"] == DIGEST
    assert made(read_profile("lxplus"), container=DIGEST)["MY.SingularityImage"] == f'"{DIGEST}"'
    assert made(read_profile("lpc"), container=DIGEST)["+SingularityImage"] == f'"{DIGEST}"'
    with pytest.raises(ConfigError, match="add its key 'container'"):
        made(Profile(), container=DIGEST)


def test_a_container_is_pinned():
    assert BatchConfig(container=DIGEST).container == DIGEST
    folder = "/cvmfs/unpacked.cern.ch/registry/image"
    assert BatchConfig(container=f"{folder}:1.2").container == f"{folder}:1.2"
    for moving in ("docker://registry/image:1.2", f"{DIGEST}0", f"{folder}:latest"):
        with pytest.raises(ConfigError, match=r"batch: key 'container': .*pin it by digest"):
            BatchConfig.parse({"container": moving}, "batch")


def test_only_the_path_of_a_proxy_is_written(tmp_path):
    proxy = tmp_path / "x509"
    proxy.write_text("secret")
    text = submit_file(StageFiles("skim", WORK, (), proxy=proxy), Profile())
    assert f"x509userproxy = {proxy}" in text
    assert "secret" not in text
    assert "getenv" not in text
    assert f"export X509_USER_PROXY={proxy}\n" in script(["python3"], WORK, {"X509_USER_PROXY": proxy})
    assert "X509" not in script(["python3"], WORK, {})


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_profiles_are_whole(name):
    profile = read_profile(name)
    assert profile.description
    assert profile.tries >= 2
    assert submit_file(StageFiles("skim", WORK, ()), profile)


def test_the_generic_profile_shows_every_key_with_its_default():
    shown = yaml.safe_load((SHIPPED / "generic.yaml").read_text())
    assert set(shown) == set(Profile.model_fields)
    assert set(shown["request"]) == set(Request.model_fields)
    own = {"description", "container"}
    assert read_profile("generic").model_dump(exclude=own) == Profile().model_dump(exclude=own)


def test_every_option_of_a_submission_has_a_default_and_no_other_is_taken():
    assert BatchConfig().model_dump() == {
        "profile": "generic", "chunks_per_job": 10, "trainings_per_job": 1, "memory_mb": {}, "container": None,
    }  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"batch: unknown key 'chunk_per_job'; did you mean 'chunks_per_job'"
    ):
        BatchConfig.parse({"chunk_per_job": 3}, "batch")
    with pytest.raises(
        ConfigError, match=r"batch: key 'memory_mb\.histo': .*'survey', 'skim', 'train', 'hist'"
    ):
        BatchConfig.parse({"memory_mb": {"histo": 3000}}, "batch")
    with pytest.raises(ConfigError, match="memory of stage 'hist' is 0 MB; give 1 MB or more"):
        BatchConfig.parse({"memory_mb": {"hist": 0}}, "batch")
    with pytest.raises(ConfigError, match="a method has 5 folds in a window, found 6"):
        BatchConfig.parse({"trainings_per_job": 6}, "batch")


@pytest.mark.parametrize("name", ["BEARER_TOKEN", "MY_PASSWORD", "aws_secret_access_key"])
def test_no_secret_goes_into_a_submit_file(name):
    with pytest.raises(ConfigError, match=f"'{name}' looks like a secret, which all could read in the queue"):
        Profile.parse({"environment": {name: "x"}}, "profile")
    assert Profile(environment={"BEARER_TOKEN_FILE": "/afs/token"}).environment


def test_lxplus_never_submits_from_eos():
    assert Path("/eos") in read_profile("lxplus").never_from


def test_a_profile_may_be_a_file_and_its_errors_name_it(tmp_path):
    own = tmp_path / "mine.yaml"
    own.write_text("python: [python3.12]\n")
    assert read_profile(str(own)).python == ("python3.12",)
    own.write_text("pyton: [python3.12]\n")
    with pytest.raises(ConfigError, match="unknown key 'pyton'; did you mean 'python'"):
        read_profile(str(own))
    own.write_text("submit: {request_memory: 4 GB}\n")
    with pytest.raises(ConfigError, match="'request_memory' is written by oddjet"):
        read_profile(str(own))
    with pytest.raises(
        ConfigError, match=r"profile 'lxpuls' is neither one of generic, lpc, lxplus\b.* nor a file"
    ):
        read_profile("lxpuls")


def test_environment_goes_into_the_submit_file():
    assert made(Profile(environment={"B": "2", "A": "1 x"}))["environment"] == "\"A='1 x' B='2'\""
    with pytest.raises(ConfigError, match="'A' holds a quote"):
        Profile.parse({"environment": {"A": "it's"}}, "profile")


def test_submit_commands_and_memory_of_a_profile_are_checked():
    with pytest.raises(ConfigError, match=r"key 'submit': '\+JobFlavour' spans lines; write it in one"):
        Profile.parse({"submit": {"+JobFlavour": "long\nqueue 1000"}}, "profile")
    with pytest.raises(ConfigError, match=r"memory_most_mb is 1000, less than memory_mb, 2000; raise it"):
        Profile.parse({"request": {"memory_most_mb": 1000}}, "profile")


def test_the_dag_runs_the_stages_in_order_and_lists_and_merges_around_each():
    lines = dag_file(WORK, ["skim", "train"], Profile(node_retries=2)).splitlines()
    assert "JOB skim /home/me/run/condor/skim.sub" in lines
    assert "SCRIPT DEFER 75 30 PRE skim /home/me/run/condor/script.sh pending skim" in lines
    assert "SCRIPT DEFER 75 30 POST skim /home/me/run/condor/script.sh merge skim" in lines
    assert "PRE_SKIP skim 100" in lines
    assert "RETRY train 2" in lines
    assert lines[-1] == "PARENT skim CHILD train"


@pytest.mark.parametrize("path", ["/a b", "/a,b", "/a$b", '/a"b', "/a\nb", "/a;b"])
def test_paths_that_submit_files_cannot_carry_are_refused(path):
    with pytest.raises(ConfigError, match="HTCondor's files cannot carry this path"):
        plain_path(Path(path))


def run_wrapper(folder: Path, python: Path) -> subprocess.CompletedProcess[str]:
    (folder / "job.sh").write_text(wrapper([str(python)], "oddjet.whl", 1, {"OMP_NUM_THREADS": "1"}))
    return subprocess.run(["bash", "job.sh"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", [0, 1, 7, 139])
def test_the_wrapper_leaves_with_the_exit_code_of_the_program(tmp_path, code):
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && exit 0\necho "$OMP_NUM_THREADS $PYTHONPATH"\nexit {code}\n'
    )
    python.chmod(0o755)
    done = run_wrapper(tmp_path, python)
    assert done.returncode == code
    assert done.stdout.split() == ["1", f"{tmp_path}/code"]
    assert (tmp_path / "out").is_dir()


def test_a_job_that_has_nothing_left_to_do_ends_at_once(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho started > started\nexit 139\n")
    python.chmod(0o755)
    about = tmp_path / ".job.ad"
    monkeypatch.setenv("_CONDOR_JOB_AD", str(about))
    about.write_text('Iwd = "/x"\nOddjetDone = true\nNumJobStarts = 3\n')
    assert run_wrapper(tmp_path, python).returncode == 0
    assert (tmp_path / "out").is_dir()  # HTCondor brings it back
    assert not (tmp_path / "started").exists()
    about.write_text('Iwd = "/x"\nOddjetDone = false\n')
    assert run_wrapper(tmp_path, python).returncode == 139


def test_the_wrapper_stops_where_the_code_cannot_be_unpacked(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -m ] && exit 3\necho started > started\n')
    python.chmod(0o755)
    assert run_wrapper(tmp_path, python).returncode == 3
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("action", "light", "full", "code", "said"),
    [
        ("merge", 9, 0, 0, ["merge"]),
        ("merge", 9, 75, 75, ["merge"]),
        ("pending", 0, 9, 0, ["pending"]),
        ("pending", 75, 9, 75, ["pending"]),
        ("pending", 1, 9, 1, ["pending"]),
        ("pending", 100, 0, 100, ["pending", "merge"]),  # nothing is missing: merged at once
        ("pending", 100, 1, 1, ["pending", "merge"]),
    ],
)
def test_the_script_of_the_dag_keeps_its_words_and_its_exit_code(tmp_path, action, light, full, code, said):
    (tmp_path / "logs").mkdir()
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\ncase $2 in\n"
        f'*condor.pending*) echo "pending $3 $4"; exit {light} ;;\n'
        f'*) echo "merge $4 $5"; [ "$3" = node ] && exit {full} ;;\nesac\n'
    )
    python.chmod(0o755)
    file = tmp_path / "script.sh"
    file.write_text(script([str(python)], tmp_path, {}))
    done = subprocess.run(["bash", file, action, "skim"], env=os.environ, check=False)
    assert done.returncode == code
    lines = [f"{word} skim {tmp_path}" for word in said]
    assert (tmp_path / "logs" / "skim.script.log").read_text().splitlines() == lines
