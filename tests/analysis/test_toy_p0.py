"""p-values by toys: closed forms of counting experiments, coverage, agreement with asymptotics, failures."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm, poisson

from analysis import toys
from analysis.batched import BatchedFits
from analysis.profile_likelihood import SignalTest
from analysis.signal_template import SignalTemplate
from analysis.toy_p0 import toy_p0
from data.errors import FitError
from tests.analysis.oracles import Known, counting


@pytest.mark.parametrize(("n", "b"), [(3, 1.0), (5, 1.5), (2, 0.4)])
def test_counting_experiments_have_the_tail_of_poisson(n, b):
    """Where the asymptotic p-value is off by a factor."""
    test = counting(n, b)
    exact = poisson.sf(n - 1, b)
    found = toy_p0(test, n_toys=2000, seed=1)
    assert found.p0 == pytest.approx(exact, abs=4 * np.sqrt(exact / found.n_toys))
    assert found.z == pytest.approx(norm.isf(found.p0))
    assert abs(test.p0 - exact) > 0.15 * exact


def test_a_deficit_needs_no_toys():
    found = toy_p0(counting(1, 3.0))
    assert (found.p0, found.z, found.n_toys) == (0.5, 0.0, 0)


def test_small_p_values_take_more_toys_and_end_as_bounds():
    found = toy_p0(counting(30, 2.0), n_toys=500)
    assert found.n_toys == 10_000
    assert found.n_above == 0
    assert found.p0 == pytest.approx(1 / 10_001)
    assert toy_p0(counting(3, 1.0), n_toys=500).n_toys == 500


def test_toys_go_on_until_the_error_is_a_fifth():
    found = toy_p0(counting(6, 1.5), n_toys=500)
    assert 500 < found.n_toys < 10_000
    assert 25 <= found.n_above < 25 + 500 * 0.05
    assert found.p0 == pytest.approx(poisson.sf(5, 1.5), rel=0.8)


def test_toys_are_fitted_with_auxiliary_measurements_of_their_own(monkeypatch):
    found, measured = BatchedFits.tested, []
    monkeypatch.setattr(BatchedFits, "tested", lambda *given: measured.append(given[3:]) or found(*given))
    uncertain = SignalTemplate(np.ones(1), (), 0.5)
    toy_p0(SignalTest(np.array([4.0]), Known([1.0]), uncertain, np.empty(0)), n_toys=500)
    data, centres = measured[0], measured[1][0]
    assert data == ()
    assert len(centres) == 500
    assert np.std(centres) == pytest.approx(1.0, abs=0.15)


def test_a_p_value_is_half_at_most():
    found = toy_p0(counting(1, 0.95), n_toys=500)
    assert found.n_above > 0.55 * found.n_toys > 0
    assert found.p0 == 0.5


def test_toys_are_seeded_and_workers_change_nothing():
    test = counting(4, 1.0)
    assert toy_p0(test, seed=3) == toy_p0(test, seed=3, workers=2)
    assert toy_p0(test, seed=3) != toy_p0(test, seed=4)


def test_toys_that_fail_are_an_error(monkeypatch):
    found = BatchedFits.tested

    def partly(self, *given):
        values = found(self, *given)
        if len(values.q0) == 1:  # the data
            return values
        return dataclasses.replace(values, q0=np.where(np.arange(len(values.q0)) % 20, values.q0, np.nan))

    monkeypatch.setattr(BatchedFits, "tested", partly)
    with pytest.raises(FitError, match="25 of 500 toys could not be fitted; use fewer shape parameters"):
        toy_p0(counting(3, 1.0), n_toys=500)
    with pytest.raises(FitError, match="30 of 1000 toys could not be fitted; use fewer shape parameters"):
        toys.check_failures(30, 1000)
    toys.check_failures(20, 1000)
