"""Fits that fail, each with a message that says which and what to do."""

import dataclasses
import types

import iminuit
import numpy as np
import pytest

from analysis.batched import BatchedFits
from analysis.bias import bias_study
from analysis.bias_config import BiasConfig
from analysis.fit import fit_background
from analysis.functions import user_function
from analysis.likelihood import Likelihood
from analysis.limits import asymptotic_limit
from analysis.minimiser import minimise
from analysis.minuit import minuit_check
from analysis.profile_likelihood import SignalTest
from analysis.pseudo_experiments import Part, ScannedSelection, scan_toys
from analysis.retraining_limits import linear_crossing
from analysis.scan import signal_test
from analysis.scan_config import ScanConfig
from analysis.scan_inputs import ScanInputs
from analysis.signal_fit import fit_signal_shape
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.starts import start_parameters
from analysis.toy_limit import toy_limit
from analysis.toy_p0 import toy_p0
from data.errors import ConfigError, FitError, InputError

EDGES = np.arange(2000.0, 6001.0, 50.0)
X = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13000
SHAPE = (1 - X) ** 9.3 / X**4.8
SIGNAL = SignalModel.generic()
TEMPLATE = SIGNAL.template(3000.0, EDGES)


def spectrum(n_events=20_000, signal=0.0):
    expected = SHAPE * n_events / SHAPE.sum() + signal * TEMPLATE.nominal
    return Spectrum(EDGES, np.random.default_rng(1).poisson(expected))


@pytest.fixture(scope="module")
def fit():
    return fit_background(spectrum(signal=300), "dijet2")


@pytest.fixture
def tested(fit):
    return SignalTest(fit.spectrum.counts, fit.model, TEMPLATE, fit.minimum.theta)


@pytest.fixture
def no_set_converges(monkeypatch):
    """The batched fits as they are where the function cannot follow the counts: none converges."""
    found = BatchedFits.tested

    def failed(self, *arguments):
        values = found(self, *arguments)
        unknown = {name: np.full_like(getattr(values, name), np.nan) for name in ("q0", "q_tilde")}
        fields = {name: getattr(values, name) for name in values.__dataclass_fields__}
        return type(values)(**fields | unknown | {"converged": np.zeros_like(values.converged)})

    monkeypatch.setattr(BatchedFits, "tested", failed)


def test_limits_and_p_values_of_counts_that_cannot_be_fitted(tested, no_set_converges, monkeypatch):
    with pytest.raises(
        FitError, match=r"the fit with [\d.]+ signal events did not converge; use fewer shape"
    ):
        asymptotic_limit(tested)
    with pytest.raises(FitError, match=r"the \d+ events cannot be fitted as toys are; use fewer shape"):
        toy_p0(tested)
    rough = types.SimpleNamespace(observed=50.0, expected=(20.0, 30.0, 40.0, 50.0, 60.0))
    monkeypatch.setattr("analysis.toy_limit.asymptotic_limit", lambda *_, **__: rough)
    with pytest.raises(FitError, match=r"the \d+ events cannot be fitted with every tested yield; use fewer"):
        toy_limit(tested)


def test_a_fit_with_signal_that_finds_neither_a_minimum_nor_a_bound(tested, monkeypatch):
    def only_fixed(likelihood, theta, *arguments, free_yield, **options):
        if free_yield:
            msg = "the fit did not converge"
            raise FitError(msg)
        return minimise(likelihood, theta, *arguments, free_yield=False, **options)

    monkeypatch.setattr("analysis.profile_likelihood.minimise", only_fixed)
    with pytest.raises(
        FitError, match=r"did not converge \(3 background parameters, 20\d+ events\); use fewer"
    ):
        _ = tested.best


def test_a_yield_without_an_error_is_no_result(fit, monkeypatch):
    monkeypatch.setattr(SignalTest, "yield_error", np.inf)
    with pytest.raises(FitError, match=r"the signal yield is \d+(\.\d+)? ± inf; use fewer shape parameters"):
        signal_test(fit, TEMPLATE)


def test_migrad_may_fail(tested, monkeypatch):
    monkeypatch.setattr(iminuit.Minuit, "valid", False)
    with pytest.raises(
        FitError, match=r"MIGRAD did not converge on the fit with signal \(4 parameters\); look at"
    ):
        minuit_check(tested)
    values = 1000 * TEMPLATE.nominal
    with pytest.raises(
        FitError, match="signal of 3000 GeV: the fit of the double Crystal Ball did not converge"
    ):
        fit_signal_shape(EDGES, values, values, 3000.0)


def test_a_scan_that_cannot_be_repeated_names_the_mass(fit, monkeypatch):
    selection = ScannedSelection("cwola_B3", (Part(fit, (3000.0,), (TEMPLATE,)),))
    nothing = types.SimpleNamespace(converged=np.zeros((1, 1), dtype=bool))
    monkeypatch.setattr("analysis.pseudo_experiments.q0_scan", lambda *_, **__: nothing)
    with pytest.raises(FitError, match="selection 'cwola_B3': the fit at 3000 GeV does not converge; leave"):
        _ = selection.observed


def test_a_function_that_explodes_outside_its_range_is_not_continued(fit):
    selection = ScannedSelection("x", (Part(fit, (3000.0,), (TEMPLATE,)),))
    rising = fit.minimum.theta + np.array([0.0, 1000.0, 0.0])
    steep = dataclasses.replace(fit, minimum=dataclasses.replace(fit.minimum, theta=rising))
    vars(selection)["generating"] = steep
    with pytest.raises(
        FitError, match=r"dijet2: it cannot be continued to 2000–6000 GeV; fit all masses in one"
    ):
        scan_toys([selection], 10, 0)


def test_only_functions_of_known_kinds_have_start_values():
    with pytest.raises(
        FitError, match="function odd: there are no start values for a SimpleNamespace; give it as"
    ):
        start_parameters(types.SimpleNamespace(name="odd"), spectrum(), 13000.0)


def test_start_values_must_make_a_function_positive():
    own = user_function("own", "-x - a*a", {"a": 1.0})
    with pytest.raises(
        FitError, match=r"function own: .* is not positive and finite in the whole fit range .*change"
    ):
        start_parameters(own, spectrum(), 13000.0)


def test_one_efficiency_is_no_curve():
    with pytest.raises(
        InputError, match="1 cross sections and 1 efficiencies; give as many of each, at least two"
    ):
        linear_crossing(np.array([1.0]), np.array([0.1]), 1.0)


def test_biases_are_studied_with_one_function():
    inputs = ScanInputs(spectrum(), (3000.0,), SIGNAL, ScanConfig(function="envelope"))
    with pytest.raises(
        ConfigError, match="function 'envelope': a study of biases takes one function, or auto; name"
    ):
        bias_study(inputs)


ONE = BiasConfig(alternatives=("dijet2",), toys=10, injections=(0.0,))


def bias_inputs(**options):
    config = ScanConfig(fit_start=2000, fit_stop=6000, limits=False, minuit=False, **options)
    return ScanInputs(spectrum(), (3000.0,), SIGNAL, config)


def test_a_bias_of_a_function_that_cannot_be_fitted():
    message = "mass 3000 GeV: no background function could be fitted; add candidates or change the fit range: dijet6"
    with pytest.raises(FitError, match=message):
        bias_study(bias_inputs(function="dijet6", candidates=("dijet6",)), ONE)


def test_a_bias_where_no_fit_range_serves():
    counts = np.random.default_rng(1).poisson(3000 * np.exp(-(EDGES[:-1] - 2000) / 150))
    config = ScanConfig(function="dijet2", range_search=True, limits=False, minuit=False)
    with pytest.raises(FitError, match="mass 5000 GeV: "):
        bias_study(ScanInputs(Spectrum(EDGES, counts), (5000.0,), SIGNAL, config), ONE)


def test_two_parameters_that_do_the_same_stop_a_fit(monkeypatch):
    """As in the fit of a turn-on far below the range, where rounding makes two rows alike."""

    def singular(*_):
        raise np.linalg.LinAlgError

    model = fit_background(spectrum(), "dijet2").model
    monkeypatch.setattr(np.linalg, "solve", singular)
    with pytest.raises(FitError, match="does not tell two parameters apart; use fewer shape parameters"):
        minimise(Likelihood(spectrum().counts, model), np.zeros(3), free_yield=False)


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (1, "^dijet2: no fit of background and signal to the expectation of an alternative function; "),
        (2, "^mass 2600 GeV, alternative dijet2: dijet2: no fit .*; leave out the mass or the alternative"),
    ],
)
def test_an_expectation_that_cannot_be_fitted_is_named(failing, message, monkeypatch):
    calls = []

    class Failing(BatchedFits):
        def best(self, templates):
            calls.append(templates)
            found = super().best(templates)
            return dataclasses.replace(found, converged=found.converged & (len(calls) != failing))

    monkeypatch.setattr("analysis.bias.BatchedFits", Failing)
    with pytest.raises(FitError, match=message):
        bias_study(bias_inputs(function="dijet2"), ONE, grid=(2600.0,))


def test_an_alternative_that_fails_at_a_mass_of_the_grid_only(monkeypatch):
    def narrow(whole, mass, _):
        return whole if mass == 3000 else whole.between(2000.0, 2200.0)

    monkeypatch.setattr("analysis.bias.fit_range", narrow)
    alternative = BiasConfig(alternatives=("dijet4",), toys=10, injections=(0.0,))
    with pytest.raises(FitError, match="; use "):
        bias_study(bias_inputs(function="dijet2"), alternative, grid=(2100.0,))
