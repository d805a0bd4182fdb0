import functools

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from scipy.stats import norm

from data.errors import ConfigError, TrainingError
from models.driver import train_together
from models.jobs import Schedule
from models.networks.quantiles import pinball_loss
from models.quantile_regression import QuantileCurves, QuantileSettings, train_quantiles
from models.seeds import task_seed

SCHEDULE = Schedule(epochs=40, batch=128, learning_rate=1e-2, decay="one_cycle")
SETTINGS = QuantileSettings(points=512, layers=3, schedule=SCHEDULE)
WORKING_POINT = 0.05


def make_events(events, seed):
    """Falling spectrum; the score's median and spread grow with mjj. Its rank is known, and so are its quantiles."""
    rng = np.random.default_rng(seed)
    mjj = 1500 + rng.exponential(600, events)
    score = norm.cdf((rng.normal(size=events) * spread(mjj) + median(mjj)) / 2)
    return score, mjj, rng.integers(0, 5, events)


def median(mjj):
    return 2 * np.log(mjj / 1500) - 0.8


def spread(mjj):
    return 0.5 + mjj / 4000


def trained(score, mjj, fold, settings=SETTINGS):
    levels = settings.levels(WORKING_POINT)
    training = train_quantiles(score, mjj, fold, levels, settings, functools.partial(task_seed, 3))
    return train_together([training])[0]


def ranks(curves, score, mjj, fold):
    rank = np.empty(len(score))
    for number, own in enumerate(curves):
        rank[fold == number] = own.conditional_rank(score[fold == number], mjj[fold == number])
    return rank


def chi2(selected, mjj, edges):
    """Of the selected events against a selection that is flat in mjj."""
    every, kept = np.histogram(mjj, edges)[0], np.histogram(mjj[selected], edges)[0]
    share = selected.mean()
    return np.sum((kept - every * share) ** 2 / (every * share * (1 - share)))


@pytest.fixture(scope="module")
def events():
    return make_events(20_000, 1)


@pytest.fixture(scope="module")
def curves(events):
    return trained(*events)


@pytest.mark.parametrize("quantile", [0.15, 0.5, 0.95])
def test_pinball_loss_is_least_at_the_empirical_quantile(quantile):
    """R. Koenker, G. Bassett, Econometrica 46 (1978) 33: the minimum is the order statistic."""
    values = torch.from_numpy(np.random.default_rng(2).normal(size=501))
    tried = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    losses = pinball_loss(values[:, None] - tried, torch.tensor(quantile, dtype=torch.float64)).mean(dim=0)
    expected = np.quantile(values, quantile, method="inverted_cdf")
    assert tried[losses.argmin()].item() == pytest.approx(expected, abs=0.0011)


def test_selection_is_flat_in_mjj(events, curves):
    """Within statistics: 20 bins, of which the curves themselves may take some seven parameters' worth."""
    score, mjj, fold = events
    edges = np.concatenate([np.quantile(mjj, np.linspace(0, 0.95, 18)), np.quantile(mjj, [0.98, 1])])
    rank = ranks(curves, score, mjj, fold)
    for share in (WORKING_POINT, 0.3):
        assert chi2(rank > 1 - share, mjj, edges) < 40
        assert chi2(score > np.quantile(score, 1 - share), mjj, edges) > 300
        assert (rank > 1 - share).mean() == pytest.approx(share, rel=0.1)


def test_curves_are_the_known_quantiles(curves):
    mjj = np.array([1600.0, 2000.0, 2500.0, 3000.0])
    quantiles = np.array(SETTINGS.levels(WORKING_POINT))
    truth = norm.cdf((median(mjj)[:, None] + spread(mjj)[:, None] * norm.ppf(quantiles)) / 2)
    for own in curves:
        np.testing.assert_allclose(own.cuts(mjj), truth, atol=0.035)


def test_an_event_has_no_say_in_its_own_cut(events, curves):
    score, mjj, fold = events
    other, own = make_events(len(score), 5), fold == 2
    changed = trained(np.where(own, other[0], score), np.where(own, other[1], mjj), fold)
    for name, array in curves[2].arrays().items():
        np.testing.assert_array_equal(changed[2].arrays()[name], array)
    assert not np.array_equal(changed[1].coefficients, curves[1].coefficients)


def test_scores_that_do_not_depend_on_mjj_keep_their_rank():
    _, mjj, fold = make_events(4000, 7)
    score = np.random.default_rng(8).permutation((np.arange(4000) + 0.5) / 4000)
    rank = ranks(trained(score, mjj, fold), score, mjj, fold)
    assert np.std(rank - score) < 0.03


def test_rank_is_monotone_and_cuts_where_the_curve_is():
    """Also where polynomials cross, and beyond the range of masses."""
    rng = np.random.default_rng(4)
    quantiles = np.array([0.3, 0.5, 0.95])
    coefficients = np.stack([logit(quantiles), [0.3, -0.2, 0.9], [0.5, 0.1, -0.4]], axis=1)
    curves = QuantileCurves(quantiles, coefficients, np.array([1500.0, 4000.0]))
    mjj = rng.uniform(1000, 5000, 300)
    cuts = curves.cuts(mjj)
    assert np.all(np.diff(cuts, axis=1) > 0)
    for number, quantile in enumerate(quantiles):
        for score in (cuts[:, number], np.nextafter(cuts[:, number], 1), rng.random(300)):
            rank = curves.conditional_rank(score, mjj)
            np.testing.assert_array_equal(rank > quantile, score > cuts[:, number])
        np.testing.assert_allclose(curves.conditional_rank(cuts[:, number], mjj), quantile, rtol=1e-12)
    steps = np.linspace(0, 1, 101)
    by_mass = np.stack([curves.conditional_rank(np.full(300, step), mjj) for step in steps])
    assert np.all(np.diff(by_mass, axis=0) > 0)
    assert np.all(by_mass[0] == 0)
    assert np.all(by_mass[-1] == 1)


def test_curves_are_polynomials_inside_and_constant_outside():
    curves = QuantileCurves(np.array([0.5]), np.array([[0.2, -0.7, 0.4]]), np.array([2000.0, 4000.0]))
    x = np.array([-1.0, -0.5, 0.0, 0.25, 1.0])
    expected = expit(np.polynomial.polynomial.polyval(x, [0.2, -0.7, 0.4]))
    np.testing.assert_allclose(curves.cuts(3000 + 1000 * x)[:, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(
        curves.cuts(np.array([100.0, 9000.0])), curves.cuts(np.array([2000.0, 4000.0]))
    )


def test_curves_come_back_from_their_arrays(curves):
    again = QuantileCurves.from_arrays(curves[0].arrays())
    mjj = np.linspace(1500, 5000, 50)
    np.testing.assert_array_equal(again.cuts(mjj), curves[0].cuts(mjj))


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("quantiles", lambda a: a[::-1].copy(), "not ascending quantiles"),
        ("quantiles", lambda a: a[1:], "'coefficients' is"),
        ("coefficients", lambda a: a * np.nan, "not ascending quantiles with finite"),
        ("coefficients", lambda a: a.astype(np.float32), "'coefficients' is float32"),
        ("mass_range", lambda a: a[::-1].copy(), "in a mass range"),
    ],
)
def test_arrays_that_are_no_curves_are_refused(curves, name, change, match):
    arrays = curves[0].arrays()
    with pytest.raises(ValueError, match=match):
        QuantileCurves.from_arrays(arrays | {name: change(arrays[name])})


def test_what_cannot_be_regressed_is_refused():
    score, mjj, fold = make_events(400, 0)
    with pytest.raises(TrainingError, match="fold 4 has 0 events, at least 20"):
        trained(score[fold < 4], mjj[fold < 4], fold[fold < 4])
    with pytest.raises(TrainingError, match="'mjj' is 2000 GeV in nearly every event"):
        trained(score, np.full(400, 2000.0), fold)
    with pytest.raises(ConfigError, match=r"quantiles lie between 0 and 1, found 0\.5, 1\.2"):
        QuantileSettings.parse({"quantiles": [0.5, 1.2]}, "options")


def test_the_quantile_of_the_working_point_is_added_once():
    settings = QuantileSettings(quantiles=(0.9, 0.5))
    assert settings.levels(0.03) == (0.5, 0.9, 0.97)
    assert settings.levels(0.5) == (0.5, 0.9)


def test_weights_of_simulation_count():
    """Events of scores below 1/2 weigh nine times as much: the median is at 5/18 (0.9 of the weight is below 1/2)."""
    rng = np.random.default_rng(11)
    score, mjj, fold = rng.random(10_000), 1500 + rng.exponential(600, 10_000), rng.integers(0, 5, 10_000)
    settings = SETTINGS.model_copy(update={"quantiles": (0.5,), "points": 256})
    training = train_quantiles(
        score,
        mjj,
        fold,
        (0.5,),
        settings,
        functools.partial(task_seed, 3),
        np.where(score < 0.5, 9.0, 1.0),
    )
    (curves, *_) = train_together([training])[0]
    np.testing.assert_allclose(curves.cuts(np.array([1800.0, 2500.0]))[:, 0], 5 / 18, atol=0.03)
