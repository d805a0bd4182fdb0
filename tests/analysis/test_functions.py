"""Background functions: closed forms written down once more, gradients, domains, names."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from analysis import functions
from analysis.function_model import FunctionModel
from data.errors import ConfigError, FitError

SQRT_S = 13000.0


def power(x, p):
    """x^(p[0] + p[1] ln x + p[2] ln² x)."""
    return x ** sum(value * math.log(x) ** order for order, value in enumerate(p))


def turn_on(x, p):
    return 0.5 * (1 + math.tanh((SQRT_S * x - p[5]) / p[4])) * (1 - x) ** p[0] / power(x, p[1:4])


# The published formulae in Python's own numbers (CMS arXiv:1911.03947, arXiv:2412.03747; ATLAS arXiv:2307.01612).
PUBLISHED = {
    "dijet2": ([9.3, 4.8], lambda x, p: (1 - x) ** p[0] / power(x, p[1:])),
    "dijet3": ([9.3, 4.8, -0.1], lambda x, p: (1 - x) ** p[0] / power(x, p[1:])),
    "dijet4": ([9.3, 10.4, 2.35, 0.42], lambda x, p: (1 - x) ** p[0] / power(x, p[1:])),
    "dijet5": (
        [5.0, 10.4, 2.4, 0.42, 6.0],
        lambda x, p: math.exp(-x) ** p[4] * (1 - x) ** p[0] / power(x, p[1:4]),
    ),
    "dijet6": ([9.3, 10.4, 2.35, 0.42, 150.0, 1700.0], turn_on),
    "alternative1": ([14.0, 2.0, -1.0, -0.1], lambda x, p: math.exp(-p[0] * x) / power(x, p[1:])),
    "alternative2": (
        [5.0, 12.0, 3.0, -2.0],
        lambda x, p: x ** -p[0] * math.exp(-p[1] * x - p[2] * x**2 - p[3] * x**3),
    ),
    "alternative3": ([5.0, 12.0, 3.0], lambda x, p: x ** -p[0] * math.exp(-p[1] * x - p[2] * x**2)),
    "alternative4": ([5.0, 12.0], lambda x, p: x ** -p[0] * math.exp(-p[1] * x)),
    "atlas5": ([9.3, -10.4, -2.35, -0.42], lambda x, p: (1 - x) ** p[0] * power(x, p[1:])),
}
OWN = functions.user_function("own", "(1 - x)**a * exp(-b*x) / x**c", {"a": 9.0, "b": 1.0, "c": 5.0})


def test_every_function_is_tested():
    assert set(PUBLISHED) == set(functions.available())


@pytest.mark.parametrize("name", PUBLISHED)
def test_bins_are_integrals_of_the_published_formula(name):
    parameters, formula = PUBLISHED[name]
    edges = np.array([1500.0, 1504.0, 1600.0, 2400.0, 2404.0, 2600.0, 5000.0, 5100.0, 6000.0, 6100.0, 6200.0])
    function = functions.get(name)
    model = FunctionModel(edges, function, reference=np.array([2.0, *parameters]))
    theta = model.start
    log_norm, found = model.published(theta)
    assert log_norm == pytest.approx(2.0, abs=1e-6)
    assert found == pytest.approx(parameters, rel=1e-6, abs=1e-6)
    counts = model.expected(theta)
    for index in (0, 1, 3, 6, 9):
        low, high = edges[index : index + 2]
        exact = quad(lambda m: math.exp(2.0) * formula(m / SQRT_S, parameters), low, high, epsrel=1e-12)[0]
        assert counts[index] == pytest.approx(exact, rel=3e-8)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([*PUBLISHED, "own"]),
    st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7),
    st.sampled_from([13000.0, 13600.0, 8000.0]),
)
def test_gradients_against_finite_differences(name, shifts, sqrt_s):
    function = OWN if name == "own" else functions.get(name)
    start = OWN.start if name == "own" else PUBLISHED[name][0]
    point = np.append(shifts[0], np.array(start) * (1 + np.array(shifts[1 : len(start) + 1])))
    mass = np.array([1500.0, 1800.0, 3000.0, 7000.0])
    gradient = function.gradient(mass, point, sqrt_s)
    for k in range(point.size):
        step = np.zeros(point.size)
        step[k] = 1e-5 * max(abs(point[k]), 0.1)
        change = function.log_density(mass, point + step, sqrt_s) - function.log_density(
            mass, point - step, sqrt_s
        )
        assert gradient[:, k] == pytest.approx(change / (2 * step[k]), rel=1e-5, abs=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["dijet6", "own"]), st.lists(st.floats(-1, 1), min_size=7, max_size=7))
def test_jacobian_of_bins_against_finite_differences(name, shifts):
    function = OWN if name == "own" else functions.get(name)
    start = OWN.start if name == "own" else PUBLISHED[name][0]
    level = -function.log_density(np.array([2000.0]), np.array([0.0, *start]), SQRT_S)[0] + 3
    edges = np.arange(1460.0, 6001.0, 20.0)
    model = FunctionModel(edges, function, reference=np.array([level, *start]))
    theta = model.start + np.array(shifts[: model.n_parameters])
    _, jacobian = model.expected_and_jacobian(theta)
    for k in range(model.n_parameters):
        step = np.zeros(model.n_parameters)
        step[k] = 1e-5
        numeric = (model.expected(theta + step) - model.expected(theta - step)) / 2e-5
        assert jacobian[:, k] == pytest.approx(numeric, rel=1e-4, abs=1e-6 * np.abs(numeric).max())


def test_many_parameter_points_at_once():
    for function, start in ((functions.get("dijet6"), PUBLISHED["dijet6"][0]), (OWN, OWN.start)):
        model = FunctionModel(np.arange(1460.0, 4001.0, 20.0), function, reference=np.array([1.0, *start]))
        points = model.start + np.random.default_rng(1).normal(size=(3, model.n_parameters)) * 0.01
        counts, jacobian = model.expected_and_jacobian(points)
        for row, point in enumerate(points):
            one, slopes = model.expected_and_jacobian(point)
            assert counts[row] == pytest.approx(one)
            assert jacobian[row] == pytest.approx(slopes)


@pytest.mark.parametrize("name", ["dijet2", "dijet6", "atlas5"])
def test_zero_in_range_names_the_mass(name):
    with pytest.raises(
        FitError, match=rf"function {name}: it has a zero in the fit range, at 13100 GeV; .* 13000 GeV"
    ):
        functions.get(name).check(np.array([3000.0, 13100.0]), 13000.0)
    functions.get(name).check(np.array([3000.0, 13100.0]), 13600.0)


def test_functions_without_an_edge_have_none():
    functions.get("alternative1").check(np.array([3000.0, 13100.0]), 13000.0)
    with pytest.raises(
        FitError, match=r"alternative4: it has a zero in the fit range, at -1 GeV; keep the range above 0"
    ):
        functions.get("alternative4").check(np.array([-1.0, 5000.0]), 13000.0)


def test_a_users_zero_names_the_mass():
    own = functions.user_function("own", "1 - a * x", {"a": 4.0})
    with pytest.raises(
        FitError, match=r"function own: 1 - a \* x is -0.0769231 at 3500 GeV for the start values"
    ):
        own.check(np.array([1500.0, 3500.0, 4000.0]), 13000.0)


def test_unknown_and_taken_names():
    with pytest.raises(
        ConfigError, match=r"function 'dijet9' is unknown; known functions: dijet2, .*atlas5$"
    ):
        functions.get("dijet9")
    with pytest.raises(ConfigError, match=r"function 'mime' is unknown; known functions: .*, own$"):
        functions.get("mime", {"own": OWN})
    assert functions.get("own", {"own": OWN}) is OWN
    assert functions.get(OWN) is OWN
    for name in ("dijet2", "my function", ""):
        with pytest.raises(ConfigError, match=f"function '{name}': choose another name"):
            functions.user_function(name, "x**p1", {"p1": 1.0})


def test_every_function_says_what_it_is():
    for name in functions.available():
        function = functions.get(name)
        assert len(function.parameters) == function.n_shape == len(PUBLISHED[name][0])
        assert all(parameter in function.formula for parameter in function.parameters)
        assert "arXiv:" in function.reference
    assert OWN.formula == "(1 - x)**a * exp(-b*x) / x**c"
    assert OWN.parameters == ("a", "b", "c")


def test_a_turn_on_needs_a_width():
    function = functions.get("dijet6")
    assert np.isneginf(
        function.log_density(np.array([2000.0]), np.array([0.0, 9, 5, 0, 0, -100.0, 1700.0]), 13000.0)
    )
