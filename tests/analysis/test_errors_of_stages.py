"""What stops a stage before it begins: each message names the file."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.stages import beside
from data.errors import ConfigError


def test_correction_files_of_one_name_are_told(monkeypatch):
    files = (Path("a/weights.json"), Path("b/weights.json"))
    monkeypatch.setattr("analysis.stages.correction_files", lambda _: files)
    events = SimpleNamespace(corrections_of=lambda _: None)
    run = SimpleNamespace(config=SimpleNamespace(events=lambda: events))
    expected = (
        "sample 'tt': correction files 'a/weights.json' and 'b/weights.json' are called alike; rename one"
    )
    with pytest.raises(ConfigError, match=expected):
        beside(run, SimpleNamespace(name="tt"))
