"""Signals in bins with their uncertainties: from the double Crystal Ball and from histograms."""

import json
import math

import numpy as np
import pytest
from scipy.stats import norm

from analysis.crystal_ball import DoubleCrystalBall
from analysis.signal_histogram import HistogramSignal, SignalHistogram, read_signal
from analysis.signal_shape import SignalModel
from analysis.signal_template import SignalTemplate, template_of
from data.errors import ConfigError, FitError, InputError

EDGES = np.arange(1460.0, 7001.0, 4.0)
FINE = np.arange(1200.0, 9000.0, 5.0)
# Tails that begin at 5 σ: a Gaussian to 10⁻⁶.
GAUSSIAN = DoubleCrystalBall(3000.0, 150.0, 4.9, 100.0, 4.9, 100.0)


def gaussian(mean, sigma, edges=EDGES):
    return np.diff(norm.cdf(edges, mean, sigma))


def histogram(mean, sigma, edges=FINE, *, mass=None, n_events=None):
    values = gaussian(mean, sigma, edges)
    return SignalHistogram(edges, values, None if n_events is None else values / n_events, mass)


def moments(fractions, edges=EDGES):
    centres = (edges[1:] + edges[:-1]) / 2
    mean = np.average(centres, weights=fractions)
    return mean, np.sqrt(np.average((centres - mean) ** 2, weights=fractions))


SIGNALS = [
    pytest.param(SignalModel({3000.0: GAUSSIAN}), 1e-6, id="function"),
    pytest.param(HistogramSignal([histogram(3000, 150)]), 3e-5, id="histogram"),
]


@pytest.mark.parametrize(("signal", "tolerance"), SIGNALS)
def test_shifts_of_a_gaussian(signal, tolerance):
    template = signal.template(3000.0, EDGES, nuisances=True)
    assert template.nuisances == ("jes", "jer")
    assert template.nominal == pytest.approx(gaussian(3000, 150), abs=tolerance)
    scale, resolution = template.shifts
    assert scale.up == pytest.approx(gaussian(3030, 150), abs=tolerance)
    assert scale.down == pytest.approx(gaussian(2970, 150), abs=tolerance)
    assert resolution.up == pytest.approx(gaussian(3000, 150 * 1.035), abs=tolerance)
    assert resolution.down == pytest.approx(gaussian(3000, 150 * 0.965), abs=tolerance)
    assert signal.width(3000.0) == pytest.approx(150, rel=1e-3)


@pytest.mark.parametrize(("signal", "tolerance"), SIGNALS)
def test_events_moved_out_of_the_range_change_the_yield(signal, tolerance):
    edges = np.arange(2800.0, 7001.0, 4.0)
    template = signal.template(3000.0, edges, nuisances=True, jes=0.02)
    assert template.nominal.sum() == pytest.approx(1)
    inside = norm.sf(2800, 3000, 150)
    assert template.shifts[0].up.sum() == pytest.approx(
        norm.sf(2800, 3060, 150) / inside, abs=100 * tolerance
    )
    assert template.shifts[0].down.sum() == pytest.approx(
        norm.sf(2800, 2940, 150) / inside, abs=100 * tolerance
    )


@pytest.mark.parametrize(("signal", "tolerance"), SIGNALS)
def test_only_what_was_asked_for(signal, tolerance):
    plain = signal.template(3000.0, EDGES)
    assert plain.nuisances == ()
    assert signal.template(3000.0, EDGES, norm_uncertainty=0.1).nuisances == ("signal_norm",)
    assert signal.template(3000.0, EDGES, nuisances=True, jes=0.0).nuisances == ("jer",)
    assert signal.template(3000.0, EDGES, nuisances=True, norm_uncertainty=0.1).norm_uncertainty == 0.1
    with pytest.raises(InputError, match=r"uncertainty jes = -0\.01"):
        signal.template(3000.0, EDGES, nuisances=True, jes=-0.01)
    with pytest.raises(InputError, match=r"uncertainty jer = 1 .* from 0 to below 1"):
        signal.template(3000.0, EDGES, nuisances=True, jer=1.0)
    with pytest.raises(
        FitError, match=r"signal of .*3000 GeV: only 0.0% of it lies in the fit range 5000–6000"
    ):
        signal.template(3000.0, np.arange(5000.0, 6001.0, 4.0))


def test_errors_of_the_simulation_widen_the_shifts():
    model = SignalModel({3000.0: GAUSSIAN}, {3000.0: {"mean": 40.0, "sigma": 9.0}})
    template = model.template(3000.0, EDGES, nuisances=True)
    assert moments(template.shifts[0].up)[0] == pytest.approx(3000 + math.hypot(30, 40), abs=0.5)
    assert moments(template.shifts[1].up)[1] == pytest.approx(150 + math.hypot(0.035 * 150, 9), abs=0.1)
    # 100 events: mean to σ/10, σ to 1/√200.
    template = HistogramSignal([histogram(3000, 150, n_events=100)]).template(3000.0, EDGES, nuisances=True)
    assert moments(template.shifts[0].up)[0] == pytest.approx(3000 + math.hypot(30, 15), abs=0.5)
    width = 150 * (1 + math.hypot(0.035, 1 / math.sqrt(200)))
    assert moments(template.shifts[1].up)[1] == pytest.approx(width, abs=0.1)


def test_errors_of_interpolated_shapes():
    shapes = {m: DoubleCrystalBall(m, 0.05 * m, 1.2, 5, 1.5, 8) for m in (2000.0, 3000.0, 4000.0, 5000.0)}
    errors = {m: {"mean": 1e-3 * m, "sigma": 0.02 * 0.05 * m, "alpha_low": 0.1} for m in shapes}
    model = SignalModel(shapes, errors)
    # The cubic through four points at the middle: weights −1/16, 9/16, 9/16, −1/16 (Lagrange).
    share = math.sqrt(2 * (9 / 16) ** 2 + 2 * (1 / 16) ** 2)
    assert model.errors_at(3500.0)["mean"] == pytest.approx(share * 3.5)
    assert model.errors_at(3500.0)["sigma"] == pytest.approx(share * 0.02 * 0.05 * 3500)
    # A straight line fitted to four equal errors: at its middle their mean.
    assert model.errors_at(3500.0)["alpha_low"] == pytest.approx(0.1 / 2)
    assert model.errors_at(3000.0)["mean"] == pytest.approx(3.0)
    assert model.errors_at(3000.0)["n_low"] == 0.0
    assert SignalModel({3000.0: GAUSSIAN}, {3000.0: {"mean": 6.0}}).errors_at(4500.0)[
        "mean"
    ] == pytest.approx(9)


def test_errors_go_through_json():
    model = SignalModel({3000.0: GAUSSIAN}, {3000.0: {"mean": 6.0}})
    again = SignalModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.errors_at(3000.0) == model.errors_at(3000.0)
    with pytest.raises(InputError, match="errors of 2000 GeV, where there is no shape"):
        SignalModel({3000.0: GAUSSIAN}, {2000.0: {"mean": 6.0}})
    with pytest.raises(InputError, match="3000 GeV: the error width = 6 is none"):
        SignalModel({3000.0: GAUSSIAN}, {3000.0: {"width": 6.0}})


@pytest.mark.parametrize("mass", [2250.0, 2500.0, 2900.0])
def test_a_peak_between_two_masses_moves_and_widens(mass):
    signal = HistogramSignal(
        [
            histogram(2000, 80, mass=2000.0),
            histogram(3000 * 0.98, 180, mass=3000.0, edges=np.arange(1200, 9000, 7.0)),
        ]
    )
    share = (mass - 2000) / 1000
    mean = mass * ((1 - share) * 1.0 + share * 0.98)
    sigma = mass * ((1 - share) * 0.04 + share * 0.06)
    # Quantiles of Gaussians interpolate to a Gaussian.
    assert signal.template(mass, EDGES).nominal == pytest.approx(gaussian(mean, sigma), abs=1e-4)
    assert moments(signal.template(mass, EDGES).nominal) == pytest.approx((mean, sigma), rel=2e-3)


def test_a_histogram_is_met_at_its_mass_and_nowhere_beyond():
    pair = [histogram(2000, 80, mass=2000.0), histogram(3000, 150, mass=3000.0)]
    signal = HistogramSignal(pair)
    assert signal.template(3000.0, EDGES).nominal == pytest.approx(gaussian(3000, 150), abs=3e-5)
    with pytest.raises(InputError, match=r"mass 3100 GeV has no histogram .* \(2000, 3000 GeV\)"):
        signal.template(3100.0, EDGES)
    with pytest.raises(InputError, match=r"each needs a mass of its own, found "):
        HistogramSignal([pair[0], pair[0]])
    with pytest.raises(InputError, match="at least one histogram"):
        HistogramSignal([])
    with pytest.raises(
        InputError, match=r"it lies at 27\d\d–329\d GeV .* not at the tested mass of 4000 GeV"
    ):
        HistogramSignal([histogram(3000, 150)]).template(4000.0, EDGES)


def test_bins_of_the_fit_are_taken_as_they_are():
    edges = np.array([1460.0, 2000, 2500, 2900, 3100, 3500, 4000])
    values = np.array([1.0, 3, 0, 20, 7, 2])
    signal = HistogramSignal([SignalHistogram(edges, values)])
    assert signal.template(3000.0, edges).nominal == pytest.approx(values / 33, abs=1e-8)
    merged = signal.template(3000.0, edges[[0, 2, 4, 6]]).nominal
    assert merged == pytest.approx(np.array([4, 20, 9]) / 33, abs=1e-8)
    with pytest.raises(InputError, match=r"do not match those of the fit \(its edges lack 3000 GeV\)"):
        signal.template(3000.0, np.array([1460.0, 2000, 3000, 4000]))


def test_coarse_bins_are_not_morphed():
    coarse = np.arange(1200.0, 9000.0, 200.0)
    signal = HistogramSignal([histogram(2000, 80, coarse, mass=2000.0), histogram(3000, 150, mass=3000.0)])
    with pytest.raises(InputError, match=r"histogram of 2000 GeV: its bins of 200 GeV do not match"):
        signal.template(2500.0, EDGES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2, 2], [1, 1]), "increase"),
        (([1.0, 2, 3], [1, 1, 1]), "3 edges need 2 values, one a bin, found 3"),
        (([1.0, 2, 3], [1, -1]), r"values hold -1 in bin 2–3 GeV"),
        (([1.0, 2, 3], [1, np.nan]), r"values hold nan in bin 2–3 GeV"),
        (([1.0, 2, 3], [0, 0]), "holds no event"),
        (([1.0, 2, 3], [1, 1], [1]), "need 2 variances"),
        (([1.0, 2, 3], [1, 1], None, -2.0), "its mass must be finite and positive"),
    ],
)
def test_what_is_no_histogram_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        SignalHistogram(*arguments)


def test_signals_of_a_document():
    document = {"edges": FINE.tolist(), "values": gaussian(3000, 150, FINE).tolist()}
    one = read_signal(json.loads(json.dumps({"template": document})))
    assert one.template(3000.0, EDGES).nominal == pytest.approx(gaussian(3000, 150), abs=3e-5)
    by_mass = read_signal({"3000": {"template": document}, "3200.5": {"template": document}})
    assert [h.mass for h in by_mass.histograms] == [3000.0, 3200.5]
    generic = read_signal({"shape": "double_crystal_ball", "sigma_over_mass": 0.03})
    assert generic.width(2000.0) == pytest.approx(60)
    with pytest.raises(ConfigError, match=r"unknown key 'template.value'; did you mean 'values'"):
        read_signal({"template": {"edges": [1, 2], "value": [1]}}, "f.json")
    with pytest.raises(
        ConfigError, match=r"f.json.2000: key 'template.values': missing, and it has no default"
    ):
        read_signal({"2000": {"template": {"edges": [1, 2]}}}, "f.json")
    with pytest.raises(InputError, match="'x' is not a mass in GeV"):
        read_signal({"x": {"template": document}})
    with pytest.raises(ConfigError, match=r"signal.3000: key 'template': missing, and it has no default"):
        read_signal({"2000": {"template": document}, "3000": {"mean": 3}})


def test_templates_are_checked():
    with pytest.raises(InputError, match="norm_uncertainty = -1"):
        SignalTemplate(np.ones(2) / 2, (), -1.0)
    with pytest.raises(InputError, match="'jes up': expected 2 finite fractions"):
        template_of(lambda x: x / 2, np.array([0.0, 1, 2]), {"jes": (lambda x: x * np.nan, lambda x: x)})
