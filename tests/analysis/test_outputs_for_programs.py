"""What `--json` prints of a run, and the schema that `oddjet schema` prints."""

import json
import sys

import pytest

from analysis import cli
from analysis.cli_common import conclude
from analysis.config_schema import config_schema
from analysis.summary import summary_document
from data.errors import FitError
from data.files import write_json


@pytest.fixture
def root(tmp_path):
    """A run folder with the results that are summarised."""
    good = {"mass": 3000, "valid": True, "z": 2.5, "p0": 0.006, "message": ""}
    rows = {
        "inclusive": [good | {"mass": 2900, "z": 0.5}, good],
        "cwola": [good | {"valid": False, "z": None, "message": "no minimum"}],
    }
    p_global = {"p_global": 0.1, "p_global_error": 0.01, "message": None}
    write_json(
        tmp_path / "scan.json",
        {"sample": "mock", "selections": rows, "global": {"selections": {"inclusive": p_global}}},
    )
    write_json(tmp_path / "account.json", {"expected": 10, "processed": 10})
    return tmp_path


class Finished:
    """What `conclude` asks a run for."""

    def __init__(self, root):
        self.root = root
        self.config = type("Config", (), {"limits": None})()


def test_the_largest_excess_of_each_selection(root):
    found = summary_document(root)
    assert found["selections"]["inclusive"]["largest_excess"]["mass"] == 3000
    assert found["selections"]["inclusive"]["p_global"] == 0.1
    assert found["selections"]["cwola"] == {"largest_excess": None, "p_global": None}
    assert found["invalid"] == ["cwola at 3000 GeV: no minimum"]
    assert (found["expected"], found["processed"], found["report"], found["limits"]) == (10, 10, None, None)


def test_json_is_printed_before_the_command_fails(root, capsys):
    with pytest.raises(FitError, match="cwola at 3000 GeV: no minimum"):
        conclude([Finished(root)], limits=True, as_json=True)
    assert json.loads(capsys.readouterr().out) == [summary_document(root)]


@pytest.mark.parametrize("name", ["search", "samples"])
def test_the_schema_is_printed(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["oddjet", "schema", name])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(config_schema(name)))
