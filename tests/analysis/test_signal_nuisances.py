"""Nuisance parameters of the signal: derivatives, pyhf as oracle, limits, MIGRAD."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.batched import BatchedFits
from analysis.fit import fit_background
from analysis.likelihood import Likelihood
from analysis.limits import asymptotic_limit
from analysis.minuit import minuit_check
from analysis.profile_likelihood import SignalTest
from analysis.signal_shape import SignalModel
from analysis.signal_template import Shift, SignalTemplate
from analysis.spectrum import Spectrum
from analysis.toy_limit import toy_limit
from analysis.toys import draw_toys
from tests.analysis.oracles import Known, minuit_errors

EDGES = np.arange(2232.0, 5001.0, 16.0)
X = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13000
SHAPE = (1 - X) ** 9.3 / X ** (4.8 - 0.1 * np.log(X))
SIGNAL = SignalModel.generic()
UNCERTAIN = SIGNAL.template(3000.0, EDGES, nuisances=True, norm_uncertainty=0.2)


def signal_test(template, n_events=20_000, signal=400, function="dijet3"):
    expected = SHAPE * n_events / SHAPE.sum() + signal * template.nominal
    fit = fit_background(Spectrum(EDGES, np.random.default_rng(1).poisson(expected)), function)
    return SignalTest(fit.spectrum.counts.astype(float), fit.model, template, fit.minimum.theta)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3), st.floats(-0.5, 8))
def test_derivatives_against_finite_differences(nuisances, strength):
    test = signal_test(UNCERTAIN)
    like, size = test.likelihood, test.null.theta.size
    point = np.concatenate([test.null.theta, [strength * 100], nuisances])

    def at(z):
        return z[:size], z[size], z[size + 1 :]

    gradient, hessian = like.derivatives(*at(point), with_yield=True)
    for column in range(point.size):
        step = np.zeros(point.size)
        step[column] = 0.05 if column == size else 1e-4
        numeric = (like.value(*at(point + step)) - like.value(*at(point - step))) / (2 * step[column])
        slopes = [like.derivatives(*at(point + s), with_yield=True)[0] for s in (step, -step)]
        row = (slopes[0] - slopes[1]) / (2 * step[column])
        scale = np.sqrt(np.abs(np.diag(hessian)) * abs(hessian[column, column])) + 1
        assert gradient[column] == pytest.approx(numeric, rel=1e-3, abs=1e-3 * scale[column])
        # The second derivatives in the background neglect the change of its terms inside a bin.
        assert np.all(np.abs(hessian[column] - row) <= 5e-3 * scale)


def test_pyhf_with_uncertainties_of_norm_and_place_agrees():
    """A known background; pyhf 0.7.6 with normsys (code 1: the same exponential) and histosys (code 0 set: see below)."""
    pyhf = pytest.importorskip("pyhf")
    background = np.array([50.0, 40.0, 30.0, 22.0, 17.0])
    nominal = np.array([0.05, 0.2, 0.5, 0.2, 0.05])
    # Linear in the nuisance: up and down lie symmetrically, where all of pyhf's interpolations agree.
    shift = np.array([-0.02, -0.08, 0.0, 0.08, 0.02])
    counts = np.array([52.0, 48.0, 51.0, 33.0, 18.0])
    signal = SignalTemplate(
        nominal, (Shift("place", nominal + shift, nominal - shift),), norm_uncertainty=0.3
    )
    test = SignalTest(counts, Known(background), signal, np.empty(0))
    modifiers = [
        {"name": "mu", "type": "normfactor", "data": None},
        {"name": "norm", "type": "normsys", "data": {"hi": 1.3, "lo": 1 / 1.3}},
        {
            "name": "place",
            "type": "histosys",
            "data": {
                "hi_data": (30 * (nominal + shift)).tolist(),
                "lo_data": (30 * (nominal - shift)).tolist(),
            },
        },
    ]
    spec = {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {"name": "s", "data": (30 * nominal).tolist(), "modifiers": modifiers},
                    {"name": "b", "data": background.tolist(), "modifiers": []},
                ],
            }
        ]
    }
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    model = pyhf.Model(spec, poi_name="mu", validate=False)
    data = counts.tolist() + model.config.auxdata
    config = (model.config.suggested_init(), model.config.suggested_bounds(), model.config.suggested_fixed())
    q0 = float(pyhf.infer.test_statistics.q0(0.0, data, model, *config))
    assert test.q0 == pytest.approx(q0, rel=2e-3)
    for mu in (1.5, 3.0):
        expected = float(pyhf.infer.test_statistics.qmu_tilde(mu, data, model, *config))
        assert test.q_tilde(30 * mu) == pytest.approx(expected, rel=5e-3, abs=2e-3)
    bands = pyhf.infer.intervals.upper_limits.upper_limit(
        data, model, np.linspace(0.3, 8, 60), return_results=False
    )
    limit = asymptotic_limit(test)
    assert limit.observed == pytest.approx(30 * float(bands[0]), rel=0.01)


def test_uncertainties_weaken_limits_and_significance():
    plain = signal_test(SIGNAL.template(3000.0, EDGES))
    uncertain = signal_test(UNCERTAIN)
    assert uncertain.best.nuisances.size == 3
    assert plain.best.nuisances.size == 0
    assert uncertain.z == pytest.approx(plain.z, abs=0.3)
    assert uncertain.yield_error > plain.yield_error
    assert asymptotic_limit(uncertain).observed > asymptotic_limit(plain).observed


def test_norm_uncertainty_enters_the_error_of_the_yield():
    test = SignalTest(np.array([400.0]), Known([100.0]), SignalTemplate(np.ones(1), (), 0.1), np.empty(0))
    assert test.best.signal_yield == pytest.approx(300, rel=1e-5)
    assert test.yield_error == pytest.approx(math.hypot(20, 300 * math.log(1.1)), rel=1e-3)
    batch = BatchedFits(np.array([[400.0]]), Known([100.0]), np.empty(0)).best([test.signal])
    assert batch.error[0, 0] == pytest.approx(test.yield_error, rel=1e-3)


def test_minuit_agrees_with_nuisances():
    test = signal_test(UNCERTAIN)
    check = minuit_check(test)
    hesse, low, high = minuit_errors(test)
    assert abs(check.improvement) < 1e-3
    assert check.signal_yield == pytest.approx(test.best.signal_yield, abs=0.02 * test.yield_error)
    assert hesse == pytest.approx(test.yield_error, rel=0.02)
    assert low < -0.5 * hesse
    assert high > hesse  # an uncertain norm makes the upper side longer


def test_toys_vary_the_auxiliary_measurements():
    test = signal_test(UNCERTAIN)
    toys = draw_toys(test, test.best, 4000, np.random.default_rng(5))
    counts, centres = toys.counts, toys.centres
    assert counts.shape == (4000, EDGES.size - 1)
    assert centres.mean(axis=0) == pytest.approx(test.best.nuisances, abs=0.06)
    assert centres.std(axis=0) == pytest.approx(1, abs=0.05)
    expected = test.likelihood.background.expected(test.best.theta) + test.fitted_signal
    assert counts.sum(axis=1).mean() == pytest.approx(expected.sum(), rel=1e-3)


def test_auxiliary_measurements_move_the_constraint():
    """One bin, the yield fixed: the nuisance's minimum solves (η − c) + κ y e^κη (1 − n/t) = 0."""
    n, b, y, kappa, centre = 30.0, 10.0, 18.0, math.log(1.4), 0.7
    signal = SignalTemplate(np.ones(1), (), 0.4)
    eta = np.linspace(-4, 6, 2_000_001)
    total = b + y * np.exp(kappa * eta)
    exact = (total - n - n * np.log(total / n) + 0.5 * (eta - centre) ** 2).min()
    tested = BatchedFits(np.array([[n]]), Known([b]), np.empty(0)).tested(signal, y, np.array([[centre]]))
    assert tested.best_yield[0] == pytest.approx((n - b) * math.exp(-kappa * centre), rel=1e-5)
    # The auxiliary measurement says that the norm is larger: 15.8 nominal events are best, not 20.
    assert tested.best_yield[0] < y
    assert tested.value[0, 0] == pytest.approx(exact, abs=1e-6)
    above = BatchedFits(np.array([[n]]), Known([b]), np.empty(0)).tested(signal, 40.0, np.array([[centre]]))
    total = b + 40 * np.exp(kappa * eta)
    exact = (total - n - n * np.log(total / n) + 0.5 * (eta - centre) ** 2).min()
    assert above.value[0, 0] == pytest.approx(exact, abs=1e-6)


def test_toy_limit_with_a_certain_and_an_uncertain_norm():
    plain = SignalTest(np.array([3.0]), Known([2.0]), SignalTemplate(np.ones(1)), np.empty(0))
    uncertain = SignalTest(np.array([3.0]), Known([2.0]), SignalTemplate(np.ones(1), (), 0.5), np.empty(0))
    first = toy_limit(plain, n_toys=1000, seed=4)
    second = toy_limit(uncertain, n_toys=1000, seed=4)
    assert second.observed > 1.1 * first.observed
    assert toy_limit(uncertain, n_toys=1000, seed=4, workers=2) == second


def test_a_likelihood_without_nuisances_has_none():
    like = Likelihood(np.ones(3), Known(np.ones(3)), SignalTemplate(np.full(3, 1 / 3)))
    assert like.n_nuisances == 0
    assert like.signal_at(6.0) == pytest.approx([2, 2, 2])
