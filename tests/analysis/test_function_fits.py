"""Fits of every background function: iminuit as oracle, several starts, runaways, few and many events."""

import iminuit
import numpy as np
import pytest

from analysis import functions
from analysis.fit import fit_background
from analysis.function_model import FunctionModel
from analysis.functions import density
from analysis.likelihood import Likelihood
from analysis.minimiser import minimise
from analysis.spectrum import Spectrum
from data.errors import ConfigError, FitError

EDGES = np.arange(1000.0, 6001.0, 4.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
FALLING = density(MIDDLES, 0.0, np.array([9.3, 10.4, 2.35, 0.418]))
TURN_ON = FALLING * 0.5 * (1 + np.tanh((MIDDLES - 1250.0) / 120.0))
# The same turn-on written down by a user.
OWN = functions.user_function(
    "own",
    "(1 - x)**a / x**(b + c*log(x)) * (1 + tanh((m - 1000*e)/(100*d)))",
    {"a": 9.0, "b": 5.0, "c": 0.0, "d": 1.0, "e": 1.2},
)
PADE = functions.user_function("pade", "exp(-a*x) / (1 + b*x + c*x^2)", {"a": 20.0, "b": 5.0, "c": 1.0})


def spectrum(n_events, shape=FALLING, seed=1):
    data = Spectrum(EDGES, np.random.default_rng(seed).poisson(shape * n_events / shape.sum()))
    return data.between(1000.0, data.snap(data.last_filled + 5, up=True))


def by_minuit(fit):
    """MIGRAD and HESSE in the published parameters' orthogonal basis, with numerical derivatives."""
    likelihood = Likelihood(fit.spectrum.counts.astype(float), fit.model)

    def cost(theta):
        return likelihood.value(theta)

    minuit = iminuit.Minuit(cost, fit.minimum.theta + 0.3)
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.tol = 1e-3
    minuit.migrad()
    minuit.hesse()
    return minuit


def check_against_minuit(fit):
    minuit = by_minuit(fit)
    assert minuit.valid
    assert 2 * (fit.minimum.value - minuit.fval) < 1e-3
    assert np.sqrt(np.diag(fit.minimum.covariance)) == pytest.approx(np.array(minuit.errors), rel=0.01)
    assert fit.expected.sum() == pytest.approx(fit.spectrum.n_events, rel=1e-4)


@pytest.mark.parametrize("name", [name for name in functions.available() if name != "dijet6"])
@pytest.mark.parametrize("n_events", [500, 60_000, 3_000_000])
def test_log_linear_functions_agree_with_minuit(n_events, name):
    check_against_minuit(fit_background(spectrum(n_events), name))


@pytest.mark.parametrize(
    ("function", "n_events"),
    [("dijet6", 500), ("dijet6", 60_000), ("dijet6", 3_000_000), (OWN, 3000), (OWN, 60_000), (PADE, 3000)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_other_functions_agree_with_minuit(function, n_events):
    check_against_minuit(fit_background(spectrum(n_events, TURN_ON), function))


def test_a_turn_on_is_measured():
    fit = fit_background(spectrum(3_000_000, TURN_ON), "dijet6")
    _, parameters = fit.model.published(fit.minimum.theta)
    jacobian = fit.model._to_raw  # published parameters are linear in θ
    errors = np.sqrt(np.diag(jacobian @ fit.minimum.covariance @ jacobian.T))[-2:]
    assert np.all(np.abs(parameters[-2:] - [120.0, 1250.0]) < 4 * errors)
    assert fit.goodness[2] > 0.01


def test_atlas5_is_dijet4_with_other_signs():
    data = spectrum(60_000)
    four, five = fit_background(data, "dijet4"), fit_background(data, "atlas5")
    assert five.minimum.value == pytest.approx(four.minimum.value, abs=1e-7)
    assert five.model.published(five.minimum.theta)[1] == pytest.approx(
        four.model.published(four.minimum.theta)[1] * [1, -1, -1, -1], rel=1e-4, abs=1e-4
    )


def test_starts_far_away_reach_the_same_minimum():
    data = spectrum(60_000, TURN_ON, seed=3)
    text = OWN.formula
    far = functions.user_function("far", text, {"a": 30.0, "b": 1.0, "c": 0.5, "d": 2.0, "e": 1.4})
    assert fit_background(data, far).minimum.value == pytest.approx(
        fit_background(data, OWN).minimum.value, abs=1e-5
    )


@pytest.mark.parametrize("seed", range(2))
def test_a_turn_on_that_is_not_there_is_never_silent(seed):
    """Without a turn-on dijet6 has a plateau where it is dijet4: an error, or a minimum below dijet4's."""
    data = spectrum(60_000, FALLING, seed)
    four = fit_background(data, "dijet4")
    try:
        six = fit_background(data, "dijet6")
    except FitError:
        return
    assert six.minimum.value < four.minimum.value
    check_against_minuit(six)


def test_a_local_minimum_above_the_plateau_is_refused(monkeypatch):
    data = spectrum(60_000, FALLING)
    import analysis.fit as module

    model = fit_background(data, "dijet2").model

    def poor(spectrum, function, sqrt_s, rough, lowest=module._lowest):
        if function.name != "dijet6":
            return lowest(spectrum, function, sqrt_s, rough)
        return model, model.start

    monkeypatch.setattr(module, "_lowest", poor)
    with pytest.raises(FitError, match=r"dijet6, .*: dijet4, which it turns into, fits better; use dijet4"):
        fit_background(data, "dijet6")


def test_parameters_that_say_the_same_are_refused():
    twice = functions.user_function("twice", "x**(a + b)", {"a": -5.0, "b": 0.1})
    with pytest.raises(FitError, match=r"twice, .*function twice: \d+ bins do not tell its parameters apart"):
        fit_background(spectrum(3000), twice)


def test_a_plateau_of_the_likelihood_is_refused():
    """The edge of a step between two bins: −ln L does not change while it stays there."""
    data = spectrum(60_000)
    step = functions.user_function("step", "x**-a * (3 + tanh((m - 10*b)/0.5))", {"a": 6.0, "b": 50.0})
    with pytest.raises(FitError, match=r"^step, "):
        fit_background(data, step)


def test_a_minimum_must_rise_on_both_sides():
    import analysis.fit as module

    fit = fit_background(spectrum(3000), "dijet2")
    likelihood = Likelihood(fit.spectrum.counts.astype(float), fit.model)
    flat = type(fit.minimum)(fit.minimum.theta, 0.0, fit.minimum.value, 1e-6 * fit.minimum.covariance)
    module._check_rises(likelihood, fit.minimum)
    with pytest.raises(FitError, match="flat in a direction"):
        module._check_rises(likelihood, flat)


def test_saddle_points_are_refused():
    class Saddle:
        background = FunctionModel(EDGES[:100], PADE, reference=np.array([1.0, 20.0, 5.0, 1.0]))

        n_nuisances = 0

        def value(self, theta, signal_yield, nuisances):
            return float(theta[0] ** 2 - theta[1] ** 2 + theta[2] ** 2 + theta[3] ** 2)

        def derivatives(self, theta, signal_yield, nuisances, *, with_yield):
            return np.array([2.0, -2.0, 2.0, 2.0]) * theta, 2 * np.eye(4)

    with pytest.raises(FitError, match="does not rise in every direction"):
        minimise(Saddle(), np.zeros(4), free_yield=False)


def test_start_values_outside_the_domain_are_named():
    bad = functions.user_function("bad", "log(2 + a - x)", {"a": -1.2})
    with pytest.raises(
        FitError, match=r"bad, .*log\(2 \+ a - x\) is -0.32424 at 1000 GeV for the start values"
    ):
        fit_background(spectrum(60_000), bad)


def test_unknown_functions_are_named():
    with pytest.raises(ConfigError, match="function 'dijet7' is unknown; known functions: dijet2"):
        fit_background(spectrum(3000), "dijet7")


def test_a_zero_in_the_range_is_named():
    edges = np.arange(2000.0, 13101.0, 100.0)
    counts = np.maximum(1000 * np.exp(-np.arange(111) / 5), 1).astype(int)
    with pytest.raises(
        FitError, match=r"^dijet6, .*function dijet6: it has a zero in the fit range, at 13100 GeV"
    ):
        fit_background(Spectrum(edges, counts), "dijet6")
    assert fit_background(Spectrum(edges, counts), "alternative3").function == "alternative3"


@pytest.mark.parametrize("name", ["dijet5", "dijet6", "alternative1"])
def test_few_events_never_end_silently(name):
    """Functions with many parameters run away below a hundred events: an error, or a true minimum."""
    errors = 0
    for seed in range(4):
        data = spectrum(60, TURN_ON, seed)
        try:
            fit = fit_background(data, name)
        except FitError:
            errors += 1
            continue
        assert np.isfinite(fit.expected).all()
        gradient, _ = Likelihood(data.counts.astype(float), fit.model).derivatives(
            fit.minimum.theta, 0.0, with_yield=False
        )
        assert np.abs(gradient).max() < 1e-3
        assert fit.model.max_slope(fit.minimum.theta) < 100
    assert errors < 4


def test_rebinned_models_keep_the_function():
    for function in ("dijet3", "dijet6"):
        fit = fit_background(spectrum(60_000, TURN_ON if function == "dijet6" else FALLING), function)
        wide = fit.model.rebinned(fit.spectrum.edges[::10], fit.minimum.theta)
        assert wide.function.name == function
        edges = fit.spectrum.edges[::10]
        assert wide.expected(wide.start) == pytest.approx(
            fit.model.expected_in(edges, fit.minimum.theta), rel=1e-6
        )
        assert wide.published(wide.start)[1] == pytest.approx(
            fit.model.published(fit.minimum.theta)[1], rel=1e-5, abs=1e-5
        )
