"""Formulae of users: values, derivatives, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.expressions import Expression
from data.errors import ConfigError

MASS = np.array([1500.0, 3000.0, 6000.0])


@pytest.mark.parametrize(
    ("text", "by_hand"),
    [
        ("(1 - x)**a / x**b", lambda x, m, a, b: (1 - x) ** a / x**b),
        ("exp(-a*x) * x^b", lambda x, m, a, b: np.exp(-a * x) * x**b),
        ("1e3 * (m/1000)**-a + sqrt(b)", lambda x, m, a, b: 1e3 * (m / 1000) ** -a + np.sqrt(b)),
        ("log(a + b*x)**2 / +cos(x)", lambda x, m, a, b: np.log(a + b * x) ** 2 / np.cos(x)),
        ("0.5*(1 + tanh((m - 1000*a)/100)) * sin(pi*b)", lambda x, m, a, b: 0.5 * (1 + np.tanh((m - 1000 * a) / 100)) * np.sin(np.pi * b)),
        ("a**b * 2**a", lambda x, m, a, b: a**b * 2**a + 0 * x),
        ("(x - 1)**2 * a * b**3", lambda x, m, a, b: (x - 1) ** 2 * a * b**3),
    ],
)  # fmt: skip
def test_values(text, by_hand):
    expression, point = Expression(text, ("a", "b")), np.array([1.7, 0.4])
    value, _ = expression.evaluate(MASS, point, 13000.0)
    assert np.array_equal(value, expression.value(MASS, point, 13000.0))
    assert value == pytest.approx(by_hand(MASS / 13000, MASS, 1.7, 0.4), rel=1e-13)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            "(1 - x)**a / x**(b + c*log(x))",
            "exp(-a*x) / (1 + b*x + c*x**2)",
            "a**b * c**x",
            "sqrt(a) * tanh(b*x) + cos(c) - sin(a/b)",
            "-(a*b - c)**3 / (m/1000)**c",
        ]
    ),
    st.lists(st.floats(0.3, 4.0), min_size=3, max_size=3),
)
def test_derivatives_against_finite_differences(text, values):
    expression = Expression(text, ("a", "b", "c"))
    point = np.array(values)
    _, gradient = expression.evaluate(MASS, point, 13000.0)
    for k in range(3):
        step = np.zeros(3)
        step[k] = 1e-5
        up, down = (expression.evaluate(MASS, point + s, 13000.0)[0] for s in (step, -step))
        scale = 1e-9 * np.abs(up).max() / 1e-5  # rounding of the differences
        assert gradient[:, k] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=scale)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.real**p1", r"'x.real' is not allowed"),
        ("x[0]**p1", r"'x\[0\]' is not allowed"),
        ("__import__('os') * p1", r"is not allowed|unknown name '__import__'"),
        ("open(p1)", r"unknown name 'open'|'open\(p1\)' is not allowed"),
        ("y**p1", r"unknown name 'y'; known: x, m, pi, p1"),
        ("p1 if x else 1", r"'p1 if x else 1' is not allowed"),
        ("lambda: p1", r"'lambda: p1' is not allowed"),
        ("p1 % x", r"operator 'Mod' is not allowed"),
        ("p1 // x", r"operator 'FloorDiv' is not allowed"),
        ("p1 < x", r"'p1 < x' is not allowed"),
        ("~p1", r"operator 'Invert' is not allowed"),
        ("p1 * 'a'", r"''a'' is not allowed"),
        ("p1 * True", r"'True' is not allowed"),
        ("p1 * 2j", r"'2j' is not allowed"),
        ("exp(p1, x)", r"'exp\(p1, x\)' is not allowed"),
        ("exp(p1, out=x)", r"'exp\(p1, out=x\)' is not allowed"),
        ("exp * p1", r"'exp' is a function; give it an argument"),
        ("p1 * x(2)", r"'x\(2\)' is not allowed"),
        ("p1 * (x", r"cannot be read near"),
        ("p1 x", r"cannot be read near"),
        ("", r"cannot be read near"),
        ("x**2", r"does not use the parameter 'p1'"),
        ("p1 * 1" + "0" * 400, r"the number 10000000…"),
        ("p1" + " + x" * 200, r"802 characters; write it with at most 500"),
        ("(" * 240 + "p1" + ")" * 240, r"cannot be read|nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(text, message):
    with pytest.raises(ConfigError, match=message):
        Expression(text, ("p1",))


def test_a_long_chain_of_signs_is_evaluated():
    value, gradient = Expression("-" * 400 + "p1", ("p1",)).evaluate(MASS, np.array([2.0]), 13000.0)
    assert value == pytest.approx([2.0] * 3)
    assert gradient == pytest.approx(np.ones((3, 1)))


@pytest.mark.parametrize("name", ["x", "exp", "pi", "2p", "p 1"])
def test_names_of_parameters(name):
    with pytest.raises(ConfigError, match=f"parameter '{name}': choose another name"):
        Expression("x", (name,))


def test_outside_its_domain_a_formula_is_not_finite():
    value, _ = Expression("log(p1 - x)", ("p1",)).evaluate(MASS, np.array([0.2]), 13000.0)
    assert np.isnan(value[-1])
