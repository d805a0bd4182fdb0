"""The double Crystal Ball: closed forms, fit to weighted simulation, interpolation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from analysis.crystal_ball import SHAPE_NAMES, DoubleCrystalBall
from analysis.signal_fit import fit_signal_shape
from analysis.signal_shape import SignalModel
from data.errors import FitError, InputError

SHAPE = DoubleCrystalBall(3000.0, 150.0, 1.2, 5.0, 1.5, 10.0)
EDGES = np.arange(1200.0, 6001.0, 4.0)


def simulate(shape, n_events, seed):
    """Histogram of weighted events drawn by inversion of the cumulated density."""
    rng = np.random.default_rng(seed)
    fine = np.linspace(500.0, 9000.0, 200_001)
    mass = np.interp(rng.uniform(*shape.cdf(fine[[0, -1]]), n_events), shape.cdf(fine), fine)
    weight = rng.choice([0.5, 1.0, 2.0], n_events)
    values = np.histogram(mass, EDGES, weights=weight)[0]
    return values, np.histogram(mass, EDGES, weights=weight**2)[0]


shapes = st.builds(
    DoubleCrystalBall,
    st.floats(1000, 5000),
    st.floats(20, 400),
    st.floats(0.3, 3),
    st.floats(1.2, 60),
    st.floats(0.3, 3),
    st.floats(1.2, 60),
)


@settings(max_examples=30, deadline=None)
@given(shapes, st.floats(-6, 6), st.floats(0.1, 3))
def test_cdf_is_the_integral_of_the_pdf(shape, low, width):
    ends = shape.mean + shape.sigma * np.array([low, low + width])
    numeric = quad(
        lambda m: float(shape.pdf(np.array([m]))[0]), *ends, epsabs=1e-12, limit=200,
        points=np.clip(shape.mean + shape.sigma * np.array([-shape.alpha_low, shape.alpha_high]), *ends),
    )[0]  # fmt: skip
    assert np.diff(shape.cdf(ends))[0] == pytest.approx(numeric, rel=1e-6, abs=1e-10)


@given(shapes)
def test_cdf_runs_from_zero_to_one(shape):
    cumulated = shape.cdf(np.linspace(-1e4, 2e4, 301))
    assert np.all(np.diff(cumulated) >= 0)
    assert shape.cdf(np.array([-1e30]))[0] < 1e-3
    assert shape.cdf(np.array([1e30]))[0] > 1 - 1e-3


def test_pdf_by_hand():
    t = -2.0
    a, n = SHAPE.alpha_low, SHAPE.n_low
    tail = (n / a) ** n * np.exp(-(a**2) / 2) / (n / a - a - t) ** n
    ratio = SHAPE.pdf(np.array([3000 + 150 * t]))[0] / SHAPE.pdf(np.array([3000.0]))[0]
    assert ratio == pytest.approx(tail, rel=1e-12)


def test_template_has_unit_sum():
    template = SHAPE.template(np.arange(2232.0, 4000.0, 4.0))
    assert template.sum() == pytest.approx(1.0)
    assert template.min() >= 0
    with pytest.raises(FitError, match=r"only .* of it lies in the fit range"):
        SHAPE.template(np.arange(5000.0, 6000.0, 4.0))


def test_parameters_are_checked():
    with pytest.raises(InputError, match=r"n_low = 1; it must be a finite number above 1"):
        DoubleCrystalBall(3000, 150, 1, 1.0, 1, 5)
    with pytest.raises(InputError, match=r"sigma = -3"):
        DoubleCrystalBall(3000, -3, 1, 2, 1, 5)


def test_fit_recovers_the_truth_of_weighted_events():
    pulls = []
    for seed in range(20):
        fit = fit_signal_shape(EDGES, *simulate(SHAPE, 20_000, seed), 3000.0)
        assert fit.ndf > 20
        assert fit.chi2 / fit.ndf < 2
        assert fit.effective_events == pytest.approx(20_000 * (3.5 / 3) ** 2 / (5.25 / 3), rel=0.03)
        pulls.append([(getattr(fit.shape, n) - getattr(SHAPE, n)) / fit.errors[n] for n in SHAPE_NAMES])
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.8  # 3.5 standard errors of 20 fits
    assert np.std(pulls, axis=0) == pytest.approx(np.ones(6), abs=0.5)


def test_fit_of_a_gaussian_pins_the_tails_and_converges():
    rng = np.random.default_rng(1)
    values = np.histogram(rng.normal(3000, 120, 5000), EDGES)[0].astype(float)
    fit = fit_signal_shape(EDGES, values, values, 3000.0)
    assert fit.shape.mean == pytest.approx(3000, abs=8)
    assert fit.shape.sigma == pytest.approx(120, rel=0.05)


def test_fit_refuses_what_it_cannot_fit():
    few = np.zeros(EDGES.size - 1)
    few[450:460] = 2.0
    with pytest.raises(FitError, match="20 effective events within"):
        fit_signal_shape(EDGES, few, few, 3000.0)
    with pytest.raises(FitError, match="bins around the mass"):
        fit_signal_shape(EDGES, few, few, 9000.0)
    with pytest.raises(FitError, match="not finite"):
        fit_signal_shape(EDGES, np.where(few > 0, np.nan, 1.0), few, 3000.0)


def test_one_shape_scales_with_the_mass():
    at = SignalModel({3000.0: SHAPE}).at(4500.0)
    assert (at.mean, at.sigma) == pytest.approx((4500, 225))
    assert (at.alpha_low, at.n_high) == (1.2, 10.0)


@pytest.mark.parametrize("masses", [(2000, 3000), (2000, 3000, 5000), (2000, 3000, 4000, 5000, 6000)])
def test_several_shapes_are_met_and_interpolated(masses):
    shapes = {m: DoubleCrystalBall(m * 0.98, 0.04 * m + 30, 1 + m / 1e4, 4.0, 1.5, 9.0) for m in masses}
    model = SignalModel(shapes)
    for mass, shape in shapes.items():
        assert [getattr(model.at(mass), name) for name in SHAPE_NAMES] == pytest.approx(
            [getattr(shape, name) for name in SHAPE_NAMES]
        )
    between = model.at(2500.0)
    assert between.mean == pytest.approx(2450)
    assert between.sigma == pytest.approx(130, rel=0.02)
    assert between.alpha_low == pytest.approx(1.25)
    assert model.at(1000.0).mean == pytest.approx(980)


def test_tails_stay_between_those_of_the_simulated_masses():
    """Exponents of shapes with next to no tail are as large as the fit allows: a line through all falls below one."""
    exponents = {2800.0: 150.0, 3000.0: 150.0, 3500.0: 3.9, 4000.0: 2.6}
    model = SignalModel({m: DoubleCrystalBall(m, 0.04 * m, 1.2, n, 1.5, 4.0) for m, n in exponents.items()})
    found = [model.at(mass).n_low for mass in (2800.0, 3400.0, 3900.0, 4000.0, 4500.0)]
    assert found[0] == pytest.approx(150.0)
    assert 2.6 < found[1] < 150.0
    assert found[2:] == pytest.approx([2.6] * 3)


def test_model_as_json_and_generic():
    model = SignalModel({2000.0: SHAPE, 3000.0: SHAPE})
    assert SignalModel.from_dict(model.to_dict()).shapes == model.shapes
    generic = SignalModel.from_dict({"shape": "double_crystal_ball", "sigma_over_mass": 0.03})
    assert generic.at(2000.0).sigma == pytest.approx(60)


TEXT_SHAPE = {"mean": 2000, "sigma": 90, "alpha_low": 1.2, "n_low": 5, "alpha_high": 1.5, "n_high": 10}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "there are shapes at no mass; give one at least"),
        ({"shape": "gauss"}, "shape 'gauss' is unknown"),
        ({"shape": "double_crystal_ball", "sigma": 3}, "not a signal shape"),
        ({"2000": {"mean": 2000}}, "not a signal shape"),
        ({"x": {}}, "not a signal shape"),
        ({"nan": {}}, "mass 'nan' is not finite or stands twice"),
        ({"2000": TEXT_SHAPE, "2000.0": TEXT_SHAPE}, r"mass '2000\.0' is not finite or stands twice"),
    ],
)
def test_bad_models_are_refused(mapping, message):
    with pytest.raises(InputError, match=message):
        SignalModel.from_dict(mapping)
