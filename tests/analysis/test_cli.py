"""The command line as its users meet it: exit codes, messages, help."""

import errno
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import uproot
import yaml

from tests.command_line import told as oddjet

COMMANDS = (
    "skim",
    "train",
    "hist",
    "scan",
    "limit",
    "bias",
    "toys",
    "report",
    "run",
    "demo",
    "simulate",
    "models",
)
FILE = "data.root"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "analysis.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage:" in done.stdout
    assert "substructure" in done.stdout


@pytest.fixture
def search(tmp_path, make_nano_file):
    """A configuration that reads one small file, and a way to make it anew."""
    make_nano_file(tmp_path / FILE, 600)
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {FILE: None}}
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    config = {
        "run": {"output": str(tmp_path / "out")},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "methods": {"cwola": {}},
        "scan": {"masses": [3000]},
    }
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _truncate(path, _make):
    path.write_bytes(path.read_bytes()[:-2000])


def _drop_tau3(path, make):
    make(path, 600, drop=("FatJet_tau3",))


def _nan_pt(path, make):
    def change(columns):
        pt = columns["FatJet"]["pt"]
        columns["FatJet"]["pt"] = pt * float("nan")

    make(path, 600, change=change)


def _remove(path, _make):
    path.unlink()


def _not_root(path, _make):
    path.write_text("hello")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, r"data\.root"),
        (_drop_tau3, r"FatJet_tau3"),
        (_nan_pt, r"data\.root.*FatJet_pt.*entry"),
        (_remove, r"sample 'mock': file 'data\.root' does not exist"),
        (_not_root, r"data\.root"),
    ],
)
def test_a_bad_input_ends_in_one_message_and_exit_code_one(
    monkeypatch, capsys, search, make_nano_file, damage, message
):
    damage(search.parent / FILE, make_nano_file)
    code, text = oddjet(monkeypatch, capsys, "skim", search)
    assert code == 1
    assert text.count("error:") == 1
    assert "Traceback" not in text
    assert re.search(message, text), text


def test_an_empty_file_is_counted(monkeypatch, capsys, caplog, search, make_nano_file):
    make_nano_file(search.parent / FILE, 0)
    make_nano_file(search.parent / "more.root", 500)
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {FILE: 0, "more.root": 500}}
    (search.parent / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    with caplog.at_level(logging.INFO, logger="oddjet"):
        code, _ = oddjet(monkeypatch, capsys, "skim", search)
    assert code == 0
    assert "500 of 500 events" in caplog.text


def test_an_unknown_key_is_named(monkeypatch, capsys, search):
    search.write_text(search.read_text() + "serach: {}\n")
    code, text = oddjet(monkeypatch, capsys, "run", search)
    assert code == 1
    assert "unknown key 'serach'; did you mean 'search'?" in text


def test_a_file_with_fewer_entries_than_the_definition_says_is_refused(monkeypatch, capsys, search):
    samples = search.parent / "samples.yaml"
    samples.write_text(samples.read_text().replace("null", "700"))
    code, text = oddjet(monkeypatch, capsys, "skim", search)
    assert code == 1
    assert "600" in text
    assert "700" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(monkeypatch, capsys, command):
    code, text = oddjet(monkeypatch, capsys, command, "--help")
    assert code == 0
    assert f"Example: oddjet {command}" in text


def test_the_installed_command_lists_its_commands():
    script = shutil.which("oddjet", path=str(Path(sys.executable).parent))
    assert script, "oddjet is not installed beside this Python"
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in COMMANDS)


def test_models_are_listed_with_a_line_each(monkeypatch, capsys):
    code, text = oddjet(monkeypatch, capsys, "models")
    assert code == 0
    assert "cwola" in text


def test_a_wrong_recipe_is_named(monkeypatch, capsys, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("seed: 1\nyaer: '2017'\n")
    code, text = oddjet(monkeypatch, capsys, "simulate", recipe, "--out", tmp_path / "sample")
    assert code == 1
    assert "unknown key 'yaer'; did you mean 'year'?" in text


def test_the_fixture_is_a_ttree(search):
    with uproot.open(search.parent / FILE) as file:
        assert file.classname_of("Events") == "TTree"


def test_an_output_that_cannot_be_written_ends_in_one_message(monkeypatch, capsys, search):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "features/mock")

    monkeypatch.setattr("analysis.pipeline.skim", full)
    code, text = oddjet(monkeypatch, capsys, "skim", search)
    assert code == 1
    assert (
        "error: features/mock: No space left on device; check the path, its permissions and the disk" in text
    )
