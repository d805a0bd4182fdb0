"""Combinations of scores and selections, as functions and as methods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import models
from data.errors import ConfigError, InputError, TrainingError
from data.eventid import batch_number, fold_of
from models.combination import (
    global_p_value,
    maximum_rank,
    mean_rank,
    trial_factor,
    union,
    working_point_of_each,
)
from models.driver import train_together

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
PARTS = {
    "cwola": {
        "features": ["m_j1", "m_j2"],
        "scope": "event",
        "trees": {"bags": 1, "iterations": 5, "leaves": 8},
    },
    "prong2": {},
}


def test_combinations_made_by_hand():
    a, b = np.array([True, False, False]), np.array([True, True, False])
    np.testing.assert_array_equal(union([a, b]), [True, True, False])
    first, second = np.array([0.1, 0.9]), np.array([0.3, 0.5])
    np.testing.assert_allclose(mean_rank([first, second]), [0.2, 0.7])
    np.testing.assert_allclose(maximum_rank([first, second]), [0.3, 0.9])


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-4, 0.5), st.integers(1, 8))
def test_independent_selections_together_keep_the_working_point(working_point, methods):
    each = working_point_of_each(working_point, methods, "sidak")
    assert 1 - (1 - each) ** methods == pytest.approx(working_point, rel=1e-6)
    bonferroni = working_point_of_each(working_point, methods)
    assert bonferroni <= each * (1 + 1e-9)
    assert global_p_value([each, *[1.0] * (methods - 1)], "sidak") == pytest.approx(working_point, rel=1e-6)
    assert global_p_value([bonferroni] * methods) == pytest.approx(working_point)


def test_the_smallest_of_independent_p_values_is_uniform_once_corrected():
    p_values = np.random.default_rng(1).random((4000, 3))
    corrected = np.array([global_p_value(row, "sidak") for row in p_values])
    assert np.mean(corrected < 0.05) == pytest.approx(0.05, abs=0.012)
    conservative = np.array([global_p_value(row) for row in p_values])
    assert np.all(conservative >= corrected - 1e-12)


def test_the_trial_factor_counts_independent_selections():
    rng = np.random.default_rng(2)
    one = rng.random(100_000) < 0.01
    others = [rng.random(100_000) < 0.01 for _ in range(2)]
    everything = np.ones(100_000, dtype=bool)
    assert trial_factor([one, one, one], everything) == pytest.approx(1)
    assert trial_factor([one, *others], everything) == pytest.approx(3, abs=0.1)
    half = np.arange(100_000) % 2 == 0
    assert trial_factor([one & half, one & ~half], half) == pytest.approx(2)
    with pytest.raises(InputError, match="none of the background events is selected"):
        trial_factor([one & half], ~half)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: union([]), "selections: expected one or more, bool, found none"),
        (lambda: union([np.zeros(3)]), "bool, found float64; compare the votes"),
        (
            lambda: mean_rank([np.zeros(3), np.zeros(2)]),
            r"the same events of each method, found shapes \[\(3,\), \(2,\)\]; give",
        ),
        (lambda: working_point_of_each(1.0, 2), "working_point 1.0 of 2 methods: expected"),
        (lambda: global_p_value([0.2, 1.2]), r"p_values: expected .* found \[0.2, 1.2\]"),
    ],
)
def test_wrong_arguments_are_named(call, match):
    with pytest.raises(InputError, match=match):
        call()


def combined(name, **options):
    usual = {"working_point": 0.1, "seed": 7, "methods": tuple(PARTS), "settings": PARTS}
    return models.create(name, **(WINDOW | usual | options))


@pytest.fixture(scope="module")
def parts(table):
    """The methods of the combination, each trained alone with the same seed."""
    each = {
        name: models.create(name, **WINDOW, working_point=0.1, seed=7, **options)
        for name, options in PARTS.items()
    }
    return {name: method.fit(table) for name, method in each.items()}


@pytest.fixture(scope="module")
def together(table):
    return {how: combined("combination", how=how).fit(table) for how in ("mean_rank", "maximum_rank")}


@pytest.fixture(scope="module")
def joined(table):
    return combined("union").fit(table)


def test_a_fold_trained_alone_is_that_of_the_whole_union(table, joined):
    method = combined("union")
    tables = method.tables(table, {})
    (alone,) = train_together([method.train_fold(tables.sample, tables.extras, 3)])
    whole = joined._trained.folds[3]
    assert alone.keys() == whole.keys()
    for name, values in alone.items():
        np.testing.assert_array_equal(values, whole[name])


def own_band_ranks(score, table, window):
    """Ranks of scores within the side bands of each event's own fold, both bands equal; by hand."""
    fold = fold_of(batch_number(table["run"], table["luminosity_block"], table["event"]))
    region = window.of(table["mjj"])
    ranks = np.zeros(len(score))
    for number in range(5):
        own = fold == number
        low, high = (score[own & (region == band)] for band in (0, 2))
        for place in np.flatnonzero(own):
            ranks[place] = 0.5 * (
                np.mean(low < score[place])
                + np.mean(high < score[place])
                + 0.5 * (np.mean(low == score[place]) + np.mean(high == score[place]))
            )
    return ranks


def test_a_combination_is_that_of_the_methods_trained_alone(table, parts, together):
    bands = ((table["mjj"] > 2500) & (table["mjj"] < 3000)) | ((table["mjj"] > 3600) & (table["mjj"] < 4400))
    fold = fold_of(batch_number(table["run"], table["luminosity_block"], table["event"]))
    ranks = [
        own_band_ranks(part.score(table, trained_on=True), table, part.window) for part in parts.values()
    ]
    for how, function in (("mean_rank", mean_rank), ("maximum_rank", maximum_rank)):
        by_hand, score = function(ranks), together[how].score(table, trained_on=True)
        for number in range(5):
            own = bands & (fold == number)
            # The score is the rank of the combined rank: of events of a fold the order is the same, ties apart.
            assert stats.spearmanr(by_hand[own], score[own]).statistic > 0.9995


@pytest.mark.parametrize("how", ["mean_rank", "maximum_rank"])
def test_a_combination_keeps_the_working_point(table, together, how):
    votes = together[how].fold_votes(table, trained_on=True)
    region = together[how].window.of(table["mjj"])
    shares = [np.mean(votes[region == band] == 5) for band in (0, 2)]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.01)


def test_a_union_keeps_what_one_of_its_methods_keeps_at_its_share(table, parts, joined):
    votes = joined.fold_votes(table, trained_on=True)
    region = joined.window.of(table["mjj"])
    ranks = {
        name: own_band_ranks(p.score(table, trained_on=True), table, p.window) for name, p in parts.items()
    }
    kept = union([rank > 1 - 0.1 / len(parts) for rank in ranks.values()])
    inside = region >= 0
    # A threshold is the rank of an event, not that of the working point: they differ by an event or two a fold.
    assert np.mean((votes == 5)[inside] != kept[inside]) < 0.01
    shares = [np.mean(votes[region == band] == 5) for band in (0, 2)]
    assert np.mean(shares) <= 0.1
    signal = (table["label"] == 1) & (region == 1)
    alone = [np.mean(rank[signal] > 0.95) for rank in ranks.values()]
    assert np.mean(votes[signal] == 5) >= max(alone) - 0.02


@pytest.mark.parametrize("name", ["union", "combination"])
def test_a_bundle_gives_the_same_bits(tmp_path, other, joined, together, name):
    method = joined if name == "union" else together["mean_rank"]
    method.save(tmp_path)
    again = models.load(tmp_path)
    for first, second in zip(method.evaluate(other), again.evaluate(other), strict=True):
        np.testing.assert_array_equal(first, second)
    chunks = [again.score({n: v[part] for n, v in other.items()}) for part in (slice(0, 7), slice(7, None))]
    np.testing.assert_array_equal(np.concatenate(chunks), again.score(other))


def test_a_changed_threshold_is_refused(joined):
    fold = dict(joined._state().folds[0])
    joined.check_fold(fold)
    with pytest.raises(ValueError, match="the threshold of 'cwola' is not a rank"):
        joined.check_fold(fold | {"cwola/threshold": np.array([1.5])})
    del fold["prong2/rank/knots"]
    with pytest.raises(ValueError, match="'knots' is missing"):
        joined.check_fold(fold)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"methods": ["prong2"], "settings": {}}, "methods: expected two or more, .* found prong2"),
        ({"methods": ["prong2", "prong2"], "settings": {}}, "each named once"),
        ({"methods": ["prong2", "prong9"], "settings": {}}, "unknown method 'prong9'; did you mean 'prong"),
        (
            {"methods": ["prong2", "prong3"], "settings": {"cwola": {}}},
            r"settings: cwola not among methods \(prong2, prong3\); add",
        ),
        ({"settings": {"cwola": {"feature": []}}}, "unknown key 'feature'; did you mean 'features'"),
        ({"settings": {"cwola": {"decorrelate": "quantile"}}}, "set decorrelate for the whole combination"),
    ],
)
def test_wrong_options_are_named(options, match):
    with pytest.raises(ConfigError, match=match):
        combined("combination", **options)


def test_tables_that_a_method_needs_are_asked_for(table):
    method = combined("combination", methods=["random_grid_search", "prong2"], settings={})
    with pytest.raises(
        TrainingError, match="'random_grid_search' of the combination needs further tables: pass signal"
    ):
        method.fit(table)


def test_too_few_events_for_the_shared_working_point_are_named(table, rows_of):
    method = combined("union", methods=["prong2", "prong3"], settings={}, working_point=0.02)
    few = rows_of(table, slice(0, 900))
    with pytest.raises(TrainingError, match=r"GeV: a fold .* point 0\.01 of each of 2 methods needs 100"):
        method.fit(few)


def test_signal_priors_reach_a_method_that_tells_them_apart(table, rows_of):
    signal = rows_of(table, table["label"] == 1)
    signal |= {"prior": np.arange(len(signal["mjj"])) % 2}
    brief = {"features": ["m_j1", "m_j2", "tau21_j1"], "latent": 1, "hidden": [4], "schedule": {"epochs": 1}}
    method = combined(
        "combination", methods=["quak_autoencoder", "prong2"], settings={"quak_autoencoder": brief}
    )
    method.fit(table, signal=signal)
    np.testing.assert_array_equal(method._trained.folds[0]["quak_autoencoder/method/priors"], [0, 1])


def test_the_mean_of_many_ranks_does_not_depend_on_the_chunk():
    scores = list(np.random.default_rng(3).random((13, 200)))
    one_by_one = [mean_rank([score[n : n + 1] for score in scores])[0] for n in range(200)]
    np.testing.assert_array_equal(one_by_one, mean_rank(scores))
