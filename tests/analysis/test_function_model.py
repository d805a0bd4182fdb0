"""Functions in bins: integrals, published parameters, basis, gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from analysis import functions
from analysis.function_model import FunctionModel, gauss_nodes
from analysis.functions import density
from analysis.spectrum import Spectrum
from analysis.starts import rough_expectation
from data.errors import FitError, InputError

EDGES = np.arange(2232.0, 6001.0, 4.0)
PARAMETERS = {2: [9.3, 4.8], 3: [9.3, 4.8, -0.1], 4: [9.3, 10.4, 2.4, 0.4], 5: [5.0, 10.4, 2.4, 0.4, 6.0]}


def expected(n_events=60_000):
    mass, weight = gauss_nodes(EDGES)
    counts = (density(mass.ravel(), 0.0, np.array(PARAMETERS[3])).reshape(mass.shape) * weight).sum(axis=1)
    return counts * n_events / counts.sum()


def dijet(n_shape, edges=EDGES, counts=None):
    return FunctionModel(edges, functions.get(f"dijet{n_shape}"), expected() if counts is None else counts)


@pytest.mark.parametrize("n_shape", [2, 3, 4, 5])
def test_published_parameters_come_back(n_shape):
    model = dijet(n_shape)
    theta = model.start + 0.3
    log_norm, parameters = model.published(theta)
    assert parameters.shape == (n_shape,)
    widths = model.expected(theta) / np.diff(EDGES)
    middles = 0.5 * (EDGES[1:] + EDGES[:-1])
    assert density(middles, log_norm, parameters) == pytest.approx(widths, rel=1e-4)


def test_bins_are_integrated():
    model = dijet(3)
    log_norm, parameters = model.published(model.start)
    for index in (0, 400, 900):
        exact = quad(lambda m: density(np.array([m]), log_norm, parameters)[0], *EDGES[index : index + 2])[0]
        assert model.expected(model.start)[index] == pytest.approx(exact, rel=1e-10)


def test_wide_bins_are_integrated_too():
    edges = np.array([2000.0, 2500.0, 3300.0])
    counts = dijet(3)
    wide = counts.expected_in(edges, counts.start)
    log_norm, parameters = counts.published(counts.start)
    for index in (0, 1):
        exact = quad(lambda m: density(np.array([m]), log_norm, parameters)[0], *edges[index : index + 2])[0]
        assert wide[index] == pytest.approx(exact, rel=1e-6)


def test_start_reproduces_an_expectation_of_the_family():
    model = dijet(3)
    assert model.expected(model.start) == pytest.approx(expected(), rel=1e-5)


@pytest.mark.parametrize("n_shape", [2, 3, 4, 5])
def test_basis_has_unit_information(n_shape):
    model = dijet(n_shape)
    counts, jacobian = model.expected_and_jacobian(model.start)
    assert jacobian.T @ (jacobian / counts[:, None]) == pytest.approx(np.eye(n_shape + 1), abs=5e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_jacobian_against_finite_differences(n_shape, shifts):
    model = dijet(n_shape, EDGES[::20], expected().reshape(-1, 2).sum(axis=1)[: EDGES[::20].size - 1])
    theta = model.start + np.array(shifts[: n_shape + 1])
    counts, jacobian = model.expected_and_jacobian(theta)
    assert counts == pytest.approx(model.expected(theta))
    for column in range(n_shape + 1):
        step = np.zeros(n_shape + 1)
        step[column] = 1e-5
        numeric = (model.expected(theta + step) - model.expected(theta - step)) / 2e-5
        assert jacobian[:, column] == pytest.approx(numeric, rel=1e-5, abs=1e-5 * np.abs(numeric).max())


def test_zero_in_range_is_an_error():
    with pytest.raises(FitError, match=r"dijet3: it has a zero in the fit range, at 13000 GeV"):
        dijet(3, np.arange(2000.0, 13001.0, 50.0), np.ones(220))
    with pytest.raises(FitError, match="3 bins do not tell its parameters apart"):
        dijet(4, EDGES[:4], np.ones(3))


def test_rough_expectation_falls_and_keeps_the_sum():
    counts = np.random.default_rng(1).poisson(expected(2000))
    rough = rough_expectation(Spectrum(EDGES, counts))
    assert rough.sum() == pytest.approx(counts.sum())
    assert np.all(np.diff(rough) < 0)
    assert np.abs(np.log(rough / expected(2000)))[EDGES[1:] < 4000].max() < 0.5
    with pytest.raises(InputError, match="3 events between 2232 and 6000 GeV are too few"):
        rough_expectation(Spectrum(EDGES, np.eye(1, counts.size, 5)[0] * 3))


def test_rough_expectation_of_events_in_few_bins():
    """All in the first per cent of the range, where bins equal in ln m would leave one or two."""
    counts = np.zeros(EDGES.size - 1)
    counts[:10] = np.arange(60, 10, -5)
    rough = rough_expectation(Spectrum(EDGES, counts))
    assert rough[:10].sum() > 0.5 * counts.sum()
