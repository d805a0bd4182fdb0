"""Transforms of inputs: invertible everywhere, exact Jacobians, not moved by outliers."""

import numpy as np
import pytest
from scipy.stats import norm

from models.transforms import fit_transform, restored_transform

KINDS = ("standardise", "logit", "rank")


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(1)
    columns = [rng.exponential(90, 4000), rng.beta(2, 3, 4000), rng.normal(-5, 2, 4000)]
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_inverse_gives_the_inputs_back_inside_and_outside_the_sample(kind, sample):
    transform = fit_transform(kind, sample)
    wide = np.concatenate([sample, 3 * sample - sample.mean(axis=0), -sample])
    z, _ = transform.forward(wide)
    assert z.dtype == np.float32
    assert np.abs(transform.inverse(z) - wide).max() < 1e-3 * np.abs(sample).max()
    assert np.all(np.abs(transform.inverse(z) - wide) < 1e-5 * np.abs(wide) + 1e-5 * sample.std(axis=0))


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_strictly_monotonic_beyond_the_sample_too(kind, sample):
    transform = fit_transform(kind, sample)
    low, high = sample.min(axis=0), sample.max(axis=0)
    grid = np.linspace(low - 2 * (high - low), high + 2 * (high - low), 5000)
    assert np.all(np.diff(transform.forward(grid)[0], axis=0) > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_log_jacobian_is_the_numerical_derivative(kind, sample):
    transform = fit_transform(kind, sample[:, :1])
    low, high = float(sample[:, 0].min()), float(sample[:, 0].max())
    grid = np.linspace(low - 0.2 * (high - low), high + 0.2 * (high - low), 20_001)[:, None]
    z, logs = transform.forward(grid)
    # The integral of the derivative: exact wherever the map has kinks.
    steps = np.exp(logs)
    integral = np.cumsum(0.5 * (steps[1:] + steps[:-1]) * np.diff(grid[:, 0]))
    np.testing.assert_allclose(integral, (z[1:] - z[0])[:, 0], rtol=2e-3, atol=2e-3)
    assert logs.dtype == np.float64


def test_ranks_become_normal(sample):
    z, _ = fit_transform("rank", sample).forward(sample)
    levels = np.array([-2, -1, 0, 1, 2.0])
    for values in z.T:
        np.testing.assert_allclose(
            [np.mean(values < level) for level in levels], norm.cdf(levels), atol=0.004
        )


def test_ranks_do_not_move_with_outliers(sample):
    wild = sample.copy()
    wild[:3] = 1e12
    plain, spoiled = (fit_transform("rank", x).forward(sample)[0] for x in (sample, wild))
    bulk = np.abs(plain) < 2
    assert np.abs(plain - spoiled)[bulk].max() < 0.05
    far, logs = fit_transform("rank", sample).forward(wild)
    assert np.abs(far).max() < 45
    assert np.isfinite(logs).all()


def test_ranks_of_values_that_many_events_share():
    rng = np.random.default_rng(2)
    x = np.stack([np.where(rng.random(3000) < 0.8, 0, rng.random(3000)), rng.poisson(3, 3000)], axis=1)
    transform = fit_transform("rank", x)
    z, logs = transform.forward(x)
    assert np.isfinite(z).all()
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(transform.inverse(z), x, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_inputs_stay_finite(kind):
    x = np.full((200, 1), 7.0, dtype=np.float32)
    transform = fit_transform(kind, x)
    z, logs = transform.forward(x)
    assert np.isfinite(z).all()
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(transform.inverse(z), x, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_arrays_give_the_same_bits(kind, sample):
    transform = fit_transform(kind, sample)
    again = restored_transform(kind, transform.arrays(), 3)
    assert np.array_equal(transform.forward(sample)[0], again.forward(sample)[0])
    with pytest.raises(ValueError, match="of shape"):
        restored_transform(kind, transform.arrays(), 2)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("standardise", "deviation", "mean and deviation"),
        ("logit", "high", "limits are not ascending"),
        ("rank", "slopes", "not those of a monotonic function"),
        ("rank", "heights", "not those of a monotonic function"),
    ],
)
def test_damaged_arrays_are_refused(kind, name, message, sample):
    arrays = fit_transform(kind, sample).arrays()
    with pytest.raises(ValueError, match=message):
        restored_transform(kind, arrays | {name: -arrays[name]}, 3)
