"""The analysis of a spectrum file, against fits written here from the published formulae."""

import json
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import xlogy
from scipy.stats import chi2, norm

from analysis.result_document import ResultDocument
from analysis.signal_shape import SignalModel
from analysis.spectrum_document import SpectrumDocument
from analysis.spectrum_scan import invalid_lines, run_document
from data.errors import ConfigError, InputError

EDGES = np.arange(2000.0, 6001.0, 50.0)
COARSE = [2000, 2200, 2500, 2800, 3200, 3600, 4000, 4500, 5000, 6000]
PLAIN = {"fit": {"function": "dijet3", "uncertainty_veto": False}}


def falling(n_events, seed, signal=0.0):
    x = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13000
    shape = (1 - x) ** 9.3 / x ** (4.8 - 0.1 * np.log(x))
    expected = n_events * shape / shape.sum()
    expected += signal * SignalModel.generic().template(3000.0, EDGES).nominal
    return np.random.default_rng(seed).poisson(expected)


def run(counts, **changes):
    content = {
        "edges": EDGES.tolist(), "counts": np.asarray(counts).tolist(), "coarse_edges": COARSE, "masses": [3000], **changes
    }  # fmt: skip
    steps = []
    result = run_document(
        SpectrumDocument.parse(content, "s.json"), progress=lambda done, total: steps.append((done, total))
    )
    assert steps[-1][0] == steps[-1][1]
    plain = json.loads(json.dumps(result, allow_nan=False))
    ResultDocument.parse(plain, "result.json")
    return plain


@pytest.fixture(scope="module")
def counts():
    return falling(20_000, 3, signal=250)


@pytest.fixture(scope="module")
def result(counts):
    return run(counts, **PLAIN)


def published(parameters, log_norm):
    """Expected events a bin of dijet3, by adaptive quadrature."""
    p1, p2, p3 = parameters

    def density(mass):
        x = mass / 13000
        return math.exp(log_norm) * (1 - x) ** p1 / x ** (p2 + p3 * math.log(x))

    return np.array([quad(density, *EDGES[i : i + 2], epsrel=1e-10)[0] for i in range(EDGES.size - 1)])


def simpson(parameters):
    """Expected events of exp(θ0 + θ1 ln((1 − x)/(1 − x0)) + θ2 u + θ3 u²), u = ln(x/x0), by Simpson's rule."""
    mass = np.stack([EDGES[:-1], 0.5 * (EDGES[1:] + EDGES[:-1]), EDGES[1:]])
    x, x0 = mass / 13000, 3000 / 13000
    u = np.log(x / x0)
    values = np.exp(
        parameters[0] + parameters[1] * np.log((1 - x) / (1 - x0)) + parameters[2] * u + parameters[3] * u**2
    )
    return np.array([1.0, 4.0, 1.0]) @ values * np.diff(EDGES) / 6


def test_significance_and_yield_agree_with_a_fit_by_scipy(counts, result):
    template = SignalModel.generic().template(3000.0, EDGES).nominal

    def cost(parameters):
        total = simpson(parameters[:4]) + (100 * parameters[4] if parameters.size > 4 else 0.0) * template
        if total.min() <= 0:
            return 1e9
        return float((total - counts - xlogy(counts, total) + xlogy(counts, np.maximum(counts, 1))).sum())

    def lowest(start):
        for _ in range(4):  # the simplex starts again from where it has stopped
            found = minimize(cost, start, method="Nelder-Mead", options={"maxfev": 6000, "fatol": 1e-8})
            start = found.x
        return found

    null = lowest(np.array([0.5, 10.0, -5.0, 0.0]))
    best = lowest(np.append(null.x, 2.0))
    row = result["masses"]["3000"]
    assert row["valid"]
    assert row["z"] == pytest.approx(math.sqrt(2 * (null.fun - best.fun)), abs=0.01)
    assert row["p0"] == pytest.approx(norm.sf(row["z"]), rel=1e-6)
    assert row["signal_yield"] == pytest.approx(100 * best.x[4], rel=0.01)
    # At the minimum Z ≈ yield/error for a signal on much background.
    assert row["signal_yield_error"] == pytest.approx(row["signal_yield"] / row["z"], rel=0.15)


def test_chi2_is_pearson_in_merged_coarse_bins_with_the_published_parameters(counts, result):
    background = result["background"]
    expected = published(background["parameters"], background["log_norm"])
    edges = [*COARSE]
    while np.histogram(EDGES[:-1], bins=edges, weights=counts)[0][-1] < 5:
        del edges[-2]
    observed, predicted = (np.histogram(EDGES[:-1], bins=edges, weights=w)[0] for w in (counts, expected))
    assert observed.min() >= 5
    assert background["coarse_edges"] == edges
    found = float(np.sum((observed - predicted) ** 2 / predicted))
    assert background["chi2"] == pytest.approx(found, rel=1e-6)
    assert background["ndf"] == observed.size - 3 - 1
    assert background["fit_p"] == pytest.approx(chi2.sf(found, background["ndf"]), rel=1e-5)
    assert result["masses"]["3000"]["function"] == "dijet3"
    assert background["function"] == "dijet3"


def test_the_f_test_is_reported_whatever_function_is_used(counts, result):
    auto = run(counts, fit={"function": "auto", "uncertainty_veto": False})
    other = run(counts, fit={"function": "alternative3", "uncertainty_veto": False})
    assert result["f_test"] == auto["f_test"] == other["f_test"]
    assert [step["n"] for step in auto["f_test"]["steps"]] == [2, 3, 4]
    chosen = next(step for step in auto["f_test"]["steps"] if step["n"] == auto["f_test"]["chosen"])
    assert chosen["accepted"]
    assert auto["f_test"]["chi2"] == chosen["chi2"]
    assert auto["background"]["function"] == f"dijet{auto['f_test']['chosen']}"
    assert other["background"]["function"] == "alternative3"


def test_the_f_test_is_kept_where_the_function_used_fails(counts, result):
    fixed = run(counts, sqrt_s=11000, fit={"function": "own", "own_functions": {"own": ENDING}})
    plain = run(counts, sqrt_s=11000)
    assert not fixed["masses"]["3000"]["valid"]
    assert fixed["f_test"] == plain["f_test"]
    assert fixed["f_test"]["chosen"] is not None
    # And the other way round: candidates that fail do not keep a function from being used.
    other = run(
        counts,
        sqrt_s=11000,
        fit={"function": "dijet3", "candidates": ["own"], "own_functions": {"own": ENDING}},
    )
    assert other["masses"]["3000"]["valid"]
    assert other["f_test"]["chosen"] is None
    assert other["f_test"]["steps"][0]["message"]


def test_coarse_edges_that_leave_no_chi2_are_told(counts):
    found = run(counts, coarse_edges=[100, 200], fit={"function": "dijet3"})
    assert found["masses"]["3000"]["valid"]
    assert (
        "coarse_edges leave 1 merged bin in the fit range for 4 parameters"
        in found["masses"]["3000"]["message"]
    )
    assert found["background"]["fit_p"] is None


def test_a_signal_shape_is_not_extrapolated_in_silence(counts):
    shape = {"alpha_low": 1.2, "n_low": 5, "alpha_high": 1.5, "n_high": 10}
    signal = {"2500": {"mean": 2500, "sigma": 125, **shape}, "3500": {"mean": 3500, "sigma": 175, **shape}}
    rows = run(counts, **PLAIN, signal=signal, masses=[2500, 3000, 4000])["masses"]
    assert [rows[key]["message"] for key in ("2500", "3000")] == [None, None]
    assert rows["4000"]["message"] == (
        "the signal shape is extrapolated: shapes are given at 2500 to 3500 GeV only"
    )
    assert rows["4000"]["valid"]


def test_masses_left_out_of_the_global_significance_are_told(counts, monkeypatch):
    import analysis.scan as module
    from data.errors import FitError

    fitted = module._fit_signal

    def fails_at_3200(fits, wanted, mass, signal, config):
        if mass == 3200:
            msg = "it does not converge"
            raise FitError(msg)
        return fitted(fits, wanted, mass, signal, config)

    monkeypatch.setattr(module, "_fit_signal", fails_at_3200)
    asked = {"global": {"masses": {"lo": 2800, "hi": 3200, "step": 200}, "toys": 20}}
    found = run(counts, **PLAIN, **asked)
    assert found["global"]["masses_left_out"] == [3200]
    assert found["global"]["p_global"] is not None
    (line,) = invalid_lines(found)
    assert line == "global significance: 1 of 3 masses are left out (3200 GeV: it does not converge)"


def test_yields_count_events_inside_the_fit_range():
    """Of a signal at the end of the range, as expected without fluctuations, only the part inside is the yield."""
    x = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13000
    background = (1 - x) ** 9.3 / x**4.8
    template = SignalModel.generic().template(3000.0, EDGES).nominal
    counts = np.round(1e9 * background / background.sum() + 1e7 * template)
    whole = run(counts, **PLAIN)["masses"]["3000"]["signal_yield"]
    options = {"fit": {**PLAIN["fit"], "range": [2950, 6000]}}
    part = run(counts, **options)["masses"]["3000"]["signal_yield"]
    inside = template[EDGES[:-1] >= 2950].sum()
    assert 0.5 < inside < 0.7
    assert whole == pytest.approx(1e7, rel=0.01)
    assert part == pytest.approx(1e7 * inside, rel=0.02)


def test_without_a_range_the_whole_spectrum_is_fitted(counts, result):
    assert result["background"]["range"] == [2000, 6000]
    assert run(counts, fit={**PLAIN["fit"], "range": [2000, 6000]}) == result


def test_a_range_beyond_the_collision_energy_is_one_error(counts):
    with pytest.raises(ConfigError, match=r"2000–6000 GeV reaches sqrt_s = 5500 GeV.*fit\.range") as caught:
        run(counts, masses=[2500, 3000], sqrt_s=5500)
    assert "\n" not in str(caught.value)
    assert run(counts, sqrt_s=5500, fit={"range": [2000, 5000]})["background"] is not None


ENDING = {"expression": "(1 - 2*x)**a / x**b", "start": {"a": 5.0, "b": 5.0}}


def test_a_function_with_a_zero_in_range_marks_every_mass(counts):
    found = run(
        counts,
        masses=[2500, 3000],
        sqrt_s=11000,
        fit={"candidates": ["own"], "own_functions": {"own": ENDING}},
    )
    assert [row["valid"] for row in found["masses"].values()] == [False, False]
    assert found["background"] is None
    row = found["masses"]["2500"]
    assert all(value is None for key, value in row.items() if key not in {"valid", "message"})
    (line,) = invalid_lines(found)
    assert line.startswith("2500, 3000 GeV: ")
    assert "5500 GeV for the start values; a background must be positive" in line


def test_a_mass_outside_is_an_error(counts):
    with pytest.raises(InputError, match=r"mass 1800 GeV lies outside the fit range 2000–6000 GeV"):
        run(counts, masses=[1800])


def test_look_elsewhere_and_bumphunter_are_made_when_asked_for(counts, result):
    assert result["global"] is None
    assert result["bumphunter"] is None
    asked = {"global": {"masses": {"lo": 2400, "hi": 4400, "step": 200}, "toys": 60}, "bumphunter": True}
    found = run(counts, **PLAIN, **asked, seed=5)
    assert found["masses"] == result["masses"]
    overall, bumps = found["global"], found["bumphunter"]
    assert overall["max_z"] == pytest.approx(result["masses"]["3000"]["z"], abs=0.3)
    assert overall["mass"] in {2800, 3000, 3200}
    assert overall["n_toys"] == bumps["n_toys"] == 60
    assert overall["p_global"] + overall["p_global_error"] >= norm.sf(overall["max_z"])
    assert overall["gross_vitells"] >= norm.sf(overall["max_z"])
    assert bumps["lo"] < 3000 < bumps["hi"]
    assert run(counts, **PLAIN, **asked, seed=5) == found


def test_failed_pseudo_experiments_are_told(counts, monkeypatch):
    import analysis.spectrum_scan as module
    from data.errors import FitError

    def fails(*_, **__):
        msg = "3 of 10 pseudo-experiments did not converge"
        raise FitError(msg)

    monkeypatch.setattr(module, "global_significance", fails)
    monkeypatch.setattr(module, "hunt", fails)
    asked = {"global": {"masses": {"lo": 2400, "hi": 4400, "step": 200}, "toys": 10}, "bumphunter": True}
    found = run(counts, **PLAIN, **asked)
    assert found["global"]["p_global"] is None
    assert found["bumphunter"]["t"] is None
    lines = invalid_lines(found)
    assert lines[0] == "global significance: 3 of 10 pseudo-experiments did not converge"
    assert len(lines) == 2
