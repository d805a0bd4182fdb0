"""Pulls of the signal yield on toys of every background function's own fit: no bias, errors of the right size."""

import numpy as np
import pytest

from analysis import functions
from analysis.batched import BatchedFits
from analysis.fit import fit_background
from analysis.functions import density
from analysis.profile_likelihood import SignalTest
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum

EDGES = np.arange(1460.0, 7001.0, 4.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
FALLING = density(MIDDLES, 0.0, np.array([9.28, 10.36, 2.35, 0.418]))
MASS = 2500.0
N_TOYS = 500


@pytest.mark.parametrize("n_sigma", [0, 2])
@pytest.mark.parametrize("n_events", [1000, 100_000])
@pytest.mark.parametrize("name", [name for name in functions.available() if name != "dijet6"])
def test_mean_and_width(name, n_events, n_sigma):
    data = Spectrum(EDGES, np.random.default_rng(1).poisson(FALLING * n_events / FALLING.sum()))
    fit = fit_background(data.between(1460.0, data.snap(data.last_filled + 5, up=True)), name)
    signal = SignalModel.generic().template(MASS, fit.spectrum.edges, nuisances=False)
    error = SignalTest(fit.expected, fit.model, signal, fit.minimum.theta).yield_error
    expected = fit.expected + n_sigma * error * signal.nominal
    counts = np.random.default_rng([n_events, n_sigma]).poisson(expected, (N_TOYS, expected.size))
    found = BatchedFits(counts.astype(float), fit.model, fit.minimum.theta).best([signal])
    good = found.converged[:, 0] & ~found.at_bound[:, 0]
    assert good.mean() > 0.98
    pull = (found.signal_yield[good, 0] - n_sigma * error) / found.error[good, 0]
    pull = pull[np.abs(pull) < 5]  # as in the bias studies of arXiv:2412.03747
    # 500 toys: the mean is known to 0.045, the width to 0.03.
    assert abs(pull.mean()) < 0.15
    assert 0.9 < pull.std() < 1.1


@pytest.mark.slow
def test_dijet6():
    """Not log-linear, so that every toy is fitted by itself."""
    shape = FALLING * 0.5 * (1 + np.tanh((MIDDLES - 1700.0) / 120.0))
    data = Spectrum(EDGES, np.random.default_rng(1).poisson(shape * 30_000 / shape.sum()))
    fit = fit_background(data.between(1460.0, data.snap(data.last_filled + 5, up=True)), "dijet6")
    signal = SignalModel.generic().template(MASS, fit.spectrum.edges, nuisances=False)
    rng = np.random.default_rng(3)
    tests = [
        SignalTest(rng.poisson(fit.expected).astype(float), fit.model, signal, fit.minimum.theta)
        for _ in range(200)
    ]
    pull = np.array([test.best.signal_yield / test.yield_error for test in tests])
    assert abs(pull.mean()) < 0.25  # 200 toys: known to 0.07
    assert 0.85 < pull.std() < 1.15
