"""Workspaces: stock pyhf and cabinetry give the Z and the limits of the direct fit."""

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyhf
import pytest
from pyhf.infer.intervals import upper_limits

from analysis.fit import fit_background
from analysis.functions import density
from analysis.limits import asymptotic_limit
from analysis.profile_likelihood import SignalTest
from analysis.scan import MassResult, ScanConfig, scan
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.spectrum_document import SpectrumDocument
from analysis.spectrum_scan import run_document
from analysis.workspace import background_terms, build_workspace, split_norm, write_workspace
from analysis.workspace_index import read_workspaces
from data.errors import FitError, InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cabinetry 0.6.0 imports deprecated names
    import cabinetry

# pyhf 0.7.6 resolves its schemas by a class that jsonschema 4.18 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning")

EDGES = np.arange(2232.0, 8001.0, 4.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])


@pytest.fixture(autouse=True)
def minuit_backend():
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(verbose=0))
    yield
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer())


def run_scan(n_events, signal, seed, **options):
    shape = density(MIDDLES, 0.0, np.array([9.3, 4.8, -0.1]))
    expected = shape * n_events / shape.sum() + signal * SignalModel.generic().template(3000.0, EDGES).nominal
    data = Spectrum(EDGES, np.random.default_rng(seed).poisson(expected))
    return scan(data, [3000.0], config=ScanConfig(minuit=False, calculator="asymptotic", **options)).points[0]


def model_and_data(export):
    workspace = pyhf.Workspace(export.workspace)  # validates against the schema
    model = workspace.model()
    return model, workspace.data(model)


def pyhf_z(model, data):
    config = model.config
    q0 = pyhf.infer.test_statistics.q0(
        0.0, data, model, config.suggested_init(), config.suggested_bounds(), config.suggested_fixed()
    )
    return float(np.sqrt(max(float(q0), 0.0)))


CASES = [
    (500, 30, 3, "dijet2"),
    (500, 40, 5, "dijet3"),
    (3000, 120, 4, "dijet3"),
    (60_000, 0, 3, "dijet2"),
    (60_000, 500, 4, "dijet4"),
    (1_000_000, 3000, 6, "dijet3"),
]


@pytest.mark.parametrize(("n_events", "signal", "seed", "function"), CASES)
def test_stock_pyhf_has_the_same_z(n_events, signal, seed, function):
    point = run_scan(n_events, signal, seed, function=function, limits=False)
    z = pyhf_z(*model_and_data(build_workspace(point)))
    assert z == pytest.approx(point.test.z, rel=0.01, abs=0.02)


@pytest.mark.parametrize(("n_events", "signal", "seed", "function"), CASES[1:5:3])
def test_cabinetry_has_the_same_z_and_yield(n_events, signal, seed, function):
    point = run_scan(n_events, signal, seed, function=function, limits=False)
    export = build_workspace(point)
    model, data = model_and_data(export)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = cabinetry.fit.significance(model, data)
        fit = cabinetry.fit.fit(model, data)
    assert found.observed_significance == pytest.approx(point.test.z, rel=0.01, abs=0.02)
    index = fit.labels.index("mu")
    assert fit.bestfit[index] * export.signal_events == pytest.approx(
        point.test.best.signal_yield, abs=0.03 * point.test.yield_error
    )
    assert fit.uncertainty[index] * export.signal_events == pytest.approx(point.test.yield_error, rel=0.05)


def with_uncertainties(n_events, signal, seed, function, *, limits=False):
    """A tested mass whose signal has large uncertainties of shape and normalisation."""
    model, edges = SignalModel.generic(), EDGES[EDGES <= 5000]
    middles = 0.5 * (edges[1:] + edges[:-1])
    shape = density(middles, 0.0, np.array([9.3, 4.8, -0.1]))
    expected = shape * n_events / shape.sum() + signal * model.template(3000.0, edges).nominal
    fit = fit_background(Spectrum(edges, np.random.default_rng(seed).poisson(expected)), function)
    template = model.template(3000.0, edges, nuisances=True, jes=0.02, jer=0.1, norm_uncertainty=0.15)
    test = SignalTest(fit.spectrum.counts.astype(float), fit.model, template, fit.minimum.theta)
    return MassResult(3000.0, fit, (), test, asymptotic_limit(test) if limits else None)


@pytest.mark.parametrize("function", ["dijet3", "atlas5", "alternative1"])
def test_stock_pyhf_has_the_same_z_with_uncertainties_of_the_signal(function):
    point = with_uncertainties(30_000, 400, 4, function)
    model, data = model_and_data(build_workspace(point, luminosity_uncertainty=0.016))
    assert {"jes", "jer", "luminosity", "signal_norm"} <= set(model.config.par_names)
    assert pyhf_z(model, data) == pytest.approx(point.test.z, rel=0.01, abs=0.02)


def test_parts_of_the_normalisation_are_together_the_whole():
    parts = split_norm(0.15, 0.016, 3000.0)
    assert list(parts) == ["signal_norm", "luminosity"]
    assert math.hypot(*(math.log1p(size) for size in parts.values())) == pytest.approx(math.log1p(0.15))
    assert split_norm(0.0, 0.0, 3000.0) == {}
    assert split_norm(0.016, 0.016, 3000.0) == {"luminosity": 0.016}


def test_a_luminosity_larger_than_the_whole_uncertainty_is_refused():
    with pytest.raises(InputError, match=r"3000 GeV: the luminosity's uncertainty 0.2 exceeds .* 0.15"):
        build_workspace(with_uncertainties(3000, 60, 4, "dijet2"), luminosity_uncertainty=0.2)


LIMIT_CASES = [(500, 30, 3, "dijet2"), (20_000, 100, 4, "dijet2")]


@pytest.mark.parametrize(("n_events", "signal", "seed", "function"), LIMIT_CASES)
def test_pyhf_has_the_same_limits(n_events, signal, seed, function):
    point = run_scan(n_events, signal, seed, function=function)
    export = build_workspace(point)
    model, data = model_and_data(export)
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer())  # twice as fast as MINUIT here
    observed, expected = upper_limits.upper_limit(data, model, None, level=0.05, rtol=1e-3)
    assert float(observed) * export.signal_events == pytest.approx(point.limit.observed, rel=0.01)
    assert np.array(expected, dtype=float) * export.signal_events == pytest.approx(
        np.array(point.limit.expected), rel=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--nuisances", "--spectra", "3")])
def test_all_programs_agree_on_ten_spectra(options):
    bench = Path(__file__).parents[1] / "benchmarks" / "bench_workspaces.py"
    done = subprocess.run([sys.executable, str(bench), *options], capture_output=True, text=True, check=True)
    spectra = json.loads(done.stdout)
    assert len(spectra) == (1 if options else 10)
    for spectrum in spectra:
        z = spectrum["z"]
        for program in ("pyhf", "cabinetry"):
            assert z[program] == pytest.approx(z["direct"], rel=0.01, abs=0.02), spectrum
            assert spectrum["limits_over_direct"][program] == pytest.approx([1.0] * 6, abs=0.01), spectrum


def test_the_expansion_is_exact_at_both_fits():
    point = run_scan(3000, 150, 4, function="dijet3", limits=False)
    test = point.test
    second = test.at(2 * test.best.signal_yield)
    terms = background_terms(test, second)
    model = test.likelihood.background
    assert terms.nominal == pytest.approx(model.expected(test.null.theta), rel=1e-12)
    assert terms.second[0] > 0
    assert not terms.second[1:].any()
    there = terms.nominal + (terms.directions + second.signal_yield * terms.with_signal) @ terms.second
    assert there == pytest.approx(model.expected(second.theta), rel=1e-9, abs=1e-9)


def test_derivatives_across_the_way_are_those_of_each_fit():
    test = run_scan(3000, 150, 4, function="dijet3", limits=False).test
    second = test.at(2 * test.best.signal_yield)
    terms = background_terms(test, second)
    model = test.likelihood.background
    first, end = (model.expected_and_jacobian(theta)[1] for theta in (test.null.theta, second.theta))
    # Each direction is a combination of derivatives at the first fit; the same one holds at the second.
    mixing, *_ = np.linalg.lstsq(first, terms.directions)
    turned = terms.directions + second.signal_yield * terms.with_signal
    assert turned[:, 1:] == pytest.approx((end @ mixing)[:, 1:], abs=1e-9)


def test_directions_have_unit_variance_and_are_orthogonal():
    test = run_scan(60_000, 0, 4, function="dijet3", limits=False).test
    terms = background_terms(test, test.at(2 * test.yield_error))
    fisher = terms.directions.T @ (terms.directions / terms.nominal[:, None])
    assert fisher == pytest.approx(np.eye(4), abs=1e-6)


def test_bounds_keep_the_expectation_positive():
    export = build_workspace(run_scan(500, 0, 3, function="dijet3", limits=False))
    samples = {
        sample["name"]: np.array(sample["data"]) for sample in export.workspace["channels"][0]["samples"]
    }
    mu, *directions = export.workspace["measurements"][0]["config"]["parameters"]
    assert export.bounded
    for parameter in directions[1:]:
        for end in parameter["bounds"][0]:
            assert (samples["background"] + end * samples[parameter["name"]]).min() >= 0
    # Along the first direction the signal's own term helps.
    for share in (0.25, 0.5, 1.0):
        way, strength = share * directions[0]["bounds"][0][1], share * mu["bounds"][0][1]
        bent = samples["background_1"] + strength * samples["background_1_mu"]
        assert (samples["background"] + way * bent).min() >= 0


def test_merged_bins_hold_the_sums():
    point = run_scan(3000, 60, 4, function="dijet2", limits=False)
    fine, merged = build_workspace(point), build_workspace(point, merge=7)
    starts = np.arange(0, fine.edges.size - 1, 7)
    assert merged.edges.tolist() == fine.edges[np.append(starts, -1)].tolist()
    pairs = zip(
        fine.workspace["channels"][0]["samples"], merged.workspace["channels"][0]["samples"], strict=True
    )
    for small, large in pairs:
        assert large["data"] == pytest.approx(np.add.reduceat(small["data"], starts).tolist())
    with pytest.raises(InputError, match=r"3000 GeV: merge = 0"):
        build_workspace(point, merge=0)


def test_file_is_plain_json_with_the_observed_counts(tmp_path):
    point = run_scan(3000, 0, 4, limits=False)
    export = write_workspace(tmp_path / "w" / "inclusive_3000.json", point)
    content = json.loads((tmp_path / "w" / "inclusive_3000.json").read_text())
    assert content == export.workspace
    assert sum(content["observations"][0]["data"]) == point.background.spectrum.n_events
    signal = content["channels"][0]["samples"][0]
    assert sum(signal["data"]) == pytest.approx(export.signal_events)
    assert content["measurements"][0]["config"]["poi"] == "mu"


def test_stock_pyhf_has_the_z_of_a_spectrum_file(tmp_path):
    point = run_scan(3000, 120, 4, function="dijet3")
    counts = point.background.spectrum.counts
    content = {
        "edges": point.background.spectrum.edges.tolist(), "counts": counts.astype(int).tolist(), "masses": [3000],
        "fit": {"function": "dijet3"}, "calculator": "asymptotic",
    }  # fmt: skip
    document = SpectrumDocument.parse(content, "s.json")
    result = run_document(document, limits=False, workspaces=tmp_path)
    (stored,) = read_workspaces(tmp_path)
    workspace = pyhf.Workspace(stored.workspace)
    model = workspace.model()
    z = result["masses"]["3000"]["z"]
    assert z == pytest.approx(point.test.z, rel=1e-6)
    assert pyhf_z(model, workspace.data(model)) == pytest.approx(z, rel=0.01)


def test_invalid_masses_have_no_workspace():
    with pytest.raises(FitError, match=r"mass 3000 GeV: no workspace .*did not converge"):
        build_workspace(MassResult(3000.0, None, (), None, None, "did not converge"))


def test_bins_where_the_background_underflows_carry_no_information():
    def expected_and_jacobian(theta):
        one, two = np.exp(theta[0]), np.exp(theta[0] + theta[1])
        return np.array([one, two, 0.0]), np.array([[one, 0.0], [two, two], [0.0, 0.0]])

    background = SimpleNamespace(expected_and_jacobian=expected_and_jacobian)
    first, second = np.array([2.0, -1.0]), np.array([2.1, -1.2])
    test = SimpleNamespace(
        likelihood=SimpleNamespace(background=background), null=SimpleNamespace(theta=first)
    )
    terms = background_terms(test, SimpleNamespace(theta=second, signal_yield=3.0))
    assert np.isfinite(terms.directions).all()
    assert terms.nominal[2] == 0.0
    assert not terms.directions[2].any()
    fisher = terms.directions[:2].T @ (terms.directions[:2] / terms.nominal[:2, None])
    assert fisher == pytest.approx(np.eye(2), abs=1e-9)
