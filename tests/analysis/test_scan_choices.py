"""Scans that choose more than a number of parameters: fit range, profiled functions, functions of the user."""

import json

import numpy as np
import pytest

from analysis import functions
from analysis.functions import density
from analysis.scan import ScanConfig, fits_entry, scan
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from data.errors import ConfigError

EDGES = np.arange(1460.0, 6001.0, 20.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
FAST = ScanConfig(limits=False, minuit=False)


def spectrum(n_events, signal=0.0, seed=1, dip=0.0):
    shape = density(MIDDLES, 0.0, np.array([9.3, 4.8, -0.1]))
    expected = shape * n_events / shape.sum() + signal * SignalModel.generic().template(3000.0, EDGES).nominal
    expected = expected * (1 - dip * (MIDDLES < 1640))
    return Spectrum(EDGES, np.random.default_rng(seed).poisson(expected))


def changed(**options):
    return ScanConfig.model_validate({**FAST.model_dump(), **options})


def test_a_good_range_is_kept():
    point = scan(spectrum(20_000), [3000], config=changed(range_search=True)).points[0]
    assert len(point.range_steps) == 1
    assert point.message is None
    assert point.row() == scan(spectrum(20_000), [3000], config=FAST).points[0].row()


def test_a_turn_on_is_cut_off():
    data = spectrum(60_000, signal=400, dip=0.25)
    whole = scan(data, [3000], config=FAST).points[0]
    point = scan(data, [3000], config=changed(range_search=True)).points[0]
    assert whole.background.goodness[2] < 1e-6
    assert point.background.spectrum.lo >= 1640
    assert point.signal_goodness > 0.01
    assert point.range_steps[0].quality.background_p == pytest.approx(whole.background.goodness[2])
    assert point.row()["signal_yield"] == pytest.approx(400, abs=3 * point.row()["signal_yield_error"])
    json.dumps([step.to_dict() for step in point.range_steps])


def test_ranges_of_their_own_share_one_entry():
    data = spectrum(60_000, signal=400, dip=0.25)
    config = changed(range_search=True)
    result = scan(data, [1700, 3000, 3400], config=config)
    assert len({point.background.spectrum.lo for point in result.points if point.valid}) > 1
    entry = fits_entry(result)
    for point in result.points:
        signal = sum(entry["signal_fits"][f"{point.mass:g}"]["signal"])
        if point.mass != 1700:  # part of this one lies below the range of the entry
            assert signal == pytest.approx(point.test.fitted_signal.sum(), rel=1e-3)


def test_no_good_range_is_told():
    counts = spectrum(60_000).counts * np.where(np.arange(EDGES.size - 1) % 8 < 4, 2, 1)  # never smooth
    point = scan(Spectrum(EDGES, counts), [3000], config=changed(range_search=True)).points[0]
    assert len(point.range_steps) > 10
    assert point.message.startswith("no fit range describes the data; this is the last one tried")


def test_functions_are_profiled():
    data = spectrum(20_000, signal=300)
    options = {"candidates": ["dijet2", "dijet3", "alternative4"], "limits": True}
    point = scan(data, [3000], config=changed(function="envelope", **options)).points[0]
    single = {
        name: scan(data, [3000], config=changed(function=name, **options)).points[0]
        for name in options["candidates"]
    }
    row = point.row()
    assert row["valid"]
    assert row["function"] == point.envelope.best_curve.function in single
    assert row["z"] <= max(other.z for other in single.values()) + 1e-6
    assert row["signal_yield"] == pytest.approx(single[row["function"]].row()["signal_yield"], rel=1e-3)
    low = min(other.row()["limit_observed"] for other in single.values())
    high = max(other.row()["limit_observed"] for other in single.values())
    assert 0.95 * low < row["limit_observed"] < 1.1 * high
    assert len(point.steps) == 3


def test_functions_left_out_of_the_envelope_are_told():
    options = {"candidates": ["dijet2", "dijet6"], "function": "envelope"}
    point = scan(spectrum(20_000), [3000], config=changed(**options)).points[0]
    assert [curve.function for curve in point.envelope.curves] == ["dijet2"]
    assert "left out of the envelope: dijet6" in point.message
    assert point.valid


def test_few_events_in_an_envelope_are_told():
    point = scan(spectrum(300), [5000], config=changed(function="envelope")).points[0]
    assert "asymptotic formulae are rough" in point.message


def test_few_events_in_the_range_of_an_envelope_are_told():
    point = scan(spectrum(120), [1700], config=changed(function="envelope")).points[0]
    assert point.test.expected_in_core > FAST.toys_below
    assert "few events (119 in the fit range): asymptotic formulae are rough" in point.message


def test_an_envelope_without_an_error_of_the_yield_marks_its_mass():
    options = {"candidates": ["dijet2", "dijet3", "alternative4"], "function": "envelope"}
    bad, good = scan(spectrum(300, seed=2), [3000, 2000], config=changed(**options)).points
    assert not bad.valid
    assert "the fit did not converge" in bad.message
    assert bad.row()["signal_yield_error"] is None
    assert good.valid
    assert good.row()["signal_yield_error"] > 0


def test_a_search_that_ends_in_an_empty_range_marks_its_mass():
    counts = np.random.default_rng(1).poisson(3000 * np.exp(-(MIDDLES - 1460) / 300) / 15)
    near, far = scan(Spectrum(EDGES, counts), [2000, 4000], config=changed(range_search=True)).points
    assert near.valid
    assert not far.valid
    assert "mass 4000 GeV: " in far.message
    assert "no events between" in far.message
    assert len(far.range_steps) > 1
    assert far.row()["z"] is None


def test_a_function_of_the_user():
    own = {"mine": {"expression": "(1 - x)**a / x**(b + c*log(x))", "start": {"a": 9, "b": 5, "c": 0}}}
    data = spectrum(20_000, signal=300)
    mine = scan(data, [3000], config=changed(function="mine", own_functions=own, limits=True)).points[0]
    published = scan(data, [3000], config=changed(function="dijet3", limits=True)).points[0]
    assert mine.row()["function"] == "mine"
    for key in ("z", "signal_yield", "signal_yield_error", "limit_observed", "fit_p"):
        assert mine.row()[key] == pytest.approx(published.row()[key], rel=2e-3)
    assert mine.row()["limit_expected"] == pytest.approx(published.row()["limit_expected"], rel=2e-3)


@pytest.mark.parametrize("name", [name for name in functions.available() if name != "dijet6"])
def test_every_function_can_be_scanned(name):
    point = scan(spectrum(20_000), [3000], config=changed(function=name, minuit=True, limits=True)).points[0]
    assert point.valid
    assert point.message is None
    assert point.row()["function"] == name


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"function": "envelope", "calculator": "toys"}, "function 'envelope' has asymptotic formulae only"),
        ({"function": "mine"}, "function 'mine' is unknown; known functions: dijet2, "),
        ({"candidates": ["dijet2", "mine"]}, "function 'mine' is unknown; known functions: dijet2, "),
        (
            {"own_functions": {"mine": {"expression": "y**a", "start": {"a": 1}}}, "function": "mine"},
            r"function 'mine': expression 'y\*\*a': unknown name 'y'",
        ),
        (
            {"own_functions": {"auto": {"expression": "x**a", "start": {"a": 1}}}, "function": "auto"},
            "own_functions: 'auto' stands for a choice among functions; choose another name",
        ),
        (
            {"own_functions": {"envelope": {"expression": "x**a", "start": {"a": 1}}}},
            "own_functions: 'envelope'",
        ),
        ({"sqrt_s": 0}, "key 'sqrt_s': .*greater than 0"),
        ({"sqrt_s": -13000.0}, "key 'sqrt_s': .*greater than 0"),
        ({"own_functions": {"dijet2": {"expression": "x**a", "start": {"a": 1}}}}, "choose another name"),
        ({"candidates": [True]}, "candidates"),
    ],
)
def test_bad_options_are_named(mapping, message):
    with pytest.raises(ConfigError, match=message):
        ScanConfig.parse(mapping, "scan.yaml")
