"""The reference methods on toys whose optimum is known, and the study of efficiency against cross section."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import models
from data.errors import ConfigError, InputError, TrainingError
from data.eventid import batch_number, fold_of
from models.seeds import task_seed
from models.studies import draw, efficiency_against_cross_section, inclusion_probabilities, injected_table

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
TREES = {"bags": 1, "iterations": 20, "leaves": 8, "samples_per_leaf": 30}
MLP = {"hidden": (16,), "bags": 1, "schedule": {"epochs": 6, "batch": 256}}
SHIFT = 1.5


def toy(background, signal, seed, first_event=0):
    """Signal region only: two inputs, normal; the signal's are shifted, so that x + y is the best score there is."""
    rng = np.random.default_rng(seed)
    rows = background + signal
    planted = np.arange(rows) >= background
    return {
        "mjj": rng.uniform(3000, 3600, rows),
        "x": rng.normal(SHIFT / np.sqrt(2) * planted, 1.0),
        "y": rng.normal(SHIFT / np.sqrt(2) * planted, 1.0),
        "run": np.full(rows, 1),
        "luminosity_block": np.full(rows, seed),
        "event": np.arange(rows) + first_event,
        "label": planted.astype(int),
    }


def make(name, **options):
    usual = {"features": ["x", "y"], "working_point": 0.05, "seed": 3, "trees": TREES, "mlp": MLP}
    return models.create(name, **(WINDOW | usual | options))


@pytest.fixture(scope="module")
def background():
    return toy(5000, 0, seed=1)


@pytest.fixture(scope="module")
def test_events():
    return toy(8000, 8000, seed=4)


@pytest.fixture(scope="module")
def supervised(background):
    return make("supervised", classifier="mlp").fit(signal=toy(0, 5000, seed=2), background=background)


OPTIMUM = float(stats.norm.cdf(SHIFT / np.sqrt(2)))
"""Area under the curve of the likelihood ratio of two normal distributions SHIFT apart."""


def test_the_supervised_classifier_reaches_the_optimum(supervised, test_events):
    area = roc_auc_score(test_events["label"], supervised.score(test_events))
    best = roc_auc_score(test_events["label"], test_events["x"] + test_events["y"])
    assert best == pytest.approx(OPTIMUM, abs=0.01)
    assert 0.99 * OPTIMUM < area <= best + 0.002


@pytest.mark.parametrize("classifier", ["trees", "mlp"])
def test_the_idealised_detector_comes_near_it_without_labels(background, test_events, classifier):
    data = toy(4000, 1200, seed=5)
    method = make("idealised", classifier=classifier).fit(data, background=background)
    area = roc_auc_score(test_events["label"], method.score(test_events))
    assert area > 0.97 * OPTIMUM


def test_the_cut_keeps_the_working_point_of_the_held_out_background(supervised, background, test_events):
    own = supervised.fold_votes(background, trained_on=True)
    fold = fold_of(batch_number(background["run"], background["luminosity_block"], background["event"]))
    for number in range(5):
        assert np.mean(own[fold == number] == 5) == pytest.approx(0.05, abs=0.002)
    fresh = supervised.fold_votes(test_events, trained_on=False)[test_events["label"] == 0]
    # Five thresholds from 1000 events each: ± 0.004 with the 8000 fresh ones. A cut on x + y itself at this background's
    # 95 % keeps 0.056 of the fresh events: the toy's own fluctuation.
    assert np.mean(fresh / 5) == pytest.approx(0.056, abs=0.012)


def test_weights_of_simulation_are_used(background, test_events):
    """Signal of two kinds; weights that take one of them away leave a classifier for the other."""
    signal = toy(0, 3000, seed=6)
    flipped = np.arange(3000) % 2 == 1
    for name in ("x", "y"):
        signal[name] = np.where(flipped, -signal[name], signal[name])
    areas = {}
    for weight in (np.where(flipped, 0.0, 2.0), np.ones(3000)):
        method = make("supervised", classifier="mlp").fit(
            signal=signal | {"weight": weight}, background=background
        )
        areas[weight.max()] = roc_auc_score(test_events["label"], method.score(test_events))
    assert areas[2.0] > 0.98 * OPTIMUM
    assert areas[1.0] < areas[2.0] - 0.03


def test_a_bundle_of_a_reference_gives_the_same_bits(tmp_path, supervised, test_events):
    supervised.save(tmp_path)
    again = models.load(tmp_path)
    for first, second in zip(supervised.evaluate(test_events), again.evaluate(test_events), strict=True):
        np.testing.assert_array_equal(first, second)


def test_tables_that_a_reference_needs_are_asked_for(background):
    with pytest.raises(TrainingError, match=r"needs further tables: pass background=.*, signal="):
        make("supervised").fit()
    with pytest.raises(TrainingError, match="pass background="):
        make("idealised").fit(toy(500, 0, seed=7))
    with pytest.raises(TrainingError, match="learns from data: pass a table"):
        make("idealised").fit(background=background)
    outside = toy(0, 500, seed=8)
    outside["mjj"] = outside["mjj"] + 2000
    with pytest.raises(
        TrainingError, match="table 'signal': no event with 3000 ≤ mjj < 3600 GeV in inner split 0 of fold 0"
    ):
        make("supervised").fit(signal=outside, background=background)


PRONGS = {"prong2": ("tau21", 0.4), "prong3": ("tau32", 0.65)}


@pytest.mark.parametrize("name", PRONGS)
def test_a_conventional_selection_is_its_cuts(table, other, name):
    ratio, cut = PRONGS[name]
    method = models.create(name, **WINDOW, working_point=0.05).fit(table)
    score, votes = method.evaluate(other, trained_on=False)
    kept = np.ones(len(votes), dtype=bool)
    for jet in ("j1", "j2"):
        kept &= (other[f"{ratio}_{jet}"] < cut) & (other[f"m_{jet}"] > 50.0)
    np.testing.assert_array_equal(votes, 5 * kept)
    assert 0.01 < kept.mean() < 0.5
    assert score[kept].min() > score[~kept].max()
    np.testing.assert_array_equal(method.fold_votes(table, trained_on=True) == 5, _kept(table, ratio, cut))


def _kept(table, ratio, cut):
    return np.all(
        [(table[f"{ratio}_{jet}"] < cut) & (table[f"m_{jet}"] > 50.0) for jet in ("j1", "j2")], axis=0
    )


def test_cuts_on_their_edges_and_where_nothing_passes(table):
    method = models.create("prong2", **WINDOW, working_point=0.05)
    # No training event passes: the cut lies beyond all that the ranks were made from.
    method.fit(dict(table) | {"tau21_j1": np.maximum(table["tau21_j1"], 0.5)})
    edges = {
        "mjj": np.full(4, 3300.0),
        "m_j1": np.array([50.0, np.nextafter(50.0, 51), 100.0, 100.0]),
        "m_j2": np.full(4, 100.0),
        "tau21_j1": np.array([0.2, 0.2, 0.4, np.nextafter(0.4, 0)]),
        "tau21_j2": np.full(4, 0.2),
    }
    edges["m_j1"][1] = 50.001
    edges["tau21_j1"][3] = 0.399999
    np.testing.assert_array_equal(method.fold_votes(edges, trained_on=False), [0, 5, 0, 5])


def test_a_conventional_selection_saves_its_options(tmp_path, table, other):
    method = models.create("prong2", **WINDOW, working_point=0.05, ratio_below=0.3, mass_above=80.0).fit(
        table
    )
    method.save(tmp_path)
    again = models.load(tmp_path)
    assert again.options == method.options
    np.testing.assert_array_equal(again.fold_votes(other), method.fold_votes(other))
    with pytest.raises(ValueError, match="'prong2' learns nothing, but the bundle holds x"):
        again.check_fold({"x": np.zeros(1)})
    with pytest.raises(ConfigError, match="mass_above"):
        models.create("prong2", **WINDOW, mass_above=-1.0)


def test_each_event_is_drawn_as_often_as_its_weight_says():
    weight = np.array([1.0, 2.0, 3.0, 4.0] * 5)
    chance = inclusion_probabilities(weight, 5)
    drawn = np.array([draw(chance, seed) for seed in range(4000)])
    np.testing.assert_array_equal(drawn.sum(axis=1), 5)
    # Binomial errors below 0.008.
    np.testing.assert_allclose(drawn.mean(axis=0), chance, atol=0.03)
    assert not draw(inclusion_probabilities(weight, 0), 1).any()
    with pytest.raises(InputError, match=r"signal: 8 of 20 events .* probability 0.64; .* give 26 events"):
        inclusion_probabilities(weight, 8)
    with pytest.raises(InputError, match="signal: 20 of 20 events have a negative weight"):
        inclusion_probabilities(-weight, 2)


def test_injected_events_are_in_the_table(table, other):
    chosen = np.arange(len(other["mjj"])) < 7
    mixed = injected_table(dict(table) | {"weight": np.ones(4150)}, other, chosen)
    assert "weight" not in mixed
    np.testing.assert_array_equal(mixed["mjj"], np.append(table["mjj"], other["mjj"][:7]))
    bare = {name: values for name, values in other.items() if name != "event"}
    with pytest.raises(InputError, match="columns run, luminosity_block and event are missing"):
        injected_table(table, bare, chosen)


def cwola(seed):
    options = {"features": ["m_j1", "tau21_j1"], "scope": "event", "trees": {"bags": 1, "iterations": 5}}
    return models.create("cwola", **WINDOW, working_point=0.05, seed=seed, **options)


def test_efficiency_grows_with_the_cross_section(tables):
    data, signal = tables(1500, 0, seed=20), tables(0, 1500, seed=21)
    weight = np.random.default_rng(3).uniform(0.5, 1.5, 1500)
    points = efficiency_against_cross_section(
        cwola, data, signal | {"weight": weight}, [0.0, 20.0], luminosity=20.0, acceptance=0.5, seeds=[1, 2]
    )
    assert [point.injected for point in points] == [0, 200]
    assert points[0].mean < 0.3
    assert points[1].mean > 0.6
    for point in points:
        assert point.lowest == min(point.efficiencies)
        assert point.mean == pytest.approx(np.mean(point.efficiencies))
    # By hand: the table with the drawn events, trained alone.
    task = inclusion_probabilities(weight, 200)
    chosen = draw(task, task_seed(2, "injection", 200))
    alone = cwola(2).fit(injected_table(data, signal, chosen))
    votes = alone.fold_votes({name: values[~chosen] for name, values in signal.items()}, trained_on=False)
    expected = np.average(votes / 5, weights=(weight / (1 - task))[~chosen])
    assert points[1].efficiencies[1] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"cross_sections": []}, r"cross_sections \[\] and seeds .* expected at least one"),
        ({"seeds": []}, r"seeds \[\]: expected at least one of each"),
        ({"acceptance": 1.5}, "acceptance in 0 … 1"),
        ({"luminosity": 0.0}, "luminosity must be positive"),
        ({"cross_sections": [1e6]}, "are to be injected"),
    ],
)
def test_impossible_studies_are_refused(tables, change, match):
    usual = {"cross_sections": [1.0], "luminosity": 20.0, "acceptance": 0.5, "seeds": [1]}
    with pytest.raises(InputError, match=match):
        efficiency_against_cross_section(cwola, tables(100), tables(0, 100, seed=3), **(usual | change))
