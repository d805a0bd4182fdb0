"""Limits with retraining on a small run: injections, efficiencies, both rules, the study, what is redone, coverage.

The procedure is that of CMS-EXO-22-026, arXiv:2412.03747, appendix B.
"""

import logging
import re
import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import analysis
from analysis.cli import app
from analysis.cli_common import conclude
from analysis.config import load_config
from analysis.inspect_files import inspect
from analysis.limit_pipeline import run_limits
from analysis.limit_record import LimitRecord, UncertaintySource
from analysis.limit_study import StudyRecord
from analysis.pipeline import histogram, scan, skim, train, write_run_report
from analysis.plots.style import PlotLabel
from analysis.report.numbers import significant
from analysis.report.retraining import draw_retraining, expected_sensitivity, retraining_tables
from analysis.retraining_limits import grid_limits
from analysis.retraining_run import RetrainingRecord, SelectedBackground
from analysis.run import Run
from data.errors import ConfigError, FitError, InputError
from data.files import read_json
from models.studies import draw_injections
from processors.skim import read_features

TREES = {"bags": 1, "iterations": 8, "patience": 8}
CROSS_SECTIONS = [20.0, 120.0, 400.0]
DATA, SIGNAL = 6000, 4000


def jets_of(mean=None, seed=11):
    """Two jets back to back: a falling dijet mass and any substructure, or a peak of heavy jets with two prongs."""

    def change(columns):
        rng = np.random.default_rng(seed)
        n = len(columns["event"])
        total = 2 * n
        mjj = 1900 + rng.exponential(450.0, n) if mean is None else rng.normal(mean, 0.04 * mean, n)
        flat = {name: rng.uniform(0.1, 0.5, total) for name in ("tau1", "tau2", "tau3", "tau4")}
        soft_drop = rng.exponential(60.0, total)
        if mean is not None:
            soft_drop = rng.normal(250.0, 60.0, total)
            flat["tau2"] = flat["tau1"] * rng.uniform(0.1, 0.5, total)
        flat |= {
            "msoftdrop": soft_drop, "mass": soft_drop + 90, "lsf3": 0.01 * rng.random(total),
            "jetId": np.full(total, 6), "nConstituents": rng.integers(20, 120, total),
            "subJetIdx1": np.tile([0, 2], n), "subJetIdx2": np.tile([1, 3], n), "pt": np.repeat(mjj / 2, 2),
            "eta": np.tile([0.05, -0.05], n), "phi": np.tile([0.0, np.pi], n),
        }  # fmt: skip
        fields = columns["FatJet"].fields
        columns["FatJet"] = ak.zip({name: ak.unflatten(flat[name], np.full(n, 2)) for name in fields})
        score = next(iter(columns["SubJet"].fields))
        columns["SubJet"] = ak.zip({score: ak.unflatten(rng.random(2 * total), np.full(n, 4))})
        if "genWeight" in columns:
            columns["genWeight"] = rng.uniform(0.5, 1.5, n).astype(np.float32)

    return change


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, make_nano_file):
    folder = tmp_path_factory.mktemp("inputs")
    make_nano_file(folder / "data.root", DATA, seed=1, change=jets_of())
    make_nano_file(
        folder / "signal.root", SIGNAL, seed=2, first_event=50_001, simulation=True, change=jets_of(3000.0)
    )
    samples = {
        "mock": {
            "kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0,
            "files": {"data.root": DATA},
        },
        "signal": {
            "kind": "simulation", "process": "xyy", "year": "2017", "cross_section_pb": 0.01, "mass": 3000,
            "files": {"signal.root": SIGNAL},
        },
    }  # fmt: skip
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": samples}, sort_keys=False))
    config = {
        "run": {"output": "out", "seed": 3},
        "samples": "samples.yaml",
        "search": {"data": "mock", "signals": ["signal"]},
        "methods": {"cwola": {"trees": TREES, "classifier": "trees", "scope": "event"}},
        # Of some hundred events, most of them signal, larger functions would take the peak for background.
        "scan": {
            "masses": [3000],
            "fit_start": 1960,
            "minuit": False,
            "calculator": "asymptotic",
            "candidates": [2],
        },
        "limits": {"signals": {"signal": CROSS_SECTIONS}, "seeds": 2},
    }
    (folder / "search.yaml").write_text(yaml.safe_dump(config))
    return folder


def run_of(inputs, out, *settings):
    return Run(*load_config(inputs / "search.yaml", (f"run.output={out}", *settings)))


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    run = run_of(inputs, tmp_path_factory.mktemp("finished") / "run")
    for stage in (skim, train, histogram, scan):
        stage(run)
    run_limits(run, study=True)
    return run


def record_of(run):
    return LimitRecord.parse(read_json(run.root / "limits.json"), "limits.json")


def test_the_files_of_the_limits_can_be_inspected(finished):
    found = {path.name: inspect(str(path)) for path in (finished.root / "limits").rglob("*.json")}
    assert {one["kind"] for one in found.values()} == {"trainings with an injected signal"}
    own = found["cwola.json"]
    assert (own["method"], own["window"], own["seeds"]) == ("cwola", "B3", 2)
    assert own["cross_sections_fb"] == list(CROSS_SECTIONS)


def test_limits_of_a_method_that_learns(finished):
    record = record_of(finished)
    assert record.study
    limits = record.signals["signal"]
    assert list(limits.selections) == ["inclusive", "cwola", "prong2", "prong3"]
    assert limits.window == "B3"
    # Runs counts twice the events written; nearly all pass.
    assert 0.45 < limits.acceptance < 0.5
    cwola, inclusive = limits.selections["cwola"], limits.selections["inclusive"]
    for point, sigma in zip(cwola.points, CROSS_SECTIONS, strict=True):
        assert point.injected == round(sigma * 2.0 * limits.acceptance)
        assert point.efficiency == pytest.approx(np.mean(point.efficiencies))
        assert len(point.z) == 2
    assert cwola.points[0].efficiency < 0.3
    assert cwola.points[-1].efficiency > 0.5
    assert min(cwola.points[-1].z) > 5
    assert all(point.efficiency > 0.99 for point in inclusive.points)
    # A fixed selection: limit = events / (luminosity · acceptance · efficiency), here of any cross section.
    found = inclusive.observed
    assert found.grid_fb is None
    share = np.mean([point.efficiency for point in inclusive.points])
    assert found.crossing_fb == pytest.approx(found.n_excluded / (2.0 * limits.acceptance * share))
    # The limit with retraining, against its definition.
    found, curve = cwola.expected[2], cwola.curve
    assert found.status == "ok"
    there = np.interp(found.crossing_fb, curve.cross_section_fb, curve.efficiency)
    assert found.crossing_fb * there == pytest.approx(found.n_excluded * cwola.fb_per_event, rel=0.02)
    assert found.crossing_low_fb <= found.crossing_fb <= found.crossing_high_fb
    crossings = [limit.crossing_fb for limit in cwola.expected if limit.status == "ok"]
    assert crossings == sorted(crossings)
    assert found.crossing_fb <= found.grid_fb <= found.grid_tie_fb
    # The uncertainty of the signal's normalisation makes limits worse.
    assert cwola.signal_uncertainty > 0.016
    assert found.n_excluded > cwola.n_excluded_without[3]
    three, five = cwola.discovery
    assert (three.z, five.z) == (3.0, 5.0)
    assert five.status == "ok"
    assert three.status in {"ok", "below_smallest"}


def test_spectra_of_the_injections(finished):
    """Counts of the inclusive selection by hand: data, and the signal events drawn."""
    study = StudyRecord.read(finished.root / "limits" / "signal" / "inclusive.json")
    data = read_features(finished.root / "features" / "mock")
    signal = read_features(finished.root / "features" / "signal")
    drawn = draw_injections(signal, CROSS_SECTIONS, 2.0, study.acceptance, [3, 4])
    assert [(one.cross_section_fb, one.seed) for one in study.injections] == [
        (sigma, seed) for sigma in CROSS_SECTIONS for seed in (3, 4)
    ]
    assert sum(study.nominal) == len(data["mjj"])
    for one, injection in zip(study.injections, drawn, strict=True):
        mixed = np.append(data["mjj"], signal["mjj"][injection.chosen])
        counts, _ = np.histogram(mixed, np.linspace(1200, 14000, 3201))
        np.testing.assert_array_equal(one.spectrum().counts, counts)
        assert sum(one.kept) == pytest.approx(1.0)
    cwola = StudyRecord.read(finished.root / "limits" / "signal" / "cwola.json")
    assert sum(cwola.nominal) < 0.1 * sum(study.nominal)


def test_only_what_changed_is_done_again(finished, inputs, caplog):
    stamps = {path.name: path.stat().st_mtime_ns for path in (finished.root / "manifests").iterdir()}
    run_limits(run_of(inputs, finished.root, "limits.study=true"))
    assert stamps == {path.name: path.stat().st_mtime_ns for path in (finished.root / "manifests").iterdir()}
    with caplog.at_level(logging.INFO, logger="oddjet"):
        run_limits(run_of(inputs, finished.root, "systematics.luminosity=0.3"), study=True)
    done = [message.split(":")[0] for message in caplog.messages if ": done" in message]
    assert done == ["limit"]
    assert record_of(finished).signals["signal"].selections["cwola"].signal_uncertainty > 0.3
    run_limits(finished, study=True)


def stand_in(down):
    """What trainings with systematic variations would find."""

    def retrain(run, signal, method, cross_section, seeds, within):
        jms = UncertaintySource(name="jms", up=0.1, down=-down, relevance=0.5, feature="m_j1", relevant=True, retrained=True)  # fmt: skip
        counts = StudyRecord.read(run.root / "limits" / signal / f"{method}.json").nominal
        background = SelectedBackground(effective_events=6000.0, shares=(0.02, 0.02), counts=(counts, counts))
        return RetrainingRecord(
            cross_section_fb=cross_section, efficiencies=(0.8, 0.7), sources=(jms,), background=background
        )

    return retrain


def test_uncertainties_found_by_retraining_enter_the_limits(finished, inputs, tmp_path, monkeypatch, caplog):
    root = tmp_path / "run"
    shutil.copytree(finished.root, root)
    monkeypatch.setattr("analysis.retraining_run.retrain_systematics", stand_in(0.4))
    run = run_of(inputs, root, "limits.systematics=true")
    with caplog.at_level(logging.INFO, logger="oddjet"):
        run_limits(run)
    done = [message.split(":")[0] for message in caplog.messages if ": done" in message]
    assert done == [
        "limit signal cwola injection",
        "limit signal varied",
        "limit signal cwola retraining",
        "limit",
    ]
    assert read_json(run.root / "account.json")["stages"]["limit signal varied"]["processed"] == SIGNAL
    found = record_of(run).signals["signal"].selections
    cwola, before = found["cwola"], record_of(finished).signals["signal"].selections["cwola"]
    reach_fb = cwola.n_excluded_without[3] * cwola.fb_per_event
    grid = grid_limits(np.array(CROSS_SECTIONS), np.array([one.efficiency for one in cwola.points]), reach_fb)
    assert cwola.uncertainties.injection_fb == grid.tie_injection
    assert [one.name for one in cwola.uncertainties.sources] == ["jms", "signal_statistics", "luminosity"]
    assert 0.4 < cwola.signal_uncertainty < 0.42
    assert cwola.expected[2].n_excluded > before.expected[2].n_excluded
    assert len(cwola.uncertainties.background.z) == 2
    assert found["inclusive"].uncertainties.injection_fb is None
    assert before.uncertainties.message == "limits.systematics is not set"
    # Fits with another option choose the same injection: nothing is trained again.
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="oddjet"):
        run_limits(run_of(inputs, root, "limits.systematics=true", "scan.f_test_p=0.04"))
    done = [message.split(":")[0] for message in caplog.messages if ": done" in message]
    assert done == ["limit signal cwola injection", "limit"]


def test_the_command_tells_the_limits_and_which_are_missing(finished, inputs):
    """Seven events pass the cuts on two prongs: no fit, no limit, no exit code 0."""
    arguments = ["limit", str(inputs / "search.yaml"), "--out", str(finished.root), "--study"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, FitError)
    assert str(result.exception).startswith(
        "no limit for every selection; see the reason of each:\n  prong2, signal: "
    )
    found = record_of(finished).signals["signal"].selections["cwola"].observed
    assert f"  cwola      {found.crossing_fb:.3g} fb (expected " in result.stdout
    assert "prong2     no valid fit" in result.stdout
    assert str(finished.root / "limits.json") in result.stdout
    assert (finished.root / "plots" / "significance_signal.pdf").is_file()


def test_a_whole_run_ends_with_its_limits(finished, capsys):
    """What ``oddjet run`` says in the end; ``oddjet scan`` says nothing of limits."""
    conclude([finished])
    assert "95 % CL limits on the cross section" not in capsys.readouterr().out
    with pytest.raises(
        FitError, match="no limit for every selection; see the reason of each:\n  prong2, signal: "
    ):
        conclude([finished], limits=True)
    found = record_of(finished).signals["signal"].selections["cwola"].observed
    assert f"  cwola      {found.crossing_fb:.3g} fb (expected " in capsys.readouterr().out


def test_figures_and_tables_of_the_limits(finished):
    record = record_of(finished)
    drawn = {one.name: one for one in draw_retraining(record, PlotLabel())}
    assert list(drawn) == ["significance_signal", "retraining_cwola_signal"]
    limit = record.signals["signal"].selections["cwola"].observed
    assert f"{limit.crossing_fb:.3g}" in drawn["retraining_cwola_signal"].caption
    largest = max(
        z
        for one in record.signals["signal"].selections.values()
        for point in one.points
        for z in point.z
        if z
    )
    words = [text.get_text() for text in drawn["significance_signal"].figure.axes[0].texts]
    assert any("Beyond 9" in text for text in words) == (largest > 9)
    upper, lower = drawn["retraining_cwola_signal"].figure.axes
    assert upper.get_xlim() == lower.get_xlim()
    exclusion = drawn["retraining_cwola_signal"].chart
    crossing = exclusion.panels[1].marks[-1]
    assert (crossing.x[0], crossing.y[0]) == (limit.crossing_fb, limit.crossing_fb)
    assert len(exclusion.tips) == len(CROSS_SECTIONS)
    told = drawn["significance_signal"].chart.tips
    assert [text.splitlines()[0] for _, _, text in told] == [
        f"{size:g} fb injected" for size in CROSS_SECTIONS
    ]
    limits, discovery, *injections = retraining_tables(record)
    assert [row[1] for row in limits.rows] == ["inclusive", "cwola", "prong2", "prong3"]
    assert limits.rows[1][2] == significant(limit.crossing_fb)
    assert len(discovery.rows) == 4
    captions = [table.caption for table in injections]
    assert sum(caption.startswith("Injections of ") for caption in captions) == 4
    assert sum(caption.startswith("Uncertainties of ") for caption in captions) == 3  # prong2 has no limit
    assert retraining_tables(None) == []
    sentence = expected_sensitivity(record)
    assert sentence.startswith(
        "For signal, with the methods trained again on each injected cross section, the median expected"
    )
    assert re.search(rf"{re.escape(limits.rows[1][4])}( fb)? \(cwola\)", sentence)
    assert "prong2" not in sentence  # it has no limit
    assert expected_sensitivity(None) == ""


@pytest.mark.slow
def test_the_report_shows_the_limits(finished):
    write_run_report(finished)
    page = (finished.root / "report" / "index.html").read_text()
    assert "Limits with retraining" in page
    for name in ("significance_signal", "retraining_cwola_signal"):
        assert (finished.root / "plots" / f"{name}.png").stat().st_size > 10_000


def test_without_a_section_there_are_no_limits(finished, inputs):
    with pytest.raises(ConfigError, match="the configuration has no section 'limits'; add one"):
        run_limits(run_of(inputs, finished.root, "limits=null"))


def test_the_shipped_configuration_is_valid():
    path = Path(analysis.__file__).with_name("configs") / "demo_limits.yaml"
    config, samples = load_config(path)
    assert config.limits is not None
    assert samples["signal_3000_400_400"].mass == 3000.0


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("limits.signals={other: [1, 2]}", "limits.signals: 'other' is none of search.signals .signal."),
        ("limits.signals={signal: [2, 1]}", "cross sections of 'signal' must increase"),
        ("limits.signals={signal: [1]}", "limits.signals.signal.* at least 2"),
        ("limits.signals={}", "limits.signals"),
        ("limits.methods=[tnt]", "limits.methods: 'tnt' is none of methods .cwola."),
        ("limits.seeds=1", "limits.seeds"),
        ("limits.published=zprime", "significances of 'zprime' are not known; known: xyy_80_170"),
        ("limits.seed=1", "did you mean 'seeds'"),
        ("methods={}", "limits: there is no method to train again"),
        ("scan.masses=[2000]", "no scanned mass lies in window B3 of 'signal'; add 3000 to scan.masses"),
        ("features.without=[tau2]", "method '(cwola|prong2)' needs the columns"),
    ],
)  # fmt: skip
def test_impossible_limits_are_refused(inputs, tmp_path, setting, match):
    with pytest.raises(ConfigError, match=match):
        run_of(inputs, tmp_path, setting)


def test_a_cross_section_beyond_the_simulation_is_refused(finished, inputs, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(finished.root, root)
    with pytest.raises(InputError, match="events are to be injected"):
        run_limits(run_of(inputs, root, "limits.signals={signal: [10, 100000]}"))


@pytest.mark.slow
def test_the_limit_covers_a_signal_at_the_limit(finished, inputs, tmp_path, make_nano_file):
    """Data that hold a signal of the cross section that is expected to be excluded do not exclude it, in 2 of 3 at least.

    The events that can be excluded cover in 95 %, but the efficiency is found in data that hold the planted signal and
    the injected one: it is larger than the planted one's own, the more so the steeper it rises.
    """
    limits = record_of(finished).signals["signal"]
    wanted = limits.selections["cwola"].expected[2].crossing_fb
    planted = round(wanted * 2.0 * limits.acceptance)
    folder = shutil.copytree(inputs, tmp_path / "inputs")
    samples = yaml.safe_load((folder / "samples.yaml").read_text())
    covered = 0
    for seed in range(3):
        make_nano_file(
            folder / "planted.root", planted, seed=70 + seed, first_event=90_001, change=jets_of(3000.0, 70 + seed)
        )  # fmt: skip
        make_nano_file(folder / "data.root", DATA, seed=80 + seed, change=jets_of(None, 80 + seed))
        samples["samples"]["mock"]["files"] = {"data.root": DATA, "planted.root": planted}
        (folder / "samples.yaml").write_text(yaml.safe_dump(samples, sort_keys=False))
        run = run_of(folder, tmp_path / f"run{seed}")
        for stage in (skim, train, histogram, run_limits):
            stage(run)
        found = record_of(run).signals["signal"].selections["cwola"].observed
        covered += found.status == "not_excluded" or (found.crossing_fb or 0.0) >= wanted
    assert covered >= 2


@pytest.mark.slow
def test_systematic_uncertainties_are_retrained_at_the_best_injection(inputs, tmp_path, make_nano_file):
    """All of it: a jet mass scale that matters, a resolution that does not, simulated background without a signal."""
    folder = shutil.copytree(inputs, tmp_path / "inputs")
    make_nano_file(
        folder / "qcd.root", DATA, seed=5, first_event=200_001, simulation=True, change=jets_of(None, 31)
    )
    samples = yaml.safe_load((folder / "samples.yaml").read_text())
    samples["samples"]["qcd"] = {
        "kind": "simulation", "process": "qcd", "year": "2017", "cross_section_pb": 3.0, "files": {"qcd.root": DATA},
    }  # fmt: skip
    (folder / "samples.yaml").write_text(yaml.safe_dump(samples, sort_keys=False))
    corrections = (
        "{jms: {uncertainty: 0.1}, jmr: {resolution: 0.08, scale_factor: 1.05, uncertainty: 0.0005}}"
    )
    run = run_of(
        folder, tmp_path / "run", f"corrections={{'2017': {corrections}}}", "search.background=[qcd]",
        "limits.systematics=true",
    )  # fmt: skip
    for stage in (skim, train, histogram, run_limits):
        stage(run)
    found = record_of(run).signals["signal"].selections["cwola"]
    sources = {one.name: one for one in found.uncertainties.sources}
    assert list(sources) == ["jmr", "jms", "random_variations", "signal_statistics", "luminosity"]
    assert (sources["jms"].retrained, sources["jmr"].retrained) == (True, False)
    assert sources["luminosity"].down == -0.023  # 2017: CMS-PAS-LUM-17-004
    assert found.signal_uncertainty == pytest.approx(
        np.linalg.norm([max(-one.up, -one.down, 0.0) for one in sources.values()])
    )
    assert found.observed is not None
    check = found.uncertainties.background
    assert check.effective_events > 500
    assert max(check.selected) < 0.1
    assert all(z is None or z < 3.5 for z in check.z)
    stamps = {path.name: path.stat().st_mtime_ns for path in (run.root / "manifests").iterdir()}
    run_limits(run)
    assert stamps == {path.name: path.stat().st_mtime_ns for path in (run.root / "manifests").iterdir()}
