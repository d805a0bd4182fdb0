"""`oddjet doctor`: every check can fail, and says what to do then."""

import base64
import datetime as dt
import json
import os
import shutil

import pytest
import yaml

from analysis import doctor
from analysis.config import load_config
from analysis.doctor_files import credential_checks, device_checks, run_checks, wanted_extras
from analysis.run import Run
from tests.command_line import called

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def search(tmp_path, make_nano_file):
    make_nano_file(tmp_path / "a.root", 400)
    make_nano_file(tmp_path / "b.root", 300, first_event=1000)
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": 400, "b.root": None}}
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    config = {
        "run": {"output": str(tmp_path / "out")},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "methods": {"prong2": {}},
        "scan": {"masses": [2000]},
    }
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def checks(path, *overrides):
    return list(run_checks(Run(*load_config(path, overrides))))


def failing(found):
    return {check.name: f"{check.text} {check.remedy}" for check in found if check.state == "fail"}


def oddjet(monkeypatch, capsys, *arguments):
    return called(monkeypatch, capsys, *arguments)[:2]


def test_all_is_well_here(monkeypatch, capsys, search):
    code, out = oddjet(monkeypatch, capsys, "doctor", search)
    assert code == 0
    assert "ok    sample mock: 2 of 2 files readable, 700 entries" in out
    assert " 0 failed" in out
    assert not (search.parent / "out").exists()


def test_without_a_configuration_the_environment_is_checked(monkeypatch, capsys):
    code, out = oddjet(monkeypatch, capsys, "doctor", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["ok"] is True
    assert {"python", "packages", "kernels", "machine"} <= {one["name"] for one in content["checks"]}


def test_a_failure_is_exit_code_one_and_the_rest_is_checked_all_the_same(monkeypatch, capsys, search):
    (search.parent / "a.root").write_text("hello")
    code, out = oddjet(monkeypatch, capsys, "doctor", search, "--json")
    content = json.loads(out)
    assert code == 1
    assert content["ok"] is False
    bad = [one for one in content["checks"] if one["state"] == "fail"]
    assert len(bad) == 1
    assert "a.root" in bad[0]["text"]
    assert any("1 of 2 files readable, 300 entries" in one["text"] for one in content["checks"])


def test_a_wrong_configuration_is_one_check(monkeypatch, capsys, search):
    search.write_text(search.read_text() + "serach: {}\n")
    code, out = oddjet(monkeypatch, capsys, "doctor", search)
    assert code == 1
    assert "fail  configuration:" in out
    assert "did you mean 'search'?" in out
    assert "ok    python" in out


def test_entries_that_differ_from_the_definition(search, make_nano_file):
    make_nano_file(search.parent / "a.root", 399)
    text = failing(checks(search))["sample mock"]
    assert "a.root' holds 399 entries, the definition says 400 fetch the file again" in text


def test_a_missing_branch(search, make_nano_file):
    make_nano_file(search.parent / "a.root", 400, drop=("FatJet_tau3",))
    assert "no branch FatJet_tau3" in failing(checks(search))["sample mock"]


def test_many_bad_files_are_counted(search, make_nano_file, tmp_path):
    names = [f"bad_{number}.root" for number in range(14)]
    for name in names:
        (tmp_path / name).write_text("hello")
    samples = yaml.safe_load((tmp_path / "samples.yaml").read_text())
    samples["samples"]["mock"]["files"] |= dict.fromkeys(names)
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump(samples))
    found = [check for check in checks(search) if check.state == "fail"]
    assert len(found) == 11
    assert found[-1].text == "4 more files fail"


def test_files_without_an_event_are_warned_of(search, make_nano_file):
    for name in ("a.root", "b.root"):
        make_nano_file(search.parent / name, 0)
    samples = {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": None, "b.root": None}}
    (search.parent / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": samples}}))
    found = next(check for check in checks(search) if check.name == "sample mock")
    assert (found.state, "nothing to process" in found.remedy) == ("warn", True)


def test_python_that_is_too_old():
    assert doctor.python_check((3, 11, 2)).state == "ok"
    assert doctor.python_check((3, 10, 9)).state == "fail"


def test_packages_that_are_missing():
    required = ["numpy>=2", "scikit-learn>=1.7", 'dask>=2025 ; extra == "dask"']
    assert doctor.packages_check(required, {"numpy": "2.1", "scikit_learn": "1.7"}).state == "ok"
    missing = doctor.packages_check(required, {"numpy": "2.1"})
    assert (missing.state, missing.remedy) == ("fail", "pip install scikit-learn")


def test_versions_beside_the_pins():
    lock = "numpy==2.1.0\ntorch==2.13.0\nzuko==1.4\n"
    assert doctor.pins_check(lock, {"numpy": "2.1.0", "torch": "2.13.0+cpu"}).state == "ok"
    other = doctor.pins_check(lock, {"numpy": "2.2.0", "zuko": "1.3"})
    assert other.state == "warn"
    assert other.text == "numpy 2.2.0 (tested with 2.1.0); zuko 1.3 (tested with 1.4)"


def test_an_extra_matters_where_it_is_wanted():
    required = ['dask>=2025 ; extra == "dask"', 'distributed ; extra == "dask"']
    assert (
        doctor.extra_check("dask", "x", required, {"dask": "1", "distributed": "1"}, wanted=True).state
        == "ok"
    )
    assert doctor.extra_check("dask", "x", required, {"dask": "1"}, wanted=False).state == "ok"
    lacking = doctor.extra_check("dask", "x", required, {"dask": "1"}, wanted=True)
    assert (lacking.state, lacking.remedy) == ("fail", "pip install 'oddjet[dask]'")
    assert "(distributed)" in lacking.text


def test_kernels_need_a_folder_that_can_be_written_to(tmp_path):
    assert doctor.kernels_check(tmp_path, {}).state == "ok"
    assert doctor.kernels_check(tmp_path, {"NUMBA_CACHE_DIR": str(tmp_path / "new")}).state == "ok"
    failed = doctor.kernels_check(tmp_path, {"NUMBA_CACHE_DIR": "/proc/nothing"})
    assert failed.state == "fail"
    assert "set NUMBA_CACHE_DIR" in failed.remedy


def test_the_disk_must_have_room(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    assert doctor.space_check(tmp_path / "a" / "b", 1e3).state == "ok"
    assert doctor.space_check(tmp_path, 0.7 * free).state == "warn"
    full = doctor.space_check(tmp_path, 10.0 * free)
    assert (full.state, "make room" in full.remedy) == ("fail", True)
    assert doctor.space_check(doctor.Path("/proc/x"), 1.0).state == "fail"


def test_memory_for_all_workers():
    assert doctor.memory_check(1e9, 4, "processing.chunk_size", 10e9).state == "ok"
    tight = doctor.memory_check(1e9, 12, "processing.chunk_size", 10e9)
    assert tight.state == "warn"
    assert tight.remedy == "take fewer workers (--workers 9), or smaller chunks (processing.chunk_size)"
    none = doctor.memory_check(20e9, 1, "processing.chunk_size", 10e9)
    assert (none.state, none.remedy) == ("fail", "take smaller chunks (processing.chunk_size)")


def test_free_memory_is_what_system_and_group_leave(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:   2000 kB\n")
    assert doctor.available_memory(tmp_path / "meminfo", tmp_path) == 2000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert doctor.available_memory(tmp_path / "meminfo", tmp_path) == 600000
    (tmp_path / "memory.stat").write_text("anon 5\nfile 300000\ninactive_file 250000\nactive_file 7\n")
    assert doctor.available_memory(tmp_path / "meminfo", tmp_path) == 850000
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor.available_memory(tmp_path / "meminfo", tmp_path) == 2000 * 1024
    assert doctor.available_memory(tmp_path / "no", tmp_path / "no") == float("inf")


def test_cores():
    assert "--workers 8 would use all" in doctor.cores_check(2, 8).text
    assert doctor.cores_check(8, 8).state == "ok"
    assert doctor.cores_check(16, 8).remedy.endswith("--workers 8")


@pytest.fixture
def remote(search):
    """The run of a configuration whose file is on another machine; nothing is opened."""
    samples = {
        "samples": {
            "mock": {
                "kind": "data",
                "process": "data",
                "year": "2017",
                "files": {"root://a.org//x.root": None},
            }
        },
        "sites": {"blocked": ["*.b.org"], "credential": "token", "hours": 2},
    }
    (search.parent / "samples.yaml").write_text(yaml.safe_dump(samples))
    return Run(*load_config(search))


def token(hours):
    end = int((dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)).timestamp())
    payload = base64.urlsafe_b64encode(json.dumps({"exp": end}).encode()).decode().rstrip("=")
    return f"a.{payload}.c"


@pytest.mark.parametrize(("hours", "state"), [(5, "ok"), (1, "fail"), (-1, "fail")])
def test_credentials_must_be_valid_for_long_enough(remote, monkeypatch, hours, state):
    monkeypatch.setenv("BEARER_TOKEN", token(hours))
    found = list(credential_checks(remote, os.environ, dt.datetime.now(dt.UTC)))
    assert found[0].text == "1 remote files; blocked: *.b.org"
    assert found[-1].state == state
    assert "token" in found[-1].text


@pytest.mark.parametrize(("hours", "state"), [(5, "ok"), (1, "fail")])
def test_outputs_that_are_copied_away_need_credentials(search, monkeypatch, hours, state):
    definition = yaml.safe_load((search.parent / "samples.yaml").read_text())
    sites = {"credential": "token", "hours": 2}
    (search.parent / "samples.yaml").write_text(yaml.safe_dump({**definition, "sites": sites}))
    run = Run(*load_config(search, ("run.copy_to=root://c.org//out",)))
    monkeypatch.setenv("BEARER_TOKEN", token(hours))
    found = list(credential_checks(run, os.environ, dt.datetime.now(dt.UTC)))
    assert found[0].text == "copied to root://c.org//out"
    assert found[-1].state == state
    assert wanted_extras(run) == ["xrootd"]
    if state == "fail":
        assert "outputs cannot be copied to root://c.org//out (run.copy_to): the token" in found[-1].text


def test_replicas_of_local_files_need_credentials(search, monkeypatch):
    definition = yaml.safe_load((search.parent / "samples.yaml").read_text())
    definition["samples"]["mock"]["files"] = {"a.root": {"replicas": ["root://c.org//a.root"]}}
    (search.parent / "samples.yaml").write_text(
        yaml.safe_dump(definition | {"sites": {"credential": "token"}})
    )
    run = Run(*load_config(search))
    monkeypatch.setenv("BEARER_TOKEN", token(-1))
    found = list(credential_checks(run, os.environ, dt.datetime.now(dt.UTC)))
    assert [check.state for check in found] == ["ok", "fail"]
    assert found[0].text == "1 remote files; blocked: no site"
    assert wanted_extras(run) == ["xrootd"]


def test_extras_that_a_configuration_wants(remote, search):
    assert wanted_extras(remote) == ["xrootd"]
    dask = remote.config.processing.model_copy(update={"executor": "dask"})
    config = remote.config.model_copy(update={"processing": dask})
    assert wanted_extras(Run(config, remote.samples)) == ["dask", "xrootd"]


def test_a_gpu_that_is_not_there(search):
    import torch

    run = Run(*load_config(search, ("methods={cwola: {device: cuda}}",)))
    found = list(device_checks(run))
    assert found[0].state == ("ok" if torch.cuda.is_available() else "fail")
    assert not list(device_checks(Run(*load_config(search))))
