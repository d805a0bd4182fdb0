"""Up-crossings of processes whose number of them is known, and the bound that follows."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from analysis.gross_vitells import gross_vitells, up_crossings, window_crossings
from data.errors import InputError

LENGTH, STEP = 20.0, 0.1


def gaussian_scans(n_scans, seed, length=LENGTH, step=STEP):
    """q0 = max(z, 0)² of stationary Gaussian processes with the covariance exp(−τ²/2)."""
    x = np.arange(0, length + step / 2, step)
    covariance = np.exp(-0.5 * (x[:, None] - x[None, :]) ** 2)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    z = np.random.default_rng(seed).normal(size=(n_scans, x.size)) @ root.T
    return np.maximum(z, 0) ** 2


def test_crossings_are_counted_from_below_to_above():
    q0 = np.array([[0.0, 0.6, 0.4, 0.5, 0.7, 0.0], [1.0, 0.9, 0.8, 0.7, 0.6, 0.55], np.zeros(6)])
    assert up_crossings(q0, 0.5).tolist() == [2, 0, 0]
    assert up_crossings(q0, 0.0).tolist() == [1, 0, 0]
    assert up_crossings(q0[0], 0.65) == 1


def test_a_step_between_windows_is_no_crossing():
    q0 = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    assert window_crossings(q0, [0, 0, 0, 0, 0, 0]).tolist() == 2
    assert window_crossings(q0, [0, 0, 1, 1, 2, 2]).tolist() == 1
    # the masses of a window need not be neighbours
    assert window_crossings(q0, [0, 1, 0, 1, 0, 1]).tolist() == 2


@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_a_gaussian_process_crosses_as_often_as_rice_says(level):
    # S. O. Rice, Bell Syst. Tech. J. 24 (1945) 46: a unit process of covariance exp(−τ²/2) crosses u upwards
    # L/(2π) exp(−u²/2) times in a length L.
    counted = up_crossings(gaussian_scans(3000, seed=1), level)
    error = counted.std() / math.sqrt(counted.size)
    assert counted.mean() == pytest.approx(LENGTH / (2 * math.pi) * math.exp(-level / 2), abs=3 * error)


def test_a_process_known_at_few_masses_crosses_as_its_pairs_do():
    level, step = 0.5, 1.5
    counted = up_crossings(gaussian_scans(20_000, seed=2, length=6.0, step=step), level)
    u, rho = math.sqrt(level), math.exp(-0.5 * step**2)
    both_below = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([u, u])
    expected = 4 * (norm.cdf(u) - both_below)
    assert counted.mean() == pytest.approx(expected, abs=3 * counted.std() / math.sqrt(counted.size))


def test_bound_agrees_with_the_largest_values_of_many_scans():
    toys = gaussian_scans(20_000, seed=3)
    few = window_crossings(gaussian_scans(100, seed=4), np.zeros(toys.shape[1], dtype=int))
    for z in (2.7, 3.0, 3.5):
        found = gross_vitells(z, few)
        p = (toys.max(axis=1) >= z**2).mean()
        error = math.hypot(found.p_global_error, math.sqrt(p / len(toys)))
        assert found.p_global == pytest.approx(p, abs=2.5 * error)
        assert found.message is None


def test_a_single_mass_has_its_local_p_value():
    found = gross_vitells(3.0, window_crossings(np.array([[9.0], [0.1]]), [0]))
    assert found.p_global == norm.sf(3.0)


def test_single_masses_in_windows_add_up():
    found = gross_vitells(4.0, window_crossings(np.array([[16.0, 0.0, 1.0]]), [0, 1, 2]), n_windows=3)
    assert found.p_global == pytest.approx(1 - norm.cdf(4.0) ** 3, rel=1e-4)


def test_trial_factor_grows_with_the_significance():
    # arXiv:1005.1891, eq. 10 gives 1 + √(π/2) N Z for a χ²₁ of either sign. q0 counts upward fluctuations only: half of the
    # crossings, and half of the p-value at one mass.
    counted = np.repeat([4, 5], [66, 34])
    of_either_sign = 2 * counted.mean() * math.exp(0.25)
    for z, precision in ((5.0, 0.05), (20.0, 3e-3)):
        found = gross_vitells(z, counted, level=0.5)
        expected = 1 + math.sqrt(math.pi / 2) * of_either_sign * z
        assert found.p_global / found.p_local == pytest.approx(expected, rel=precision)


def test_errors_follow_the_number_of_scans():
    one = gross_vitells(3.0, np.array([4]))
    assert one.crossings_error == 2.0
    assert gross_vitells(3.0, np.array([0])).crossings_error == 1.0
    assert gross_vitells(3.0, np.zeros(50, dtype=int)).crossings_error > 0
    many = gross_vitells(3.0, np.random.default_rng(1).poisson(4, 400))
    assert many.crossings_error == pytest.approx(0.1, rel=0.15)
    assert many.p_global_error == pytest.approx(many.crossings_error * math.exp(-0.5 * (9 - 0.5)))


def test_what_overestimates_says_so():
    crossings = np.full(10, 4)
    low = gross_vitells(1.0, crossings)
    assert low.p_global == 1.0
    assert "above one" in low.message
    assert gross_vitells(0.0, crossings).p_global == 1.0
    assert "overestimates below a local significance of 2.5" in gross_vitells(2.4, crossings).message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gross_vitells(3.0, np.array([], dtype=int)), "up-crossings of at least one scan"),
        (lambda: gross_vitells(math.nan, np.array([1])), "z_local = nan"),
        (lambda: gross_vitells(3.0, np.array([1]), level=-1.0), "level = -1"),
        (lambda: window_crossings(np.zeros((2, 3)), [0, 0]), "3 masses, but 2 windows"),
        (lambda: window_crossings(np.array([0.0, np.nan]), [0, 0]), "q0 must be finite"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
