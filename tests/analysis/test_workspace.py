"""Workspaces: stock pyhf and cabinetry give the Z and the limits of the direct fit."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pyhf
import pytest
from pyhf.infer.intervals import upper_limits

from analysis.dijet import density
from analysis.scan import MassResult, ScanConfig, scan
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.workspace import build_workspace, linear_background, write_workspace
from data.errors import FitError

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
    expected = shape * n_events / shape.sum() + signal * SignalModel.generic().at(3000.0).template(EDGES)
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


@pytest.mark.parametrize(("n_events", "signal", "seed"), [(20_000, 100, 4), (1_000_000, 0, 3)])
def test_pyhf_has_the_same_limits(n_events, signal, seed):
    point = run_scan(n_events, signal, seed, function="dijet2")
    export = build_workspace(point)
    model, data = model_and_data(export)
    observed, expected = upper_limits.upper_limit(data, model, None, level=0.05, rtol=1e-3)
    assert float(observed) * export.signal_events == pytest.approx(point.limit.observed, rel=0.01)
    assert np.array(expected, dtype=float) * export.signal_events == pytest.approx(
        np.array(point.limit.expected), rel=0.01
    )


def test_linear_background_is_exact_at_both_fits():
    point = run_scan(3000, 150, 4, function="dijet3", limits=False)
    test = point.test
    nominal, directions = linear_background(test, test.best)
    model = test.likelihood.background
    for theta in (test.null.theta, test.best.theta):
        wanted = model.expected(theta)
        scale, *_ = np.linalg.lstsq(directions[:, :1], wanted - nominal)
        assert nominal + directions[:, 0] * scale[0] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_directions_have_unit_variance_and_are_orthogonal():
    point = run_scan(60_000, 0, 4, function="dijet3", limits=False)
    nominal, directions = linear_background(point.test, point.test.best)
    fisher = directions.T @ (directions / nominal[:, None])
    assert fisher == pytest.approx(np.eye(4), abs=0.02)


def test_bounds_keep_each_direction_positive():
    export = build_workspace(run_scan(500, 0, 3, function="dijet3", limits=False))
    samples = {
        sample["name"]: np.array(sample["data"]) for sample in export.workspace["channels"][0]["samples"]
    }
    parameters = export.workspace["measurements"][0]["config"]["parameters"]
    assert export.bounded
    for parameter in parameters[1:]:
        for end in parameter["bounds"][0]:
            assert (samples["background"] + end * samples[parameter["name"]]).min() >= 0


def test_file_is_plain_json_with_the_observed_counts(tmp_path):
    point = run_scan(3000, 0, 4, limits=False)
    export = write_workspace(tmp_path / "w" / "inclusive_3000.json", point)
    content = json.loads((tmp_path / "w" / "inclusive_3000.json").read_text())
    assert content == export.workspace
    assert sum(content["observations"][0]["data"]) == point.background.spectrum.n_events
    signal = content["channels"][0]["samples"][0]
    assert sum(signal["data"]) == pytest.approx(export.signal_events)
    assert content["measurements"][0]["config"]["poi"] == "mu"


def test_invalid_masses_have_no_workspace():
    with pytest.raises(FitError, match=r"mass 3000 GeV: no workspace .*did not converge"):
        build_workspace(MassResult(3000.0, None, (), None, None, "did not converge"))


def test_bins_where_the_background_underflows_carry_no_information():
    def expected_and_jacobian(theta):
        one, two = np.exp(theta[0]), np.exp(theta[0] + theta[1])
        return np.array([one, two, 0.0]), np.array([[one, 0.0], [two, two], [0.0, 0.0]])

    background = SimpleNamespace(
        expected=lambda theta: expected_and_jacobian(theta)[0], expected_and_jacobian=expected_and_jacobian
    )
    first, second = np.array([2.0, -1.0]), np.array([2.1, -1.2])
    test = SimpleNamespace(
        likelihood=SimpleNamespace(background=background), null=SimpleNamespace(theta=first)
    )
    nominal, directions = linear_background(test, SimpleNamespace(theta=second))
    assert np.isfinite(directions).all()
    assert nominal[2] == 0.0
    assert not directions[2].any()
    fisher = directions[:2].T @ (directions[:2] / nominal[:2, None])
    assert fisher == pytest.approx(np.eye(2), abs=0.02)
