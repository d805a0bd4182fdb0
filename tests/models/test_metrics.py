"""ROC, significance improvement, intervals, complementarity, sculpting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from data.errors import InputError
from models.complementarity import complementarity, complementarity_by_class, weighted_ranks
from models.intervals import LEVEL, clopper_pearson
from models.metrics import (
    area_under_curve,
    band,
    max_sic,
    maximum_significance,
    roc,
    sic_at,
    significance_improvement,
)
from models.sculpting import sculpting

# Scores with ties, and labels of both classes.
samples = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-4, 4).map(float), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda labels: 0 < sum(labels) < len(labels)),
        st.lists(st.integers(1, 5).map(float), min_size=n, max_size=n),
    )
)


def gaussians(signal, background, shift, seed):
    rng = np.random.default_rng(seed)
    score = np.append(rng.normal(shift, 1, signal), rng.normal(0, 1, background))
    return score, np.arange(signal + background) < signal


def test_a_case_made_by_hand():
    curve = roc(np.array([0.9, 0.8, 0.8, 0.3, 0.1]), [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(curve.thresholds, [0.9, 0.8, 0.3, 0.1, -np.inf])
    np.testing.assert_array_equal(curve.signal_count, [0, 1, 2, 2, 2])
    np.testing.assert_array_equal(curve.background_count, [0, 0, 1, 2, 3])
    np.testing.assert_allclose(curve.background_efficiency, [0, 0, 1 / 3, 2 / 3, 1])
    # Signal above the three background events in 5 of 6 pairs, and level with one.
    assert area_under_curve(curve) == pytest.approx(5.5 / 6)
    sic = significance_improvement(curve)
    np.testing.assert_allclose(sic.value, [1 / np.sqrt(1 / 3), 1 / np.sqrt(2 / 3), 1])
    # Binomial variance of ε_B at 1 of 3: (1/3)(2/3)/3; none of ε_S = 1.
    assert sic.error[0] == pytest.approx(0.5 * sic.value[0] * np.sqrt(2 / 27) * 3)
    assert float(curve.at(0.5)[0]) == 1.0
    assert float(curve.at(1 / 6)[0]) == pytest.approx(0.75)


@settings(max_examples=20, deadline=None)
@given(samples)
def test_it_is_the_curve_of_scikit_learn(sample):
    score, label, weight = (np.array(values) for values in sample)
    curve = roc(score, label, weight)
    fpr, tpr, thresholds = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(curve.background_efficiency, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.signal_efficiency, tpr, atol=1e-12)
    # scikit-learn keeps score >= threshold: its cuts name the lowest score kept, ours the highest one rejected.
    np.testing.assert_array_equal(curve.thresholds[:-1], thresholds[1:])
    assert area_under_curve(curve) == pytest.approx(roc_auc_score(label, score, sample_weight=weight))


@settings(max_examples=20, deadline=None)
@given(samples)
def test_each_threshold_keeps_what_it_says(sample):
    score, label, weight = (np.array(values) for values in sample)
    curve = roc(score, label, weight)
    for threshold, signal, background in zip(
        curve.thresholds, curve.signal_efficiency, curve.background_efficiency, strict=True
    ):
        kept = score > threshold
        assert np.average(kept[label], weights=weight[label]) == pytest.approx(signal)
        assert np.average(kept[~label], weights=weight[~label]) == pytest.approx(background)


@settings(max_examples=20, deadline=None)
@given(samples, st.integers(0, 2**32 - 1))
def test_order_and_monotonic_maps_change_nothing(sample, seed):
    score, label, weight = (np.array(values) for values in sample)
    order = np.random.default_rng(seed).permutation(len(score))
    first, second = roc(score, label, weight), roc(np.exp(score[order]), label[order], weight[order])
    np.testing.assert_allclose(first.signal_efficiency, second.signal_efficiency, atol=1e-12)
    np.testing.assert_allclose(first.background_error, second.background_error, atol=1e-12)
    assert area_under_curve(first) + area_under_curve(roc(-score, label, weight)) == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(samples)
def test_a_weight_of_all_events_changes_nothing_but_copies_do(sample):
    score, label, copies = (np.array(values) for values in sample)
    one, heavy = roc(score, label), roc(score, label, np.full(len(score), 7.0))
    np.testing.assert_allclose(one.signal_error, heavy.signal_error)
    np.testing.assert_allclose(one.background_count, heavy.background_count)
    weighted = roc(score, label, copies)
    copied = roc(np.repeat(score, copies.astype(int)), np.repeat(label, copies.astype(int)))
    np.testing.assert_allclose(weighted.signal_efficiency, copied.signal_efficiency)
    assert weighted.signal_total <= copied.signal_total + 1e-9


def test_significance_improvement_of_two_gaussians_is_the_formula():
    score, label = gaussians(100_000, 100_000, 2.0, seed=1)
    curve = roc(score, label)
    assert area_under_curve(curve) == pytest.approx(stats.norm.cdf(2 / np.sqrt(2)), abs=2e-3)
    for background in (1e-1, 1e-2, 1e-3):
        expected = stats.norm.sf(stats.norm.isf(background) - 2.0) / np.sqrt(background)
        value, error = sic_at(curve, background)
        assert abs(value - expected) < 4 * error
        assert error < 0.08 * expected
    peak = max_sic(curve)
    cuts = np.linspace(0, 4.5, 5000)
    curve_of_formula = stats.norm.sf(cuts - 2) / np.sqrt(stats.norm.sf(cuts))
    # The largest of many noisy values is a little above the true one.
    assert -3 * peak.error < peak.value - curve_of_formula.max() < 4 * peak.error
    assert peak.background_count >= 25
    kept = score > peak.threshold
    assert np.mean(kept[label]) == pytest.approx(peak.signal_efficiency)
    assert np.mean(kept[~label]) == pytest.approx(peak.background_efficiency)


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_the_spread_of_repeated_samples(weighted):
    values, errors = [], []
    for seed in range(250):
        score, label = gaussians(400, 2000, 1.5, seed)
        weight = np.random.default_rng(1000 + seed).choice([0.3, 2.0], len(score)) if weighted else None
        value, error = sic_at(roc(score, label, weight), 0.05)
        values.append(value)
        errors.append(error)
    assert np.std(values) == pytest.approx(np.median(errors), rel=0.15)
    expected = stats.norm.sf(stats.norm.isf(0.05) - 1.5) / np.sqrt(0.05)
    assert np.mean(np.abs(np.array(values) - expected) < errors) == pytest.approx(LEVEL, abs=0.095)


def test_few_background_events_do_not_make_the_maximum():
    score = np.append(np.full(10, 2.0), np.append(np.linspace(0, 1, 99), 3.0))
    label = np.arange(110) < 10
    assert max_sic(roc(score, label), min_background=1).value == pytest.approx(10)
    assert max_sic(roc(score, label), min_background=50).value == pytest.approx(1 / np.sqrt(0.5))
    with pytest.raises(InputError, match="min_background=101: the sample holds 100 background events"):
        max_sic(roc(score, label), min_background=101)


def test_maximum_significance_scales_with_the_events_expected():
    score, label = gaussians(3000, 30_000, 2.0, seed=3)
    curve = roc(score, label)
    peak, best = maximum_significance(curve, 772, 121_352), max_sic(curve)
    # S/√B of the LHC Olympics benchmark: 2.2 (arXiv:2109.00546).
    assert peak.value / best.value == pytest.approx(2.216, abs=1e-3)
    assert peak.threshold == best.threshold
    with pytest.raises(InputError, match="background positive"):
        maximum_significance(curve, 10, 0)


def test_the_band_holds_the_central_trainings():
    curves = [roc(*gaussians(4000, 20_000, shift, seed)) for seed, shift in enumerate(np.linspace(1, 2, 11))]
    grid = np.array([1e-2, 1e-1, 1.0])
    result = band(curves, grid)
    values = np.array([[sic_at(curve, point)[0] for point in grid] for curve in curves])
    np.testing.assert_allclose(result.median, np.median(values, axis=0))
    assert np.all(result.low <= result.median)
    inside = (values >= result.low) & (values <= result.high)
    np.testing.assert_array_equal(inside.sum(axis=0), [7, 7, 11])
    default = band(curves)
    assert default.background_efficiency[0] == pytest.approx(25 / 20_000)
    with pytest.raises(InputError, match="curves: expected at least one"):
        band([])
    with pytest.raises(InputError, match="background_efficiency must be above 0 and at most 1, found 0"):
        band(curves, np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    ("score", "label", "weight", "match"),
    [
        ([1.0, np.nan], [1, 0], None, "score: 1 of 2 values are NaN or infinite; leave these out"),
        ([1.0, 2.0], [1, 2], None, "expected 1 for signal and 0 for background only, found 2"),
        ([1.0, 2.0], [1, 1], None, "no background event with a weight above 0 among 2"),
        ([1.0, 2.0], [1, 0], [0.0, 1.0], "no signal event"),
        ([1.0, 2.0], [1, 0], [1.0, -1.0], "weight: 1 of 2 are negative, NaN"),
        ([1.0, 2.0], [1, 0, 0], None, "expected one of each an event"),
    ],
)
def test_samples_without_a_curve_are_refused(score, label, weight, match):
    with pytest.raises(InputError, match=match):
        roc(np.array(score), label, weight)


def test_background_efficiencies_out_of_range_are_refused():
    curve = roc(np.array([1.0, 0.0]), [1, 0])
    with pytest.raises(InputError, match=r"within 0 … 1, found 1\.5"):
        curve.at(1.5)
    with pytest.raises(InputError, match="above 0 and at most 1, found 0"):
        sic_at(curve, 0.0)


def test_intervals_are_those_of_scipy():
    for passed, total in ((0, 10), (3, 10), (10, 10), (25, 4000)):
        reference = stats.binomtest(passed, total)
        expected = reference.proportion_ci(0.9, method="exact")
        low, high = clopper_pearson(passed, total, 0.9)
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-10)
    with pytest.raises(InputError, match="0 ≤ passed ≤ total"):
        clopper_pearson(3, 2)


@pytest.mark.parametrize("total", [12, 60])
def test_intervals_cover(total):
    truth = np.linspace(0.02, 0.98, 200)
    counts = np.arange(total + 1)
    probability = stats.binom.pmf(counts[:, None], total, truth[None, :])
    low, high = (edge[:, None] for edge in clopper_pearson(counts, total))
    coverage = np.sum(probability * ((low <= truth) & (truth <= high)), axis=0)
    assert coverage.min() >= LEVEL


def correlated(events, correlation, seed):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=events)
    second = correlation * first + np.sqrt(1 - correlation**2) * rng.normal(size=events)
    return first, second


def test_correlation_of_gaussians_is_the_known_one():
    first, second = correlated(100_000, 0.5, seed=2)
    scores = {"a": first, "b": np.exp(second), "c": -first}
    chosen = {name: values > np.quantile(values, 0.9) for name, values in scores.items()}
    result = complementarity(scores, chosen)
    # Spearman's coefficient of a bivariate normal: (6/π) asin(ρ/2).
    assert result.correlation[0, 1] == pytest.approx(6 / np.pi * np.arcsin(0.25), abs=0.01)
    assert result.correlation[0, 2] == pytest.approx(-1)
    np.testing.assert_array_equal(np.diag(result.correlation), 1)
    both = np.mean(chosen["a"] & chosen["b"])
    assert result.overlap[0, 1] == pytest.approx(both / (0.2 - both), abs=1e-6)
    assert result.overlap[0, 2] == 0
    np.testing.assert_array_equal(result.overlap, result.overlap.T)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=3, max_size=40), st.integers(0, 2**32 - 1))
def test_correlation_is_that_of_scipy_with_ties_and_copies(values, seed):
    rng = np.random.default_rng(seed)
    first, second = np.array(values, dtype=float), rng.integers(0, 5, len(values)).astype(float)
    copies = rng.integers(1, 4, len(values))
    np.testing.assert_allclose(
        weighted_ranks(first, np.ones(len(first))), (stats.rankdata(first) - 0.5) / len(first)
    )
    chosen = {"a": first > 2, "b": second > 2}
    result = complementarity({"a": first, "b": second}, chosen, copies)
    a, b = np.repeat(first, copies), np.repeat(second, copies)
    if np.ptp(a) > 0 and np.ptp(b) > 0:
        assert result.correlation[0, 1] == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    else:
        assert np.isnan(result.correlation[0, 1])
    either = np.count_nonzero((a > 2) | (b > 2))
    if either:
        assert result.overlap[0, 1] == pytest.approx(np.count_nonzero((a > 2) & (b > 2)) / either)
    else:
        assert np.isnan(result.overlap[0, 1])


def test_signal_and_background_are_looked_at_apart():
    background, signal = correlated(2000, 0.0, seed=5), correlated(2000, 0.9, seed=6)
    scores = {name: np.append(background[n], signal[n]) for n, name in enumerate("ab")}
    chosen = {name: values > 1 for name, values in scores.items()}
    result = complementarity_by_class(scores, chosen, np.arange(4000) >= 2000)
    assert abs(result["background"].correlation[0, 1]) < 0.08
    assert result["signal"].correlation[0, 1] > 0.85
    assert result["signal"].overlap[0, 1] > result["background"].overlap[0, 1] + 0.2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s, c: (s, {"a": c["a"]}), "same names; found scores of a, b and selections of a"),
        (lambda s, c: (s | {"b": s["b"][:2]}, c), "'b': expected 3 scores"),
        (lambda s, c: (s | {"b": s["b"] * np.nan}, c), "'b': 3 of 3 scores are NaN or infinite; leave"),
        (lambda s, c: (s, c | {"a": c["a"].astype(int)}), "'a': selections must be bool"),
    ],
)
def test_methods_that_cannot_be_compared_are_named(change, match):
    scores = {"a": np.arange(3.0), "b": np.arange(3.0)}
    chosen = {name: values > 1 for name, values in scores.items()}
    with pytest.raises(InputError, match=match):
        complementarity(*change(scores, chosen))
    with pytest.raises(InputError, match="weight: expected 3 values"):
        complementarity(scores, chosen, [0, 0, 0])


def spectrum(events, seed):
    return 1500 + np.random.default_rng(seed).exponential(600, events)


@pytest.mark.parametrize("weighted", [False, True])
def test_p_values_are_uniform_where_the_fraction_is_flat(weighted):
    found = []
    for seed in range(250):
        rng = np.random.default_rng(500 + seed)
        mjj = spectrum(6000, seed)
        weight = rng.choice([0.5, 1.5], len(mjj)) if weighted else None
        edges = [1500, 1600, 1800, 2100, 2600, 3300, 9000]
        result = sculpting(mjj, rng.random(len(mjj)) < 0.05, edges, weight)
        found.append((result.p_value, result.slope_p_value, result.slope / result.slope_error))
    chi2, slope, pulls = np.array(found).T
    assert stats.kstest(chi2, "uniform").pvalue > 1e-3
    assert stats.kstest(slope, "uniform").pvalue > 1e-3
    assert np.std(pulls) == pytest.approx(1, abs=0.15)


def test_bins_are_those_of_the_contingency_table():
    mjj, rng = spectrum(5000, 1), np.random.default_rng(2)
    chosen = rng.random(5000) < 0.2
    edges = np.array([1500.0, 1700, 2000, 2500, 9000])
    result = sculpting(mjj, chosen, edges)
    table = [np.histogram(mjj[mask], edges)[0] for mask in (chosen, ~chosen)]
    expected = stats.chi2_contingency(table, correction=False)
    assert (result.chi2, result.dof, result.p_value) == pytest.approx(
        (expected.statistic, expected.dof, expected.pvalue)
    )
    assert result.mean == pytest.approx(chosen.mean())


@settings(max_examples=5, deadline=None)
@given(st.floats(0.5, 2.0))
def test_a_slope_of_a_fifth_is_found_and_measured(scale):
    rng = np.random.default_rng(4)
    mjj = rng.uniform(1500, 2500, 40_000)
    share = 0.05 * (1 + 0.2 * (mjj - 2000) / 1000 * scale)
    many = np.repeat(mjj, 10)
    result = sculpting(many, rng.random(len(many)) < np.repeat(share, 10), np.linspace(1500, 2500, 11))
    assert abs(result.slope - 0.2 * scale) < 4 * result.slope_error
    assert result.slope_p_value < 1e-4
    if scale > 0.9:
        assert result.p_value < 1e-3


def test_bins_with_few_expected_events_are_merged():
    mjj, rng = spectrum(20_000, 3), np.random.default_rng(5)
    chosen = rng.random(len(mjj)) < 0.01
    result = sculpting(mjj, chosen, np.linspace(1500, 9000, 76))
    assert result.edges[0] == 1500
    assert result.edges[-1] == 9000
    counts = np.histogram(mjj, result.edges)[0]
    assert np.all(counts * chosen.mean() >= 10 * (1 - 1e-9))
    assert 10 < len(counts) < 20
    assert len(sculpting(mjj, chosen).fraction) == pytest.approx(20, abs=11)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"selected": np.zeros(100, dtype=bool)}, "0 of 100 events are selected: fewer than two bins"),
        ({"selected": np.ones(100, dtype=bool)}, "100 of 100 events are selected"),
        ({"selected": np.full(100, 5)}, "selected: expected bool, found int64"),
        ({"edges": [1.0, 2.0]}, "edges: expected at least three, ascending"),
        ({"weight": np.full(100, -1.0)}, "weight: 100 of 100 values are negative, NaN"),
        ({"weight": np.ones(3)}, "expected one of each an event"),
    ],
)
def test_a_test_that_cannot_be_made_is_refused(arguments, match):
    usual = {"mjj": np.arange(100.0), "selected": np.arange(100) % 2 == 0, "edges": [0, 50, 100]}
    with pytest.raises(InputError, match=match):
        sculpting(**(usual | arguments))
