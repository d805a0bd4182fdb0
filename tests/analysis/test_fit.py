"""Fits: convergence, agreement with iminuit, closed forms, toys."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import kstest

from analysis import profile_likelihood
from analysis.fit import check_healthy, fit_background
from analysis.function_model import gauss_nodes
from analysis.functions import density
from analysis.likelihood import Likelihood
from analysis.minimiser import minimise
from analysis.minuit import minuit_check
from analysis.profile_likelihood import SignalTest
from analysis.signal_shape import SignalModel
from analysis.signal_template import SignalTemplate
from analysis.spectrum import Spectrum
from data.errors import FitError, InputError
from tests.analysis.oracles import counting, minuit_errors

EDGES = np.arange(2232.0, 5201.0, 4.0)
TEMPLATE = SignalModel.generic().at(3000.0).template(EDGES)


def expected(n_events, edges=EDGES):
    mass, weight = gauss_nodes(edges)
    counts = (density(mass.ravel(), 0.0, np.array([9.3, 4.8, -0.1])).reshape(mass.shape) * weight).sum(axis=1)
    return counts * n_events / counts.sum()


def spectrum(n_events, seed=1, signal=0.0):
    return Spectrum(EDGES, np.random.default_rng(seed).poisson(expected(n_events) + signal * TEMPLATE))


def signal_test(data, n_shape):
    fit = fit_background(data, f"dijet{n_shape}")
    return SignalTest(data.counts.astype(float), fit.model, SignalTemplate(TEMPLATE), fit.minimum.theta)


@pytest.mark.parametrize("n_shape", [2, 3, 4, 5])
@pytest.mark.parametrize("n_events", [1000, 60_000, 1_000_000])
def test_agrees_with_minuit(n_events, n_shape):
    test = signal_test(spectrum(n_events, signal=2 * np.sqrt(n_events)), n_shape)
    check = minuit_check(test)
    assert abs(check.improvement) < 1e-3
    assert check.signal_yield == pytest.approx(test.best.signal_yield, abs=0.01 * test.yield_error)
    hesse, low, high = minuit_errors(test)
    assert hesse == pytest.approx(test.yield_error, rel=0.01)
    assert 0.5 * (high - low) == pytest.approx(test.yield_error, rel=0.05)


def test_sum_of_the_fit_is_the_sum_of_the_data():
    fit = fit_background(spectrum(20_000), "dijet3")
    assert fit.expected.sum() == pytest.approx(fit.spectrum.n_events, rel=1e-5)


def test_goodness_counts_its_degrees_of_freedom():
    fit = fit_background(spectrum(20_000), "dijet3")
    chi2, ndf, p = fit.goodness
    assert ndf == fit.coarse_index.size - 1 - 3 - 1
    assert 0.001 < p < 0.999
    assert chi2 > 0


def test_uncertainty_of_the_density_matches_toys():
    fit = fit_background(spectrum(5000), "dijet2")
    rng = np.random.default_rng(3)
    near = np.array([2998.0, 3002.0])
    found = []
    for _ in range(60):
        like = Likelihood(rng.poisson(fit.expected).astype(float), fit.model)
        found.append(
            fit.model.expected_in(near, minimise(like, fit.minimum.theta, free_yield=False).theta)[0]
        )
    assert np.std(found) / np.mean(found) == pytest.approx(fit.relative_uncertainty(3000.0), rel=0.3)


@pytest.mark.parametrize(("n", "b"), [(3, 1.0), (5, 3.2), (140, 100.0)])
def test_counting_experiment_has_its_closed_form(n, b):
    test = counting(n, b)
    assert test.best.signal_yield == pytest.approx(n - b, abs=1e-3)
    assert test.q0 == pytest.approx(2 * (n * np.log(n / b) - (n - b)), rel=1e-6)  # arXiv:1007.1727, eq. 97
    assert test.yield_error == pytest.approx(np.sqrt(n), rel=1e-3)


def test_deficit_has_z_zero_and_p_one_half():
    test = counting(3, 9.0)
    assert test.best.signal_yield == pytest.approx(-6, abs=1e-3)
    assert (test.q0, test.z, test.p0) == (0.0, 0.0, 0.5)
    assert test.q_tilde(4.0) == pytest.approx(2 * (13 - 3 * np.log(13) - 9 + 3 * np.log(9)), rel=1e-6)


def test_nothing_observed_stops_at_the_bound():
    test = counting(0, 2.0)
    assert test.best.at_bound
    assert test.best.signal_yield == pytest.approx(-1.98)
    assert test.yield_error == pytest.approx(0.5, rel=0.01)


def test_few_events_never_end_silently():
    """Four and five parameters below a thousand events run away now and then: an error or a true minimum."""
    errors = 0
    for seed in range(12):
        data = Spectrum(EDGES, np.random.default_rng(seed).poisson(expected(60)))
        data = data.between(2232.0, data.snap(data.last_filled + 5, up=True))
        try:
            fit = fit_background(data, "dijet5")
        except FitError:
            errors += 1
            continue
        gradient, _ = Likelihood(data.counts.astype(float), fit.model).derivatives(
            fit.minimum.theta, 0.0, with_yield=False
        )
        assert np.abs(gradient).max() < 1e-3
        assert fit.model.max_slope(fit.minimum.theta) < 100
    assert errors < 12


def cms_like(n_events, seed):
    """The falling spectrum of the CMS search, with a tail in which nothing is expected."""
    edges = np.arange(1460.0, 7001.0, 4.0)
    x = 0.5 * (edges[1:] + edges[:-1]) / 13000
    shape = (1 - x) ** 9.28 / x ** (5.5 - 0.2 * np.log(x))
    return Spectrum(edges, np.random.default_rng(seed).poisson(n_events * shape / shape.sum()))


@pytest.mark.parametrize(
    ("function", "n_events", "seed"), [("dijet3", 500, 502), ("dijet4", 3000, 502), ("dijet5", 10_000, 504)]
)
def test_a_steep_empty_tail_is_no_spike(function, n_events, seed):
    """Smooth where the events are, steeper than 100 where none is expected: all are true minima."""
    fit = fit_background(cms_like(n_events, seed), function)
    edges = fit.spectrum.edges
    steep = np.abs(np.diff(fit.model.log_density(edges, fit.minimum.theta)) / np.diff(np.log(edges)))
    assert steep.max() > 100
    assert fit.model.max_slope(fit.minimum.theta) < 50
    assert fit.expected[edges[1:] > fit.spectrum.last_filled].sum() < 2


@pytest.mark.parametrize(
    ("n_events", "mass", "seed"), [(300, 4400, 702), (1000, 5000, 700), (30_000, 5600, 701)]
)
def test_nothing_under_a_signal_at_high_mass_is_fitted(n_events, mass, seed):
    """The yield stands at its bound, just above the one at which a bin would reach its floor."""
    fit = fit_background(cms_like(n_events, seed), "dijet2")
    test = SignalTest(
        fit.spectrum.counts.astype(float),
        fit.model,
        SignalModel.generic().template(mass, fit.spectrum.edges),
        fit.minimum.theta,
    )
    assert test.best.at_bound
    assert test.best.value < test.at(0.5 * test.best.signal_yield).value
    assert 0 < test.yield_error < 5


def test_the_coarse_bins_do_not_decide_whether_a_fit_runs():
    data = spectrum(3000)
    plain = fit_background(data, "dijet3")
    for coarse in ([100.0, 200.0], [2232.0, 5200.0]):
        fit = fit_background(Spectrum(EDGES, data.counts, np.array(coarse)), "dijet3")
        assert fit.minimum.value == pytest.approx(plain.minimum.value, abs=1e-6)
        assert fit.goodness[1:] == (-3, None)


def test_a_spike_is_called_a_runaway():
    fit = fit_background(spectrum(2000), "dijet4")
    with pytest.raises(FitError, match=r"ran away to a spike"):
        check_healthy(
            fit.model,
            type(fit.minimum)(fit.minimum.theta * 0 + [0, 0, 0, 0, 4000.0], 0.0, 0.0, fit.minimum.covariance),
        )


def test_a_flat_likelihood_is_refused():
    fit = fit_background(spectrum(2000), "dijet2")
    with pytest.raises(FitError, match="flat in a direction"):
        check_healthy(fit.model, type(fit.minimum)(fit.minimum.theta, 0.0, 0.0, 1e7 * np.eye(3)))


def test_divergence_is_an_error():
    like = Likelihood(np.zeros(EDGES.size - 1), fit_background(spectrum(2000), "dijet2").model)
    with pytest.raises(FitError, match="did not converge within"):
        minimise(like, np.array([80.0, 0.0, 0.0]), free_yield=False)


def test_empty_and_nearly_empty_spectra_are_refused():
    for counts in (0, 3):
        values = np.zeros(EDGES.size - 1)
        values[:counts] = 1
        with pytest.raises(InputError, match=rf"{counts} events between 2232 and 5200 GeV are too few"):
            fit_background(Spectrum(EDGES, values), "dijet2")


def toys(n_events, n_shape, n_toys, seed):
    fit = fit_background(spectrum(n_events), f"dijet{n_shape}")
    rng = np.random.default_rng(seed)
    z, pulls = [], []
    for _ in range(n_toys):
        test = SignalTest(
            rng.poisson(fit.expected).astype(float), fit.model, SignalTemplate(TEMPLATE), fit.minimum.theta
        )
        z.append(test.z)
        pulls.append(test.best.signal_yield / test.yield_error)
    return np.array(z), np.array(pulls)


def test_toys_follow_the_asymptotic_distribution():
    z, pulls = toys(5000, 2, 300, seed=11)
    assert (z > 0).mean() == pytest.approx(0.5, abs=0.1)
    assert abs(pulls.mean()) < 0.2
    assert pulls.std() == pytest.approx(1.0, abs=0.13)


@pytest.mark.slow
@pytest.mark.parametrize(("n_events", "n_shape"), [(1000, 2), (30_000, 3), (1_000_000, 4)])
def test_2000_toys_have_half_chi_square(n_events, n_shape):
    z, pulls = toys(n_events, n_shape, 2000, seed=12)
    assert (z > 0).mean() == pytest.approx(0.5, abs=0.04)
    assert kstest(z[z > 0], "halfnorm").pvalue > 0.01
    assert abs(pulls.mean()) < 0.15
    assert 0.9 < pulls.std() < 1.1


@pytest.mark.parametrize("failing", [None, "null", "last", "best"])
def test_a_fixed_yield_takes_the_lower_of_two_valleys(monkeypatch, failing):
    """The profile of few events may have two minima; a fit far out must not keep the next ones in the wrong one."""
    starts = {name: SimpleNamespace(theta=name) for name in ("null", "last", "best")}
    valleys = {"null": 3.0, "last": 2.0, "best": 1.0}

    def minimise_from(_, theta, signal_yield, *, free_yield, exact_errors, settle):
        assert signal_yield == 10.0
        assert not settle
        assert not free_yield
        if theta == failing:
            msg = "did not converge"
            raise FitError(msg)
        return SimpleNamespace(theta=theta, value=valleys[theta])

    monkeypatch.setattr(profile_likelihood, "minimise", minimise_from)
    test = object.__new__(SignalTest)
    test.__dict__ |= {
        "likelihood": None,
        "_null": starts["null"],
        "_last": starts["last"],
        "best": starts["best"],
    }
    expected = min(value for name, value in valleys.items() if name != failing)
    assert test.at(10.0).value == expected


def test_a_fixed_yield_that_never_converges(monkeypatch):
    def never(*_, **__):
        msg = "did not converge"
        raise FitError(msg)

    monkeypatch.setattr(profile_likelihood, "minimise", never)
    test = object.__new__(SignalTest)
    start = SimpleNamespace(theta=0.0)
    test.__dict__ |= {"likelihood": None, "_null": start, "_last": start, "best": start}
    with pytest.raises(FitError, match="did not converge"):
        test.at(10.0)
