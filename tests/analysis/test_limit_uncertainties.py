"""Uncertainties in the limits with retraining: where they are found, which are, what they add up to; no training.

The procedure is that of CMS-EXO-22-026, arXiv:2412.03747, appendix B.
"""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import analysis.limit_efficiencies
import analysis.retraining_run
import analysis.retraining_systematics
from analysis.limit_efficiencies import best_injection, efficiencies, range_of_fit
from analysis.limit_record import LimitPoint, UncertaintySource
from analysis.limit_study import EDGES, InjectedSpectra, StudyRecord, counts_of
from analysis.limit_uncertainty import (
    KnownUncertainties,
    background_check,
    total_downward,
    yield_uncertainties,
)
from analysis.report.limit_uncertainties import uncertainty_table
from analysis.retraining_run import RetrainingRecord, SelectedBackground, retrain_systematics
from analysis.run_systematics import UncertainSignal
from analysis.scan_config import ScanConfig
from analysis.signal_shape import SignalModel
from analysis.systematics import SourceShift
from analysis.systematics_config import SystematicsConfig
from analysis.variation_sources import sources_of
from data.files import write_json

SCAN = ScanConfig(fit_start=1960, minuit=False, calculator="asymptotic")
SIGMA = (5.0, 20.0, 80.0)
LUMINOSITY, ACCEPTANCE = 10.0, 0.5


def falling(events, seed=0):
    """Dijet masses from 1900 GeV on."""
    rng = np.random.default_rng(seed)
    return tuple(int(n) for n in np.histogram(1900 + rng.exponential(450, events), EDGES)[0])


def study(method, events, shares, *, retrained=True):
    """Injections of which a share is kept at 3 TeV; the second seed keeps a tenth less."""
    place = int(np.searchsorted(EDGES, 3000.0))
    kept = [(*np.zeros(place), share * part) for share in shares for part in (1.0, 0.9)]
    pairs = [(sigma, seed) for sigma in SIGMA for seed in (3, 4)]
    return StudyRecord(
        signal="signal", method=method, window="B3", mass=3000.0, acceptance=ACCEPTANCE, effective_events=1000.0,
        retrained=retrained, nominal=falling(events),
        injections=tuple(
            InjectedSpectra(cross_section_fb=sigma, seed=seed, injected=1, counts=falling(events), kept=one)
            for (sigma, seed), one in zip(pairs, kept, strict=True)
        ),
    )  # fmt: skip


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """Finds the best injection of a study; the whole spectrum keeps all signal among 20,000 events."""
    monkeypatch.setattr(analysis.limit_efficiencies, "spectra_of", lambda run: None)
    monkeypatch.setattr(analysis.limit_efficiencies, "signal_model", lambda *found: SignalModel.generic())
    run = SimpleNamespace(
        root=tmp_path, samples={}, data=SimpleNamespace(luminosity=lambda: LUMINOSITY),
        config=SimpleNamespace(scan=SCAN, search=SimpleNamespace(signals=())),
    )  # fmt: skip

    def choose(record):
        for one in (study("inclusive", 20_000, (1.0, 1.0, 1.0), retrained=False), record):
            write_json(tmp_path / "limits" / "signal" / f"{one.method}.json", one.model_dump(mode="json"))
        return best_injection(run, "signal", record.method)

    return choose


def test_the_best_injection_is_that_of_the_grid(chosen):
    """Nothing is learnt from 5 fb, much from 20: there the limit is best, max(20, σ_excl(20)) = 20."""
    best = chosen(study("cwola", 400, (0.01, 0.6, 0.7)))
    assert best.cross_section_fb == 20.0
    assert best.message is None
    assert best.fit_range[0] == 1960.0


def test_a_limit_that_no_selection_beats_is_not_worth_retraining(chosen):
    best = chosen(study("cwola", 400, (0.01, 0.01, 0.01)))
    assert best.cross_section_fb is None
    assert "is worse than" in best.message
    assert "no injection with a signal" in chosen(study("cwola", 400, (0.0, 0.0, 0.0))).message
    fixed = chosen(study("cwola", 400, (0.5, 0.5, 0.5), retrained=False))
    assert fixed.message == "the selection is the same for any data"


def test_events_below_the_fit_have_the_efficiency_of_the_whole_histogram():
    events = list(falling(0))
    events[int(np.searchsorted(EDGES, 1520.0))] = 3
    few = study("cwola", 0, (0.1, 0.5, 0.5)).model_copy(update={"nominal": tuple(events)})
    config = SCAN.model_copy(update={"fit_start": 1800.0})
    assert range_of_fit(few, config) == (EDGES[0], EDGES[-1])
    assert efficiencies(few, config).mean == pytest.approx([0.095, 0.475, 0.475])


def test_weighted_counts_keep_their_tail():
    """Bins of weights far below a half, as in the tail of simulation in slices: the sum of any stretch stays."""
    rng = np.random.default_rng(3)
    mjj = 1500 + rng.exponential(600, 1000)
    weights = np.where(mjj < 2000, 5.0, np.where(mjj < 2500, 0.3, 0.05))
    counts = np.array(counts_of(mjj, weights))
    for low, high in ((1500, 2000), (2000, 2500), (2500, 7000)):
        first, last = np.searchsorted(EDGES, (low, high))
        wanted = weights[(mjj >= low) & (mjj < high)].sum()
        assert wanted > 5
        assert counts[first:last].sum() == pytest.approx(wanted, abs=1)


def rough(cross_section):
    return LimitPoint(
        n_excluded=10.0, status="ok", crossing_fb=cross_section, crossing_low_fb=None, crossing_high_fb=None,
        grid_fb=None, grid_tie_fb=None,
    )  # fmt: skip


LUMI = SourceShift("luminosity", "given", 0.025, -0.025)
JES = SourceShift("jes", "up_down", 0.04, -0.03)


def test_without_trainings_the_sources_are_those_before_the_method():
    record = study("cwola", 400, (0.1, 0.5, 0.5))
    known = KnownUncertainties((LUMI,), (JES,), message="limits.systematics is not set")
    found = yield_uncertainties(known, record, efficiencies(record, SCAN), rough(80.0), None)
    sizes = {one.name: -one.down for one in found.sources}
    mean = 0.5 * 0.95
    # Trainings with 0.5 and 0.45 have a standard deviation of 0.05/√2, and the neighbour has the same.
    assert sizes == pytest.approx({
        "jes": 0.03, "signal_statistics": (mean * 1000) ** -0.5, "random_variations": 0.05 / np.sqrt(2) / mean,
        "luminosity": 0.025,
    })  # fmt: skip
    assert total_downward(found.sources) == pytest.approx(np.linalg.norm(list(sizes.values())))
    assert found.injection_fb is None
    assert not any(one.retrained for one in found.sources)
    assert (
        "those before the method, as limits.systematics is not set." in uncertainty_table(found, "x").caption
    )


def test_trainings_at_the_best_injection_replace_them():
    record = study("cwola", 400, (0.1, 0.5, 0.5))
    again = RetrainingRecord(
        cross_section_fb=20.0, efficiencies=(0.5, 0.45), background=None,
        sources=(
            UncertaintySource(name="jms", up=-0.2, down=-0.1, relevance=0.7, feature="m_j1", relevant=True, retrained=True),
            UncertaintySource(name="jes", up=0.3, down=0.05, relevance=0.1, feature="m_j1"),
            UncertaintySource(name="random_variations", up=0.1, down=-0.1),
        ),
    )  # fmt: skip
    found = yield_uncertainties(
        KnownUncertainties((LUMI,), (JES,), again), record, efficiencies(record, SCAN), rough(80.0), None
    )
    assert [one.name for one in found.sources] == [
        "jms", "jes", "random_variations", "signal_statistics", "luminosity",
    ]  # fmt: skip
    assert found.injection_fb == 20.0
    # Both shifts of jms are downwards: the larger counts; both of jes upwards: none does.
    parts = [0.2, 0.0, 0.1, (0.475 * 1000) ** -0.5, 0.025]
    assert total_downward(found.sources) == pytest.approx(np.linalg.norm(parts))
    table = uncertainty_table(found, "cwola, signal")
    assert "with 20 fb of the signal in the data." in table.caption
    # Statistics and luminosity are of no training; upwards count 0.3 of jes, and the last three.
    assert [row[3] for row in table.rows] == ["again", "fixed", "again", "–", "–", "–"]
    up = np.linalg.norm([0.3, *parts[2:]])
    assert table.rows[-1][:2] == ("Total", f"+{100 * up:.1f} / −{100 * np.linalg.norm(parts):.1f} %")


def test_a_sculpted_background_shows():
    """A smooth background has no peak; one with 60 events more at the mass has."""
    smooth = np.array(falling(3000, seed=5))
    peak = smooth.copy()
    peak[np.searchsorted(EDGES, np.random.default_rng(1).normal(3000, 60, 60))] += 1
    selected = SelectedBackground(
        effective_events=10_000.0, shares=(0.3, 0.31), counts=tuple(tuple(int(n) for n in one) for one in (smooth, peak))
    )  # fmt: skip
    found = background_check(selected, 3000.0, UncertainSignal(SignalModel.generic()), SCAN)
    assert found.selected == (0.3, 0.31)
    assert found.z[0] < 2.5
    assert found.z[1] > 3
    assert background_check(None, 3000.0, UncertainSignal(SignalModel.generic()), SCAN) is None


class Cut:
    """Stands in for a method: whatever it is trained on, it selects x above a half."""

    inputs = ("x",)
    optional_columns: ClassVar = {}

    def training_columns(self):
        return ()

    def fold_votes(self, table, *, trained_on=None):
        return np.where(np.asarray(table["x"]) > 0.5, 5, 0)


def uniform(events, shift=0.0, weight=1.0):
    x = (np.arange(events) + 0.5) / events + shift
    return {"mjj": np.full(events, 3000.0), "x": x, "weight": np.full(events, weight)}


def test_relevant_pairs_are_retrained_and_ensembles_are_not(monkeypatch, tmp_path, caplog):
    """4000 events of weight 1/4 injected at 10 fb: a tenth is 50 of 500 events, its uncertainty 7, a fifth of it 1.4."""
    nominal = uniform(4000, weight=0.25)
    uneven = nominal | {"weight": np.where(np.arange(4000) == 3999, 100.25, 0.25)}
    varied = {
        "jms_up": uniform(4000, 0.1, 0.25), "jms_down": uniform(4000, -0.1, 0.25),
        "jmr_up": uniform(4000, 0.001, 0.25), "jmr_down": uniform(4000, -0.001, 0.25),
        **{f"lund_stat_{k}": uniform(4000, weight=0.25 * (1 + 0.1 * (-1) ** k)) for k in range(4)},
        "lund_sys_up": uniform(4000, weight=0.3), "lund_sys_down": uniform(4000, weight=0.2),
        "lund_unclust_up": uneven, "lund_unclust_down": nominal,
    }  # fmt: skip
    trained = []
    patch = {
        "_varied_tables": lambda *found: (nominal, varied),
        "training_tables": lambda *found: (uniform(2000), {}),
        "untrained": lambda *found: Cut(),
        "is_prior": lambda *found: False,
        "expected_events": lambda sample: 2000.0,
        "resonance_mass": lambda sample: 3000.0,
        "searched_table": lambda *found: uniform(3000, weight=0.5) | {"event": np.arange(3000)},
    }
    for name, stand_in in patch.items():
        monkeypatch.setattr(analysis.retraining_run, name, stand_in)
    monkeypatch.setattr(
        analysis.retraining_systematics,
        "fit_together",
        lambda methods, *found, **kept: trained.extend(methods),
    )
    run = SimpleNamespace(
        samples={"signal": None}, root=tmp_path, further_samples=lambda method: {},
        data=SimpleNamespace(luminosity=lambda: 100.0),
        config=SimpleNamespace(
            systematics=SystematicsConfig(), processing=SimpleNamespace(local_workers=1),
            search=SimpleNamespace(background=("qcd",)), selection=SimpleNamespace(region="signal"),
        ),
    )  # fmt: skip
    found = retrain_systematics(run, "signal", "cwola", 10.0, (1, 2), (2000.0, 5000.0))
    flags = {one.name: (one.relevant, one.retrained) for one in found.sources}
    assert flags == {
        "jms": (True, True), "jmr": (False, False), "lund_stat": (True, False), "lund_sys": (True, True),
        "lund_unclust": (True, False), "random_variations": (False, False),
    }  # fmt: skip
    assert len(trained) == 2 * (1 + 2 + 2)  # two seeds of the nominal signal and of a pair of each source
    shifts = {one.name: (one.up, one.down) for one in found.sources}
    assert shifts["jmr"] == pytest.approx((0.002, -0.002), abs=5e-4)
    assert shifts["lund_stat"] == pytest.approx((0.1 * np.sqrt(4 / 3), -0.1 * np.sqrt(4 / 3)))
    # The events drawn for the injection are not counted, so that the yield is known to some per cent.
    assert shifts["jms"] == pytest.approx((0.2, -0.2), abs=0.05)
    assert shifts["lund_sys"] == pytest.approx((0.2, -0.2), abs=0.05)
    # 600 of 500 events, with the trainings as they are
    assert shifts["lund_unclust"] == pytest.approx((0.2, 0.0))
    assert "cwola is not trained again for uncertainty 'lund_unclust', which is relevant" in caplog.text
    assert "'lund_unclust_up' of signal: 550 of 4000 events are to be injected" in caplog.text
    # The background is selected as the signal is: half of it, with weights that count as one event each.
    assert found.background.effective_events == pytest.approx(3000)
    assert found.background.shares == pytest.approx((0.5, 0.5))
    assert [sum(counts) for counts in found.background.counts] == [1500, 1500]


def test_lund_variations_are_pairs_in_histograms_and_toys_in_tables():
    pairs = sources_of(["nominal", "lund_sys_up", "lund_sys_down", "lund_pt_up", "lund_pt_down"])
    assert [(one.name, one.kind) for one in pairs] == [("lund_sys", "up_down"), ("lund_pt", "up_down")]
    (toys,) = sources_of([f"lund_pt_{k}" for k in range(12)])
    assert (toys.name, toys.kind) == ("lund_pt", "toys")
    assert toys.members[-1] == "lund_pt_11"
