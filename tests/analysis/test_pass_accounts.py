"""Passes that go over the events of a sample beside the two: the survey for its Lund-plane weights, all variations."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from analysis import limit_pipeline
from analysis.accounts import failure_lines
from analysis.cli_common import prepare
from analysis.limit_pipeline import run_limits, vary
from analysis.pipeline import histogram, skim
from data.errors import ReadError
from data.files import read_json
from processors import schedule
from processors.lund_reweighting_maps import Binning, RatioMaps, write_ratio_maps
from processors.lund_reweighting_survey import Survey
from processors.varied_skim import VariedSkim

MINI = Path(__file__).resolve().parent.parent.parent / "data" / "mini"


@pytest.fixture
def run(tmp_path, make_nano_file):
    """A search with a signal that has Lund-plane weights, and whose limits have uncertainties."""
    binning = Binning()
    ones = np.ones(binning.shape)
    coefficients, covariance = np.zeros((20, 20, 3)), np.zeros((20, 20, 3, 3))
    coefficients[..., 0] = 1
    maps = RatioMaps(
        binning, "cambridge", ones, ones / 10, ones, ones, coefficients, covariance, np.ones(6), ones, ones / 50
    )  # fmt: skip
    write_ratio_maps(tmp_path / "maps.json", maps)
    make_nano_file(tmp_path / "data.root", 300)
    samples = {
        "mock": {
            "kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0, "files": {"data.root": 300},
        },
        "signal": {
            "kind": "simulation", "process": "xyy", "year": "2017", "cross_section_pb": 0.01, "mass": 3000,
            "files": {str(MINI / "signal_particles_0.root"): 1048}, "without_corrections": ["prefiring"],
        },
    }  # fmt: skip
    config = {
        "samples": "samples.yaml",
        "search": {"data": "mock", "signals": ["signal"]},
        "scan": {"masses": [3000], "fit_start": 1960},
        "processing": {"particle_chunk_size": 400, "retries": 1},
        "corrections": {"2017": {"lund": {"file": "maps.json", "toys": 2, "sources": ["pt"]}}},
        "limits": {"signals": {"signal": [5, 10, 20]}, "systematics": True, "methods": ["cwola"]},
        "methods": {"cwola": {}},
    }
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": samples}))
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config))
    return prepare(tmp_path / "search.yaml", tmp_path / "run", None, None)


def deaf(monkeypatch, work, left=1):
    """Let a pass fail at entry 400, so many times; where each of its chunks begins."""
    real, seen = work.__call__, []

    def call(self, events):
        seen.append(events.metadata["entrystart"])
        if seen.count(400) <= left and seen[-1] == 400:
            msg = "file 'a': no answer"
            raise ReadError(msg)
        return real(self, events)

    monkeypatch.setattr(work, "__call__", call)
    monkeypatch.setattr(schedule, "_PAUSE", 0.01)
    return seen


@pytest.fixture
def untrained(monkeypatch):
    """No method is trained, neither for the search nor for its limits."""
    monkeypatch.setattr("analysis.run.Run.tasks", lambda _: [])
    for name in ("study_signal", "retrain", "conclude_limits"):
        monkeypatch.setattr(limit_pipeline, name, lambda *_: None)
    monkeypatch.setattr(limit_pipeline, "find_injection", lambda *_: True)


def test_a_sample_is_looked_through_once_for_all_passes(run, untrained, monkeypatch):
    seen = deaf(monkeypatch, Survey)
    skim(run)
    assert sorted(seen) == [0, 400, 400, 800]
    histogram(run)
    run_limits(run)
    assert sorted(seen) == [0, 400, 400, 800]
    assert not (run.root / "partials").exists()
    account = read_json(run.root / "account.json")
    assert account["complete"]
    assert {stage: (one["processed"], one["retried"]) for stage, one in account["stages"].items()} == {
        "skim mock": (300, 0), "skim signal": (1048, 400), "hist mock": (300, 0), "hist signal": (1048, 0),
        "limit signal varied": (1048, 0),
    }  # fmt: skip


def test_without_a_pass_to_come_nothing_is_kept_of_the_survey(run, untrained, monkeypatch):
    config = run.config.model_copy(update={"limits": None})
    run = type(run)(config, run.samples)
    skim(run)
    assert len(run.store("survey signal").files()) == 3
    histogram(run)
    assert not (run.root / "partials").exists()


def test_other_options_do_not_take_what_the_survey_found_before(run, untrained, monkeypatch):
    seen = deaf(monkeypatch, Survey, left=0)
    skim(run)
    config = run.config.model_copy(update={"jets": run.config.jets.model_copy(update={"pt_min": 310.0})})
    skim(type(run)(config, run.samples))
    assert sorted(seen) == [0, 0, 400, 400, 800, 800]


def test_the_pass_with_all_variations_has_an_account(run, untrained, monkeypatch):
    deaf(monkeypatch, VariedSkim)
    vary(run, "signal")
    account = read_json(run.root / "account.json")
    assert account["stages"]["limit signal varied"]["retried"] == 400
    (line,) = failure_lines(run)
    assert line.startswith("limit signal varied: ")
    assert line.endswith("entries 400–799, 2 attempts, recovered: file 'a': no answer")


def test_where_the_pass_with_all_variations_fails_its_account_says_so(run, untrained, monkeypatch):
    vary(run, "signal")
    run.manifest("limit signal varied").unlink()
    deaf(monkeypatch, VariedSkim, left=99)
    with pytest.raises(ReadError, match="no answer"):
        vary(run, "signal")
    account = read_json(run.root / "account.json")
    assert not account["complete"]
    assert account["stages"]["limit signal varied"]["failed"] == 400
