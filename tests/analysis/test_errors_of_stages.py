"""What stops a stage or an export: each message names the file, the expression or the selection."""

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from analysis import export_cli
from analysis.expressions import Expression
from analysis.limit_study import counts_of
from analysis.stages import beside
from data.errors import ConfigError, FitError, InputError


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


def test_an_expression_of_more_levels_than_python_has_is_refused():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        with pytest.raises(
            ConfigError, match=r"expression '-{20}…' is nested too deeply; write it with fewer"
        ):
            Expression("-" * 490 + "p1", ("p1",))
    finally:
        sys.setrecursionlimit(limit)


def test_gaussians_without_a_limit_are_told(tmp_path, monkeypatch):
    rows = [{"valid": True, "message": None}, {"valid": False, "message": "mass 3000 GeV: no fit"}]
    stored = SimpleNamespace(facts=SimpleNamespace(selection="inclusive", mass=3000.0))
    monkeypatch.setattr("analysis.model_independent.model_independent_limits", lambda *_, **__: rows)
    monkeypatch.setattr("analysis.workspace_index.read_workspaces", lambda _: [stored])
    monkeypatch.setattr("processors.histogram_io.read_histograms", lambda _: {"mjj": None})
    monkeypatch.setattr("analysis.spectra.Spectra.spectrum", lambda *_: None)
    data = SimpleNamespace(name="mock", luminosity=lambda: 1.0)
    config = SimpleNamespace(scan=None, selection=SimpleNamespace(region="signal"))
    run = SimpleNamespace(root=tmp_path, data=data, config=config)
    expected = r"no valid limit on 1 Gaussians .*; see the first: inclusive: mass 3000 GeV: no fit"
    with pytest.raises(FitError, match=expected):
        export_cli._model_independent(run, tmp_path)
    assert (tmp_path / "inclusive.json").is_file()


def test_an_injected_event_outside_the_histogram_is_told():
    with pytest.raises(InputError, match=r"2 events outside 1200–14000 GeV, the first at 1100; check mjj"):
        counts_of(np.array([1100.0, 3000.0, 14000.0]))
