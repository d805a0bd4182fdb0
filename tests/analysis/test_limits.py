"""Limits: closed forms, known traps, coverage of the toy calculator."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm, poisson

from analysis.fit import fit_background
from analysis.limits import _crossings, asymptotic_limit, asymptotic_log_cls
from analysis.profile_likelihood import SignalTest
from analysis.scan import signal_test
from analysis.signal_shape import SignalModel
from analysis.signal_template import SignalTemplate
from analysis.spectrum import Spectrum
from analysis.toy_limit import toy_limit
from analysis.toy_p0 import toy_p0
from data.errors import FitError
from tests.analysis.oracles import counting


def q(mu, n, b):
    """q̃_μ of a counting experiment with known background (arXiv:1007.1727)."""

    def nll(s):
        return s + b - (n * math.log(s + b) if n else 0.0)

    best = n - b
    if best > mu:
        return 0.0
    return 2 * (nll(mu) - nll(max(best, 0.0)))


def cls(mu, n, b):
    q_obs, q_a = q(mu, n, b), q(mu, b, b)
    root, root_a = math.sqrt(q_obs), math.sqrt(q_a)
    if root <= root_a:
        return norm.sf(root) / norm.cdf(root_a - root)
    return norm.sf((q_obs + q_a) / (2 * root_a)) / norm.sf((q_obs - q_a) / (2 * root_a))


@pytest.mark.parametrize(("n", "b"), [(0, 3.0), (3, 5.0), (9, 5.0), (5, 5.0), (130, 100.0), (70, 100.0)])
def test_counting_experiment_has_its_closed_form(n, b):
    limit = asymptotic_limit(counting(n, b))
    exact = brentq(lambda mu: cls(mu, n, b) - 0.05, max(n - b, 1e-3), 20 + 5 * (n + b))
    assert limit.observed == pytest.approx(exact, rel=1e-4)
    assert limit.calculator == "asymptotic"


@pytest.mark.parametrize("b", [5.0, 100.0])
def test_expected_bands_have_their_closed_form(b):
    limit = asymptotic_limit(counting(round(b), b))
    for n_sigma, found in zip((-2, -1, 0, 1, 2), limit.expected, strict=True):
        wanted = norm.isf(0.05 * norm.cdf(n_sigma)) + n_sigma
        exact = brentq(
            lambda mu, w=wanted: math.sqrt(max(q(mu, b, b), 0.0)) - w, 1e-6, 50 * math.sqrt(b) + 50
        )
        assert found == pytest.approx(exact, rel=1e-4)
    assert list(limit.expected) == sorted(limit.expected)


def test_large_counts_reach_the_gaussian_limit():
    limit = asymptotic_limit(counting(1_000_000, 1_000_000.0))
    assert limit.expected[2] == pytest.approx(1.96 * 1000, rel=2e-3)
    assert limit.observed == pytest.approx(limit.expected[2], rel=1e-3)


def test_cls_without_separation_is_one():
    assert asymptotic_log_cls(0.0, 0.0) == pytest.approx(0.0)


def test_confidence_orders_limits():
    test = counting(7, 5.0)
    assert asymptotic_limit(test, confidence=0.90).observed < asymptotic_limit(test).observed


def test_nothing_expected_nothing_seen():
    """The trap of asymptotic formulae: 2 events where the exact answer is −ln 0.05 = 3."""
    test = counting(0, 1e-3)
    assert asymptotic_limit(test).observed == pytest.approx(1.92, abs=0.02)
    assert toy_limit(test, n_toys=1000, seed=1).observed == pytest.approx(-math.log(0.05), rel=0.12)


@pytest.mark.parametrize(("n", "b"), [(3, 1.0), (2, 3.2)])
def test_toys_reproduce_exact_cls(n, b):
    limit = toy_limit(counting(n, b), n_toys=1000, seed=2)
    exact = brentq(lambda mu: poisson.cdf(n, b + mu) / poisson.cdf(n, b) - 0.05, 0.1, 50)
    assert limit.observed == pytest.approx(exact, rel=0.12)
    assert limit.calculator == "toys"
    assert list(limit.expected) == sorted(limit.expected)


def test_toys_are_seeded():
    test = counting(2, 1.0)
    assert toy_limit(test, n_toys=500, seed=5) == toy_limit(counting(2, 1.0), n_toys=500, seed=5)


def test_a_deficit_that_no_toy_reaches_is_refused():
    with pytest.raises(FitError, match=r"the 20 toys resolve no CLs of 0.05"):
        toy_limit(counting(0, 20.0), n_toys=20, seed=1)


@pytest.mark.parametrize(("n_events", "nuisances"), [(100_000, False), (1_000_000, True)])
def test_toys_agree_with_asymptotics_where_these_hold(n_events, nuisances):
    """To three errors of the outer bands, √(p (1 − p)/n)/φ(2) = 0.087 standard errors of the yield."""
    edges = 1460 + 20 * np.arange(278.0)
    x = 0.5 * (edges[1:] + edges[:-1]) / 13000
    shape = (1 - x) ** 9.3 / x**5
    data = Spectrum(edges, np.random.default_rng(1).poisson(n_events * shape / shape.sum()))
    fit = fit_background(data, "dijet2")
    test = signal_test(fit, SignalModel.generic().template(2500.0, edges, nuisances=nuisances))
    wanted, found = asymptotic_limit(test), toy_limit(test, n_toys=1000, seed=2)
    error = 3 * math.sqrt(norm.sf(2) * norm.cdf(2) / 1000) / norm.pdf(2) * test.yield_error
    assert found.observed == pytest.approx(wanted.observed, abs=error)
    assert found.expected == pytest.approx(wanted.expected, abs=error)
    assert toy_p0(test, n_toys=1000, seed=2).p0 == pytest.approx(test.p0, abs=0.05)


def test_wide_bins_with_nuisances_lose_no_toy():
    """In bins as wide as the peak the background is not log-linear: toys are fitted with the expansion, as data are."""
    edges = np.arange(1500.0, 7001.0, 100.0)
    counts = np.random.default_rng(4).poisson(9000 * np.exp(-(edges[:-1] - 1500) / 300))
    fit = fit_background(Spectrum(edges, counts), "dijet3")
    test = signal_test(fit, SignalModel.generic().template(3000.0, edges, nuisances=True))
    found, rough = toy_limit(test, n_toys=500), asymptotic_limit(test)
    assert found.observed == pytest.approx(rough.observed, rel=0.15)


def falling(n_events, seed):
    edges = np.arange(2232.0, 5001.0, 4.0)
    expected = np.diff(-np.exp(-(edges - 2232) / 330))
    return Spectrum(edges, np.random.default_rng(seed).poisson(n_events * expected))


def test_limit_bounds_the_yield_from_above_and_is_where_cls_says():
    data = falling(20_000, 1)
    fit = fit_background(data, "dijet3")
    template = SignalModel.generic().at(3000.0).template(data.edges)
    test = SignalTest(data.counts.astype(float), fit.model, SignalTemplate(template), fit.minimum.theta)
    limit = asymptotic_limit(test)
    assert limit.observed > test.best.signal_yield
    asimov = SignalTest(fit.expected, fit.model, SignalTemplate(template), fit.minimum.theta)
    q_asimov = 2 * (asimov.at(limit.observed).value - asimov.null.value)
    assert asymptotic_log_cls(test.q_tilde(limit.observed), q_asimov) == pytest.approx(
        math.log(0.05), abs=1e-3
    )
    assert limit.expected[2] == pytest.approx(1.96 * test.yield_error, rel=0.1)


def test_no_limit_is_an_error():
    with pytest.raises(FitError, match="no limit found below"):
        _crossings(lambda mu: -np.ones(2), np.zeros(2), np.ones(2))


def test_a_limit_below_the_start_is_refused_instead_of_a_crossing_that_is_none():
    with pytest.raises(FitError, match="the limit cannot be found, 3 signal events are excluded already"):
        _crossings(lambda signal_yield: signal_yield - 2.0, np.array([3.0]), np.array([5.0]))


def test_crossings_of_curves_far_from_straight():
    wanted = np.array([0.3, 20.0, 4000.0])
    found = _crossings(lambda x: np.log(x + 1e-300) - np.log(wanted), np.full(3, 1e-6), np.ones(3))
    assert found == pytest.approx(wanted, rel=1e-4)


def test_a_jump_is_crossed_where_it_jumps():
    found = _crossings(lambda x: np.where(x > np.pi, 1.0, -1.0), np.zeros(1), np.ones(1))
    assert found == pytest.approx(np.pi, rel=1e-4)


def test_no_number_is_no_limit():
    with pytest.raises(FitError, match="no limit found near 1 signal events: no finite likelihood"):
        _crossings(lambda x: np.where(x > 0, np.nan, -1.0), np.zeros(1), np.ones(1))
