"""`oddjet plan`: what a run would do, which stages are up to date, and what it takes."""

import json
import sys

import pytest
import yaml

from analysis import cli
from analysis import plan_estimate as cost
from analysis.config import load_config
from analysis.pipeline import histogram, scan, skim
from analysis.plan_cli import plan_lines
from analysis.plan_view import plan_view, trains_more
from analysis.run import Run
from analysis.survey import survey

EVENTS = 3000
WITH_A_METHOD = "methods={cwola: {}}"


@pytest.fixture(scope="module")
def search(tmp_path_factory, make_nano_file):
    """A configuration of two files, finished up to the scan."""
    folder = tmp_path_factory.mktemp("plan")
    make_nano_file(folder / "a.root", EVENTS)
    make_nano_file(folder / "b.root", 500, first_event=EVENTS + 1)
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": None, "b.root": 500}}
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    config = {
        "run": {"output": str(folder / "out"), "title": "toy"},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "processing": {"chunk_size": 1000},
        "scan": {"masses": [1900, 2000], "fit_start": 1300, "calculator": "asymptotic", "minuit": False},
    }
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(config))
    run = run_of(path)
    for stage in (skim, histogram, scan):
        stage(run)
    return path


@pytest.fixture(scope="module")
def with_signal(search, make_nano_file):
    """Overrides that add a signal sample to the configuration."""
    make_nano_file(search.parent / "signal.root", 200, simulation=True)
    samples = yaml.safe_load((search.parent / "samples.yaml").read_text())
    samples["samples"]["signal"] = {
        "kind": "simulation", "process": "x", "year": "2017", "cross_section_pb": 0.001, "mass": 2000,
        "files": {"signal.root": None},
    }  # fmt: skip
    (search.parent / "with_signal.yaml").write_text(yaml.safe_dump(samples))
    return "samples=with_signal.yaml", "search.signals=[signal]", WITH_A_METHOD


def run_of(path, *overrides):
    return Run(*load_config(path, overrides))


def state(path, *overrides):
    return {name.partition(" ")[0]: current for name, current in survey(run_of(path, *overrides)).items()}


def test_what_is_done_is_up_to_date(search):
    assert state(search) | {"report": False} == {
        "skim": True, "hist": True, "merge": True, "scan": True, "report": False, "studies": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "current"),
    [
        (WITH_A_METHOD, {"skim"}),
        ("scan.fit_start=1400", {"skim", "hist", "merge"}),
        ("selection.jet_pt_min=320", set()),
        ("processing.chunk_size=300", {"skim", "hist", "merge", "scan"}),
    ],
)
def test_what_depends_on_a_change_is_to_do(search, change, current):
    found = state(search, change)
    assert {name for name, done in found.items() if done} == current


def test_another_run_folder_has_everything_to_do(search, tmp_path):
    found = survey(run_of(search, WITH_A_METHOD, f"run.output={tmp_path / 'new'}"))
    assert list(found)[:2] == ["skim mock", "train cwola A1"]
    assert not any(found.values())
    assert not (tmp_path / "new").exists()


def test_limits_are_among_the_stages(search, with_signal, tmp_path):
    chosen = (
        *with_signal,
        "limits={signals: {signal: [5, 10]}, seeds: 2, systematics: true}",
        f"run.output={tmp_path / 'out'}",
    )
    run = run_of(search, *chosen)
    found = survey(run)
    assert "limit signal cwola" in found
    assert found["limit"] is False
    view = plan_view(run)
    assert view.limit_trainings == 2 * 2 * 5
    lines = list(plan_lines(view))
    assert "limits with retraining: at least 20 trainings" in lines
    assert any(line.startswith("time: at least") for line in lines)
    assert "  the trainings before tell which are needed" in lines
    plain = plan_view(run_of(search, *chosen, "limits.systematics=false"))
    lines = list(plan_lines(plain))
    assert "limits with retraining: 20 trainings" in lines
    assert any(line.startswith("time: about") for line in lines)


def test_trainings_for_systematic_uncertainties_are_open_until_they_are_done(search, with_signal, tmp_path):
    name = "limit signal cwola"
    limits = "limits={signals: {signal: [5, 10]}, systematics: true}"
    run = run_of(search, *with_signal, limits, f"run.output={tmp_path / 'out'}")
    assert trains_more(run, {name: True, "limit": False})
    assert trains_more(run, {name: True, f"{name} injection": False, f"{name} retraining": True})
    assert trains_more(run, {name: True, f"{name} injection": True, f"{name} retraining": False})
    assert not trains_more(run, {name: True, f"{name} injection": True, f"{name} retraining": True})
    assert not trains_more(run, {name: True, f"{name} injection": True})
    assert not trains_more(run_of(search), {})


def test_the_view_counts_files_entries_chunks_and_selected(search):
    view = plan_view(run_of(search, WITH_A_METHOD))
    (sample,) = view.samples
    assert (sample.files, sample.entries, sample.chunks) == (2, EVENTS + 500, 4)
    account = json.loads((search.parent / "out" / "accounts" / "skim.mock.json").read_text())
    assert sample.selected == account["selected"]
    assert view.event_bytes == 173
    assert view.seconds["train"] > 0
    assert "skim" not in view.seconds
    lines = "\n".join(plan_lines(view))
    assert "mock (data, 2017): 2 files, 3,500 entries" in lines
    assert "cwola (preset default): 10 trainings" in lines


def test_a_chunk_is_timed_on_demand(search, tmp_path):
    view = plan_view(run_of(search, f"run.output={tmp_path / 'new'}"), measure=True)
    (sample,) = view.samples
    assert sample.measured
    assert 0 < sample.selected < sample.entries
    assert sample.rate != cost.JET_EVENTS
    assert view.seconds["skim"] == pytest.approx(sample.entries / sample.rate)
    assert not (tmp_path / "new").exists()


def test_json_is_the_only_output(search, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["oddjet", "plan", str(search), "--json"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    content = json.loads(capsys.readouterr().out)
    assert content["stages"]["scan"] is True
    assert content["wall_seconds"] >= 0


def test_costs_grow_with_what_is_done():
    data = cost.SampleCost(1000, 500.0, 100.0, searched=True)
    signal = cost.SampleCost(1000, 500.0, 100.0, searched=False)
    assert cost.pass_seconds(data) == pytest.approx(10.0)
    scored = cost.pass_seconds(data, {"cwola": 2}) - 10.0
    assert scored == pytest.approx(2 * 500 / cost.SCORED["cwola"])
    assert cost.pass_seconds(signal, {"cwola": 2}) - 10.0 == pytest.approx(5 * scored)
    assert cost.training_seconds("cwola", "quick", cost.TRAINED_ROWS) == cost.TRAINED["cwola"]
    assert cost.training_seconds("vae_qr", "quick", cost.TRAINED_FEW_ROWS) == cost.TRAINED_FEW["vae_qr"]
    assert cost.training_seconds("cwola", "paper", 1e5) is None
    assert cost.scan_seconds(10, 2, 0) == pytest.approx(20 * cost.FIT)
    assert cost.scan_seconds(10, 2, 1000) == pytest.approx(20 * (cost.FIT + 1000 * cost.TOY_FIT))
    assert cost.table_bytes(1000.0, 400) == pytest.approx(cost.COPIES * 400e3)
    more = cost.worker_memory(10_000, particles=True, networks=False)
    assert more > cost.worker_memory(10_000, particles=False, networks=False)
    assert cost.worker_memory(10_000, particles=True, networks=True) - more == cost.NETWORK_MEMORY


def test_costs_are_those_of_methods():
    import models

    assert set(cost.SCORED) <= set(models.available())
    assert set(cost.TRAINED) | set(cost.TRAINED_FEW) == set(cost.SCORED)
    assert cost.training_seconds("a_new_one", "quick", 1e5) is None  # told as "not known"
    data = cost.SampleCost(1000, 500.0, 100.0, searched=True)
    slowest = min(cost.SCORED, key=cost.SCORED.__getitem__)
    assert cost.pass_seconds(data, {"a_new_one": 1}) == cost.pass_seconds(data, {slowest: 1})


@pytest.mark.parametrize(("size", "words"), [(500, "0 kB"), (2.5e6, "2.5 MB"), (25e9, "25 GB")])
def test_sizes_in_words(size, words):
    assert cost.size_in_words(size) == words
