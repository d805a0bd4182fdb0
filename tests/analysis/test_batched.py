"""The batched engine against numpy, single fits and pyhf; determinism, failures, functions that are not log-linear."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import functions
from analysis.batched import BatchedFits, q0_scan
from analysis.fit import fit_background
from analysis.kernels.profile import evaluate
from analysis.kernels.vector_math import exp_block, log_block
from analysis.likelihood import Likelihood
from analysis.profile_likelihood import SignalTest
from analysis.signal_shape import SignalModel
from analysis.signal_template import Shift, SignalTemplate
from analysis.spectrum import Spectrum
from data.errors import InputError
from tests.analysis.oracles import Known

EDGES = np.arange(2232.0, 5001.0, 8.0)
X = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13000
SHAPE = (1 - X) ** 9.3 / X ** (4.8 - 0.1 * np.log(X))
SIGNAL = SignalModel.generic()
PLAIN = SIGNAL.template(3000.0, EDGES)
UNCERTAIN = SIGNAL.template(3000.0, EDGES, nuisances=True, norm_uncertainty=0.2)


def background_fit(n_events, function="dijet3", seed=1):
    counts = np.random.default_rng(seed).poisson(SHAPE * n_events / SHAPE.sum())
    return fit_background(Spectrum(EDGES, counts), function)


def toys(fit, n_toys, signal=0.0, seed=2):
    expected = fit.expected + signal * PLAIN.nominal
    return np.random.default_rng(seed).poisson(expected, (n_toys, expected.size))


@given(st.lists(st.floats(-690, 690), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_exponentials_and_logarithms_are_those_of_numpy(values):
    x = np.array(values)
    found, scratch, back = np.empty(x.size), np.empty(x.size), np.empty(x.size)
    exp_block(x, scratch, found, x.size)
    assert found == pytest.approx(np.exp(x), rel=5e-16, abs=0)
    log_block(found, scratch, back, x.size)
    assert back == pytest.approx(np.log(found), rel=5e-16, abs=1e-300)


@given(
    st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3),
    st.floats(-5, 30),
    st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_kernel_against_the_likelihood_in_numpy(shift, strength, nuisances, free):
    """One block of bins; the likelihood's own derivatives are checked against finite differences elsewhere."""
    rng = np.random.default_rng(3)
    base, design = rng.uniform(0.5, 30, 16), rng.normal(0, 1, (3, 16))
    counts = rng.poisson(base).astype(float)
    nominal = rng.dirichlet(np.ones(16))
    up, down = nominal * rng.uniform(0.9, 1.2, 16), nominal * rng.uniform(0.8, 1.1, 16)
    signal = SignalTemplate(nominal, (Shift("place", up, down),), norm_uncertainty=0.3)

    class LogLinear:
        n_parameters = 3

        def expected(self, theta):
            return base * np.exp(theta @ design)

        def expected_and_jacobian(self, theta):
            return self.expected(theta), self.expected(theta)[:, None] * design.T

    a, eta = nuisances[0], nuisances[1]
    like = Likelihood(counts, LogLinear(), signal)
    theta = np.array(shift)
    known = np.array([a, 0.0 if free else eta])
    value = like.value(theta, strength, known) - Likelihood(counts, LogLinear()).value(np.zeros(3))
    gradient, hessian = like.derivatives(theta, strength, known, with_yield=True)
    # The kernel has the yield or η in one place, then the shapes.
    order = [0, 1, 2, 3, 4] if free else [0, 1, 2, 5, 4]
    rows = np.array([nominal, 0.5 * (up - down), 0.5 * (up + down) - nominal])
    own_gradient, own_hessian = np.empty(5), np.empty((5, 5))
    found = evaluate(
        counts[None], base[None], design[None], rows[None],
        np.array([*theta, strength if free else eta, a]), np.zeros(2),
        np.nan if free else strength, np.log(1.3), own_gradient, own_hessian, np.empty((11, 16)),
    )  # fmt: skip
    assert found == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert own_gradient == pytest.approx(gradient[order], rel=1e-9, abs=1e-8)
    lower = np.tril_indices(5)
    assert own_hessian[lower] == pytest.approx(hessian[np.ix_(order, order)][lower], rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("template", [PLAIN, UNCERTAIN], ids=["plain", "nuisances"])
@pytest.mark.parametrize(
    ("n_events", "function"), [(300, "dijet2"), (20_000, "dijet3"), (1_000_000, "dijet4")]
)
def test_agrees_with_single_fits(n_events, function, template):
    fit = background_fit(n_events, function)
    counts = np.concatenate([toys(fit, 5), toys(fit, 5, signal=2 * np.sqrt(n_events))])
    batch = BatchedFits(counts, fit.model, fit.minimum.theta)
    best = batch.best([template])
    tested = batch.tested(template, np.array([1.0, 0.3]) * np.sqrt(n_events))
    assert best.converged.all()
    assert tested.converged.all()
    for row, values in enumerate(counts):
        single = SignalTest(values.astype(float), fit.model, template, fit.minimum.theta)
        assert batch.value[row] == pytest.approx(single.null.value, abs=1e-5)
        assert best.value[row, 0] == pytest.approx(single.best.value, abs=5e-5)
        assert best.q0[row, 0] == pytest.approx(single.q0, abs=1e-4)
        assert best.at_bound[row, 0] == single.best.at_bound
        assert best.signal_yield[row, 0] == pytest.approx(
            single.best.signal_yield, abs=1e-3 * single.yield_error
        )
        if not single.best.at_bound:
            assert best.error[row, 0] == pytest.approx(single.yield_error, rel=2e-3)
        for number, strength in enumerate((1.0, 0.3)):
            q_tilde = single.q_tilde(strength * np.sqrt(n_events))
            assert tested.q_tilde[row, number] == pytest.approx(q_tilde, abs=2e-4)
        assert tested.q0[row] == pytest.approx(single.q0, abs=1e-4)


def test_counting_experiments_have_their_closed_form():
    n, b = np.array([[3.0], [140.0], [5.0]]), np.array([100.0])
    best = BatchedFits(n, Known(b), np.empty(0)).best([SignalTemplate(np.ones(1))])
    assert best.signal_yield[:, 0] == pytest.approx(n[:, 0] - b, rel=1e-6)
    assert best.error[1, 0] == pytest.approx(np.sqrt(140), rel=1e-4)
    assert best.q0[:, 0] == pytest.approx(
        [0, 2 * (140 * np.log(1.4) - 40), 0], rel=1e-6
    )  # arXiv:1007.1727, eq. 97


def test_nothing_observed_stands_at_the_bound():
    best = BatchedFits(np.zeros((1, 1)), Known([2.0]), np.empty(0)).best([SignalTemplate(np.ones(1))])
    assert best.at_bound.all()
    assert best.converged.all()
    assert best.signal_yield[0, 0] == pytest.approx(-1.98)
    assert np.isnan(best.error).all()


def test_workers_and_company_do_not_change_a_bit():
    fit = background_fit(20_000)
    counts = toys(fit, 150)
    masses = [SIGNAL.template(mass, EDGES) for mass in (2600.0, 3000.0, 3600.0)]
    one, many = q0_scan(counts, fit, masses), q0_scan(counts, fit, masses, workers=3)
    alone = q0_scan(counts[140:141], fit, masses[1:2])
    for name in ("signal_yield", "error", "q0", "value"):
        assert np.array_equal(getattr(one, name), getattr(many, name))
        assert getattr(one, name)[140, 1] == getattr(alone, name)[0, 0]


def test_signals_with_and_without_nuisances_go_together():
    fit = background_fit(20_000)
    counts = toys(fit, 4, signal=200)
    both = q0_scan(counts, fit, [UNCERTAIN, PLAIN])
    assert np.array_equal(both.q0[:, 1:], q0_scan(counts, fit, [PLAIN]).q0)
    # Nuisances leave the best likelihood where it was or better; the error takes the uncertainty of the norm up.
    assert (both.value[:, 0] <= both.value[:, 1] + 1e-9).all()
    assert (both.error[:, 0] > np.hypot(both.error[:, 1], 0.15 * both.signal_yield[:, 0])).all()


def test_sets_without_a_minimum_are_marked():
    fit = background_fit(3000, "dijet2")
    counts = np.stack([fit.spectrum.counts, np.zeros(EDGES.size - 1)])
    batch = BatchedFits(counts, fit.model, fit.minimum.theta)
    assert batch.converged.tolist() == [True, False]
    best = batch.best([PLAIN])
    assert best.converged.tolist() == [[True], [False]]
    assert np.isnan([best.q0[1, 0], best.signal_yield[1, 0], best.value[1, 0]]).all()
    tested = batch.tested(PLAIN, 50.0)
    assert tested.converged.tolist() == [[True], [False]]
    assert np.isnan(tested.q_tilde[1, 0])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones(5), r"counts of shape \(5,\) do not fit 346 bins; give \(sets, bins\)"),
        (np.ones((2, 5)), r"counts of shape \(2, 5\) do not fit 346 bins"),
        (np.full((1, EDGES.size - 1), -1), "a count is negative or not finite"),
        (np.full((1, EDGES.size - 1), np.nan), "a count is negative or not finite"),
    ],
)
def test_bad_counts_are_refused(counts, message):
    fit = background_fit(3000, "dijet2")
    with pytest.raises(InputError, match=message):
        BatchedFits(counts, fit.model, fit.minimum.theta)


class Curved:
    """A falling background whose logarithm is not linear: b = s (e^−x/a + e^−3x/a) with a free."""

    n_parameters = 2

    def __init__(self):
        self.x = np.linspace(0, 6, 60)

    def _parts(self, theta):
        rate = np.exp(theta[1])
        return np.exp(theta[0] - self.x * rate), np.exp(theta[0] - 3 * self.x * rate), rate

    def expected(self, theta):
        slow, fast, _ = self._parts(theta)
        return slow + fast

    def expected_and_jacobian(self, theta):
        slow, fast, rate = self._parts(theta)
        return slow + fast, np.stack([slow + fast, -self.x * rate * (slow + 3 * fast)], axis=1)


def test_backgrounds_that_are_not_log_linear_are_fitted_themselves():
    model, theta = Curved(), np.array([4.0, 0.0])
    template = SignalTemplate(
        np.exp(-0.5 * ((model.x - 2) / 0.3) ** 2) / np.exp(-0.5 * ((model.x - 2) / 0.3) ** 2).sum()
    )
    truth = model.expected(np.array([4.2, 0.25])) + 60 * template.nominal
    counts = np.random.default_rng(4).poisson(truth, (4, 60))
    batch = BatchedFits(counts, model, theta)
    best, tested = batch.best([template]), batch.tested(template, [20.0, 120.0])
    assert best.converged.all()
    for row, values in enumerate(counts):
        single = SignalTest(values.astype(float), model, template, theta)
        assert batch.value[row] == pytest.approx(single.null.value, abs=1e-4)
        assert best.q0[row, 0] == pytest.approx(single.q0, abs=5e-4)
        assert best.signal_yield[row, 0] == pytest.approx(single.best.signal_yield, rel=1e-2)
        assert tested.q_tilde[row] == pytest.approx([single.q_tilde(20.0), single.q_tilde(120.0)], abs=5e-4)


def test_fits_made_again_keep_the_auxiliary_measurements():
    """Nuisances centred as in toys: the kernel's fits and those with the model itself, which stand in for them."""
    rng = np.random.default_rng(5)
    own = functions.user_function("own", "(1 - x)**a * exp(-b*x) / x**c", {"a": 9.0, "b": 1.0, "c": 5.0})
    template = SignalModel.generic().template(3000.0, EDGES, nuisances=True, norm_uncertainty=0.2)
    tested = np.array([20.0, 60.0])
    for function, shift in (("dijet2", 0.0), (own, 3.0)):
        fit = background_fit(3000, function)
        counts, centres = toys(fit, 4), rng.normal(size=(4, 3))
        found = BatchedFits(counts, fit.model, fit.minimum.theta + shift).tested(template, tested, centres)
        assert found.converged.all()
        for row, centre, q_tilde in zip(counts, centres, found.q_tilde, strict=True):
            single = SignalTest(row.astype(float), fit.model, template, fit.minimum.theta, centre)
            assert q_tilde == pytest.approx([single.q_tilde(mu) for mu in tested], abs=3e-4)


def test_pyhf_finds_the_same_test_statistic():
    """pyhf (0.7.6) with the background's tangents as free norm factors; few events would leave its linear regime."""
    pyhf = pytest.importorskip("pyhf")
    fit = background_fit(400_000, "dijet2")
    values = toys(fit, 1, signal=1500)[0].astype(float)
    own = BatchedFits(values[None], fit.model, fit.minimum.theta)
    best = own.best([PLAIN])
    expected, jacobian = fit.model.expected_and_jacobian(own.theta[0])
    samples = [
        {
            "name": "s",
            "data": (1000 * PLAIN.nominal).tolist(),
            "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
        },
        {"name": "b", "data": expected.tolist(), "modifiers": []},
    ]
    for k, column in enumerate(jacobian.T):
        factor = {"name": f"d{k}", "type": "normfactor", "data": None}
        samples.append({"name": f"b{k}", "data": column.tolist(), "modifiers": [factor]})
    parameters = [{"name": f"d{k}", "inits": [0.0], "bounds": [[-50, 50]]} for k in range(jacobian.shape[1])]
    parameters.append({"name": "mu", "inits": [1.0], "bounds": [[0, 20]]})
    spec = {"channels": [{"name": "mjj", "samples": samples}], "parameters": parameters}
    model = pyhf.Model(spec, poi_name="mu", validate=False)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    inits, bounds, fixed = (
        model.config.suggested_init(),
        model.config.suggested_bounds(),
        model.config.suggested_fixed(),
    )
    q0 = float(pyhf.infer.test_statistics.q0(0.0, values.tolist(), model, inits, bounds, fixed))
    assert best.q0[0, 0] == pytest.approx(q0, rel=5e-3)


def test_wide_bins_keep_their_precision():
    """In bins of a tenth of the mass the expansion alone is wrong by more than 10⁻³."""
    edges = 2232 * 1.06 ** np.arange(15)
    counts = np.random.default_rng(5).poisson(3e5 * np.diff(-np.exp(-(edges - 2232) / 300)))
    fit = fit_background(Spectrum(edges, counts), "dijet3")
    template = SIGNAL.template(3000.0, edges)
    drawn = np.random.default_rng(6).poisson(
        fit.expected * np.linspace(1.3, 0.8, edges.size - 1), (3, edges.size - 1)
    )
    best = q0_scan(drawn, fit, [template])
    for row, values in enumerate(drawn):
        single = SignalTest(values.astype(float), fit.model, template, fit.minimum.theta)
        assert best.value[row, 0] == pytest.approx(single.best.value, abs=5e-4)


def test_fits_without_a_minimum_settle():
    """Few events, most of them taken by the signal: the background then often gets ever steeper, without a minimum."""
    fit = background_fit(25, "dijet2")
    counts = toys(fit, 300)
    strict = BatchedFits(counts, fit.model, fit.minimum.theta).tested(PLAIN, [60.0])
    settled = BatchedFits(counts, fit.model, fit.minimum.theta, settle=True).tested(PLAIN, [60.0])
    assert not strict.converged.all()
    assert settled.converged.mean() > 0.99
    change = np.abs(strict.q_tilde - settled.q_tilde)[strict.converged & settled.converged]
    assert np.quantile(change, 0.9) < 1e-3


def test_fits_of_a_set_do_not_depend_on_workers_where_fits_are_repaired():
    """Bins as wide as the scale on which the background falls: which sets are fitted again must not depend on threads."""
    edges = np.arange(2232.0, 5033.0, 200.0)
    x = 0.5 * (edges[1:] + edges[:-1]) / 13000
    shape = (1 - x) ** 9.3 / x**5
    data = Spectrum(edges, np.random.default_rng(5).poisson(20_000 * shape / shape.sum()))
    fit = fit_background(data, "dijet4")
    counts = np.random.default_rng(6).poisson(fit.expected, (70, fit.expected.size))
    template = [SIGNAL.template(3000.0, edges)]
    one, two = (q0_scan(counts, fit, template, workers=workers) for workers in (1, 2))
    assert np.array_equal(one.signal_yield, two.signal_yield, equal_nan=True)
    assert np.array_equal(one.value, two.value, equal_nan=True)
