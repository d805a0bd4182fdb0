"""Figures of merit, and rectangular cuts optimised for them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import models
from data.errors import ConfigError, InputError, TrainingError
from data.eventid import batch_number, fold_of
from models.figures_of_merit import (
    asimov,
    figure_of_merit,
    punzi,
    signal_over_root_background,
    signal_over_root_total,
)
from models.grid_search import best_cut, directions, expected_events, random_cuts

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}


def test_values_made_by_hand():
    assert signal_over_root_background(10.0, 100.0) == pytest.approx(1.0)
    assert signal_over_root_total(10.0, 80.0, 0.0) == pytest.approx(10 / np.sqrt(90))
    assert signal_over_root_total(10.0, 80.0, 4.0) == pytest.approx(10 / np.sqrt(106))
    # Punzi with a = 5: ε/(2.5 + √B).
    assert punzi(0.5, 4.0) == pytest.approx(0.5 / 4.5)
    assert punzi(0.5, 0.0, 3.0) == pytest.approx(0.5 / 1.5)
    # √(2(20 ln 2 − 10)) for s = b = 10.
    assert asimov(10.0, 10.0) == pytest.approx(np.sqrt(2 * (20 * np.log(2) - 10)))


def test_edges_of_the_figures_of_merit():
    for function in (signal_over_root_background, asimov):
        np.testing.assert_array_equal(function(np.array([0.0, 1.0]), np.array([0.0, 0.0])), [0.0, np.inf])
    assert asimov(0.0, 10.0, 3.0) == 0
    assert signal_over_root_total(0.0, 0.0, 0.0) == 0
    with pytest.raises(
        InputError, match="background: expected numbers of events that are finite and not neg"
    ):
        asimov(1.0, -1.0)
    with pytest.raises(InputError, match="sigmas must be positive"):
        punzi(0.5, 1.0, 0.0)


def test_the_profiled_significance_is_that_of_published_observations():
    """Z_PL of ten observations, Table 1 of Cousins, Linnemann, Tucker, NIM A 595 (2008) 480, physics/0702156.

    n_on events where n_off/τ are expected; the Asimov counts are then the observed ones. The table's n_off and τ are
    rounded, hence the tolerance.
    """
    on = np.array([4, 6, 9, 17, 50, 67, 200, 523, 498_426, 2_119_449.0])
    off = np.array([5, 18.78, 17.83, 40.11, 55, 15, 10, 2327, 493_434, 23_650_096])
    tau = np.array([5.0, 14.44, 4.69, 10.56, 2.0, 0.5, 0.1, 5.99, 1.0, 11.21])
    published = [1.95, 2.81, 1.99, 4.57, 3.02, 3.04, 2.38, 5.95, 5.01, 6.41]
    found = asimov(on - off / tau, off / tau, np.sqrt(off) / tau)
    np.testing.assert_allclose(found, published, atol=0.011)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 50), st.floats(1, 500), st.floats(0.05, 0.5))
def test_the_profiled_significance_is_that_of_a_numerical_fit(signal, background, relative):
    deviation = relative * background
    tau = background / deviation**2
    on, off = signal + background, tau * background

    def deviance(b):
        # Poisson likelihood ratio of signal region and control region to the fit of the Asimov data.
        terms = [on * np.log(on / b) - on + b, off * np.log(off / (tau * b)) - off + tau * b]
        return 2 * sum(terms)

    fit = optimize.minimize_scalar(deviance, bounds=(0.5 * background, on), options={"xatol": 1e-10})
    assert asimov(signal, background, deviation) == pytest.approx(np.sqrt(fit.fun), rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(1e-2, 1e6), st.floats(0, 1))
def test_figures_of_merit_are_ordered(signal, background, relative):
    known, uncertain = asimov(signal, background), asimov(signal, background, relative * background)
    assert uncertain <= known * (1 + 1e-6)
    # A Poisson tail is longer than S/√B says; S/√(S+B) is what a measurement has.
    assert known <= signal_over_root_background(signal, background) * (1 + 1e-9)
    assert known >= signal_over_root_total(signal, background) * (1 - 1e-6)
    if signal < 1e-3 * background:
        assert known == pytest.approx(float(signal_over_root_background(signal, background)), rel=1e-3)


def test_figures_of_merit_by_name():
    for kind, expected in (
        ("s/sqrt(b)", 2.0),
        ("s/sqrt(s+b+db2)", 10 / np.sqrt(10 + 25 + 4)),
        ("punzi", 10 / (1.0 + 5)),
        ("asimov", float(asimov(10.0, 25.0, 2.0))),
    ):
        assert figure_of_merit(kind, sigmas=2.0)(10.0, 25.0, 2.0) == pytest.approx(expected)


def test_the_side_of_a_cut_is_found_from_the_signal():
    rng = np.random.default_rng(0)
    background, signal = rng.normal(size=(3000, 3)), rng.normal([1.0, -0.3, 0.4], 1.0, (3000, 3))
    np.testing.assert_array_equal(
        directions(signal, background, np.ones(3000), np.ones(3000)), [True, False, True]
    )
    # Weights that take the shifted events out: what is left lies below.
    weight = (signal[:, 0] < -1).astype(float)
    assert not directions(signal, background, weight, np.ones(3000))[0]


@pytest.mark.parametrize("shape", ["one_sided", "box"])
def test_the_events_after_each_cut_are_counted(shape):
    rng = np.random.default_rng(1)
    signal, background = rng.normal(1, 1, (200, 2)), rng.normal(0, 1, (500, 2))
    weights = rng.random(200), rng.random(500)
    lower, upper = random_cuts(signal, np.array([True, False]), shape, 60, rng)
    assert lower.shape == upper.shape == (60, 2)
    if shape == "one_sided":
        assert set(lower[:, 0]) <= set(signal[:, 0])
        assert np.all(np.isinf(lower[:, 1]))
        assert np.all(np.isinf(upper[:, 0]))
    expected = expected_events(lower, upper, signal, background, *weights)
    for number in range(60):
        inside = [np.all((x > lower[number]) & (x < upper[number]), axis=1) for x in (signal, background)]
        assert expected.signal[number] == pytest.approx(weights[0][inside[0]].sum())
        assert expected.background[number] == pytest.approx(weights[1][inside[1]].sum())
        assert expected.background_count[number] == inside[1].sum()
    best, value = best_cut(expected, figure_of_merit("s/sqrt(b)"), 0.0, 2.5)
    values = expected.signal / np.sqrt(np.maximum(expected.background, 2.5))
    assert best == np.argmax(values)
    assert value == pytest.approx(values.max())
    # Where all background is below the least, the cut with the most signal is the best.
    most, _ = best_cut(expected, figure_of_merit("punzi"), 0.0, 1e6)
    assert expected.signal[most] == expected.signal.max()
    nothing = replace(expected, signal=np.zeros(60))
    assert best_cut(nothing, figure_of_merit("punzi"), 0.0, 1.0) == (-1, 0.0)


def gaussian_table(background, signal, seed, shift=2.0):
    """Background normal in x and y, signal shifted in x; y says nothing."""
    rng = np.random.default_rng(seed)
    rows = background + signal
    planted = np.arange(rows) >= background
    return {
        "mjj": np.where(planted, 3300.0, rng.uniform(2500, 4400, rows)) + rng.normal(size=rows),
        "x": rng.normal(shift * planted, 1.0),
        "y": rng.normal(0.0, 1.0, rows),
        "run": np.full(rows, seed),
        "luminosity_block": np.arange(rows) // 100,
        "event": np.arange(rows),
    }


def search(**options):
    usual = {"features": ["x"], "merit": "s/sqrt(b)", "min_background": 5, "trials": 250}
    usual |= WINDOW | {"working_point": 0.05, "seed": 1}
    return models.create("random_grid_search", **(usual | options))


@pytest.fixture(scope="module")
def data():
    return gaussian_table(10_000, 0, seed=1)


@pytest.fixture(scope="module")
def signal():
    return gaussian_table(0, 2000, seed=2)


def test_the_best_cut_of_gaussians_is_the_analytic_one(data, signal):
    method = search(min_background=20, merit="punzi", sigmas=2.0, trials=1000).fit(data, signal=signal)
    expected = np.count_nonzero(method.window.of(data["mjj"]) == 1)

    def merit(cut):
        return stats.norm.sf(cut - 2.0) / (1.0 + np.sqrt(expected * stats.norm.sf(cut)))

    best = optimize.minimize_scalar(lambda cut: -merit(cut), bounds=(0, 5))
    region = method.window.of(data["mjj"])
    fold_number = fold_of(batch_number(data["run"], data["luminosity_block"], data["event"]))
    for number, fold in enumerate(method._state().folds):
        cut = fold["lower"][0]
        # Flat near its top: what counts is the figure of merit reached.
        assert merit(cut) > 0.97 * -best.fun
        s, b, count, value = fold["expected"]
        # Some 500 signal events, the best of many cuts: 4σ.
        assert s == pytest.approx(2000 * stats.norm.sf(cut - 2.0), rel=0.2)
        low, high, inside = (data["x"][(fold_number != number) & (region == band)] for band in (0, 2, 1))
        share = 0.5 * (np.mean(low > cut) + np.mean(high > cut))
        assert b == pytest.approx(1.25 * len(inside) * share)
        assert count == np.count_nonzero(low > cut) + np.count_nonzero(high > cut)
        assert value == pytest.approx(s / (1.0 + np.sqrt(b)))
        assert fold["scale"][0] == pytest.approx(1.0, abs=0.05)


def test_the_selection_is_the_cut_and_the_score_is_nested(data, signal):
    method = search(features=["x", "y"], shape="box", merit="punzi").fit(data, signal=signal)
    fresh = gaussian_table(3000, 300, seed=5)
    score, votes = method.evaluate(fresh, trained_on=False)
    by_hand = np.zeros(len(votes), dtype=int)
    for fold in method._state().folds:
        x = np.stack([fresh["x"], fresh["y"]], axis=1)
        by_hand += np.all((x > fold["lower"]) & (x < fold["upper"]), axis=1)
    np.testing.assert_array_equal(votes, by_hand)
    assert np.all(np.isfinite(score))
    own = method.fold_votes(data, trained_on=True)
    fold_number = fold_of(batch_number(data["run"], data["luminosity_block"], data["event"]))
    for number, fold in enumerate(method._state().folds):
        x = np.stack([data["x"], data["y"]], axis=1)[fold_number == number]
        inside = np.all((x > fold["lower"]) & (x < fold["upper"]), axis=1)
        np.testing.assert_array_equal(own[fold_number == number], 5 * inside)


def test_a_fold_does_not_depend_on_its_own_events(data, signal):
    whole = search().fit(data, signal=signal)
    fold = fold_of(batch_number(data["run"], data["luminosity_block"], data["event"]))
    changed = dict(data) | {"x": np.where(fold == 2, data["x"] + 1.0, data["x"])}
    other = search().fit(changed, signal=signal)
    same = [
        all(np.array_equal(first[name], second[name]) for name in first)
        for first, second in zip(whole._state().folds, other._state().folds, strict=True)
    ]
    assert same == [False, False, True, False, False]


def test_another_seed_tries_other_cuts_and_the_same_seed_the_same(data, signal):
    few = {"trials": 20, "features": ["x", "y"]}
    first, again, other = (search(seed=seed, **few).fit(data, signal=signal) for seed in (1, 1, 2))
    cuts = [np.concatenate([fold["lower"] for fold in m._state().folds]) for m in (first, again, other)]
    np.testing.assert_array_equal(cuts[0], cuts[1])
    assert not np.array_equal(cuts[0], cuts[2])


def test_a_bundle_gives_the_same_bits(tmp_path, data, signal):
    method = search(features=["x", "y"]).fit(data, signal=signal)
    method.save(tmp_path)
    again = models.load(tmp_path)
    for first, second in zip(method.evaluate(data), again.evaluate(data), strict=True):
        np.testing.assert_array_equal(first, second)
    fold = method._state().folds[0]
    for wrong in ({"scale": np.zeros(2)}, {"lower": np.full(2, -np.inf), "upper": np.full(2, np.inf)}):
        with pytest.raises(ValueError, match="not those of a random grid search"):
            method.check_fold(fold | wrong)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"merit": "s/b"}, "merit"),
        ({"background_uncertainty": 0.1, "merit": "punzi"}, "merit 'punzi' takes none; use s/sqrt"),
        ({"decorrelate": "quantile"}, "decorrelate"),
        ({"shape": "circle"}, "shape"),
    ],
)
def test_wrong_options_are_named(options, match):
    with pytest.raises(ConfigError, match=match):
        search(**options)


def test_tables_without_a_cut_are_named(data, signal):
    with pytest.raises(TrainingError, match="needs further tables: pass signal"):
        search().fit(data)
    fold = fold_of(batch_number(signal["run"], signal["luminosity_block"], signal["event"]))
    # Fold 0 knows one event, and no cut through it keeps it.
    one = {name: values[fold == 4][:1] for name, values in signal.items()}
    with pytest.raises(TrainingError, match=r"none of 1 cuts keeps one of the 1 signal events"):
        search().fit(data, signal=one)
    outside = dict(signal) | {"mjj": signal["mjj"] + 2000}
    with pytest.raises(
        TrainingError, match="table 'signal': no event with 3000 ≤ mjj < 3600 GeV outside fold"
    ):
        search().fit(data, signal=outside)
