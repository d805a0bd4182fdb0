"""The scan: ranges, functions, rows, messages, injected signals, the entries of scan.json and fits.json."""

import json
import re

import numpy as np
import pytest

from analysis.fit import fit_background
from analysis.fit_ranges import fit_range
from analysis.functions import density
from analysis.profile_likelihood import SignalTest
from analysis.scan import ScanConfig, analyse, fits_entry, scan
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from data.errors import ConfigError, FewEventsError, FitError, InputError

EDGES = np.arange(1200.0, 9001.0, 4.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
FAST = ScanConfig(fit_start=2232, limits=False, minuit=False)


def spectrum(n_events, signal=0.0, seed=1, mass=3000.0):
    shape = density(MIDDLES, 0.0, np.array([9.3, 4.8, -0.1])) * (MIDDLES > 2000)
    expected = shape * n_events / shape[MIDDLES > 2232].sum()
    expected += signal * SignalModel.generic().at(mass).template(EDGES)
    return Spectrum(EDGES, np.random.default_rng(seed).poisson(expected))


def test_injected_signal_is_found_at_its_mass():
    rows = scan(spectrum(20_000, signal=500), range(2600, 3601, 200), config=FAST).rows
    best = max(rows, key=lambda row: row["z"])
    assert best["mass"] == 3000
    assert best["z"] > 4
    assert best["signal_yield"] == pytest.approx(500, abs=3 * best["signal_yield_error"])
    assert best["p0"] < 1e-4


def test_rows_are_complete_and_plain():
    result = scan(spectrum(20_000), [2800, 3000], config=ScanConfig(fit_start=2232))
    rows = json.loads(json.dumps(result.rows, allow_nan=False))
    for row in rows:
        assert row["valid"]
        assert row["message"] is None
        assert row["function"] in {"dijet2", "dijet3", "dijet4"}
        assert 0.01 < row["fit_p"] <= 1
        assert row["limit_expected"] == sorted(row["limit_expected"])
        assert row["limit_observed"] > 0
        assert row["calculator"] == "asymptotic"
        assert 0 < row["p0"] <= 0.5
    assert result.valid


def test_range_follows_mass_and_last_event():
    data = spectrum(20_000)
    low = fit_range(data, 2800.0, FAST)
    assert low.lo == 2232
    assert low.hi == data.snap(data.last_filled + 5, up=True)
    assert fit_range(data, 6000.0, FAST).hi == 7200
    part = fit_range(data, 3000.0, ScanConfig(fit_start=2333, fit_stop=5001))
    assert (part.lo, part.hi) == (2332, 5004)


def test_masses_outside_are_refused():
    with pytest.raises(InputError, match=r"mass 2000 GeV lies outside the fit range 2232–"):
        scan(spectrum(2000), [2000], config=FAST)
    with pytest.raises(InputError, match=r"mass 9500 GeV lies outside the fit range 2232–9000"):
        scan(spectrum(2000), [9500], config=FAST)
    with pytest.raises(InputError, match=r"selection 'cwola_B3': mass 2000 GeV"):
        analyse(spectrum(2000), "cwola_B3", [2000], config=FAST)


@pytest.mark.parametrize("search", [False, True])
def test_few_events_mark_the_mass(search):
    """One selection with few events must not end the scan of all others."""
    empty = Spectrum(EDGES, np.zeros(EDGES.size - 1))
    config = FAST.model_copy(update={"range_search": search})
    (point,) = scan(empty, [3000], config=config).points
    assert not point.valid
    assert "mass 3000 GeV: spectrum: no events between 2" in point.message
    with pytest.raises(FewEventsError, match="no events between 2232 and 3600 GeV; check the selection"):
        fit_range(empty, 3000, config)
    few = np.zeros(EDGES.size - 1)
    few[EDGES.searchsorted([2300, 2500, 2900])] = 2
    (point,) = scan(Spectrum(EDGES, few), [3000], config=config).points
    assert not point.valid
    assert re.search(r"[26] events between .* GeV are too few for a fit", point.message)


def test_zero_of_the_function_in_range_marks_the_mass():
    edges = np.arange(2000.0, 14001.0, 4.0)
    counts = np.zeros(edges.size - 1)
    counts[:600] = 20
    counts[-1] = 1
    row = scan(Spectrum(edges, counts), [3000], config=ScanConfig(limits=False)).rows[0]
    assert not row["valid"]
    assert "zero in the fit range" in row["message"]
    assert row["z"] is None
    assert row["limit_observed"] is None


def test_a_fixed_function_is_used_and_the_f_test_still_told():
    point = scan(spectrum(20_000), [3000], config=FAST.model_copy(update={"function": "dijet4"})).points[0]
    assert point.row()["function"] == "dijet4"
    assert [step.n for step in point.steps] == [2, 3, 4]


def test_too_many_parameters_give_way(monkeypatch):
    import analysis.scan as module

    original = module.signal_test

    def fails_for_four(fit, template, *, smooth):
        if fit.n_shape == 4:
            msg = "ran away"
            raise FitError(msg)
        return original(fit, template, smooth=smooth)

    monkeypatch.setattr(module, "signal_test", fails_for_four)
    always_four = FAST.model_copy(
        update={"candidates": ("dijet2", "dijet3", "dijet4"), "f_test_p": 0.999999, "uncertainty_veto": False}
    )
    row = scan(spectrum(20_000), [3000], config=always_four).rows[0]
    assert row["valid"]
    assert row["function"] in {"dijet2", "dijet3"}
    assert "dijet4: ran away" in row["message"]
    fixed = FAST.model_copy(update={"function": "dijet4"})
    row = scan(spectrum(20_000), [3000], config=fixed).rows[0]
    assert not row["valid"]
    assert row["message"] == "mass 3000 GeV: dijet4: ran away"


def test_a_better_minimum_of_minuit_invalidates(monkeypatch):
    import analysis.scan as module
    from analysis.minuit import MinuitCheck

    monkeypatch.setattr(module, "minuit_check", lambda test: MinuitCheck(0.5, 0.0))
    row = scan(spectrum(20_000), [3000], config=FAST.model_copy(update={"minuit": True})).rows[0]
    assert not row["valid"]
    assert "MIGRAD found a minimum lower by 0.5" in row["message"]


def test_few_events_under_the_peak_switch_to_toys():
    config = ScanConfig(fit_start=2232, minuit=False, toys=500, seed=3)
    point = scan(spectrum(150, seed=4), [4600], config=config).points[0]
    limit = point.limit
    assert limit.calculator == "toys"
    assert limit.n_toys == 500
    assert limit.observed > 2.5
    row = point.row()
    assert (row["calculator"], row["p0_calculator"]) == ("toys", "toys")
    assert "background events expected under the peak): p0 and limit by toys" in row["message"]
    assert (row["p0"], row["z"]) == (point.toy_p0.p0, point.toy_p0.z)
    forced = config.model_copy(update={"calculator": "asymptotic"})
    assert scan(spectrum(150, seed=4), [4600], config=forced).points[0].limit.calculator == "asymptotic"


def test_few_events_altogether_switch_to_toys_too():
    config = FAST.model_copy(update={"toys": 500})
    row = scan(spectrum(100, seed=4), [2700], config=config).rows[0]
    assert row["p0_calculator"] == "toys"
    assert "in the fit range): p0 by toys" in row["message"]
    assert scan(spectrum(2000, seed=4), [2700], config=config).rows[0]["p0_calculator"] == "asymptotic"


def test_toys_tell_of_p_values_beyond_their_reach():
    config = FAST.model_copy(update={"toys": 500, "calculator": "toys", "function": "dijet2"})
    row = scan(spectrum(400, signal=150), [3000], config=config).rows[0]
    assert row["p0"] == pytest.approx(1 / 10_001)
    assert "p0 is an upper bound: none of 10000 toys reaches the observed q0" in row["message"]


def test_nuisances_are_profiled_if_asked_for():
    data = spectrum(20_000, signal=500)
    limits = FAST.model_copy(update={"limits": True, "function": "dijet3"})
    plain = scan(data, [3050], config=limits).points[0]
    uncertain = scan(
        data, [3050], config=limits.model_copy(update={"nuisances": True, "minuit": True})
    ).points[0]
    assert plain.test.best.nuisances.size == 0
    assert uncertain.test.signal.nuisances == ("jes", "jer")
    # The resonance lies 50 GeV lower: its place is pulled down, and Z rises.
    assert uncertain.test.best.nuisances[0] < -0.3
    assert uncertain.test.z > plain.test.z
    assert uncertain.valid
    assert sum(fits_entry(scan(data, [3050], config=limits))["signal_fits"]["3050"]["signal"]) > 0


def test_mean_significance_of_a_signal_is_that_of_its_expectation():
    """The median is √q0 of the Asimov set (arXiv:1007.1727, section 4)."""
    fixed = FAST.model_copy(update={"function": "dijet2"})
    fit = fit_background(fit_range(spectrum(20_000), 3000.0, FAST), "dijet2")
    template = SignalModel.generic().template(3000.0, fit.spectrum.edges)
    expected = SignalTest(fit.expected + 250 * template.nominal, fit.model, template, fit.minimum.theta).z
    rows = [scan(spectrum(20_000, signal=250, seed=seed), [3000], config=fixed).rows[0] for seed in range(20)]
    assert np.mean([row["z"] for row in rows]) == pytest.approx(expected, abs=0.7)


def test_limits_in_fb():
    config = FAST.model_copy(update={"limits": True})
    result = analyse(
        spectrum(20_000), "cwola_B3", [2900, 3000], None, config,
        window="B3", efficiencies={3000.0: 0.25}, luminosity_ifb=10.0,
    )  # fmt: skip
    without, with_efficiency = result.rows
    assert without["limit_observed_fb"] is None
    assert with_efficiency["limit_observed_fb"] == pytest.approx(with_efficiency["limit_observed"] / 2.5)
    assert with_efficiency["limit_expected_fb"][2] == pytest.approx(
        with_efficiency["limit_expected"][2] / 2.5
    )
    assert with_efficiency["window"] == "B3"
    assert with_efficiency["efficiency"] == 0.25


def test_fits_entry_adds_up():
    result = scan(spectrum(20_000, signal=400), [2800, 3000, 3200], config=FAST)
    entry = json.loads(json.dumps(fits_entry(result), allow_nan=False))
    n_bins = len(entry["edges"]) - 1
    for key in ("observed", "background", "background_error", "pull"):
        assert len(entry[key]) == n_bins
    assert entry["mass"] == 3000
    assert sum(entry["observed"]) == pytest.approx(sum(entry["background"]), rel=1e-3)
    assert min(entry["observed"]) >= 5
    assert entry["ndf"] == n_bins - len(entry["parameters"]) - 1
    assert entry["chi2"] == pytest.approx(
        sum((o - b) ** 2 / b for o, b in zip(entry["observed"], entry["background"], strict=True))
    )
    assert set(entry["signal_fits"]) == {"2800", "3000", "3200"}
    with_signal = entry["signal_fits"]["3000"]
    assert sum(with_signal["signal"]) == pytest.approx(result.points[1].test.best.signal_yield)
    assert sum(with_signal["signal"]) + sum(with_signal["background"]) == pytest.approx(
        sum(entry["observed"]), rel=1e-3
    )


def test_no_valid_mass_no_entry():
    edges = np.arange(2000.0, 14001.0, 4.0)
    counts = np.zeros(edges.size - 1)
    counts[[0, 300, -1]] = 50
    result = analyse(Spectrum(edges, counts), "inclusive", [3000], config=ScanConfig(limits=False))
    assert result.fit is None
    assert result.scan.reference is None
    assert not result.scan.valid


def test_same_input_same_result():
    config = ScanConfig(fit_start=2232)
    assert (
        scan(spectrum(5000), [3000], config=config).rows == scan(spectrum(5000), [3000], config=config).rows
    )


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"fit_strat": 2232}, "unknown key 'fit_strat'; did you mean 'fit_start'"),
        ({"candidates": [1]}, "function 'dijet1' is unknown; known functions: dijet2, dijet3"),
        ({"function": "dijet9"}, "function 'dijet9' is unknown; known functions: dijet2"),
        ({"candidates": []}, "as \\[2, 3, 4\\]"),
        ({"toys": 10}, "toys"),
    ],
)
def test_bad_options_are_named(mapping, message):
    with pytest.raises(ConfigError, match=message):
        ScanConfig.parse(mapping, "scan.yaml")


def test_the_fit_with_signal_is_judged_too():
    edges = np.arange(2000.0, 6000.0, 4.0)
    centre = (edges[1:] + edges[:-1]) / 2
    shape = SignalModel.generic().at(3000.0).template(edges)
    background = 4e4 * np.exp(-(centre - 2000) / 350) * 4 / 350
    counts = np.random.default_rng(5).poisson(background + 1500 * shape)
    point = scan(Spectrum(edges, counts), [3000.0], config=ScanConfig(limits=False)).points[0]
    assert point.background.goodness[2] < 1e-4
    assert point.signal_goodness > 0.01
    assert point.row()["signal_fit_p"] == point.signal_goodness


def test_toys_of_a_scan_do_not_depend_on_workers():
    config = FAST.model_copy(update={"calculator": "toys", "toys": 500, "limits": True})
    one, two = (scan(spectrum(2_000), [3000], config=config, workers=workers).rows for workers in (1, 2))
    assert one == two
    assert one[0]["calculator"] == "toys"


def test_a_spike_below_the_signal_refuses_asymptotics_and_is_a_remark_for_toys(monkeypatch):
    import analysis.scan as module

    def spike(model, minimum):
        msg = "the function ran away to a spike"
        raise FitError(msg)

    monkeypatch.setattr(module, "check_healthy", spike)
    few = spectrum(60)
    row = scan(few, [3000], config=FAST.model_copy(update={"toys": 500})).rows[0]
    assert row["valid"]
    assert "few events" in row["message"]
    assert "the yield is rough: in the fit with signal, the function ran away to a spike" in row["message"]
    refused = scan(few, [3000], config=FAST.model_copy(update={"calculator": "asymptotic"})).rows[0]
    assert not refused["valid"]
    assert "ran away to a spike" in refused["message"]
