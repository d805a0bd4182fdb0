import numpy as np
import pytest
import yaml
from scipy.stats import norm

import models
from analysis.explanation import explain, feature_groups, rarity
from analysis.feature_shapes import (
    COMMON,
    bin_edges,
    compare_features,
    counted,
    shown_features,
    window_shapes,
)
from analysis.method_study import (
    Judgement,
    flatness,
    gains,
    improvement,
    judge,
    most_anomalous,
    ordinary_events,
    rows_of,
    thinned,
)
from analysis.pipeline import histogram, skim, train
from analysis.report.record import read_record
from analysis.studies import study
from analysis.study_record import EventRecord, StudyRecord, names_of_events
from analysis.training_curves import training_curves
from data.eventid import ID_COLUMNS, batch_number, fold_of
from data.files import read_json
from data.manifest import read_manifest
from models.bundle import read_bundle
from processors.skim import read_features
from tests.analysis.test_pipeline import _falling, run_in

TREES = {"bags": 1, "iterations": 5, "patience": 5}
KEPT = (skim, train, histogram, study)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, make_nano_file):
    """Data, signals inside and beyond the window, and background with two methods."""
    folder = tmp_path_factory.mktemp("inputs")
    make_nano_file(folder / "data.root", 6000, seed=1, change=_falling(450.0))
    make_nano_file(folder / "signal.root", 900, seed=9, simulation=True, change=_falling(0, 3000.0))
    make_nano_file(folder / "heavy.root", 100, seed=9, simulation=True, change=_falling(0, 4500.0))
    make_nano_file(folder / "qcd.root", 2000, seed=5, simulation=True, change=_falling(450.0))
    of = {"kind": "simulation", "year": "2017", "cross_section_pb": 0.01}
    samples = {
        "mock": {
            "kind": "data",
            "process": "data",
            "year": "2017",
            "luminosity_ifb": 2.0,
            "files": {"data.root": 6000},
        },
        "signal": {**of, "process": "xyy", "mass": 3000, "files": {"signal.root": 900}},
        "heavy": {**of, "process": "xyy", "mass": 4500, "files": {"heavy.root": 100}},
        "qcd": {**of, "process": "qcd", "files": {"qcd.root": 2000}},
    }
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": samples}))
    config = {
        "run": {"output": "out", "seed": 3},
        "samples": "samples.yaml",
        "search": {"data": "mock", "signals": ["signal", "heavy"], "background": ["qcd"]},
        "methods": {"cwola": {"trees": TREES}, "prong2": {}},
        "scan": {"masses": [3000], "fit_start": 1960},
        "report": {"events": 3},
    }
    (folder / "search.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def studied(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("studied") / "run"
    run_in(inputs, out, stages=KEPT)
    return out, StudyRecord.parse(read_json(out / "studies.json"), "studies.json")


def test_events_are_the_most_anomalous_of_the_selected(studied):
    out, record = studied
    table = read_features(out / "features" / "mock")
    method = models.load(out / "models" / "cwola" / "B3")
    inside = rows_of(table, (table["mjj"] >= 2725) & (table["mjj"] < 3331) & (table["region"] == 0))
    judged = judge(method, inside, trained_on=True)
    found = record.windows["B3"].methods["cwola"]
    assert found.in_signal_region == len(inside["mjj"])
    assert found.selected == judged.selected.sum()
    low, high = (
        (table["mjj"] >= first) & (table["mjj"] < last) for first, last in ((2230, 2725), (3331, 4071))
    )
    beside = rows_of(table, (low | high) & (table["region"] == 0))
    medians = {name: float(np.median(beside[name])) for name in method.inputs}
    best = np.sort(judged.score[judged.selected])[::-1][:3]
    assert [event.score for event in found.anomalous] == best.tolist()
    for event in found.anomalous:
        row = np.flatnonzero((inside["event"] == event.event) & (inside["run"] == event.run))
        assert inside["mjj"][row] == event.mjj
        assert {one.feature: one.value for one in event.contributions} == {
            name: float(inside[name][row][0]) for name in method.inputs
        }
        assert {one.feature: one.median for one in event.contributions} == medians


def test_contributions_add_up_to_the_rarity(studied):
    for event in studied[1].windows["B3"].methods["cwola"].anomalous:
        total = sum(one.rarity for one in event.contributions)
        assert event.typical + total == pytest.approx(event.rarity, abs=1e-9)
        sizes = [abs(one.rarity) for one in event.contributions]
        assert sizes == sorted(sizes, reverse=True)
        assert event.rarity == pytest.approx(-np.log10(1 - event.score), rel=1e-6)


def test_every_listed_event_is_displayed(studied):
    out, record = studied
    events = EventRecord.parse(read_json(out / "events.json"), "events.json").events
    assert list(events) == list(names_of_events(record))
    assert all({"j1", "j2"} <= {jet.role for jet in event.jets} for event in events.values())


def test_gains_are_over_simulated_background_of_the_signal_region(studied):
    out, record = studied
    qcd = read_features(out / "features" / "qcd")
    weight = np.abs(qcd["weight"][(qcd["mjj"] >= 2725) & (qcd["mjj"] < 3331) & (qcd["region"] == 0)])
    for method in record.windows["B3"].methods.values():
        assert method.ranked_in == "window"
        assert list(method.improvement) == ["signal"]
        gain = method.improvement["signal"]
        assert gain.reference == "simulation"
        assert gain.background_events == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_flatness_is_that_of_the_selection_beside_the_signal_region(studied):
    out, record = studied
    table = read_features(out / "features" / "mock")
    # Bins of 4 GeV that overlap the signal region are left out, 2724 to 3332 GeV.
    beside = (table["mjj"] < 2724) | (table["mjj"] >= 3332)
    chosen = rows_of(table, beside & (table["mjj"] >= 1960) & (table["region"] == 0))
    judged = judge(models.load(out / "models" / "cwola" / "B3"), chosen, trained_on=True)
    assert record.windows["B3"].methods["cwola"].flatness.mean == pytest.approx(judged.selected.mean())


def test_features_count_every_event_once(studied):
    out, record = studied
    window = record.windows["B3"]
    table = read_features(out / "features" / "mock")
    here = table["region"] == 0
    beside = here & (
        ((table["mjj"] >= 2230) & (table["mjj"] < 2725)) | ((table["mjj"] >= 3331) & (table["mjj"] < 4071))
    )
    assert set(COMMON) <= set(window.features)
    for shape in window.features.values():
        assert sum(shape.signal_region) == window.methods["cwola"].in_signal_region
        assert sum(shape.side_bands) == beside.sum()
        assert list(shape.signals) == ["signal"]
        assert {name: sum(values) for name, values in shape.selected.items()} == {
            name: method.selected for name, method in window.methods.items()
        }
    qcd = read_features(out / "features" / "qcd")
    for compared in record.simulation.values():
        assert sum(compared.data) == here.sum()
        assert sum(compared.simulation) == pytest.approx(qcd["weight"][qcd["region"] == 0].sum())


def test_methods_are_compared(studied):
    alike = studied[1].windows["B3"].alike
    assert list(alike) == ["mock", "signal"]
    out = studied[0]
    for name, trained_on in (("mock", True), ("signal", False)):
        table = read_features(out / "features" / name)
        inside = rows_of(table, (table["mjj"] >= 2725) & (table["mjj"] < 3331) & (table["region"] == 0))
        for place, method in enumerate(("cwola", "prong2")):
            bundle = models.load(out / "models" / method / "B3")
            kept = judge(bundle, inside, trained_on=trained_on and method == "cwola").selected
            assert alike[name].both[place][place] == pytest.approx(np.abs(inside["weight"][kept]).sum())
    matrix = alike["mock"]
    assert matrix.methods == ("cwola", "prong2")
    methods = studied[1].windows["B3"].methods
    assert [matrix.both[k][k] for k in (0, 1)] == [methods[name].selected for name in matrix.methods]
    assert matrix.correlation[0][0] == 1.0


def test_training_curves_end_where_half_of_the_members_stop(studied):
    out, record = studied
    curves = record.windows["B3"].methods["cwola"].training
    assert {kind: list(parts) for kind, parts in curves.items()} == {"trees": ["j1", "j2"]}
    assert all(curve.members == 20 and curve.first == 0 for curve in curves["trees"].values())
    assert all(2 <= len(curve.median) <= 6 for curve in curves["trees"].values())
    assert all(len(curve.training) == len(curve.median) for curve in curves["trees"].values())
    assert all(np.all(np.diff(curve.training) < 0) for curve in curves["trees"].values())
    assert record.windows["B3"].methods["prong2"].training == {}
    assert training_curves(read_bundle(out / "models" / "cwola" / "B3")[1]) == curves
    history = np.array([[3.0, 2.0, 1.0], [3.0, 2.5, np.inf], [4.0, np.inf, np.inf]])
    losses = {"validation": history, "training": history - 0.5}
    kept = {f"fold0/losses/spline flow/1/{which}": values for which, values in losses.items()}
    curve = training_curves(kept | {"fold1/flow/history": history})["spline flow"]["1"]
    assert (curve.first, curve.median, curve.high) == (1, (3.0, 2.25), (4.0, 2.5))
    assert curve.training == (2.5, 1.75)
    nothing = {f"fold0/losses/spline flow/1/{which}": np.full((2, 3), np.inf) for which in losses}
    assert training_curves(nothing) == {}


def test_the_stage_is_kept_until_what_it_shows_changes(inputs, studied, monkeypatch):
    out = studied[0]
    manifest = out / "manifests" / "studies.json"
    before = manifest.stat().st_mtime_ns
    run_in(inputs, out, "scan.candidates=[2]", stages=KEPT)
    assert manifest.stat().st_mtime_ns == before
    assert set(read_manifest(manifest).outputs) == {"studies.json", "events.json"}
    least = []
    monkeypatch.setattr(
        "analysis.run_studies.most_anomalous",
        lambda *given, **options: least.append(options["least"]) or most_anomalous(*given, **options),
    )
    run_in(inputs, out, "report.events=0", stages=KEPT)
    shape = studied[1].windows["B3"].features["m_j1"]
    # A fold ranks its fifth of the window's events, and the first is half a rank from the end.
    assert least == [5 / (2 * (sum(shape.signal_region) + sum(shape.side_bands)))] * 2
    assert manifest.stat().st_mtime_ns != before
    assert read_json(out / "events.json") == {"events": {}}
    run_in(inputs, out, stages=KEPT)
    assert StudyRecord.parse(read_json(out / "studies.json"), "studies.json") == studied[1]


def test_a_record_that_is_damaged_is_named(studied):
    from data.errors import InputError

    with pytest.raises(InputError, match=r"scan\.json is missing"):
        read_record(studied[0])


def test_rarity_counts_decades_and_ends_where_events_do():
    np.testing.assert_allclose(rarity([0.0, 0.9, 0.999, 1.0], 1e-4), [0, 1, 3, 4], atol=1e-12)


def test_features_of_a_jet_stand_together():
    assert feature_groups(["m_j1", "delta_m", "tau21_j1", "tau21_j2"]) == {
        "j1": [0, 2],
        "event": [1],
        "j2": [3],
    }


class Toy:
    """A method whose score is known: of each jet the mean of an array, and a number of the event."""

    inputs = ("particles_j1", "particles_j2", "extra")

    def score(self, table, *, trained_on):
        assert trained_on
        assert set(table["event"]) == {7}
        first, second = (table[f"particles_{jet}"].mean(axis=1) for jet in ("j1", "j2"))
        return 1 - 10.0 ** -(first + 2 * second + table["extra"])


def toy_table(rng, rows):
    table = {name: np.full(rows, 7) for name in (*ID_COLUMNS, "mjj")}
    table |= {f"particles_{jet}": rng.uniform(0, 0.2, (rows, 5)).astype(np.float32) for jet in ("j1", "j2")}
    return table | {"extra": rng.uniform(0, 0.1, rows)}


def test_methods_on_arrays_are_explained_jet_by_jet():
    rng = np.random.default_rng(3)
    beside = toy_table(rng, 200)
    event = toy_table(rng, 1) | {"particles_j2": np.full((1, 5), 0.9, dtype=np.float32)}
    ordinary = ordinary_events(beside, Toy.inputs)
    assert len(ordinary.events["mjj"]) == 32
    found = explain(Toy(), event, ordinary, 1e-9)
    shares = {one.feature: one.rarity for one in found.contributions}
    # The rarity is a sum, so that each share is the difference from the mean of the references.
    for name, factor in (("j1", 1), ("j2", 2)):
        column = f"particles_{name}"
        expected = factor * (event[column].mean() - ordinary.events[column].mean(axis=1).mean())
        assert shares[name] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert shares["event"] == pytest.approx(event["extra"][0] - ordinary.events["extra"].mean(), rel=1e-5)
    assert found.contributions[0].feature == "j2"
    rare = float(rarity(Toy().score(event, trained_on=True), 1e-9)[0])
    assert found.typical + sum(shares.values()) == pytest.approx(rare, rel=1e-6)


def test_what_cannot_be_explained_says_why():
    rng = np.random.default_rng(3)
    event = toy_table(rng, 1)
    nothing = ordinary_events(toy_table(rng, 0), Toy.inputs)
    assert explain(Toy(), event, nothing, 1e-9).message == (
        "not explained: the side bands hold no event to compare with"
    )
    whole = type("Whole", (Toy,), {"inputs": ("rmm",)})()
    table = {"rmm": np.zeros((4, 3)), **{name: np.zeros(4) for name in (*ID_COLUMNS, "mjj")}}
    event["rmm"] = np.zeros((1, 3))  # of a shape that no form of the matrix has
    found = explain(whole, event, ordinary_events(table, whole.inputs), 1e-9)
    assert found.message == "not explained: it reads rmm of the event as a whole"
    assert found.contributions == ()


class Counting:
    """A method whose score is known: of a mass, and of a number of particles that it takes as a whole number only."""

    inputs = ("m_j1", "n_pf_j1", "m_j2")

    def score(self, table, *, trained_on):
        assert trained_on
        assert table["n_pf_j1"].dtype == np.int32
        return 1 - 10.0 ** -(table["m_j1"] / 100 + table["n_pf_j1"] / 50 - table["m_j2"] / 1000)


def test_features_are_explained_against_their_medians_in_their_own_type():
    beside = {name: np.arange(4) for name in (*ID_COLUMNS, "mjj")} | {
        "m_j1": np.array([20.0, 40.0, 60.0, 300.0]),
        "n_pf_j1": np.array([10, 20, 31, 90], dtype=np.int32),
        "m_j2": np.array([50.0, 50.0, 50.0, 50.0]),
    }
    event = {name: np.array([7]) for name in (*ID_COLUMNS, "mjj")} | {
        "m_j1": np.array([250.0]),
        "n_pf_j1": np.array([75], dtype=np.int32),
        "m_j2": np.array([150.0]),
    }
    found = explain(Counting(), event, ordinary_events(beside, Counting.inputs), 1e-9)
    assert found.typical == pytest.approx(0.5 + 25 / 50 - 0.05)
    told = [(one.feature, one.value, one.median) for one in found.contributions]
    assert told == [("m_j1", 250.0, 50.0), ("n_pf_j1", 75.0, 25.0), ("m_j2", 150.0, 50.0)]
    assert [one.rarity for one in found.contributions] == pytest.approx([2.0, 1.0, -0.1])


def test_of_equal_scores_the_smaller_id_comes_first():
    ids = [(1, 5, 2), (2, 1, 1), (1, 2, 9), (1, 2, 3)]
    table = {name: np.array(column) for name, column in zip(ID_COLUMNS, zip(*ids, strict=True), strict=True)}
    table |= {"mjj": np.arange(4.0), "m_j1": np.arange(4.0) + 10, "m_j2": np.arange(4.0) + 20}
    table |= {"n_pf_j1": np.arange(4, dtype=np.int32)}
    judged = Judgement(np.array([0.5, 0.5, 0.5, 0.9]), np.array([True, True, True, False]))
    ordinary = ordinary_events(table, Counting.inputs)
    found = most_anomalous(Counting(), table, judged, ordinary, count=2, least=1e-3)
    assert [(one.run, one.luminosity_block, one.event) for one in found] == [(1, 2, 9), (1, 5, 2)]
    assert [(one.mjj, one.masses) for one in found] == [(2.0, (12.0, 22.0)), (0.0, (10.0, 20.0))]


def test_most_of_the_folds_must_select_an_event():
    votes = np.array([0, 2, 3, 5])

    class Voted:
        def evaluate(self, table, *, trained_on):
            return np.array([0.1, 0.2, 0.3, 0.4]), votes

    assert judge(Voted(), {}, trained_on=False).selected.tolist() == [False, False, True, True]


def test_thinning_depends_on_the_ids_alone():
    rng = np.random.default_rng(2)
    table = {name: rng.integers(1, 10**6, 500) for name in ID_COLUMNS} | {"mjj": rng.random(500)}
    kept = thinned(table, 100)
    assert len(kept["mjj"]) == 100
    order = rng.permutation(500)
    again = thinned(rows_of(table, order), 100)
    assert set(again["mjj"]) == set(kept["mjj"])
    places = [int(np.flatnonzero(table["mjj"] == mass)[0]) for mass in kept["mjj"]]
    assert places == sorted(places)
    assert thinned(table, 500)["mjj"] is table["mjj"]


def test_improvement_of_a_known_case():
    """Background uniform in [0, 1], signal the k-th root of it: ε_S = 1 − (1 − ε_B)^k."""
    rng = np.random.default_rng(4)
    k, ones = 6.0, np.ones(40_000)
    signal, background = rng.random(40_000) ** (1 / k), rng.random(40_000)
    found = improvement((signal, rng.uniform(0.5, 1.5, 40_000)), (background, ones), "side bands")
    eff = np.array(found.background_efficiency)
    exact = (1 - (1 - eff) ** k) / np.sqrt(eff)
    pull = (np.array(found.value) - exact)[:-1] / np.array(found.error)[:-1]
    assert np.abs(pull).max() < 4
    assert np.array(found.error)[30] < 0.05
    assert found.signal_efficiency == pytest.approx(1 - (1 - eff) ** k, abs=0.01)
    assert found.value[-1] == pytest.approx(1.0)
    assert (found.reference, found.background_events) == ("side bands", 40_000)
    # Half of the events without weight: the same curve of half as many.
    halved = improvement((signal, ones), (background, np.arange(40_000) % 2 * 3.0), "simulation")
    assert halved.background_events == pytest.approx(20_000)
    assert halved.background_efficiency[0] == pytest.approx(25 / 20_000)
    assert improvement((signal, ones), (background[:20], ones[:20]), "side bands") is None


class Folds:
    """A method whose folds rank an event each with noise of its own, and that scores others with their mean."""

    def evaluate(self, table, *, trained_on):
        ranks = norm.cdf((table["x"][:, None] + table["noise"]) / np.sqrt(2))
        own = fold_of(batch_number(*(table[name] for name in ID_COLUMNS)))
        score = ranks[np.arange(len(own)), own] if trained_on else ranks.mean(axis=1)
        return score, np.zeros(len(own), dtype=np.int64)


def folds_table(seed, rows, shift=0.0):
    rng = np.random.default_rng(seed)
    table = {name: rng.integers(1, 10**6, rows) for name in ID_COLUMNS}
    noise = rng.normal(size=(rows, 5))
    return table | {
        "mjj": np.ones(rows),
        "x": rng.normal(shift, 1, rows),
        "noise": noise,
        "weight": np.ones(rows),
    }


def test_signal_and_background_are_scored_alike():
    """What tells nothing has √ε_B, and a shift the value of one fold: the mean of five would change the signal's shape."""
    background = folds_table(1, 20_000)
    for shift in (0.0, 1.5):
        found = gains(Folds(), {"s": folds_table(2, 20_000, shift)}, background, None)["s"]
        eff = np.array(found.background_efficiency)[:-1]
        exact = norm.sf(norm.isf(eff) - shift / np.sqrt(2)) / np.sqrt(eff)
        pull = (np.array(found.value)[:-1] - exact) / np.array(found.error)[:-1]
        assert np.abs(pull).max() < 4
        assert np.array(found.error)[40] < 0.02


def test_simulated_background_is_the_reference_where_there_is_enough():
    beside, simulated, signal = folds_table(1, 5000, 2.0), folds_table(3, 5000), folds_table(2, 5000, 2.0)
    assert gains(Folds(), {}, beside, simulated) == {}
    own = gains(Folds(), {"s": signal}, beside, simulated)["s"]
    other = gains(Folds(), {"s": signal}, beside, None)["s"]
    assert (own.reference, other.reference) == ("simulation", "side bands")
    assert max(own.value) > 1.2
    assert max(other.value) == pytest.approx(1.0, abs=0.1)
    # A few heavy events are no reference, however many stand beside them.
    heavy = simulated | {"weight": np.where(np.arange(5000) < 20, 1e6, 1.0)}
    assert gains(Folds(), {"s": signal}, beside, heavy)["s"] == other


def test_flatness_leaves_the_signal_region_out():
    edges = np.arange(2000.0, 5004.0, 4.0)
    events = np.rint(4000 * np.exp(-(edges[:-1] - 2000) / 600))
    selected = np.rint(0.05 * events)
    bump = (edges[:-1] >= 2728) & (edges[1:] <= 3328)
    assert flatness(edges, events, np.where(bump, events, selected), (2725.0, 3331.0)).p_value > 0.9
    # Every fifth event is selected, but all of the two bins that the ends of the signal region lie in.
    partly = (edges[:-1] < 2725) & (edges[1:] > 2725) | (edges[:-1] < 3331) & (edges[1:] > 3331)
    few = np.rint(events / 50)
    fifths = flatness(edges, 5 * few, np.where(partly, 5 * few, few), (2725.0, 3331.0))
    assert (fifths.mean, fifths.chi2) == pytest.approx((0.2, 0.0), abs=1e-9)
    sculpted = np.rint(events * np.linspace(0.02, 0.2, len(events)))
    found = flatness(edges, events, sculpted, (2725.0, 3331.0))
    assert found.p_value < 1e-6
    assert found.slope > 3 * found.slope_error
    assert flatness(edges, events, np.zeros_like(events), (2725.0, 3331.0)) is None
    assert flatness(edges, np.zeros_like(events), np.zeros_like(events), (2725.0, 3331.0)) is None


def test_bins_hold_all_events_and_whole_numbers_alike():
    values = np.random.default_rng(3).exponential(1.0, 5000)
    edges = bin_edges(values)
    assert sum(counted(values, edges)) == 5000
    assert len(edges) == 31
    whole = np.random.default_rng(3).integers(10, 171, 5000)
    edges = bin_edges(whole)
    assert np.all(np.diff(edges) == np.diff(edges)[0])
    assert np.diff(edges)[0] == round(np.diff(edges)[0])
    assert edges[0] % 1 == 0.5
    assert len(bin_edges(np.full(10, 3.7))) > 1


def test_bins_reach_to_where_signals_are():
    values = np.random.default_rng(3).exponential(50.0, 5000)
    signal = np.random.default_rng(4).normal(900.0, 20.0, 300)
    assert bin_edges(values)[-1] < 400
    edges = bin_edges(values, [signal, np.zeros(0)])
    assert np.mean(signal < edges[-1]) == pytest.approx(0.95, abs=0.01)


def test_only_numbers_an_event_are_shown():
    table = {"mjj": np.ones(3), "m_j1": np.ones(3), "rmm": np.ones((3, 4)), "extra": np.ones(3)}
    assert shown_features(table, ["rmm", "extra"]) == ("m_j1", "extra")
    assert window_shapes(["m_j1"], table, np.array([-1, -1, 0]), {}, {}) == {}
    assert compare_features(["m_j1"], table, {"m_j1": np.zeros(0), "weight": np.zeros(0)}) == {}
    assert compare_features(["m_j1"], table, {"m_j1": np.ones(2), "weight": np.zeros(2)}) == {}
