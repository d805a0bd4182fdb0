"""`oddjet init` writes a configuration that runs as it is, or says what stops it."""

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
import yaml

from analysis.config import load_config
from data.samples import read_samples
from tests.command_line import called

MINI = Path(__file__).parents[2] / "data" / "mini"


@pytest.fixture
def oddjet(monkeypatch, capsys, tmp_path):
    """Runs ``oddjet ARGUMENTS`` in a folder of its own: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    return partial(called, monkeypatch, capsys)


def test_data_and_signals_give_a_search_that_plans(oddjet, tmp_path):
    code, out, _ = oddjet(
        "init", MINI / "mock_0.root", MINI / "signal_3000_400_400_0.root", MINI / "signal_4000_400_400_0.root"
    )
    assert code == 0
    assert "data_2017: data, year 2017 (by its runs, 300001), 1 file, 54,306 entries" in out
    config, samples = load_config(tmp_path / "search.yaml")
    assert config.search.signals == ("signal_3000_400_400", "signal_4000_400_400")
    assert config.methods["cwola"]["classifier"] == "trees"
    assert config.scan.masses[0] >= 3000
    assert config.scan.masses[-1] <= 4000
    assert config.scan.fit_start == pytest.approx(2232, abs=60)
    assert samples["signal_3000_400_400"].mass == 3000
    assert samples["data_2017"].files[str(MINI / "mock_0.root")] == 54306
    code, out, _ = oddjet("plan", "search.yaml")
    assert code == 0
    assert "data_2017 (data, 2017): 1 file, 54,306 entries" in out
    code, out, _ = oddjet("plan", "search.yaml", "--json")
    assert json.loads(out)["stages"]["skim data_2017"] is False
    assert not (tmp_path / "output").exists()


def test_few_events_run_as_far_as_they_can(oddjet, tmp_path, make_nano_file):
    make_nano_file(tmp_path / "a.root", 12, drop=("FatJet_lsf3",))
    code, out, _ = oddjet("init", "a.root", "--out", "mine.yaml")
    assert code == 0
    assert "these are few" in out
    text = (tmp_path / "mine.yaml").read_text()
    assert "methods: {}" in text
    assert "without: [lsf3]" in text
    code, _, err = oddjet("run", "mine.yaml")
    assert code == 1
    assert err.count("error:") == 1
    assert re.search("inclusive at .* GeV: .*(too few for a fit|no events between)", err)
    assert (tmp_path / "output" / "mine" / "report" / "index.html").is_file()


def test_simulation_alone_is_searched_as_mock_data(oddjet, tmp_path):
    code, out, _ = oddjet("init", MINI / "qcd_particles_0.root", MINI / "signal_particles_0.root")
    assert code == 0
    assert "qcd_particles: mock data" in out
    assert "signal_particles: signal, 3000 GeV" in out
    config, samples = load_config(tmp_path / "search.yaml")
    assert samples["qcd_particles"].mock
    assert config.run.status == "simulation"
    comments = (tmp_path / "search_samples.yaml").read_text()
    assert "every event counts once, without its weight" in comments
    assert "the files do not tell" in comments


def test_all_comments_stand_where_a_choice_was_made(oddjet, tmp_path, make_nano_file):
    make_nano_file(tmp_path / "QCD_HT1000.root", 400, simulation=True)
    assert oddjet("init", "QCD_HT1000.root")[0] == 0
    search = (tmp_path / "search.yaml").read_text()
    samples = (tmp_path / "search_samples.yaml").read_text()
    assert (
        '"2017"  # a choice: triggers and filters fit 2017, 2018; it may be 2018 as well: correct it'
        in samples
    )
    assert search.startswith("# yaml-language-server: $schema=")
    schema = Path(search.splitlines()[0].partition("$schema=")[2])
    assert schema.is_file()


@pytest.mark.parametrize("name", ["3000", "null", "no", "1e3"])
def test_a_name_that_yaml_would_read_as_something_else(oddjet, tmp_path, make_nano_file, name):
    make_nano_file(tmp_path / f"{name}.root", 60, simulation=True)
    make_nano_file(tmp_path / "tt.root", 30, simulation=True)
    code, out, err = oddjet("init", "tt.root", f"{name}.root")
    assert (code, err) == (0, "")
    config, samples = load_config(tmp_path / "search.yaml")
    assert (config.search.data, samples[name].process, samples[name].mock) == (name, name, True)
    assert list(read_samples(tmp_path / "search_samples.yaml")) == ["tt", name]
    assert f"{name}: mock data" in out


def test_files_below_the_folder_are_named_relative_to_it(oddjet, tmp_path, make_nano_file):
    (tmp_path / "in").mkdir()
    (tmp_path / "conf").mkdir()
    make_nano_file(tmp_path / "conf" / "b.root", 30)
    make_nano_file(tmp_path / "in" / "a.root", 30, first_event=1000)
    assert oddjet("init", "conf/b.root", "in/a.root", "--out", "conf/mine.yaml")[0] == 0
    content = yaml.safe_load((tmp_path / "conf" / "mine_samples.yaml").read_text())
    assert list(content["samples"]["data_2017"]["files"]) == ["b.root", str(tmp_path / "in" / "a.root")]
    assert len(read_samples(tmp_path / "conf" / "mine_samples.yaml")["data_2017"].files) == 2


@pytest.mark.parametrize("there", ["search.yaml", "search_samples.yaml"])
def test_nothing_is_overwritten(oddjet, tmp_path, make_nano_file, there):
    make_nano_file(tmp_path / "a.root", 30)
    (tmp_path / there).write_text("mine")
    code, _, err = oddjet("init", "a.root")
    assert code == 1
    assert f"{there} is there already; give another name with --out" in err
    assert (tmp_path / there).read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"a.root", there}


def test_a_bad_file_leaves_nothing_behind(oddjet, tmp_path, make_nano_file):
    path = make_nano_file(tmp_path / "a.root", 300)
    path.write_bytes(path.read_bytes()[:-500])
    code, _, err = oddjet("init", "a.root")
    assert code == 1
    assert "a.root' is truncated" in " ".join(err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["a.root"]


def test_what_stops_a_run_is_said_at_once(oddjet, tmp_path, make_nano_file):
    make_nano_file(tmp_path / "a.root", 100, drop=("HLT_PFHT1050", "HLT_AK8PFJet500"))
    code, out, _ = oddjet("init", "a.root")
    assert code == 0
    assert "not yet: file" in out
    assert "trigger of 2017" in out
    assert oddjet("run", "search.yaml")[0] == 1


@pytest.mark.parametrize(
    "name", ["pfnano", "pfnano_rntuple", pytest.param("nano_tt_v15", marks=pytest.mark.slow)]
)
def test_files_of_cms_go_through_init_and_plan(oddjet, tmp_path, name):
    folder = os.environ.get("ODDJET_DATA")
    if folder is None:
        pytest.skip("ODDJET_DATA is not set: no CMS files to look at")
    code, out, _ = oddjet("init", Path(folder) / "cms" / f"{name}.root")
    assert code == 0
    assert "mock data" in out
    code, out, _ = oddjet("plan", "search.yaml")
    assert code == 0
    assert "methods: none" in out
    config, samples = load_config(tmp_path / "search.yaml")
    years = {"pfnano": "2017", "pfnano_rntuple": "2017", "nano_tt_v15": "2023"}
    assert samples[config.search.data].year == years[name]
