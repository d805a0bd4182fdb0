"""The Poisson likelihood: value against scipy, derivatives against finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from analysis import functions
from analysis.function_model import FunctionModel
from analysis.functions import density
from analysis.likelihood import Likelihood
from analysis.signal_shape import SignalModel
from analysis.signal_template import SignalTemplate

EDGES = np.arange(2232.0, 5001.0, 16.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
SHAPE = density(MIDDLES, 0.0, np.array([9.3, 4.8, -0.1]))
TEMPLATE = SignalModel.generic().at(3000.0).template(EDGES)


def dijet(n_shape, expected):
    return FunctionModel(EDGES, functions.get(f"dijet{n_shape}"), expected)


def likelihood(n_events, n_shape=3, seed=1):
    expected = SHAPE * n_events / SHAPE.sum()
    counts = np.random.default_rng(seed).poisson(expected).astype(float)
    return Likelihood(counts, dijet(n_shape, expected), SignalTemplate(TEMPLATE))


def start(n_events, n_shape=3):
    return dijet(n_shape, SHAPE * n_events / SHAPE.sum()).start


@pytest.mark.parametrize("n_events", [300, 1_000_000])
def test_differences_are_those_of_the_poisson_likelihood(n_events):
    like = likelihood(n_events)
    theta = start(n_events)
    other = theta + np.array([0.1, -0.4, 0.3, 0.2])
    by_scipy = [
        -poisson.logpmf(like.counts, like.background.expected(t) + mu * TEMPLATE).sum()
        for t, mu in ((theta, 0.0), (other, 25.0))
    ]
    assert like.value(other, 25.0) - like.value(theta, 0.0) == pytest.approx(
        by_scipy[1] - by_scipy[0], abs=1e-6, rel=1e-8
    )


def test_saturated_model_has_value_zero():
    model = dijet(2, SHAPE)
    like = Likelihood(model.expected(model.start), model)
    assert like.value(model.start) == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([200, 5000, 500_000]),
    st.integers(2, 5),
    st.lists(st.floats(-1, 1), min_size=6, max_size=6),
    st.floats(-1, 8),
)
def test_derivatives_against_finite_differences(n_events, n_shape, shifts, strength):
    like = likelihood(n_events, n_shape)
    size = n_shape + 1
    point = np.append(start(n_events, n_shape) + shifts[:size], strength * np.sqrt(n_events) / 10)
    gradient, hessian = like.derivatives(point[:-1], point[-1], with_yield=True)

    def value(z):
        return like.value(z[:-1], z[-1])

    for column in range(size + 1):
        step = np.zeros(size + 1)
        step[column] = 1e-4 if column < size else 1e-4 * np.sqrt(n_events)
        numeric = (value(point + step) - value(point - step)) / (2 * step[column])
        assert gradient[column] == pytest.approx(
            numeric, rel=2e-4, abs=2e-4 * np.sqrt(hessian[column, column]) + 1e-6
        )
        slopes = [
            like.derivatives((point + s)[:-1], (point + s)[-1], with_yield=True)[0] for s in (step, -step)
        ]
        numeric_row = (slopes[0] - slopes[1]) / (2 * step[column])
        scale = np.sqrt(np.abs(np.diag(hessian)) * abs(hessian[column, column]))
        # The second derivatives neglect the change of the terms inside a bin of 16 GeV.
        assert np.all(np.abs(hessian[column] - numeric_row) <= 5e-3 * (scale + 1))


def test_without_yield_the_block_of_the_background_is_left():
    like = likelihood(5000)
    theta = start(5000)
    gradient, hessian = like.derivatives(theta, 12.0, with_yield=True)
    block_gradient, block = like.derivatives(theta, 12.0, with_yield=False)
    assert gradient[:-1] == pytest.approx(block_gradient)
    assert hessian[:-1, :-1] == pytest.approx(block)


def test_negative_yields_keep_the_total_positive():
    like = likelihood(300)
    theta = start(300)
    assert np.isfinite(like.value(theta, -1e4))
    gradient, hessian = like.derivatives(theta, -1e4, with_yield=True)
    assert np.isfinite(gradient).all()
    assert np.isfinite(hessian).all()


def test_overflow_is_infinite_not_a_number():
    like = likelihood(300)
    assert like.value(start(300) * 0 + 1e6) == np.inf
