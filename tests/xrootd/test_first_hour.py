"""`oddjet init`, `doctor` and `plan` with files behind root://, of a server that works and of one that is down."""

import json
from functools import partial

import pytest

from data.samples import read_samples
from tests.command_line import called


@pytest.fixture
def oddjet(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return partial(called, monkeypatch, capsys)


@pytest.fixture
def server(serve, tmp_path, make_nano_file):
    server = serve()
    for name, first in (("Run2018A_0.root", 1), ("Run2018A_1.root", 1001)):
        server.put(make_nano_file(tmp_path / name, 300, first_event=first, year_name="2018"), f"d/{name}")
    return server


def test_a_folder_of_a_server_becomes_a_search(server, oddjet, tmp_path):
    code, out, _ = oddjet("init", server.address("d/"))
    assert code == 0
    assert "data_2018: data, year 2018 (by the name of its dataset), 2 files, 600 entries" in out
    sample = read_samples(tmp_path / "search_samples.yaml")["data_2018"]
    assert sample.files == {server.address(f"d/Run2018A_{number}.root"): 300 for number in (0, 1)}
    code, out, _ = oddjet("plan", "search.yaml", "--json")
    assert code == 0
    assert json.loads(out)["samples"][0]["entries"] == 600
    code, out, _ = oddjet("doctor", "search.yaml")
    assert code == 0
    assert "ok    sites: 2 remote files; blocked: no site" in out
    assert "2 of 2 files readable, 600 entries" in out


def test_a_server_that_is_down_is_a_failed_check_for_each_file(server, oddjet):
    assert oddjet("init", server.address("d/"))[0] == 0
    server.stop()
    code, out, _ = oddjet("doctor", "search.yaml", "--json")
    content = json.loads(out)
    failed = [one for one in content["checks"] if one["state"] == "fail"]
    assert code == 1
    assert len(failed) == 2
    assert all("Run2018A_" in one["text"] and "server and network" in one["remedy"] for one in failed)


def test_an_address_without_a_server_leaves_nothing_behind(oddjet, free_port, tmp_path):
    code, _, err = oddjet("init", f"root://127.0.0.1:{free_port()}//store/a.root")
    assert code == 1
    assert err.count("error:") == 1
    assert "a.root" in err
    assert not list(tmp_path.glob("*.yaml"))
