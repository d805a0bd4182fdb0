"""Vectorised toy fits: the same numbers as one fit after the other, failures marked."""

import numpy as np
import pytest

from analysis.dijet import density
from analysis.fit import fit_background
from analysis.profile_likelihood import SignalTest
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.toys import ToyFits

EDGES = np.arange(2232.0, 5001.0, 20.0)
TEMPLATE = SignalModel.generic().at(3000.0).template(EDGES)


def background_fit(n_events, n_shape):
    middles = 0.5 * (EDGES[1:] + EDGES[:-1])
    shape = density(middles, 0.0, np.array([9.3, 4.8, -0.1]))
    counts = np.random.default_rng(1).poisson(shape * n_events / shape.sum())
    return fit_background(Spectrum(EDGES, counts), n_shape)


@pytest.mark.parametrize(("n_events", "n_shape"), [(150, 2), (3000, 3), (300_000, 4)])
def test_agrees_with_single_fits(n_events, n_shape):
    fit = background_fit(n_events, n_shape)
    rng = np.random.default_rng(2)
    counts = rng.poisson(fit.expected + 0.5 * np.sqrt(n_events) * TEMPLATE, (25, fit.expected.size)).astype(
        float
    )
    toys = ToyFits(counts, fit.model, TEMPLATE, fit.minimum.theta)
    tested = 1.5 * np.sqrt(n_events)
    q = toys.q_tilde(tested)
    assert toys.converged.all()
    for toy, row in enumerate(counts):
        single = SignalTest(row, fit.model, TEMPLATE, fit.minimum.theta)
        assert q[toy] == pytest.approx(single.q_tilde(tested), abs=2e-6, rel=1e-6)
        assert toys.best_yield[toy] == pytest.approx(max(single.best.signal_yield, 0.0), abs=1e-2, rel=1e-3)


def test_toys_without_a_minimum_are_marked():
    fit = background_fit(3000, 2)
    counts = np.stack([fit.spectrum.counts.astype(float), np.zeros(EDGES.size - 1)])
    toys = ToyFits(counts, fit.model, TEMPLATE, fit.minimum.theta)
    toys.q_tilde(50.0)
    assert toys.converged.tolist() == [True, False]
