"""Texts of submit files, DAGs, lists and wrappers, without any HTCondor."""

import os
import subprocess
from pathlib import Path

import pytest

from condor.config import BatchConfig
from condor.profile import Profile, read_profile, shipped
from condor.submit_file import StageFiles, dag_file, job_list, plain_path, script, submit_file, wrapper
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
    for code in (
        "HoldReasonCode == 34",
        "HoldReasonCode == 21 && HoldReasonSubCode == 102",
        "HoldReasonCode == 3",
    ):
        assert code in release


def test_memory_grows_after_a_hold_up_to_a_limit():
    found = made(Profile(request={"memory_mb": 1000, "memory_growth": 2, "memory_most_mb": 5000}))
    assert "MemoryUsage * 2" in found["request_memory"]
    assert "min({5000," in found["request_memory"]
    assert "MemoryUsage > MemoryProvisioned" in found["periodic_hold"]


def test_the_last_machine_is_avoided_unless_the_profile_says_no():
    assert "splitSlotName(LastRemoteHost)[1]" in made()["requirements"]
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
    with pytest.raises(ConfigError, match=r"batch: key 'container': .*pin it by digest"):
        BatchConfig.parse({"container": "docker://registry/image:latest"}, "batch")


def test_only_the_path_of_a_proxy_is_written(tmp_path):
    proxy = tmp_path / "x509"
    proxy.write_text("secret")
    text = submit_file(StageFiles("skim", WORK, (), proxy=proxy), Profile())
    assert f"x509userproxy = {proxy}" in text
    assert "secret" not in text
    assert "getenv" not in text


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_profiles_are_whole(name):
    profile = read_profile(name)
    assert profile.description
    assert profile.tries >= 2
    assert submit_file(StageFiles("skim", WORK, ()), profile)


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
        ConfigError, match="profile 'lxpuls' is neither one of generic, lpc, lxplus nor a file"
    ):
        read_profile("lxpuls")


def test_environment_goes_into_the_submit_file():
    assert made(Profile(environment={"B": "2", "A": "1 x"}))["environment"] == "\"A='1 x' B='2'\""
    with pytest.raises(ConfigError, match="'A' holds a quote"):
        Profile.parse({"environment": {"A": "it's"}}, "profile")


def test_the_dag_runs_the_stages_in_order_and_lists_and_merges_around_each():
    lines = dag_file(WORK, ["skim", "train"], Profile(node_retries=2)).splitlines()
    assert "JOB skim /home/me/run/condor/skim.sub" in lines
    assert "SCRIPT PRE skim /home/me/run/condor/script.sh pending skim" in lines
    assert "SCRIPT POST skim /home/me/run/condor/script.sh merge skim" in lines
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


def test_the_wrapper_stops_where_the_code_cannot_be_unpacked(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -m ] && exit 3\necho started > started\n')
    python.chmod(0o755)
    assert run_wrapper(tmp_path, python).returncode == 3
    assert not (tmp_path / "started").exists()


def test_the_script_of_the_dag_keeps_its_words_and_its_exit_code(tmp_path):
    (tmp_path / "logs").mkdir()
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "said $5 $4"\nexit 100\n')
    python.chmod(0o755)
    file = tmp_path / "script.sh"
    file.write_text(script([str(python)], tmp_path))
    done = subprocess.run(["bash", file, "pending", "skim"], env=os.environ, check=False)
    assert done.returncode == 100
    assert (tmp_path / "logs" / "skim.script.log").read_text() == "said skim pending\n"
